"""A network as a PyTorch module that meets every node on the way."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from core.deploy.graph import structure
from core.engine.network import Network
from core.models.torch_graph import GraphModule


class Observed(GraphModule):
    """A network's float graph; `compute` meets every node. Activations leave memory after their last reader."""

    def __init__(self, network: Network) -> None:
        proto = onnx.ModelProto()
        proto.CopyFrom(structure(network))
        used = {name for node in proto.graph.node for name in node.input}
        proto.graph.initializer.extend(
            numpy_helper.from_array(np.ascontiguousarray(tensor.numpy()), name)
            for name, tensor in network.tensors.items()
            if name in used
        )
        super().__init__(proto)
