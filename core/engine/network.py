"""A network in the making: the trained tensors as a recipe's steps have changed them so far.

Steps never write into tensors: each returns a new `Network` that shares what it did not change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from core import fingerprint
from core.engine.grid import Grid
from core.models.channels import Edits
from core.models.handle import ModelHandle, graph_of_model, weights_of
from core.models.layers import Layer


@dataclass(frozen=True)
class Network:
    """Tensors and what was decided about them.

    `masks`: bool tensors, True where a weight is kept. `grids`: weight grids by tensor name.
    `half`: tensors stored in 16 bits, as float16 or, where they are in `brain` too, as bfloat16.
    `activations`: grids by activation point, none where every example sets its own (`dynamic`); `activation_bits`
    is 32, 16 (float16) or the bits of those grids. `edits` put right what the structure itself says of the number
    of channels, once some are removed, and of blocks that left; `layers` are those that are there. `rescaled`:
    float64 factors by tensor name that left the function the same; what is held against the original's tensors is
    held against these times the original's. `identity` names the content.
    """

    model: ModelHandle
    layers: tuple[Layer, ...]
    tensors: Mapping[str, Tensor]
    identity: str
    folded: bool = False
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    grids: Mapping[str, Grid] = field(default_factory=dict)
    half: frozenset[str] = frozenset()
    activations: Mapping[str, Grid] = field(default_factory=dict)
    activation_bits: int = 32
    edits: Edits = ()
    rescaled: Mapping[str, Tensor] = field(default_factory=dict)
    brain: frozenset[str] = frozenset()
    dynamic: bool = False

    def with_tensors(self, changed: Mapping[str, Tensor]) -> Network:
        """The network with some tensors replaced."""
        return replace(self, tensors={**self.tensors, **changed})

    def after(self, step: str) -> Network:
        """The network under the name of its content after one more step."""
        return replace(self, identity=fingerprint.of_json([self.identity, step]))

    @property
    def weight_names(self) -> tuple[str, ...]:
        """Names of the layers' weights, in the order of the forward pass."""
        return tuple(layer.weight for layer in self.layers)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each tensor."""
        return {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}

    @property
    def shrunk(self) -> bool:
        """Whether channels or blocks were removed: a layer is gone, or its weight smaller than the original's."""
        given = weights_of(self.model)
        if len(self.layers) < len(graph_of_model(self.model).layers):
            return True
        return any(self.tensors[name].shape != given[name].shape for name in self.weight_names)

    @property
    def sparsity(self) -> float:
        """Fraction of the layer weights present that are zero."""
        total = sum(self.tensors[name].numel() for name in self.weight_names)
        zero = sum(int((self.tensors[name] == 0).sum()) for name in self.weight_names)
        return zero / total


def load_network(model: ModelHandle) -> Network:
    """The untouched network. Its tensors are the shared originals: never write into them."""
    return Network(model, graph_of_model(model).layers, weights_of(model), model.fingerprint)


def fold(network: Network) -> Network:
    """Fold every batch-norm into the layer before it (Jacob et al. 2018, arXiv 1712.05877).

    `w' = w * gamma / sqrt(var + eps)`, `b' = (b - mean) * gamma / sqrt(var + eps) + beta`, computed in
    float64. Zeros stay zeros, so masks remain true. Folding twice changes nothing.
    """
    if network.folded:
        return network
    tensors = dict(network.tensors)
    for layer in network.layers:
        if not layer.biased:
            continue
        weight = tensors[layer.weight]
        bias = tensors.get(layer.bias, torch.zeros(weight.shape[0])).double()
        if layer.norm is not None:
            gamma, beta, mean, variance = (
                tensors.pop(f"{layer.norm}.{part}").double()
                for part in ("weight", "bias", "running_mean", "running_var")
            )
            factor = gamma / torch.sqrt(variance + layer.norm_epsilon)
            bias = (bias - mean) * factor + beta
            weight = (weight.double() * factor.reshape(-1, *[1] * (weight.ndim - 1))).float()
        tensors[layer.weight], tensors[layer.bias] = weight, bias.float()
    return replace(network, tensors=tensors, folded=True)
