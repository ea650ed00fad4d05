"""Pairs of layers with nothing between them but functions that let a positive factor through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from core.deploy.graph import OUTPUT, template
from core.engine.network import Network
from core.models.layers import Layer

# f(s x) = s f(x) for every s > 0, channel by channel.
THROUGH = {"Relu", "LeakyRelu", "PRelu", "Abs", "Neg", "Identity", "Dropout"}
POOLS = {"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"}
NAMES = {
    "Clip": "a function that is cut off at a fixed value (Clip) follows it",
    "Add": "a sum with another branch follows it",
    "Concat": "it is joined to another branch",
    "LayerNormalization": "a layer norm follows it",
    "BatchNormalization": "a batch-norm that is not folded follows it",
}


@dataclass(frozen=True)
class Pair:
    """`second` alone reads what `first` makes. `biases` are added to `first`'s outputs; the groups are those of a
    convolution. Consecutive inputs of `second` may belong to one channel, where pictures are flattened."""

    first: Layer
    second: Layer
    biases: tuple[str, ...]
    first_groups: int
    second_groups: int


class _Walk:
    """A graph's nodes by what they read, and which layer each node belongs to."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.proto = template(network.model, network.edits).proto
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.proto.graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        by_weight = {layer.weight: layer for layer in network.layers}
        turned = {n.output[0]: n.input[0] for n in self.proto.graph.node if n.op_type == "Transpose"}
        self.owner: dict[str, Layer] = {}  # by the name of what the node makes
        self.node: dict[str, onnx.NodeProto] = {}  # by the layer's name
        for node in self.proto.graph.node:
            weight = node.input[1] if len(node.input) > 1 else ""
            layer = by_weight.get(turned.get(weight, weight))
            if layer is not None and node.op_type in ("Conv", "Gemm", "MatMul"):
                self.owner[node.output[0]], self.node[layer.name] = layer, node
        self.constants = {t.name: numpy_helper.to_array(t) for t in self.proto.graph.initializer}

    def partner(self, layer: Layer) -> Pair | str:
        """The pair that a layer begins, or why it begins none."""
        node = self.node.get(layer.name)
        if node is None:
            return "it is an embedding" if layer.kind == "embedding" else "its weight is read in a way of its own"
        width = self.network.shapes[layer.weight][0]
        pictures, flat = node.op_type == "Conv", False
        places = len(self.network.shapes[layer.weight]) - 2  # axes of a picture
        biases = [layer.bias] if layer.biased else []
        value = node.output[0]
        while True:
            after = self.readers.get(value, [])
            if value == OUTPUT or not after:
                return "what it makes is the network's output"
            if len(after) > 1:
                return "several read what it makes"
            node = after[0]
            second = self.owner.get(node.output[0])
            if second is not None:
                return self._joined(layer, second, node, value, biases, width, flat)
            added = self._bias(node, value, width) if not pictures else ""
            if added:
                biases.append(added)
            elif pictures and not flat and (node.op_type in POOLS or self._averages(node, places)):
                pass
            elif pictures and self._flattens(node):
                flat = True
            elif node.op_type not in THROUGH or node.input[0] != value:
                return NAMES.get(node.op_type, f"{node.op_type} follows it, which no factor passes")
            value = node.output[0]

    def _joined(
        self, first: Layer, second: Layer, node: onnx.NodeProto, value: str, biases: list[str], width: int, flat: bool
    ) -> Pair | str:
        given = _attributes(node)
        groups = int(given.get("group", 1))
        inputs = self.network.shapes[second.weight][1] * groups
        fits = inputs == width or (flat and inputs % width == 0)
        pictures = self.node[first.name].op_type == "Conv"
        if node.op_type == "MatMul" and pictures and not flat:
            return f"{second.name} reads it along another axis"
        if node.input[0] != value or given.get("transA") or not fits:
            return f"{second.name} reads it in a way of its own"
        own = int(_attributes(self.node[first.name]).get("group", 1))
        return Pair(first, second, tuple(biases), own, groups)

    def _bias(self, node: onnx.NodeProto, value: str, width: int) -> str:
        """The learned constant that an Add adds to every output of a linear layer, or ''."""
        if node.op_type != "Add":
            return ""
        other = next((name for name in node.input if name != value), "")
        alone = len(self.readers.get(other, [])) == 1
        return other if alone and self.network.shapes.get(other) == (width,) else ""

    def _flattens(self, node: onnx.NodeProto) -> bool:
        """Whether a node makes one row of a picture, channel after channel."""
        if node.op_type == "Flatten":
            return _attributes(node).get("axis", 1) == 1
        return node.op_type == "Reshape" and self.constants.get(node.input[1], np.zeros(0)).tolist() == [0, -1]

    def _averages(self, node: onnx.NodeProto, places: int) -> bool:
        """Whether a node takes means or maxima of a picture's places, never of its channels."""
        if node.op_type not in ("ReduceMean", "ReduceMax", "ReduceSum"):
            return False
        axes = _attributes(node).get("axes")
        if axes is None and len(node.input) > 1 and node.input[1] in self.constants:
            axes = self.constants[node.input[1]].tolist()
        return axes is not None and all(axis >= 2 or -places <= axis < 0 for axis in axes)


def _attributes(node: onnx.NodeProto) -> Mapping[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def pairs_of(network: Network) -> tuple[tuple[Pair, ...], dict[str, str]]:
    """All pairs in the order of the forward pass; and of each layer that is in none why it begins none."""
    walk = _Walk(network)
    said = {layer.name: walk.partner(layer) for layer in network.layers}
    found = tuple(one for one in said.values() if isinstance(one, Pair))
    held = {layer.name for pair in found for layer in (pair.first, pair.second)}
    return found, {name: why for name, why in said.items() if isinstance(why, str) and name not in held}
