"""A network with weights as they are before any learning."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from core import fingerprint
from core.deploy.graph import structure
from core.engine.network import Network
from core.errors import TemperError
from core.models.layers import NORM_PARTS
from core.training.learner import NORM, trainable

IDENTITY = dict(zip(NORM_PARTS, (1.0, 0.0, 0.0, 1.0), strict=True))  # a batch-norm that changes nothing
SCALES = ("LayerNormalization", "GroupNormalization", "InstanceNormalization")


def redrawn(network: Network, seed: int) -> Network:
    """The network with everything that learns drawn anew, the same for the same seed.

    Weights of convolutions and linear layers are normal with variance `2 / fan in` (He et al. 2015, Delving deep into
    rectifiers, arXiv 1502.01852), tables of embeddings and of positions standard normal, biases zero; norms change
    nothing at first. Removed weights stay removed. Raises `TemperError` for a quantized network, whose grids were
    laid around the weights that it has.
    """
    if network.grids or network.activations or network.dynamic:
        raise TemperError(
            "Weights that are drawn anew do not fit the grids of the quantize step before them.",
            "Start from the trained weights, or quantize after learning.",
        )
    generator = torch.Generator().manual_seed(seed)
    linear = {layer.weight for layer in network.layers if layer.kind != "embedding"}
    fixed = _fixed(network)
    drawn: dict[str, Tensor] = {}
    for name in trainable(network):
        old = network.tensors[name]
        if name in fixed or old.ndim < 2:
            continue
        deviation = (2 / old[0].numel()) ** 0.5 if name in linear else 1.0
        new = deviation * torch.randn(old.shape, generator=generator)
        drawn[name] = new * network.masks[name] if name in network.masks else new
    drawn |= {name: torch.zeros_like(network.tensors[name]) for name in trainable(network) if name not in drawn}
    drawn |= {name: torch.full_like(network.tensors[name], value) for name, value in fixed.items()}
    named = fingerprint.of_json(["drawn anew", seed])
    return replace(network.with_tensors(drawn), rescaled={}).after(named)


def _fixed(network: Network) -> dict[str, float]:
    """What norms begin with, by name of the tensor."""
    found: dict[str, float] = {}
    for node in structure(network).graph.node:
        if node.op_type == NORM:
            found |= dict(zip(node.input[1:5], IDENTITY.values(), strict=True))
        elif node.op_type in SCALES:
            found |= dict(zip(node.input[1:3], (1.0, 0.0), strict=False))
    return {name: value for name, value in found.items() if name in network.tensors}
