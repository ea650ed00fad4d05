"""Layer norms that an older operator set writes out, as the one operator that newer ones have.

Whoever reads the graph afterwards then sees a transformer whatever version its file states.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper

from core.models.plain import Array, Plain

Makers = Mapping[str, onnx.NodeProto]


def fuse_norms(made: Plain) -> None:
    """Replace `(x - mean) / sqrt(mean((x - mean)^2) + e) * w + b` over the last axis, in place."""
    makers, readers = made.makers(), made.readers()
    replaced: dict[int, onnx.NodeProto] = {}
    for node in made.nodes:
        if node.op_type != "Add":
            continue
        scaled, bias = _with_constant(node, made.constants)
        product = makers.get(scaled)
        if product is None or product.op_type != "Mul" or len(readers[scaled]) != 1:
            continue
        divided, weight = _with_constant(product, made.constants)
        found = (
            _normalised(makers.get(divided), makers, made.constants) if len(readers.get(divided, [])) == 1 else None
        )
        if found is None or made.constants[weight].ndim != 1 or made.constants[bias].ndim != 1:
            continue
        source, epsilon = found
        replaced[id(node)] = helper.make_node(
            "LayerNormalization", [source, weight, bias], list(node.output), node.name, axis=-1, epsilon=epsilon
        )
    made.nodes = [replaced.get(id(node), node) for node in made.nodes]


def _with_constant(node: onnx.NodeProto, constants: Mapping[str, Array]) -> tuple[str, str]:
    """What is computed and what is constant of a node's two inputs; two empty names where it is not one of each."""
    fixed = [name for name in node.input if name in constants]
    free = [name for name in node.input if name not in constants]
    return (free[0], fixed[0]) if len(free) == len(fixed) == 1 else ("", "")


def _normalised(
    node: onnx.NodeProto | None, makers: Makers, constants: Mapping[str, Array]
) -> tuple[str, float] | None:
    """What is divided by its own deviation, and the small number beside the variance."""
    if node is None or node.op_type != "Div":
        return None
    centred, root = makers.get(node.input[0]), makers.get(node.input[1])
    if centred is None or centred.op_type != "Sub" or root is None or root.op_type != "Sqrt":
        return None
    total = makers.get(root.input[0])
    if total is None or total.op_type != "Add":
        return None
    variance, epsilon = _with_constant(total, constants)
    squared = _mean_of(makers.get(variance), makers, constants)
    power = makers.get(squared)
    square = power is not None and (
        (power.op_type == "Pow" and np.array_equal(np.ravel(constants.get(power.input[1], 0)), [2]))
        or (power.op_type == "Mul" and power.input[0] == power.input[1])
    )
    if power is None or not square or power.input[0] != node.input[0] or constants[epsilon].size != 1:
        return None
    source = centred.input[0]
    if _mean_of(makers.get(centred.input[1]), makers, constants) != source:
        return None
    return source, float(constants[epsilon].reshape(-1)[0])


def _mean_of(node: onnx.NodeProto | None, makers: Makers, constants: Mapping[str, Array]) -> str:
    """What a node takes the mean of over the last axis, keeping the axis; '' where it does something else."""
    if node is None or node.op_type != "ReduceMean":
        return ""
    given = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    axes = constants.get(node.input[1]) if len(node.input) > 1 else given.get("axes")
    if axes is None or list(axes) != [-1] or not given.get("keepdims", 1):
        return ""
    return str(node.input[0])
