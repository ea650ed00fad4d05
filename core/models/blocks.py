"""Residual blocks that can leave a graph: branches that are added to a value of the same shape they start from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx

from core.models.channel_walk import Shape, value_shapes


@dataclass(frozen=True)
class Block:
    """`sum = shortcut + branch`: without the block, `sum` is `shortcut`, input `kept` of the Add that makes it.

    `weights` are the layers' weights that nobody reads then, in the order of the forward pass.
    """

    sum: str
    kept: int
    shortcut: str
    weights: tuple[str, ...]


def blocks_of(structure: onnx.ModelProto, shapes: Mapping[str, Shape], weights: Iterable[str]) -> tuple[Block, ...]:
    """The blocks of a canonical structure whose tensors have these `shapes`, in the order they run.

    A block's branch follows from its shortcut alone or with others, such as a mask; the shortcut is the identity, and
    both have one shape. Of blocks within blocks only the innermost count. `weights` are the layers' own.
    """
    wanted, seen = tuple(weights), value_shapes(structure, shapes)
    ends = {output.name for output in structure.graph.output}
    from_: dict[str, frozenset[str]] = {}  # the Add nodes and entries that a value follows from are all that is asked
    candidates = [
        node
        for node in structure.graph.node
        if node.op_type == "Add"
        and node.output[0] not in ends
        and len({seen.get(name) for name in (*node.input, node.output[0])}) == 1
        and node.input[0] in seen
    ]
    asked = {name for node in candidates for name in node.input}
    for node in structure.graph.node:
        behind = frozenset().union(*(from_.get(name, frozenset()) | ({name} & asked) for name in node.input))
        from_ |= dict.fromkeys(node.output, behind)
    before = read(structure)
    found = []
    for node in candidates:
        for kept in (0, 1):
            shortcut, branch = node.input[kept], node.input[1 - kept]
            if shortcut in from_.get(branch, ()):
                gone = before - read(bypassed(structure, {node.output[0]: kept}))
                block = Block(node.output[0], kept, shortcut, tuple(name for name in wanted if name in gone))
                found.append((block, gone))
    sums = {block.sum for block, _ in found}
    return tuple(block for block, gone in found if block.weights and not (sums - {block.sum}) & gone)


def read(structure: onnx.ModelProto) -> set[str]:
    """What the structure's nodes read."""
    return {name for node in structure.graph.node for name in node.input if name}


def bypassed(structure: onnx.ModelProto, kept: Mapping[str, int]) -> onnx.ModelProto:
    """The structure in which each Add that makes a name of `kept` gives one of its inputs, by place, instead.

    Nodes that nobody reads then are left out, and so is a ReLU of what a ReLU made.
    """
    instead: dict[str, str] = {}
    made: dict[str, str] = {}
    nodes: list[onnx.NodeProto] = []
    ends = {output.name for output in structure.graph.output}
    for node in structure.graph.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [instead.get(name, name) for name in node.input]
        output = copy.output[0]
        if copy.op_type == "Add" and output in kept:
            instead[output] = copy.input[kept[output]]
        elif copy.op_type == "Relu" and made.get(copy.input[0]) == "Relu" and output not in ends:
            instead[output] = copy.input[0]
        else:
            made |= dict.fromkeys(copy.output, copy.op_type)
            nodes.append(copy)
    wanted, left = set(ends), []
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted |= set(node.input)
            left.append(node)
    proto = onnx.ModelProto()
    proto.CopyFrom(structure)
    del proto.graph.node[:]
    proto.graph.node.extend(reversed(left))
    return proto
