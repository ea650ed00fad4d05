"""Find a graph's layers and give every tensor the name the rest of Temper knows it by.

In the canonical form a layer `L` reads `L.weight`, output channels first, and `L.bias`; a batch-norm `N` reads
`N.weight`, `N.bias`, `N.running_mean` and `N.running_var`, as PyTorch names them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
from onnx import helper

from core.models.exact import varying
from core.models.simplify import Array, Plain, drop_unused

Kind = Literal["convolution", "linear", "embedding"]
NAMELESS = re.compile(r"onnx::|(val|initializer|const|tensor)?_?\d+$|.*/|[^/]*_output_\d+$")  # made up by an exporter
NORM_PARTS = ("weight", "bias", "running_mean", "running_var")
UNTOUCHED = {
    "ConvTranspose": "a transposed convolution",
    "LSTM": "a recurrent layer", "GRU": "a recurrent layer", "RNN": "a recurrent layer",
    "Gather": "a table that is not read row by row at what the model is given",
    # Of transformers; attention's products of two activations have no weights, and stay float for the same reason.
    "LayerNormalization": "a layer norm: it and attention stay float, as their outliers do not fit one grid a tensor "
    "(Bondarenko et al. 2021, arXiv 2109.12948)",
    "BatchNormalization": "a batch-norm that follows no layer",
    "InstanceNormalization": "an instance norm", "GroupNormalization": "a group norm",
    "PRelu": "a learned activation",
}  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """A convolution, linear layer or embedding: its name and the batch-norm folded into it, if any.

    `biased` tells whether the graph adds a bias, the layer's own or the one that folding makes. An embedding picks
    rows of its weight `(rows, width)` by what the model reads; it adds nothing and multiplies nothing.
    """

    name: str
    kind: Kind
    norm: str | None
    norm_epsilon: float = 0.0
    biased: bool = True

    @property
    def weight(self) -> str:
        """Name of the weight tensor, output channels first; an embedding's rows first."""
        return f"{self.name}.weight"

    @property
    def bias(self) -> str:
        """Name of the bias tensor."""
        return f"{self.name}.bias"

    @property
    def channel_axis(self) -> int:
        """The weight's axis along which output channels lie."""
        return 1 if self.kind == "embedding" else 0


@dataclass(frozen=True)
class Skipped:
    """Weights that pruning and quantization leave alone, and why: `what` is such as 'a layer norm'."""

    name: str
    what: str
    parameters: int


def _stem(name: str) -> str:
    """A weight's or bias's name without its ending."""
    for ending in (".weight", "_weight", ".running_var", ".bias", "_bias"):
        name = name.removesuffix(ending)
    return name.strip("/").replace("/", ".").replace(":", ".") or "layer"


def _layer_name(node: onnx.NodeProto, weight: str, biases: list[str]) -> str:
    """A layer's name: its weight's; where an exporter made that one up, its bias's, else the node's own."""
    for name in (weight, *biases):
        if name and not NAMELESS.match(name):
            return _stem(name)
    parts: list[str] = []
    for part in node.name.strip("/").split("/")[:-1]:  # "/layer1/layer1.0/conv1/Conv" is layer1.0.conv1
        if parts and part.startswith(f"{parts[-1]}."):
            parts.pop()
        parts.append(part)
    return ".".join(parts) or _stem(weight)


class _Names:
    """Hands out names, each once, and none that a constant of another bears already."""

    def __init__(self, constants: dict[str, Array]) -> None:
        self.constants = constants
        self.taken: set[str] = set()

    def free(self, wanted: str, own: Iterable[str], parts: Iterable[str]) -> str:
        name, turn, others = wanted, 1, self.constants.keys() - set(own)
        while name in self.taken or any(f"{name}.{part}" in others for part in parts):
            turn += 1
            name = f"{wanted}.{turn}"
        self.taken.add(name)
        return name


