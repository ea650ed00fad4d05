"""What is put at a graph's end so that its outputs mean what a task says: two logits from one, numbers in their unit.

The steps are small constants of the structure, no layers: nothing there is pruned or rounded.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import onnx
from onnx import helper, numpy_helper

from core.errors import TemperError
from core.models.graph import OUTPUT, Graph

SIGMOID = "A last sigmoid was left out: Temper reads the logit before it."
Ended = tuple[Graph, tuple[str, ...]]


def _opened(graph: Graph) -> tuple[onnx.ModelProto, str]:
    """A copy of the structure whose former output has a name of its own."""
    made = onnx.ModelProto()
    made.CopyFrom(graph.structure)
    before = f"{OUTPUT}/before"
    for node in made.graph.node:
        for names in (node.input, node.output):
            names[:] = [before if name == OUTPUT else name for name in names]
    return made, before


def _hold(made: onnx.ModelProto, name: str, value: np.ndarray) -> str:
    made.graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), f"{OUTPUT}/{name}"))
    return f"{OUTPUT}/{name}"


def two_logits(graph: Graph, counted: str) -> Ended:
    """From one logit z `(N, 1)` the logits (0, z), whose softmax is z's sigmoid; `counted` is the second class."""
    made, z = _opened(graph)
    notes: tuple[str, ...] = ()
    last = next((node for node in made.graph.node if z in node.output), None)
    if last is not None and last.op_type == "Sigmoid":
        z = last.input[0]
        made.graph.node.remove(last)
        notes = (SIGMOID,)
    zero = _hold(made, "zero", np.array(0.0))
    made.graph.node.extend(
        [
            helper.make_node("Mul", [z, zero], [f"{OUTPUT}/other"], "logits.other"),
            helper.make_node("Concat", [f"{OUTPUT}/other", z], [OUTPUT], "logits.both", axis=1),
        ]
    )
    said = f"The network's one output z is read as the logit of {counted}: the graph gives the two logits (0, z)."
    return replace(graph, structure=made), (*notes, said)


def in_unit(graph: Graph, outputs: int, mean: float, deviation: float) -> Ended:
    """A value trained on `(target - mean) / deviation`, and the log of its deviation, in the target's own unit."""
    made, before = _opened(graph)
    stretch, shift = ([deviation], [mean]) if outputs == 1 else ([deviation, 1.0], [mean, math.log(deviation)])
    made.graph.node.extend(
        [
            helper.make_node("Mul", [before, _hold(made, "stretch", np.array([stretch]))], [f"{OUTPUT}/wide"]),
            helper.make_node("Add", [f"{OUTPUT}/wide", _hold(made, "shift", np.array([shift]))], [OUTPUT]),
        ]
    )
    also = f"; {math.log(deviation):.6g} is added to the log of the deviation" if outputs == 2 else ""
    said = (
        f"The target was scaled in training: the value is the network's output times {deviation:.6g} plus {mean:.6g}"
    )
    return replace(graph, structure=made), (f"{said}{also}.",)


def scale_of(text: str) -> tuple[float, float]:
    """Mean and deviation from `mean;deviation`. Raises `TemperError`."""
    try:
        mean, deviation = (float(part) for part in text.split(";"))
        if math.isfinite(mean) and 0 < deviation < math.inf:
            return mean, deviation
    except ValueError:
        pass
    raise TemperError(
        f"A target's scale is its mean and its deviation in training, written as 120.5;33.2; got {text:.60}."
    )
