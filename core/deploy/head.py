"""Give an artifact the screen's probabilities: confidence calibration as the last nodes of the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from core.calibrators._fitted import Affine, Curves, Form, Widths
from core.deploy.graph import OUTPUT

PROBABILITIES = "probabilities"


def add_head(proto: onnx.ModelProto, form: Form | None) -> None:
    """Add the output `probabilities` `(N, C)` float32, calibrated where the recipe says so; `logits` stay.

    Curves are sums of clipped ramps, in float64: where two knots lie close, float32 would jump. Of networks that
    predict numbers, see `head_numbers`.
    """
    assert not isinstance(form, Widths), "numbers have no probabilities"
    nodes, held = proto.graph.node, proto.graph.initializer

    def constant(name: str, values: np.ndarray) -> str:
        held.append(numpy_helper.from_array(np.ascontiguousarray(values), f"head/{name}"))
        return f"head/{name}"

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], f"head/{output}/{kind}", **attributes))
        return output

    entry = OUTPUT
    if isinstance(form, Affine):
        scaled = node("Mul", [entry, constant("scale", form.scale.astype(np.float32))], "head/scaled")
        entry = node("Add", [scaled, constant("bias", form.bias.astype(np.float32))], "head/shifted")
    if not isinstance(form, Curves):
        node("Softmax", [entry], PROBABILITIES, axis=-1)
    else:
        wide = node("Cast", [entry], "head/wide", to=TensorProto.DOUBLE)
        raw = node("Softmax", [wide], "head/raw", axis=-1)
        mapped = []
        for place, (x, y) in enumerate(form.knots):
            column = 1 if len(form.knots) == 1 else place
            one = node("Gather", [raw, constant(f"column{place}", np.array([column]))], f"head/one{place}", axis=1)
            mapped.append(_curve(node, constant, one, x, y, place))
        if len(mapped) == 1:
            other = node("Sub", [constant("whole", np.array([[1.0]])), mapped[0]], "head/other")
            even = node("Concat", [other, mapped[0]], "head/even", axis=1)
        else:
            even = _normalised(node, constant, node("Concat", mapped, "head/mapped", axis=1), len(mapped))
        node("Cast", [even], PROBABILITIES, to=TensorProto.FLOAT)
    proto.graph.output.append(helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, ["batch", "classes"]))


def _curve(
    node: Callable[..., str], constant: Callable[..., str], one: str, x: np.ndarray, y: np.ndarray, place: int
) -> str:
    """The piecewise linear map of a column `(N, 1)`: its first value plus every ramp as far as it was climbed."""
    first = constant(f"first{place}", np.array([[y[0]]]))
    if len(x) < 2:
        flat = node("Mul", [one, constant(f"nothing{place}", np.array([[0.0]]))], f"head/flat{place}")
        return node("Add", [flat, first], f"head/curve{place}")
    past = node("Sub", [one, constant(f"from{place}", x[None, :-1])], f"head/past{place}")
    share = node("Div", [past, constant(f"width{place}", np.diff(x)[None])], f"head/share{place}")
    ends = [constant(f"none{place}", np.array(0.0)), constant(f"all{place}", np.array(1.0))]
    climbed = node("Clip", [share, *ends], f"head/climbed{place}")
    rises = node("MatMul", [climbed, constant(f"rise{place}", np.diff(y)[:, None])], f"head/rises{place}")
    return node("Add", [rises, first], f"head/curve{place}")


def _normalised(node: Callable[..., str], constant: Callable[..., str], mapped: str, classes: int) -> str:
    """Rows that sum to one; a row of zeros becomes uniform."""
    total = node("ReduceSum", [mapped, constant("axis", np.array([1]))], "head/total", keepdims=1)
    empty = node("Equal", [total, constant("zero", np.array([[0.0]]))], "head/empty")
    safe = node("Where", [empty, constant("one", np.array([[1.0]])), total], "head/safe")
    share = node("Div", [mapped, safe], "head/normal")
    even = constant("uniform", np.array([[1.0 / classes]]))
    return node("Where", [empty, even, share], "head/even")
