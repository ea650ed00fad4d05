"""ONNX: the very graph that the screen's numbers come from, weights stored as the integers they are."""

from __future__ import annotations

import onnx

from core.deploy.graph import assemble
from core.formats._artifact import Format, Parts, described, finished, open_onnx
from core.registry import register


def _make(parts: Parts) -> bytes:
    proto = assemble(parts.network, compact=True)
    finished(proto, parts)
    onnx.checker.check_model(proto)
    return described(proto, parts)


def _recomputes(parts: Parts) -> bool:
    network = parts.network
    if any(not grid.integral for grid in network.grids.values()):
        return True
    return not network.activations and bool(network.grids or network.half)


@register(
    kind="format",
    name="onnx",
    title="ONNX",
    summary="Runs in any ONNX runtime; 8-bit weights and activations run as integers, fewer bits are stored as such.",
    reference="ONNX operators QuantizeLinear and DequantizeLinear; 4-bit initialisers from operator version 21",
)
def declared() -> Format:
    """Integers with the screen's own scales and zero points.

    4 bits and fewer go into 4-bit initialisers where no integer kernel reads them; weights that are made float on
    the way are multiplied in another order than the screen's.
    """
    return Format(".onnx", "ONNX Runtime", lambda _: "", _make, open_onnx, _recomputes)
