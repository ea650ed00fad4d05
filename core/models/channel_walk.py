"""Follow every channel through a canonical graph: which places of which tensors hold the same channel.

Each value of the graph carries, along its channel axis, the number of every channel. A layer gives its outputs fresh
numbers; where two values meet (a residual sum, a gate), their numbers are joined. What remains connected at the end
must be removed together (Fang et al. 2023, DepGraph, arXiv 2301.12900).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, shape_inference

from core.models.exact import varying

Ids = NDArray[np.int64]
Shape = tuple[int, ...]
BATCH = 2  # examples that shapes are worked out for

ELEMENTWISE = {
    "Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "Elu", "Selu", "Celu", "HardSigmoid", "HardSwish", "Gelu", "Mish",
    "Softplus", "Softsign", "Abs", "Neg", "Exp", "Log", "Sqrt", "Erf", "Floor", "Ceil", "Round", "Reciprocal", "Sign",
    "Cast", "Identity", "Dropout", "Not", "Sin", "Cos",
}  # fmt: skip
SPATIAL = {"GlobalAveragePool", "GlobalMaxPool", "AveragePool", "MaxPool", "Pad"}
MEETING = {"Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Mean", "Sum", "PRelu", "Where", "Equal", "Greater",
           "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Xor"}  # fmt: skip
REDUCING = {"ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare"}
VIEWS = {"Flatten", "Reshape", "Squeeze", "Unsqueeze"}
NORMS = {"BatchNormalization", "InstanceNormalization"}
REASONS = {
    "LayerNormalization": "a layer norm averages over them",
    "MatMul": "two activations are multiplied, as in attention",
    "Einsum": "two activations are multiplied",
    "Softmax": "a softmax runs over them",
    "Split": "they are split into parts",
    "Slice": "they are cut by their places",
    "Gather": "they are picked by their places",
    "Concat": "a constant is joined to them along another axis",
    "Resize": "they are resized, and by how much is not known here",
    "Reshape": "a reshape mixes them with another axis",
}


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """One attribute of a node, or the default."""
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def value_shapes(structure: onnx.ModelProto, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """Shapes of the structure's values for `BATCH` examples, as far as ONNX can tell; `shapes` are the tensors'."""
    proto = onnx.ModelProto()
    proto.CopyFrom(structure)
    graph = proto.graph
    graph.input[0].type.tensor_type.shape.dim[0].dim_value = BATCH
    graph.output[0].type.tensor_type.ClearField("shape")
    del graph.value_info[:]
    graph.input.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in shapes.items()
    )
    inferred = shape_inference.infer_shapes(proto, data_prop=True).graph
    found = {t.name: tuple(t.dims) for t in graph.initializer}
    for value in (*inferred.value_info, *inferred.input, *inferred.output):
        if value.type.tensor_type.HasField("shape"):
            lengths = [d.dim_value if d.HasField("dim_value") else -1 for d in value.type.tensor_type.shape.dim]
            if -1 not in lengths:
                found[value.name] = tuple(lengths)
    return found


def moved(source: Shape, axis: int, target: Shape) -> tuple[int, Ids] | None:
    """Where a view puts an axis: the target's axis and, along it, the place on the source's axis.

    None where the places end up on several axes of the target.
    """
    if source[axis] < 2 or np.prod(source) != np.prod(target):
        return None
    places = np.arange(source[axis]).reshape([-1 if i == axis else 1 for i in range(len(source))])
    viewed = np.broadcast_to(places, source).reshape(target)
    for along in range(len(target)):
        line = viewed[tuple(slice(None) if i == along else slice(1) for i in range(len(target)))]
        if np.array_equal(viewed, np.broadcast_to(line, target)):
            return along, line.reshape(-1)
    return None


class Walk:
    """One pass over the nodes. Afterwards `places` holds the channels of each tensor's axes.

    `makers` are the weights of layers, with the axis of the channels that they make; `views` the constant targets of
    reshapes with the axis and the channels there; `depthwise` the channels of each depthwise weight's input; `frozen`
    the channels that must stay, with reasons.
    """

    def __init__(self, structure: onnx.ModelProto, shapes: Mapping[str, Shape]) -> None:
        graph = structure.graph
        self.tensors = shapes
        self.shapes = value_shapes(structure, shapes)
        self.given = varying(graph.node, graph.input[0].name)
        self.small = {t.name: t for t in graph.initializer}
        self.turned = {
            n.output[0]: n.input[0] for n in graph.node if n.op_type == "Transpose" and n.input[0] in shapes
        }
        self.count = 0
        self.flow: dict[str, tuple[int, Ids]] = {}
        self.lost = {graph.input[0].name: "they meet the model's input"}
        self.places: dict[tuple[str, int], Ids] = {}
        self.pairs: list[tuple[Ids, Ids]] = []
        self.frozen: list[tuple[Ids, str]] = []
        self.pinned: dict[str, str] = {}
        self.makers: dict[str, int] = {}
        self.depthwise: dict[str, Ids] = {}
        self.views: dict[str, tuple[list[int], int, Ids]] = {}
        for node in graph.node:
            if node.output[0] not in self.turned:
                self._step(node)
        last = graph.output[0].name
        if last in self.flow:
            self.frozen.append((self.flow[last][1], "they are the model's outputs"))
        self.frozen += [(ids, self.pinned[name]) for (name, _), ids in self.places.items() if name in self.pinned]

    def _step(self, node: onnx.NodeProto) -> None:
        known = all(name in self.shapes for name in (*filter(None, node.input), *filter(None, node.output)))
        method: Callable[[onnx.NodeProto], bool] | None = (
            self._same if node.op_type in ELEMENTWISE | SPATIAL | NORMS
            else self._meet if node.op_type in MEETING
            else self._reduce if node.op_type in REDUCING
            else self._view if node.op_type in VIEWS
            else getattr(self, f"_{node.op_type.lower()}", None)
        )  # fmt: skip
        if not known or method is None or not method(node):
            self._block(node)

    def _block(self, node: onnx.NodeProto) -> None:
        """Keep whole what a node reads: it is not known, or not known in this use."""
        why = REASONS.get(node.op_type, f"{node.op_type} reads them")
        for name in node.input:
            if name in self.flow:
                self.frozen.append((self.flow[name][1], why))
            name = self.turned.get(name, name)
            if name in self.tensors:
                self.pinned.setdefault(name, why)
        self.lost.update({name: why.replace("them", "what they meet") for name in node.output})

    def _fresh(self, count: int) -> Ids:
        self.count += count
        return np.arange(self.count - count, self.count)

    def _place(self, tensor: str, axis: int, ids: Ids) -> None:
        """Note that a tensor's axis holds these channels."""
        if (tensor, axis) in self.places:
            self.pairs.append((self.places[tensor, axis], ids))
        self.places[tensor, axis] = ids

    def _constant(self, name: str) -> bool:
        return name in self.tensors or name in self.small or name in self.turned

    def _rank(self, name: str) -> int:
        return len(self.shapes[name])

    def _emit(self, node: onnx.NodeProto, axis: int, ids: Ids) -> bool:
        self.flow[node.output[0]] = axis, ids
        return True

    def _stays_lost(self, node: onnx.NodeProto) -> bool:
        """A node that reads no channel to follow: what it makes stays whole for the reason its input does."""
        why = next((self.lost[name] for name in node.input if name in self.lost), "a constant is part of it")
        self.lost.update({name: why for name in node.output})
        return True

    def _layer(self, weight: str, incoming: Ids | None, outgoing: Ids, bias: Iterable[str]) -> None:
        self.makers[weight] = 0
        self._place(weight, 0, outgoing)
        if incoming is not None:
            self._place(weight, 1, incoming)
        for name in filter(None, bias):
            self._place(name, self._rank(name) - 1, outgoing)

    def _conv(self, node: onnx.NodeProto) -> bool:
        weight, bias = node.input[1], list(node.input[2:3])
        axis, ids = self.flow.get(node.input[0], (1, None))
        if axis != 1 or any(name not in self.tensors for name in (weight, *filter(None, bias))):
            return False
        (rows, depth), groups = self.tensors[weight][:2], attribute(node, "group", 1)
        if groups == 1:
            outgoing = self._fresh(rows)
            self._layer(weight, ids, outgoing, bias)
        elif depth == 1:  # depthwise: an output goes with its input
            if ids is None:
                return False
            outgoing = np.repeat(ids, rows // groups)
            self.depthwise[weight] = ids
            self._layer(weight, None, outgoing, bias)
        else:  # the same places go from every group, so that groups stay equal
            outgoing = np.tile(self._fresh(rows // groups), groups)
            first = None
            if ids is not None:
                blocks = ids.reshape(groups, depth)
                first = blocks[0]
                self.pairs += [(first, block) for block in blocks[1:]]
            self._layer(weight, first, outgoing, bias)
        return self._emit(node, 1, outgoing)

    def _gemm(self, node: onnx.NodeProto) -> bool:
        weight, bias = node.input[1], list(node.input[2:3])
        plain = attribute(node, "transB", 0) and not attribute(node, "transA", 0)
        axis, ids = self.flow.get(node.input[0], (1, None))
        if not plain or axis != 1 or any(name not in self.tensors for name in (weight, *filter(None, bias))):
            return False
        outgoing = self._fresh(self.tensors[weight][0])
        self._layer(weight, ids, outgoing, bias)
        return self._emit(node, 1, outgoing)

    def _matmul(self, node: onnx.NodeProto) -> bool:
        weight = self.turned.get(node.input[1])
        last = self._rank(node.input[0]) - 1
        axis, ids = self.flow.get(node.input[0], (last, None))
        if weight is None or axis != last or self._constant(node.input[0]):
            return False
        outgoing = self._fresh(self.tensors[weight][0])
        self._layer(weight, ids, outgoing, ())
        return self._emit(node, last, outgoing)

    def _gather(self, node: onnx.NodeProto) -> bool:
        """Rows of a table are picked whole: its width goes on as channels. An embedding's makes them."""
        table, places = node.input
        fits = table in self.tensors and self._rank(table) == 2 and attribute(node, "axis", 0) % 2 == 0
        if not fits or places in self.flow:
            return False
        made = self._fresh(self.tensors[table][1])
        if places in self.given:
            self.makers[table] = 1
        self._place(table, 1, made)
        return self._emit(node, self._rank(node.output[0]) - 1, made)

    def _same(self, node: onnx.NodeProto) -> bool:
        """One channel in, the same channel out; a norm's parts hold it too."""
        if node.input[0] not in self.flow:
            return self._stays_lost(node)
        axis, ids = self.flow[node.input[0]]
        if node.op_type not in ELEMENTWISE and axis != 1:
            return False
        if any(len(self.shapes[name]) <= axis or self.shapes[name][axis] != len(ids) for name in node.output[:1]):
            return False
        if node.op_type in NORMS:
            if any(name not in self.tensors for name in node.input[1:]):
                return False
            for name in node.input[1:]:
                self._place(name, 0, ids)
        elif node.op_type in ELEMENTWISE and any(
            np.prod(self.shapes[name]) > 1 for name in filter(None, node.input[1:])
        ):
            return False
        return self._emit(node, axis, ids)

    def _meet(self, node: onnx.NodeProto) -> bool:
        """Values of several inputs meet place by place, single lengths spread over the others'."""
        shape = self.shapes[node.output[0]]
        known = [(name, *self.flow[name]) for name in node.input if name in self.flow]
        if not known:
            return self._stays_lost(node)
        axes = {len(shape) - self._rank(name) + axis for name, axis, _ in known}
        axis = axes.pop()
        whole = [ids for _, _, ids in known if len(ids) == shape[axis]]
        if axes or not whole:
            return False
        self.frozen += [(ids, "one channel is spread over many") for _, _, ids in known if len(ids) != shape[axis]]
        self.pairs += [(whole[0], other) for other in whole[1:]]
        for name in node.input:
            own = axis - len(shape) + self._rank(name)
            if name in self.flow or own < 0 or self.shapes[name][own] == 1:
                continue
            if name in self.tensors:
                self._place(name, own, whole[0])
            else:
                self.frozen.append((whole[0], self.lost.get(name, "a fixed number of them is written in the graph")))
        return self._emit(node, axis, whole[0])

    def _concat(self, node: onnx.NodeProto) -> bool:
        along = attribute(node, "axis", 1) % self._rank(node.output[0])
        known = [self.flow[name] for name in node.input if name in self.flow]
        if not known:
            return self._stays_lost(node)
        if any(axis != along for axis, _ in known):
            if len({axis for axis, _ in known}) > 1 or len(known) < len(node.input):
                return False
            self.pairs += [(known[0][1], ids) for _, ids in known[1:]]
            return self._emit(node, *known[0])
        parts = []
        for name in node.input:
            if name in self.flow:
                parts.append(self.flow[name][1])
            else:
                parts.append(self._fresh(self.shapes[name][along]))
                self.frozen.append((parts[-1], self.lost.get(name, "a constant is part of it")))
        return self._emit(node, along, np.concatenate(parts))

    def _transpose(self, node: onnx.NodeProto) -> bool:
        if node.input[0] not in self.flow:
            return self._stays_lost(node)
        axis, ids = self.flow[node.input[0]]
        rank = self._rank(node.input[0])
        return self._emit(node, list(attribute(node, "perm", range(rank)[::-1])).index(axis), ids)

    def _view(self, node: onnx.NodeProto) -> bool:
        given = node.input[0]
        if given in self.tensors and given not in self.flow and self._rank(given) == 1:  # a slope or scale a channel
            self.flow[given] = 0, self._fresh(self.tensors[given][0])
            self._place(given, *self.flow[given])
        if given not in self.flow:
            return self._stays_lost(node)
        axis, ids = self.flow[given]
        found = moved(self.shapes[given], axis, self.shapes[node.output[0]])
        if found is None:
            return False
        if node.op_type == "Reshape":
            if node.input[1] not in self.small:
                return False
            target = numpy_helper.to_array(self.small[node.input[1]]).tolist()
            self.views[node.output[0]] = target, found[0], ids[found[1]]
        return self._emit(node, found[0], ids[found[1]])

    def _reduce(self, node: onnx.NodeProto) -> bool:
        if node.input[0] not in self.flow:
            return self._stays_lost(node)
        axis, ids = self.flow[node.input[0]]
        rank, given = self._rank(node.input[0]), attribute(node, "axes", None)
        if given is None and len(node.input) > 1 and node.input[1] in self.small:
            given = numpy_helper.to_array(self.small[node.input[1]]).tolist()
        over = {one % rank for one in given or range(rank)}
        if axis in over:
            return False
        gone = 0 if attribute(node, "keepdims", 1) else sum(one < axis for one in over)
        return self._emit(node, axis - gone, ids)