def canonical(made: Plain) -> None:
    """Bring the graph's layers and norms into the canonical form, in place."""
    names, readers = _Names(made.constants), made.readers()
    used = {name: len(nodes) for name, nodes in readers.items()}
    nodes: list[onnx.NodeProto] = []

    def hold(old: str, new: str, value: Array | None = None) -> str:
        """A constant under its canonical name; a tensor that several read is copied for each."""
        made.constants[new] = made.constants[old] if value is None else value
        if old != new:
            used[old] -= 1
            if not used[old]:
                del made.constants[old]
        return new

    def named(node: onnx.NodeProto, weight: str, last: str = "") -> str:
        """The layer's name; `last` is the tensor that a bias may be added to."""
        added = [name for reader in readers.get(last, []) if reader.op_type == "Add" for name in reader.input]
        near = (*node.input[2:3], *added)  # exporters merge equal biases: one that several read names none of them
        biases = [name for name in near if name in made.constants and len(readers[name]) == 1]
        parts = ("weight",) if last else ("weight", "bias")  # what is added to a product stays where it is
        return names.free(_layer_name(node, weight, biases), {*node.input, weight}, parts)

    for node in made.nodes:
        kind, inputs = node.op_type, list(node.input)
        fixed = [name in made.constants for name in inputs]
        if kind == "Conv" and all(fixed[1:]):
            layer = named(node, inputs[1])
            node.input[1] = hold(inputs[1], f"{layer}.weight")
            if len(inputs) > 2 and inputs[2]:
                node.input[2] = hold(inputs[2], f"{layer}.bias")
        elif kind == "Gemm" and fixed[1] and not fixed[0] and (len(inputs) < 3 or fixed[2]):
            _linear(made, node, named(node, inputs[1]), hold)
        elif kind == "MatMul" and fixed[1] and not fixed[0] and made.constants[inputs[1]].ndim == 2:
            layer = named(node, inputs[1], node.output[0])
            weight = hold(inputs[1], f"{layer}.weight", np.ascontiguousarray(made.constants[inputs[1]].T))
            nodes.append(_turned(layer))
            node.input[1] = nodes[-1].output[0]
            assert weight == nodes[-1].input[0]
        elif kind == "Transpose" and fixed[0] and _feeds_matmul(node, readers):
            after = readers[node.output[0]][0]
            layer = named(after, inputs[0], after.output[0])
            node.input[0] = hold(inputs[0], f"{layer}.weight")
        elif kind == "Gather" and fixed[0] and not fixed[1] and _rows(node, made.constants[inputs[0]].shape):
            layer = names.free(_layer_name(node, inputs[0], []), inputs, ("weight",))
            node.input[0] = hold(inputs[0], f"{layer}.weight")
        elif kind == "BatchNormalization" and all(fixed[1:5]):
            norm = names.free(_stem(inputs[1]), node.input, NORM_PARTS)
            for place, part in enumerate(NORM_PARTS, 1):
                node.input[place] = hold(inputs[place], f"{norm}.{part}")
            del node.output[1:]
        nodes.append(node)
    made.nodes = nodes
    drop_unused(made)


def _rows(node: onnx.NodeProto, shape: tuple[int, ...]) -> bool:
    """Whether a Gather picks rows of a table."""
    return len(shape) == 2 and _attribute(node, "axis", 0) % 2 == 0


def _turned(layer: str) -> onnx.NodeProto:
    return helper.make_node("Transpose", [f"{layer}.weight"], [f"{layer}.weight/turned"], perm=[1, 0])


def _feeds_matmul(node: onnx.NodeProto, readers: dict[str, list[onnx.NodeProto]]) -> bool:
    after = readers.get(node.output[0], [])
    turned = list(_attribute(node, "perm", [1, 0])) == [1, 0]
    return turned and len(after) == 1 and after[0].op_type == "MatMul" and after[0].input[1] == node.output[0]


