"""Give an artifact the screen's probabilities: confidence calibration as the last nodes of the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from core.calibrators._fitted import Affine, Curves, Form, Matrix, Mixture, Steps, Widths
from core.deploy.graph import OUTPUT

PROBABILITIES = "probabilities"


def add_head(proto: onnx.ModelProto, form: Form | None) -> None:
    """Add the output `probabilities` `(N, C)` float32, calibrated where the recipe says so; `logits` stay.

    All but scales and biases are computed in float64. Curves are sums of clipped ramps: where two knots lie close,
    float32 would jump. Of networks that predict numbers, see `head_numbers`.
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
    if form is None or isinstance(form, Affine):
        node("Softmax", [entry], PROBABILITIES, axis=-1)
    else:
        wide = node("Cast", [entry], "head/wide", to=TensorProto.DOUBLE)
        if isinstance(form, Matrix):
            made = _matrix(node, constant, wide, form)
        elif isinstance(form, Mixture):
            made = _mixture(node, constant, wide, form)
        else:
            made = _mapped(node, constant, node("Softmax", [wide], "head/raw", axis=-1), form)
        node("Cast", [made], PROBABILITIES, to=TensorProto.FLOAT)
    proto.graph.output.append(helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, ["batch", "classes"]))


def _matrix(node: Callable[..., str], constant: Callable[..., str], wide: str, form: Matrix) -> str:
    """The softmax of weights times logits or log-probabilities, plus biases."""
    entry = node("LogSoftmax", [wide], "head/logs", axis=-1) if form.of_logs else wide
    turned = node("MatMul", [entry, constant("weights", form.weights.T)], "head/turned")
    return node("Softmax", [node("Add", [turned, constant("bias", form.bias)], "head/shifted")], "head/even", axis=-1)


def _mixture(node: Callable[..., str], constant: Callable[..., str], wide: str, form: Mixture) -> str:
    """Tempered, raw and even probabilities, each times its weight."""
    cooled = node("Div", [wide, constant("temperature", np.array(form.temperature))], "head/cooled")
    parts = [
        node("Mul", [node("Softmax", [entry], f"head/part{k}", axis=-1), constant(f"weight{k}", form.weights[k])],
             f"head/share{k}")
        for k, entry in enumerate((cooled, wide))
    ]  # fmt: skip
    even = constant("weight2", form.weights[2] / form.classes)
    return node("Add", [node("Add", parts, "head/both"), even], "head/even")


def _mapped(node: Callable[..., str], constant: Callable[..., str], raw: str, form: Curves | Steps) -> str:
    """Each class's probability through its own map, then normalised."""
    pairs, one_map = (form.knots, _curve) if isinstance(form, Curves) else (form.steps, _step)
    mapped = []
    for place, (x, y) in enumerate(pairs):
        column = 1 if len(pairs) == 1 else place
        one = node("Gather", [raw, constant(f"column{place}", np.array([column]))], f"head/one{place}", axis=1)
        mapped.append(one_map(node, constant, one, x, y, place))
    if len(mapped) == 1:
        other = node("Sub", [constant("whole", np.array([[1.0]])), mapped[0]], "head/other")
        return node("Concat", [other, mapped[0]], "head/even", axis=1)
    return _normalised(node, constant, node("Concat", mapped, "head/mapped", axis=1), len(mapped))


def _step(
    node: Callable[..., str], constant: Callable[..., str], one: str, x: np.ndarray, y: np.ndarray, place: int
) -> str:
    """The step function of a column `(N, 1)`: its first value plus every rise whose edge was reached."""
    if not len(x):
        return _curve(node, constant, one, x, y, place)
    reached = node("GreaterOrEqual", [one, constant(f"edges{place}", x[None])], f"head/reached{place}")
    counted = node("Cast", [reached], f"head/counted{place}", to=TensorProto.DOUBLE)
    rises = node("MatMul", [counted, constant(f"rise{place}", np.diff(y)[:, None])], f"head/rises{place}")
    return node("Add", [rises, constant(f"first{place}", np.array([[y[0]]]))], f"head/curve{place}")


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
