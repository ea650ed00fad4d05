"""A network as it might have been before it learned anything: the same structure, every weight drawn anew."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from core.deploy.graph import structure
from core.engine.network import Network
from core.errors import TemperError
from core.training.learner import NORM, trainable

NORMS = (NORM, "LayerNormalization", "InstanceNormalization", "GroupNormalization")


def redrawn(network: Network, seed: int) -> Network:
    """The network with weights drawn from `seed`, biases zero, norms that change nothing; masks stay.

    Weights of convolutions and linear layers are normal with a variance of two over what they read (He et al. 2015,
    Delving deep into rectifiers, arXiv 1502.01852), tables normal with one over their width. Constants of no learning
    part stay. Raises `TemperError` where weights are rounded: their grids were set for the weights they have.
    """
    if network.grids or network.half or network.activations:
        raise TemperError(
            "A network whose weights or activations are rounded cannot begin from scratch: the grids were set for "
            "what it had learned.",
            "Train from scratch first and quantize after it.",
        )
    generator = torch.Generator().manual_seed(seed)
    ones, zeros = _of_norms(network)
    scaled = {layer.weight for layer in network.layers if layer.kind != "embedding"}
    changed: dict[str, Tensor] = {name: torch.ones_like(network.tensors[name]) for name in ones}
    changed |= {name: torch.zeros_like(network.tensors[name]) for name in zeros}
    for name in trainable(network):
        if name in changed:
            continue
        was = network.tensors[name]
        if was.ndim < 2:
            changed[name] = torch.zeros_like(was)
            continue
        spread = math.sqrt(2 / was[0].numel()) if name in scaled else 1 / math.sqrt(was.shape[-1])
        drawn = spread * torch.randn(was.shape, generator=generator)
        changed[name] = drawn * network.masks[name] if name in network.masks else drawn
    return network.with_tensors(changed).after(f"redrawn {seed}")


def _of_norms(network: Network) -> tuple[set[str], set[str]]:
    """Tensors of norms that are one and those that are zero before learning."""
    ones, zeros = set[str](), set[str]()
    for node in structure(network).graph.node:
        if node.op_type in NORMS:
            ones |= set(node.input[1:2]) | set(node.input[4:5])
            zeros |= set(node.input[2:4])
    return ones & network.tensors.keys(), zeros & network.tensors.keys()
