"""Let the number of examples vary in a graph that was exported for a fixed one.

Such a graph holds traces of its number: targets of Reshape, constants copied for each example. Which axis of each
tensor counts the examples is followed from the input on, and the traces are taken out along it. A guess that is
wrong does no harm: the graph is compared with its original afterwards.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from onnx import helper

from core.models.plain import Plain
from core.models.session import observe

SAME = {
    "Relu", "Clip", "Sigmoid", "Tanh", "Erf", "Softmax", "LogSoftmax", "LayerNormalization", "BatchNormalization",
    "Cast", "Sqrt", "Neg", "Exp", "Pad", "Slice", "HardSwish", "HardSigmoid", "LeakyRelu", "Elu", "Pow",
}  # fmt: skip
FIRST = {"Conv", "Gemm", "GlobalAveragePool", "AveragePool", "MaxPool", "Flatten", "ConvTranspose", "Resize"}
PAIRED = {"Add", "Mul", "Sub", "Div", "Where", "PRelu", "Max", "Min"}
Shape = tuple[int, ...]


def free_batch(made: Plain, fixed: int) -> None:
    """Make the graph take any number of examples, in place; `fixed` is the number it was made for, 0 for none."""
    first = made.input.type.tensor_type.shape.dim[0]
    fixed = first.dim_value or fixed
    made.output.type.tensor_type.ClearField("shape")
    first.dim_value = fixed
    shapes = _shapes(_settled(made, fixed)) if fixed else {}
    first.Clear()
    first.dim_param = "batch"
    if fixed:
        _Freed(made, fixed, shapes).walk()


def _settled(made: Plain, fixed: int) -> Plain:
    """The graph with what is worked out from shapes as constants, true for that number of examples only."""
    derived = made.derived()
    wanted = sorted(derived & set(made.readers()))
    if not wanted:
        return made
    found = observe(made.proto(wanted), fixed, wanted)
    kept = [node for node in made.nodes if derived.isdisjoint(node.output)]
    return Plain(kept, {**made.constants, **found}, made.input, made.output, made.opset)


def _shapes(made: Plain) -> dict[str, Shape]:
    """Shape of each tensor at the number of examples the file was made for, as far as it can be told."""
    proto = made.proto()
    small = [tensor for tensor in proto.graph.initializer if math.prod(tensor.dims) < 64]
    large = [tensor for tensor in proto.graph.initializer if math.prod(tensor.dims) >= 64]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(small)
    proto.graph.input.extend(helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in large)
    found = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    shapes = {name: value.shape for name, value in made.constants.items()}
    for value in (*found.input, *found.value_info, *found.output):
        lengths = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(length.HasField("dim_value") for length in lengths):
            shapes[value.name] = tuple(length.dim_value for length in lengths)
    return shapes


class _Freed:
    """The walk along the graph.

    `axis` holds the axis of each tensor that counts the examples, `inner` the steps along it from one example to the
    next: 1, or the number of heads where examples and heads share an axis.
    """

    def __init__(self, made: Plain, fixed: int, shapes: dict[str, Shape]) -> None:
        self.made, self.fixed, self.shapes = made, fixed, shapes
        self.axis: dict[str, int] = {made.input.name: 0}
        self.inner: dict[str, int] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.constants = dict(made.constants)

    def walk(self) -> None:
        for node in self.made.nodes:
            inputs, output = list(node.input), node.output[0]
            known = [self.axis[name] for name in inputs if name in self.axis]
            if node.op_type == "Expand" and all(name in self.constants for name in inputs):
                self.constants[output] = self.constants[inputs[0]]  # a copy for each example: one will do
                continue
            if known and output in self.shapes:
                axis = self._follow(node, inputs, self.shapes[output])
                if axis is not None:
                    shared = max(self.inner.get(name, 1) for name in inputs)
                    self.axis.update(dict.fromkeys(node.output, axis))
                    if output not in self.inner:
                        self.inner.update(dict.fromkeys(node.output, shared))
            self.nodes.append(node)
        self.made.nodes, self.made.constants = self.nodes, self.constants

    def _follow(self, node: onnx.NodeProto, inputs: list[str], after: Shape) -> int | None:
        kind, axis = node.op_type, self.axis.get(inputs[0])
        if kind in PAIRED or (kind == "MatMul" and axis is None):
            return self._paired(node, inputs, len(after))
        if kind == "Concat":
            return self._joined(node, inputs, len(after))
        if kind == "Gather" and axis is None:  # an embedding: rows of a table for the ids of each example
            return self.axis[inputs[1]] + int(_attribute(node, "axis") or 0) % len(self.shapes.get(inputs[0], (0, 0)))
        if axis is None:
            return None
        before = self.shapes.get(inputs[0], ())
        if kind in FIRST:
            return 0 if axis == 0 else None
        if kind == "Reshape":
            return self._reshaped(node, before, axis, after)
        if kind == "Expand":
            target = self.constants.get(inputs[1])
            place = axis + len(after) - len(before)
            if target is not None and len(target) > place:
                target = target.copy()
                target[place - (len(after) - len(target))] = 1
                node.input[1] = self._hold(f"{node.output[0]}/freed", target)
            return place
        if kind == "Transpose":
            order = _attribute(node, "perm") or list(range(len(before)))[::-1]
            return order.index(axis) if axis in order else None
        if kind in ("Squeeze", "Unsqueeze") or (kind.startswith("Reduce") and len(after) != len(before)):
            kept = [length for length in range(len(after)) if after[length] == before[axis]] if before else []
            listed = self.constants.get(inputs[1]) if len(inputs) > 1 else None
            if listed is None:
                return kept[0] if kept else None
            changed = [int(place) % max(len(before), len(after)) for place in listed.reshape(-1)]
            if kind == "Unsqueeze":
                return [place for place in range(len(after)) if place not in changed][axis]
            return axis - sum(place < axis for place in changed)
        if kind == "Gather":
            place = int(_attribute(node, "axis") or 0) % len(before)
            return None if place == axis else axis - (place < axis) * (len(before) - len(after))
        if kind == "MatMul":
            return axis + len(after) - len(before)
        return axis if kind in SAME or kind.startswith("Reduce") or len(after) == len(before) else None

    def _reshaped(self, node: onnx.NodeProto, before: Shape, axis: int, after: Shape) -> int | None:
        """The output's axis that holds the examples; the target says -1 there.

        It is an axis that the step from one example to the next falls into. For a file made for one example several
        may do: then one that holds nothing else, then the one where it was, and the last only where no other is left.
        """
        step = self.inner.get(node.input[0], 1) * math.prod(before[axis + 1 :])
        behind = [math.prod(after[place + 1 :]) for place in range(len(after))]
        fits = [p for p in range(len(after)) if behind[p] <= step and behind[p] * after[p] >= step * self.fixed]
        if not fits or any(step % max(1, behind[place]) for place in fits):
            return None
        last = len(after) - 1
        alone = [p for p in fits if after[p] == self.fixed and behind[p] == step]
        place = min(fits, key=lambda p: (p == last, p not in alone, p != axis, -p))
        self.inner[node.output[0]] = step // behind[place]
        if node.input[1] in self.constants:
            target = np.array(after, np.int64)
            target[place] = -1
            node.input[1] = self._hold(f"{node.output[0]}/freed", target)
        return place

    def _paired(self, node: onnx.NodeProto, inputs: list[str], rank: int) -> int | None:
        """Element by element: a constant that repeats itself for each example holds it once."""
        from_right = max(len(self.shapes.get(n, ())) - self.axis[n] for n in inputs if n in self.axis)
        for place, name in enumerate(inputs):
            value = self.constants.get(name)
            if value is not None and value.ndim >= from_right and value.shape[-from_right] == self.fixed > 1:
                once = np.take(value, [0], value.ndim - from_right)
                if np.array_equal(np.broadcast_to(once, value.shape), value):
                    node.input[place] = self._hold(f"{name}/once", once)
        return rank - from_right

    def _joined(self, node: onnx.NodeProto, inputs: list[str], rank: int) -> int | None:
        """Side by side: a constant is repeated for as many examples as there are."""
        axis = next(self.axis[name] for name in inputs if name in self.axis)
        if int(_attribute(node, "axis") or 0) % rank == axis:
            return None
        for place, name in enumerate(inputs):
            value = self.constants.get(name)
            if value is None or value.ndim != rank or value.shape[axis] not in (1, self.fixed):
                continue
            once = np.take(value, [0], axis)
            if np.array_equal(np.broadcast_to(once, value.shape), value):
                held = name if value.shape[axis] == 1 else self._hold(f"{name}/once", once)
                node.input[place] = self._repeated(held, axis, f"{node.output[0]}/{place}")
        return axis

    def _repeated(self, name: str, axis: int, stem: str) -> str:
        shape = self.constants[name].shape
        parts = [self._hold(f"{stem}/before", np.array(shape[:axis], np.int64)), f"{stem}/batch",
                 self._hold(f"{stem}/after", np.array(shape[axis + 1 :], np.int64))]  # fmt: skip
        self.nodes += [
            helper.make_node("Shape", [self.made.input.name], [parts[1]], start=0, end=1),
            helper.make_node("Concat", parts, [f"{stem}/target"], axis=0),
            helper.make_node("Expand", [name, f"{stem}/target"], [f"{stem}/repeated"]),
        ]
        return f"{stem}/repeated"

    def _hold(self, name: str, value: np.ndarray) -> str:
        self.constants[name] = value
        return name


def _attribute(node: onnx.NodeProto, name: str) -> Any:
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), None)
