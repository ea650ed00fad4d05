"""The ONNX graph of a network: the model's own, edited for each recipe.

A recipe replaces initialisers and inserts QuantizeLinear/DequantizeLinear; the graph that is
evaluated for the screen is therefore the graph that ships.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import onnx
from onnx import TensorProto, helper

from core.deploy.editor import Editor
from core.deploy.stored import picked_rows, stored_weight
from core.engine.network import Network, fold, load_network
from core.models.channels import Edits, edited
from core.models.exact import exact
from core.models.graph import INPUT as INPUT
from core.models.graph import OUTPUT as OUTPUT
from core.models.handle import ModelHandle, structure_of
from core.models.layers import Layer

COMPUTE = {"Conv", "Gemm", "MatMul", "Add", "Mul", "GlobalAveragePool", "AveragePool", "MaxPool", "Concat"}
SAME_GRID = {"Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Identity", "MaxPool"}
NARROW = 21  # the operator version from which weights may have 4 bits
NORM = "BatchNormalization"
ACTIVATIONS = {"Relu", "Clip"}  # element-wise functions that run inside the integer kernel before them


@dataclass(frozen=True)
class Template:
    """A model's float graph with batch-norm folded.

    `points` are the tensors that activation quantization rounds, in the order of the forward pass;
    `source` maps a point that only views another point's values to that point.
    """

    proto: onnx.ModelProto
    points: tuple[str, ...]
    source: Mapping[str, str]


def _points(proto: onnx.ModelProto, weights: set[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Where activations are rounded: what goes into and comes out of every computing node.

    A ReLU that is the only reader of a node's output is rounded together with it; the logits are not
    rounded, so that confidence keeps its resolution. In a transformer only what the layers read is rounded:
    layer norms, attention (products of two activations) and the residual stream, whose outliers one grid a tensor
    cannot hold, stay float (Bondarenko et al. 2021, arXiv 2109.12948). Ids, masks and lengths are numbers of their
    own kind and never rounded, unless a layer reads them as its input; what a mask is multiplied with is rounded
    where a layer reads it. `weights` are the layers' own.
    """
    turned = {n.output[0] for n in proto.graph.node if n.op_type == "Transpose" and n.input[0] in weights}
    transformer = any(node.op_type == "LayerNormalization" for node in proto.graph.node)
    made = {output for node in proto.graph.node for output in node.output}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in proto.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    counted = exact(proto.graph)
    ordered: list[str] = []
    source: dict[str, str] = {}

    def add(name: str) -> None:
        if (name in made or name == INPUT) and name not in turned and name != OUTPUT and name not in ordered:
            ordered.append(name)

    for node in proto.graph.node:
        is_layer = any(name in weights or name in turned for name in node.input[1:2])
        if is_layer:
            add(node.input[0])
        if (node.op_type == "MatMul" and not is_layer) or counted & set(node.output):
            continue  # a product of two activations: attention; or a mask or the length of something
        masking = not is_layer and counted & set(node.input)
        if not transformer and not masking and node.op_type in COMPUTE:
            for name in node.input:
                add(name)
            output = node.output[0]
            after = readers.get(output, [])
            add(after[0].output[0] if len(after) == 1 and after[0].op_type in ACTIVATIONS else output)
        if node.op_type in SAME_GRID:
            source[node.output[0]] = source.get(node.input[0], node.input[0])
    return tuple(ordered), {a: b for a, b in source.items() if a in ordered and b in ordered}


@lru_cache(maxsize=16)
def template(model: ModelHandle, edits: Edits = ()) -> Template:
    """The model's float graph, with a shrunk network's edits. Shared: never write into its proto."""
    proto = _folded(edited(structure_of(model), edits), load_network(model).layers)
    points, source = _points(proto, {layer.weight for layer in load_network(model).layers})
    return Template(proto, points, source)


def structure(network: Network) -> onnx.ModelProto:
    """The structure whose tensors are the network's own, batch-norm as it is there. Shared: never write into it."""
    if network.folded:
        return template(network.model, network.edits).proto
    return edited(structure_of(network.model), network.edits)


def _folded(structure: onnx.ModelProto, layers: tuple[Layer, ...]) -> onnx.ModelProto:
    """The structure with every foldable batch-norm left out; the layer before it adds a bias instead."""
    proto = onnx.ModelProto()
    proto.CopyFrom(structure)
    by_weight = {layer.weight: layer for layer in layers}
    gone = {f"{layer.norm}.weight" for layer in layers if layer.norm}
    renamed = {n.input[0]: n.output[0] for n in proto.graph.node if n.op_type == NORM and n.input[1] in gone}
    kept = [n for n in proto.graph.node if not (n.op_type == NORM and n.input[1] in gone)]
    for node in kept:
        node.output[:] = [renamed.get(name, name) for name in node.output]
        layer = by_weight.get(node.input[1]) if len(node.input) > 1 else None
        if layer is not None and layer.biased:
            node.input[:] = [*node.input[:2], layer.bias]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
    del proto.graph.node[:]
    proto.graph.node.extend(copies)
    return proto


