"""Bring an ONNX graph into a plain form: no constants as nodes, no aliases, shapes worked out, nothing unused.

Exporters compute shapes inside the graph so that the batch may vary. Here such a computation is observed at two
batch sizes: what stays the same becomes a constant, and a Reshape whose target changes in one place gets -1 there.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from core.models.batch import free_batch
from core.models.fuse import fuse_norms
from core.models.plain import Array as Array
from core.models.plain import Plain as Plain
from core.models.session import observe as observe
from core.models.session import run
from core.models.session import runner as runner

RANDOM = {"RandomNormal", "RandomUniform", "Multinomial", "Bernoulli"}
ALIASES = {"Identity", "Dropout"}
SIZES = (2, 3)  # batch sizes at which shapes are observed


def plain(proto: onnx.ModelProto, fixed: int = 0) -> Plain:
    """The graph without constant nodes, aliases and shape computations. Raises whatever ONNX Runtime raises.

    `fixed` is the batch size the graph was made for where it may hold traces of it.
    """
    given = proto.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in given.initializer}
    inputs = [value for value in given.input if value.name not in constants]
    opset = next(entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx"))
    made = Plain([], constants, onnx.ValueInfoProto(), onnx.ValueInfoProto(), opset)
    made.input.CopyFrom(inputs[0])
    made.output.CopyFrom(given.output[0])
    same: dict[str, str] = {}
    for node in given.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [same.get(name, name) for name in node.input]
        if node.op_type == "Constant":
            constants[node.output[0]] = _value(node)
        elif node.op_type in ALIASES:
            same[node.output[0]] = copy.input[0]
        else:
            made.nodes.append(copy)
    if made.output.name in same:  # the output's own name must stay
        _call(made, same[made.output.name], made.output.name)
    _call_ends_apart(made)
    _fold_constants(made)
    free_batch(made, fixed)
    _settle_shapes(made)
    fuse_norms(made)
    drop_unused(made)
    return made


def _fold_constants(made: Plain) -> None:
    """Work out what depends on small constants alone; weights stay as they are."""
    known = set(made.small())
    nodes = []
    for node in made.nodes:
        if node.op_type not in RANDOM and node.output and set(filter(None, node.input)) <= known:
            known.update(node.output)
            nodes.append(node)
    if not nodes:
        return
    made.nodes = [node for node in made.nodes if node not in nodes]
    wanted = sorted({name for node in nodes for name in node.output} & set(made.readers()))
    part = Plain(nodes, {name: made.constants[name] for name in made.small()}, made.input, made.output, made.opset)
    found = run(part.proto(wanted, lone=True), {}, wanted)
    made.constants.update(found)


def _call(made: Plain, name: str, wanted: str) -> None:
    """Give the tensor `name` another name everywhere."""
    made.rename({name: wanted})
    for node in made.nodes:
        node.output[:] = [wanted if output == name else output for output in node.output]


def _call_ends_apart(made: Plain) -> None:
    """Names for input and output that nothing else bears, and neither of the usual two for anything else."""
    for value, apart in ((made.input, "temper/input"), (made.output, "temper/output")):
        _call(made, value.name, apart)
        value.name = apart
    for usual in ("input", "logits"):
        if usual in made.constants:
            made.constants[f"{usual}/inner"] = made.constants.pop(usual)
        _call(made, usual, f"{usual}/inner")


def _value(node: onnx.NodeProto) -> Array:
    attribute = node.attribute[0]
    value = helper.get_attribute_value(attribute)
    if attribute.name == "value":
        return numpy_helper.to_array(value)
    kind = np.float32 if "float" in attribute.name else np.int64
    return np.asarray(value, kind)


def _settle_shapes(made: Plain) -> None:
    """Replace what only depends on shapes by constants, where it is the same for every batch."""
    derived = made.derived()
    if not derived:
        return
    wanted = sorted(derived & set(made.readers()))
    reshapes = [n for n in made.nodes if n.op_type in ("Reshape", "Expand") and n.input[1] in derived]
    shown = {*wanted, *(node.output[0] for node in reshapes)}
    seen = [observe(made.proto(shown - {made.output.name}), size, shown) for size in SIZES]
    for name in wanted:
        if np.array_equal(seen[0][name], seen[1][name]):
            made.constants[name] = seen[0][name]
    for node in reshapes:
        first, second = (np.array(found[node.output[0]].shape) for found in seen)
        changed = np.flatnonzero(first != second)
        if len(changed) <= 1 and node.op_type == "Reshape":
            first[changed] = -1
            node.input[1] = f"{node.output[0]}/shape"
            made.constants[node.input[1]] = first
        elif len(changed) == 1 and first[changed[0]] == SIZES[0] and second[changed[0]] == SIZES[1]:
            _expand_by_batch(made, node, first, int(changed[0]))
    made.nodes = [node for node in made.nodes if not all(name in made.constants for name in node.output)]


def _expand_by_batch(made: Plain, node: onnx.NodeProto, shape: Array, place: int) -> None:
    """Say an Expand's target in one way: the input's first length between fixed ones."""
    name = node.output[0]
    parts = [f"{name}/before", f"{name}/batch", f"{name}/after"]
    made.constants[parts[0]], made.constants[parts[2]] = shape[:place], shape[place + 1 :]
    kept = [part for part, size in zip(parts, (place, 1, len(shape) - place - 1), strict=True) if size]
    where = next(i for i, other in enumerate(made.nodes) if other is node)
    length = helper.make_node("Shape", [made.input.name], [parts[1]], start=0, end=1)
    target = helper.make_node("Concat", kept, [f"{name}/shape"], axis=0)
    made.nodes[where:where] = [length, target]
    node.input[1] = f"{name}/shape"


def drop_unused(made: Plain) -> None:
    """Remove nodes and constants that do not reach the output."""
    needed, kept = {made.output.name}, []
    for node in reversed(made.nodes):
        if needed & set(node.output):
            kept.append(node)
            needed.update(node.input)
    made.nodes = kept[::-1]
    made.constants = {name: value for name, value in made.constants.items() if name in needed}
