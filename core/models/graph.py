"""A model's graph: the structure in `graph.onnx`, every trained tensor beside it in `.safetensors`.

This pair is what Temper computes on, whatever file a model came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from core.models.layers import Layer as Layer
from core.models.layers import Skipped as Skipped
from core.models.layers import canonical, layers_of, skipped
from core.models.simplify import Array, Plain, observe, plain

INPUT, OUTPUT = "input", "logits"


@dataclass(frozen=True)
class Graph:
    """A canonical graph: `structure` holds nodes and small constants, `tensors` float32 arrays by name."""

    structure: onnx.ModelProto
    tensors: Mapping[str, Array]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each tensor."""
        return {name: tuple(array.shape) for name, array in self.tensors.items()}

    @property
    def layers(self) -> tuple[Layer, ...]:
        """What pruning and quantization can change, in the order it runs."""
        return layers_of(self.structure.graph, self.shapes)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What they leave alone, and why."""
        return skipped(self.structure.graph, self.shapes)

    def whole(self) -> onnx.ModelProto:
        """The model with its tensors, as any ONNX runtime reads it."""
        made = onnx.ModelProto()
        made.CopyFrom(self.structure)
        made.graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in self.tensors.items())
        return made

    def multiply_adds(self) -> int:
        """Multiply-adds of every layer for one example; an embedding looks up and has none."""
        by_weight = {layer.weight: self.tensors[layer.weight] for layer in self.layers}
        turned = {n.output[0]: n.input[0] for n in self.structure.graph.node if n.op_type == "Transpose"}
        outputs = {}
        for node in self.structure.graph.node:
            if node.op_type in ("Conv", "Gemm", "MatMul"):
                weight = turned.get(node.input[1], node.input[1])
                if weight in by_weight:
                    outputs[node.output[0]] = by_weight[weight], node.op_type
        whole = self.whole()
        named = {output.name for output in whole.graph.output}
        whole.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in outputs.keys() - named)
        seen = observe(whole, 1, outputs)
        return sum(seen[name].size * weight[0].size for name, (weight, _) in outputs.items())


def graph_of(proto: onnx.ModelProto, fixed: int = 0) -> Graph:
    """The canonical graph of a float ONNX model. Raises what ONNX and ONNX Runtime raise. See `plain`."""
    made = plain(proto, fixed)
    canonical(made)
    _name_ends(made)
    learned = {name: _float(value) for name, value in made.constants.items() if _is_tensor(name, value)}
    made.constants = {name: value for name, value in made.constants.items() if name not in learned}
    return Graph(made.proto(), learned)


def _is_tensor(name: str, value: Array) -> bool:
    return value.dtype.kind == "f" and (value.size > 1 or name.endswith((".weight", ".bias", ".running_var")))


def _float(value: Array) -> Array:
    return np.ascontiguousarray(value, np.float32)


def _name_ends(made: Plain) -> None:
    """Call the graph's input and output by the names used everywhere."""
    for value, wanted in ((made.input, INPUT), (made.output, OUTPUT)):
        old = value.name
        made.rename({old: wanted})
        for node in made.nodes:
            node.output[:] = [wanted if name == old else name for name in node.output]
        value.name = wanted
    made.output.CopyFrom(onnx.helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, ["batch", "classes"]))


def save_structure(graph: Graph, path: Path) -> None:
    """Write the structure; the same graph always gives the same bytes."""
    path.write_bytes(graph.structure.SerializeToString(deterministic=True))
