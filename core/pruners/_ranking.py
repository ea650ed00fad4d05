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
    by_layer=True,
)
FLOOR = Param(
    "floor",
    "Every layer keeps",
    0.0,
    "The least fraction of each layer's weights that stays; other layers lose more for it.",
    low=0.0,
    high=0.5,
    step=0.01,
    unit="fraction",
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


def remove(
    network: Network,
    ranks: Mapping[str, Tensor],
    sparsity: float,
    across: bool,
    apart: Mapping[str, float] | None = None,
    floor: float = 0.0,
) -> Network:
    """Zero the `round(sparsity * size)` weights of lowest rank, of all weights or of each tensor.

    Weights named in `apart` have a sparsity of their own and do not count among the others. Of ranks `across` all
    tensors, each of the others keeps at least `floor` of its weights.
    """
    apart = apart or {}
    if across:
        others = {name: rank for name, rank in ranks.items() if name not in apart}
        masks = {name: ranks[name] >= _below([ranks[name]], own) for name, own in apart.items()}
        masks |= _across(others, sparsity, floor)
    else:
        masks = {name: rank >= round(apart.get(name, sparsity) * rank.numel()) for name, rank in ranks.items()}
    masks = {name: masks[name] & network.masks[name] if name in network.masks else masks[name] for name in ranks}
    pruned = network.with_tensors({name: network.tensors[name] * mask for name, mask in masks.items()})
    return replace(pruned, masks={**network.masks, **masks})


def _below(ranks: list[Tensor], sparsity: float, most: int | None = None) -> int:
    """The rank below which a share of all weights lies, or `most` of them; no two weights have the same rank."""
    count = round(sparsity * sum(rank.numel() for rank in ranks))
    count = count if most is None else min(count, most)
    if count == 0:
        return 0
    flat = torch.cat([rank.flatten() for rank in ranks])
    if count < len(flat) == int(flat.max()) + 1:  # nothing is missing: ranks count
        return count
    return int(flat.kthvalue(count).values) + 1


def _across(ranks: Mapping[str, Tensor], sparsity: float, floor: float) -> dict[str, Tensor]:
    """Which weights stay when the lowest of all go, and of each tensor the highest `floor` stay whatever is asked."""
    if not floor:
        below = _below(list(ranks.values()), sparsity)
        return {name: rank >= below for name, rank in ranks.items()}
    safe = {name: rank >= _below([rank], 1 - floor) for name, rank in ranks.items()}
    never = torch.iinfo(torch.int32).max
    free = sum(int((~kept).sum()) for kept in safe.values())
    below = _below([torch.where(safe[name], never, rank) for name, rank in ranks.items()], sparsity, free)
    return {name: (rank >= below) | safe[name] for name, rank in ranks.items()}


def report(network: Network) -> dict[str, object]:
    """What pruning did: overall sparsity, that of each layer, and layers left without a weight."""
    share = {name: float((network.tensors[name] == 0).float().mean()) for name in network.weight_names}
    return {
        "sparsity": network.sparsity,
        "layers": {name.removesuffix(".weight"): round(value, 4) for name, value in share.items()},
        "dead_layers": [name.removesuffix(".weight") for name, value in share.items() if value == 1],
    }