def _linear(made: Plain, node: onnx.NodeProto, layer: str, hold: Callable[..., str]) -> None:
    """A Gemm with a fixed weight as `x @ weight.T + bias`, its factors inside the constants."""
    weight = made.constants[node.input[1]]
    if not _attribute(node, "transB", 0):
        weight = np.ascontiguousarray(weight.T)
    weight = (weight * np.float32(_attribute(node, "alpha", 1.0))).astype(weight.dtype)
    node.input[1] = hold(node.input[1], f"{layer}.weight", weight)
    if len(node.input) > 2 and node.input[2]:
        bias = made.constants[node.input[2]] * np.float32(_attribute(node, "beta", 1.0))
        bias = np.broadcast_to(np.asarray(bias, np.float32).reshape(-1), (len(weight),)).copy()
        node.input[2] = hold(node.input[2], f"{layer}.bias", bias)
    transposed_input = _attribute(node, "transA", 0)
    del node.attribute[:]
    node.attribute.append(helper.make_attribute("transB", 1))
    if transposed_input:
        node.attribute.append(helper.make_attribute("transA", 1))


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    for attribute in node.attribute:
        if attribute.name == name:
            return helper.get_attribute_value(attribute)
    return default


def layers_of(graph: onnx.GraphProto, shapes: dict[str, tuple[int, ...]]) -> tuple[Layer, ...]:
    """The layers of a canonical graph in the order they run; `shapes` are those of its weights."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    given = varying(graph.node, graph.input[0].name)
    found = []
    for node in graph.node:
        first = node.op_type in ("Transpose", "Gather")
        weight = node.input[0] if first else node.input[1] if len(node.input) > 1 else ""
        if (
            node.op_type not in ("Conv", "Gemm", "Transpose", "Gather")
            or not weight.endswith(".weight")
            or weight not in shapes
        ):
            continue
        name = weight.removesuffix(".weight")
        if node.op_type == "Transpose":
            found.append(Layer(name, "linear", None, biased=False))
            continue
        if node.op_type == "Gather":
            if node.input[1] in given and _rows(node, shapes[weight]):
                found.append(Layer(name, "embedding", None, biased=False))
            continue
        kind: Kind = "convolution" if node.op_type == "Conv" else "linear"
        after = readers.get(node.output[0], [])
        if len(after) == 1 and after[0].op_type == "BatchNormalization" and after[0].input[0] == node.output[0]:
            norm = after[0].input[1].removesuffix(".weight")
            found.append(Layer(name, kind, norm, float(_attribute(after[0], "epsilon", 1e-5))))
        else:
            found.append(Layer(name, kind, None, biased=f"{name}.bias" in shapes))
    return tuple(found)


def skipped(graph: onnx.GraphProto, shapes: dict[str, tuple[int, ...]]) -> tuple[Skipped, ...]:
    """Floating-point constants of more than one value that no layer holds, with what reads them."""
    layers = layers_of(graph, shapes)
    held = {part for layer in layers for part in (layer.weight, layer.bias)}
    held |= {f"{layer.norm}.{part}" for layer in layers if layer.norm for part in NORM_PARTS}
    held |= _added(graph, {layer.weight for layer in layers})
    given = varying(graph.node, graph.input[0].name)
    reads = {name: node for node in graph.node for name in node.input}
    found: dict[str, Skipped] = {}
    for name, shape in shapes.items():
        size = int(np.prod(shape))
        if name in held or size < 2:
            continue
        node = reads.get(name)
        owner = name.rsplit(".", 1)[0] if node is not None and node.op_type in UNTOUCHED else name
        before = found[owner].parameters if owner in found else 0
        found[owner] = Skipped(owner, _why(node, given), before + size)
    return tuple(found.values())


def _why(node: onnx.NodeProto | None, given: set[str]) -> str:
    """What a constant that belongs to no layer is, by the node that reads it."""
    if node is None:
        return "a constant that nothing reads"
    if node.op_type == "Gather" and node.input[1] not in given:
        return "a position table: read at the same places whatever the example"
    if node.op_type == "Add":
        return "a constant that is added, as learned positions are"
    return UNTOUCHED.get(node.op_type, f"a constant that {node.op_type} reads")


def _added(graph: onnx.GraphProto, weights: set[str]) -> set[str]:
    """What is added to the product with a layer's weight: its bias, under whatever name."""
    turned = {node.output[0] for node in graph.node if node.op_type == "Transpose" and node.input[0] in weights}
    products = {node.output[0] for node in graph.node if node.op_type == "MatMul" and node.input[1] in turned}
    sums = [node for node in graph.node if node.op_type == "Add" and not products.isdisjoint(node.input)]
    return {name for node in sums for name in node.input}
