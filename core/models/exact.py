"""Numbers of a graph that are counted or compared, not computed: ids, masks, lengths and what these alone make.

They are never rounded: a rounded id is another word, and a mask or a length holds a few exact values that no grid
made for activations would return.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx
from onnx import TensorProto, helper

LENGTHS = {"Shape", "Size"}
TRUTHS = {"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "And", "Or", "Xor", "IsNaN", "IsInf"}
VIEWS = {"Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"}
WHOLE = {TensorProto.BOOL, TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16, TensorProto.UINT16,
         TensorProto.INT32, TensorProto.UINT32, TensorProto.INT64, TensorProto.UINT64}  # fmt: skip


def _whole(node: onnx.NodeProto) -> bool:
    """Whether a node makes whole numbers or truth values out of any others."""
    to = next((helper.get_attribute_value(a) for a in node.attribute if a.name == "to"), None)
    return node.op_type in LENGTHS | TRUTHS or (node.op_type == "Cast" and to in WHOLE)


def reads_ids(graph: onnx.GraphProto) -> bool:
    """Whether the graph's input is a list of ids: floats that are cast to whole numbers before anything else."""
    same = {graph.input[0].name}
    for node in graph.node:
        if node.op_type in VIEWS and node.input[0] in same:
            same.update(node.output)
        elif node.op_type == "Cast" and node.input[0] in same and _whole(node):
            return True
    return False


def varying(nodes: Iterable[onnx.NodeProto], entry: str) -> set[str]:
    """The tensors whose values follow from the input's values, not from its shape alone. `nodes` are in order."""
    found = {entry}
    for node in nodes:
        values = node.input[:1] if node.op_type == "CastLike" else node.input  # of the second it takes the type
        if node.op_type not in LENGTHS and not found.isdisjoint(values):
            found.update(node.output)
    return found


def exact(graph: onnx.GraphProto) -> set[str]:
    """The graph's ids, masks and lengths, and what only these and small constants make, such as a mask's sum.

    Small constants are the initialisers of a structure; trained tensors lie beside it, so that what an embedding
    gives is none of these.
    """
    small = {tensor.name for tensor in graph.initializer} | {""}
    found = {graph.input[0].name} if reads_ids(graph) else set()
    for node in graph.node:
        given: Sequence[str] = [name for name in node.input if name not in small]
        if _whole(node) or (given and found.issuperset(given)):
            found.update(node.output)
    return found
