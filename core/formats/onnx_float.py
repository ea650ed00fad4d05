"""ONNX with every weight as float32: for runtimes that know no integers."""

from __future__ import annotations

import onnx

from core.deploy.graph import assemble
from core.formats._artifact import Format, Parts, described, finished, open_onnx
from core.registry import register


def _fits(parts: Parts) -> str:
    if parts.network.activations or parts.network.dynamic:
        return "This recipe rounds activations, which float ONNX does not hold; use ONNX."
    return ""


def _make(parts: Parts) -> bytes:
    proto = assemble(parts.network)
    finished(proto, parts)
    onnx.checker.check_model(proto)
    return described(proto, parts)


@register(
    kind="format",
    name="onnx-float",
    title="ONNX, float32",
    summary="Every weight as float32, rounded or zero where the recipe made it so: the same size as the original.",
    reference="ONNX operator set 17",
)
def declared() -> Format:
    """The rounded values themselves."""
    return Format(".onnx", "ONNX Runtime", _fits, _make, open_onnx, lambda _: False)