def assemble(network: Network, reveal: bool = False, compact: bool = False) -> onnx.ModelProto:
    """The ONNX model of a network in its present state.

    Weights of at most 8 bits with activations of at most 8 bits become integers behind
    DequantizeLinear, which ONNX Runtime executes as int8; in every other case, as with a scale for each
    group or the levels of a float format, the weights are the rounded values as float32. With `reveal`,
    the activation points are outputs too and no activation is rounded (for range calibration). An
    embedding multiplies nothing, so that its table is float32 here either way.
    With `compact`, for a file, every quantized weight is stored as integers, in 4 bits where these suffice and no
    integer kernel reads them, and half-precision ones in 16 bits; the values are the same.
    """
    base = template(network.model, network.edits)
    network = fold(network)
    integer = bool(network.activations) and not reveal
    grids = network.activations
    layer_of = {layer.weight: layer for layer in network.layers}
    editor = Editor(base.proto.opset_import[0].version)
    renamed: dict[str, str] = {}

    def rounded(name: str) -> None:
        if reveal or name not in base.points:
            return
        if integer:
            renamed[name] = editor.round_activation(name, grids[name])
        elif network.dynamic:
            if name not in base.source:  # a view of what is rounded is rounded
                renamed[name] = editor.round_dynamically(name, network.activation_bits)
        elif network.activation_bits == 16:
            half = editor.node("Cast", [name], f"{name}/half", to=TensorProto.FLOAT16)
            renamed[name] = editor.node("Cast", [half], f"{name}/float", to=TensorProto.FLOAT)

    rounded(INPUT)
    for node in base.proto.graph.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        layer: Layer | None = next((layer_of[name] for name in node.input if name in layer_of), None)
        if layer and layer.kind == "embedding":
            if compact and (layer.weight in network.grids or layer.weight in network.half):
                picked_rows(editor, node, network)
            else:
                editor.nodes.append(copy)
            rounded(node.output[0])
            continue
        for position, name in enumerate(node.input):
            grid = network.grids.get(layer.weight) if layer else None
            if layer and integer and grid is not None and grid.integral and name in (layer.weight, layer.bias):
                if name == layer.weight:
                    copy.input[position] = editor.integer_weight(name, network.tensors[name], grid)
                else:
                    copy.input[position] = editor.integer_bias(
                        name, network.tensors[name], grids[node.input[0]], grid
                    )
            elif compact and name in layer_of:
                copy.input[position] = stored_weight(editor, name, network, spelled=node.op_type == "Transpose")
            else:
                copy.input[position] = renamed.get(name, name)
        if layer and integer and node.op_type in ("Conv", "Gemm") and copy.input[0].endswith("/dq"):
            grid = network.grids.get(layer.weight)
            if grid is None or not grid.integral:
                copy.input[0] = editor.held(copy.input[0], node.output[0])
        editor.nodes.append(copy)
        for name in node.output:
            rounded(name)

    used = {name for node in editor.nodes for name in node.input}
    editor.initialisers.extend(base.proto.graph.initializer)
    for name, tensor in network.tensors.items():
        if name in used:
            editor.constant(name, tensor.numpy())
    outputs = list(base.proto.graph.output)
    if reveal:
        outputs += [helper.make_empty_tensor_value_info(name) for name in base.points if name != INPUT]
    opsets = list(base.proto.opset_import)
    if any(tensor.data_type in (TensorProto.INT4, TensorProto.UINT4) for tensor in editor.initialisers):
        _raise(editor)
        opsets = [helper.make_opsetid("", max(NARROW, opsets[0].version))]
    graph = helper.make_graph(editor.nodes, "temper", list(base.proto.graph.input), outputs, editor.initialisers)
    return helper.make_model(graph, opset_imports=opsets, ir_version=base.proto.ir_version, producer_name="temper")


def _raise(editor: Editor) -> None:
    """Write the operators that changed on the way to version `NARROW` as they are written there."""
    for node in editor.nodes:
        axes = next((a for a in node.attribute if a.name == "axes"), None)
        if axes is not None and node.op_type.startswith("Reduce"):
            name = editor.constant(f"{node.output[0]}/axes", np.array(axes.ints, np.int64))
            node.attribute.remove(axes)
            node.input.append(name)
        stated = len(node.input) > 1 or any(a.name == "num_outputs" for a in node.attribute)
        if node.op_type == "Split" and not stated:
            node.attribute.append(helper.make_attribute("num_outputs", len(node.output)))
