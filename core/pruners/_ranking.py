"""From the rank of every weight to masks: one look-up a sparsity, and masks that nest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from core.engine.network import Network
from core.registry import Param

SPARSITY = Param(
    "sparsity",
    "Sparsity",
    0.5,
    "The fraction of layer weights set to zero.",
    low=0.0,
    high=0.99,
    step=0.01,
    unit="fraction",
    neutral=0.0,
)


def ranks_within(scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rank of every weight inside its own tensor, int32 of the tensor's shape, 0 for the lowest score."""
    return {name: _rank(score.reshape(-1)).reshape(score.shape) for name, score in scores.items()}


def ranks_across(scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rank of every weight among all tensors together."""
    flat = torch.cat([score.reshape(-1) for score in scores.values()])
    parts = _rank(flat).split([score.numel() for score in scores.values()])
    return {name: part.reshape(score.shape) for (name, score), part in zip(scores.items(), parts, strict=True)}


def _rank(scores: Tensor) -> Tensor:
    order = torch.argsort(scores, stable=True)
    ranks = torch.empty(len(scores), dtype=torch.int32)
    ranks[order] = torch.arange(len(scores), dtype=torch.int32)
    return ranks


def remove(network: Network, ranks: Mapping[str, Tensor], sparsity: float, across: bool) -> Network:
    """Zero the `round(sparsity * size)` weights of lowest rank, of all weights or of each tensor."""
    total = sum(rank.numel() for rank in ranks.values())
    masks = {}
    for name, rank in ranks.items():
        keep = rank >= round(sparsity * (total if across else rank.numel()))
        masks[name] = keep & network.masks[name] if name in network.masks else keep
    pruned = network.with_tensors({name: network.tensors[name] * mask for name, mask in masks.items()})
    return replace(pruned, masks={**network.masks, **masks})


def report(network: Network) -> dict[str, object]:
    """What pruning did: overall sparsity, that of each layer, and layers left without a weight."""
    share = {name: float((network.tensors[name] == 0).float().mean()) for name in network.weight_names}
    return {
        "sparsity": network.sparsity,
        "layers": {name.removesuffix(".weight"): round(value, 4) for name, value in share.items()},
        "dead_layers": [name.removesuffix(".weight") for name, value in share.items() if value == 1],
    }
