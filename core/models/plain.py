"""A graph in the making: what reading a model works on before it becomes a `Graph`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Array = NDArray
Nodes = list[onnx.NodeProto]


@dataclass
class Plain:
    """A graph in the making: nodes in order, constants by name, the one input and the one output."""

    nodes: Nodes
    constants: dict[str, Array]
    input: onnx.ValueInfoProto
    output: onnx.ValueInfoProto
    opset: int

    def readers(self) -> dict[str, Nodes]:
        """The nodes that read each tensor."""
        found: dict[str, Nodes] = {}
        for node in self.nodes:
            for name in node.input:
                found.setdefault(name, []).append(node)
        return found

    def makers(self) -> dict[str, onnx.NodeProto]:
        """The node that makes each tensor."""
        return {name: node for node in self.nodes for name in node.output}

    def rename(self, names: Mapping[str, str]) -> None:
        """Read other tensors instead of those named."""
        for node in self.nodes:
            for place, name in enumerate(node.input):
                node.input[place] = names.get(name, name)

    def proto(self, extra: Iterable[str] = (), lone: bool = False) -> onnx.ModelProto:
        """The graph as a model, `extra` tensors as outputs beside the last; `lone`: without its input and output."""
        outputs = [*([] if lone else [self.output]), *map(helper.make_empty_tensor_value_info, extra)]
        held = [numpy_helper.from_array(np.asarray(v, order="C"), k) for k, v in self.constants.items()]
        graph = helper.make_graph(self.nodes, "temper", [] if lone else [self.input], outputs, held)
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10, producer_name="temper"
        )

    def small(self) -> set[str]:
        """Constants that are no weights: whole numbers, truth values, single numbers."""
        return {name for name, value in self.constants.items() if value.size < 2 or value.dtype.kind in "iub"}

    def derived(self) -> set[str]:
        """Tensors worked out from shapes alone."""
        small, found = self.small(), set[str]()
        for node in self.nodes:
            inputs = set(filter(None, node.input))
            from_shapes = inputs <= found | self.constants.keys() and not inputs.isdisjoint(found)
            if node.op_type in ("Shape", "Size") or from_shapes or inputs <= found | small:
                found.update(node.output)
        return found
