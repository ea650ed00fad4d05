"""Another last layer on a trained body: a graph with outputs for another task, what comes before as it is."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import numpy_helper

from core.errors import TemperError
from core.models.ends import in_unit
from core.models.graph import OUTPUT, Graph
from core.models.simplify import Array
from core.task import Task

THROUGH = {"Flatten", "Squeeze", "GlobalAveragePool", "AveragePool", "ReduceMean", "Identity", "Dropout"}
ONLY = "A new last layer can be put where one layer, and at most pooling after it, makes the outputs."


@dataclass(frozen=True)
class Head:
    """The last layer: its weight, output channels first, its bias or an empty name, and the node that reads it."""

    weight: str
    bias: str
    node: str


@dataclass(frozen=True)
class Reheaded:
    """The graph with another last layer. `kept` are the classes whose weights came along, `drawn` what is new."""

    graph: Graph
    head: Head
    kept: tuple[str, ...]
    drawn: tuple[str, ...]


def rehead(graph: Graph, old: Task, new: Task, seed: int, scale: tuple[float, float] = (0.0, 1.0)) -> Reheaded:
    """The graph of a model for the task `old` with outputs for the task `new`.

    Where all classes are known to the model, their rows come along, in the new order; the very same task keeps the
    graph as it is. Otherwise the last layer's weights are drawn anew, normal with a variance of one over what it
    reads (LeCun et al. 1998, Efficient backprop, doi 10.1007/3-540-49430-8_2), its bias is zero. For numbers,
    `scale` is the mean and deviation of the labels that may be learned from: the outputs are put in that unit.
    Raises `TemperError` where the output does not come from one layer.
    """
    cut = without_end(graph)
    head = head_of(cut)
    if old == new:
        return Reheaded(graph, head, new.classes or new.outputs, ())
    outputs = len(new.classes) if new.decides else len(new.outputs)
    weight = graph.tensors[head.weight]
    known = new.decides and set(new.classes) <= set(old.classes) and len(weight) == len(old.classes)
    tensors = dict(graph.tensors)
    bias = graph.tensors[head.bias] if head.bias else None
    if known:
        rows = [old.classes.index(name) for name in new.classes]
        tensors[head.weight] = np.ascontiguousarray(weight[rows])
        made = None if bias is None else bias.reshape(-1)[rows]
    else:
        tensors[head.weight] = _drawn((outputs, *weight.shape[1:]), seed)
        made = None if bias is None else np.zeros(outputs, np.float32)
    if bias is not None and made is not None:
        tensors[head.bias] = np.ascontiguousarray(made.reshape(*bias.shape[:-1], outputs))
    found = Graph(_sized(cut.structure, outputs), tensors)
    if not new.decides:
        found, _ = in_unit(found, outputs, *scale)
    names = new.classes or new.outputs
    return Reheaded(found, head, names if known else (), () if known else names)


def _drawn(shape: tuple[int, ...], seed: int) -> Array:
    spread = 1 / math.sqrt(math.prod(shape[1:]))
    return (np.random.default_rng(seed).standard_normal(shape) * spread).astype(np.float32)


def head_of(graph: Graph) -> Head:
    """The layer that makes a graph's outputs. Raises `TemperError` where it is not one."""
    nodes = {name: node for node in graph.structure.graph.node for name in node.output}
    turned = {n.output[0]: n.input[0] for n in nodes.values() if n.op_type == "Transpose"}
    name, bias = OUTPUT, ""
    while (node := nodes.get(name)) is not None:
        kind, given = node.op_type, list(node.input)
        if kind in ("Gemm", "Conv", "MatMul"):
            weight = turned.get(given[1], given[1]) if kind == "MatMul" else given[1]
            if weight not in graph.tensors or _groups(node) != 1:
                break
            own = given[2] if len(given) > 2 else ""
            return Head(weight, bias or own, node.name or node.output[0])
        constants = [one for one in given if one in graph.tensors]
        if kind == "Add" and len(given) == 2 and len(constants) == 1 and not bias:
            bias = constants[0]
            name = given[1 - given.index(bias)]
        elif kind in THROUGH or (kind == "Reshape" and _open_end(graph.structure, given[1])):
            name = given[0]
        else:
            raise TemperError(f"The outputs of this network come from {kind}, not from one layer.", ONLY)
    raise TemperError("The outputs of this network do not come from one layer with weights of its own.", ONLY)


def _groups(node: onnx.NodeProto) -> int:
    return next((one.i for one in node.attribute if one.name == "group"), 1)


def _open_end(structure: onnx.ModelProto, name: str) -> bool:
    """Whether a reshape takes as many columns as come."""
    for held in structure.graph.initializer:
        if held.name == name:
            return int(numpy_helper.to_array(held).reshape(-1)[-1]) == -1
    return False


def without_end(graph: Graph) -> Graph:
    """The graph without what was put behind its last layer so that its outputs mean what a task says."""
    made = onnx.ModelProto()
    made.CopyFrom(graph.structure)
    last = next(node for node in made.graph.node if OUTPUT in node.output)
    if last.name == "logits.both":
        before = last.input[1]
    elif last.op_type == "Add" and last.input[0] == f"{OUTPUT}/wide":
        before = next(node.input[0] for node in made.graph.node if last.input[0] in node.output)
    else:
        return graph
    gone = [node for node in made.graph.node if node is last or _of_end(node.output[0], before)]
    for node in gone:
        made.graph.node.remove(node)
    for held in [one for one in made.graph.initializer if one.name.startswith(f"{OUTPUT}/")]:
        made.graph.initializer.remove(held)
    for node in made.graph.node:
        for names in (node.input, node.output):
            names[:] = [OUTPUT if name == before else name for name in names]
    return replace(graph, structure=made)


def _of_end(name: str, before: str) -> bool:
    return name.startswith(f"{OUTPUT}/") and name != before


def _sized(structure: onnx.ModelProto, outputs: int) -> onnx.ModelProto:
    """The structure with as many outputs; shapes that were noted on the way there no longer hold."""
    made = onnx.ModelProto()
    made.CopyFrom(structure)
    del made.graph.value_info[:]
    shape = made.graph.output[0].type.tensor_type.shape
    if len(shape.dim) == 2 and shape.dim[1].HasField("dim_value"):
        shape.dim[1].dim_value = outputs
    return made
