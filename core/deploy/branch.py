"""Variants of a network as branches of one ONNX graph: what comes before a changed tensor is computed once.

A branch starts at the nodes that read the changed tensor and copies only what depends on them. It reads whatever
crosses into it, several tensors in a residual network, straight from the original's nodes. One session runs them
all: a session a branch would carry every crossing tensor out of the runtime's own layout and back, and their waiting
threads would spin against each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from core.deploy.graph import OUTPUT

Arrays = Mapping[str, NDArray[np.float32]]
Variant = tuple[str, NDArray[np.float32]] | Arrays  # initialisers' names and the values that replace them


def branch_output(place: int) -> str:
    """Name of the logits of the variant at `place`."""
    return f"{OUTPUT}@{place}"


def branched(proto: onnx.ModelProto, variants: Sequence[Variant]) -> onnx.ModelProto:
    """The graph with one more output of logits `(N, C)` float32 for each variant, in their order.

    `proto` must be in topological order, as every valid ONNX graph is. Unchanged tensors are shared by all
    branches. Raises `ValueError` for a name that is no initialiser or does not reach the logits.
    """
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    known = {initialiser.name for initialiser in proto.graph.initializer}
    logits = next(output for output in proto.graph.output if output.name == OUTPUT)
    for place, variant in enumerate(variants):
        changed = dict([variant]) if isinstance(variant, tuple) else variant
        unknown = sorted(changed.keys() - known)
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no initialiser of the graph.")
        renamed = {name: f"{name}@{place}" for name in changed}
        for name, values in changed.items():
            made.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), renamed[name]))
        for node in proto.graph.node:
            if renamed.keys() & set(node.input):
                renamed |= {output: f"{output}@{place}" for output in node.output if output}
                copy = made.graph.node.add()
                copy.CopyFrom(node)
                copy.name = node.name and f"{node.name}@{place}"
                copy.input[:] = [renamed.get(tensor, tensor) for tensor in node.input]
                copy.output[:] = [renamed.get(tensor, tensor) for tensor in node.output]
        if OUTPUT not in renamed:
            raise ValueError(f"{min(changed)!r} does not reach the logits.")
        output = made.graph.output.add()
        output.CopyFrom(logits)
        output.name = branch_output(place)
    return made
