"""Pruning of single weights by what removing each would do to the loss: one file a score, all else is here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from core.engine.context import Context
from core.engine.gradients import Gradients, gradients
from core.engine.network import Network
from core.pruners._ranking import remove, report

Score = Callable[[Gradients, str, Tensor], Tensor]


def remove_least(
    network: Network, values: Mapping[str, Any], context: Context, name: str, score: Score
) -> tuple[Network, dict[str, Any]]:
    """Zero the weights of least `score(gradients, weight's name, weight)`, ranked over the whole network.

    Equal scores go by magnitude, so that weights that are zero already go first. A layer without gradients is ranked
    by magnitude and loses the whole network's share: `magnitude` in the report says which and why.
    """
    found = gradients(network, context)
    ranks = context.scores(
        network,
        f"{name} {context.data.fingerprint}",
        lambda: ranks_beside(
            {weight: score(found, weight, network.tensors[weight]) for weight in found.mean},
            {weight: network.tensors[weight].abs() for weight in network.weight_names},
        ),
    )
    pruned = remove(network, ranks, values["sparsity"], True, context.apart(network, "sparsity"), values["floor"])
    return pruned, report(pruned) | {"examples": found.examples, "magnitude": dict(found.why)}


def ranks_beside(scores: Mapping[str, Tensor], sizes: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rank of every weight among all tensors of `sizes`, int32 of their shapes, 0 for the lowest.

    Those of `scores` are ranked together, equal ones by size. Any other tensor is ranked by size alone and spread
    evenly between them, so that at every sparsity it loses the share that the others lose together.
    """
    heights = {name: _heights(size.flatten(), size.flatten()) for name, size in sizes.items() if name not in scores}
    if scores:
        flat = _heights(*(torch.cat([part[name].flatten() for name in scores]) for part in (scores, sizes)))
        heights |= dict(zip(scores, flat.split([scores[name].numel() for name in scores]), strict=True))
    order = torch.argsort(torch.cat([heights[name] for name in sizes]), stable=True)
    ranks = torch.empty(len(order), dtype=torch.int32)
    ranks[order] = torch.arange(len(order), dtype=torch.int32)
    parts = ranks.split([size.numel() for size in sizes.values()])
    return {name: part.reshape(sizes[name].shape) for name, part in zip(sizes, parts, strict=True)}


def _heights(scores: Tensor, sizes: Tensor) -> Tensor:
    """Where each stands among all `(N,)`, from 0 to 1, float64."""
    by_size = torch.argsort(sizes, stable=True)
    order = by_size[torch.argsort(scores[by_size], stable=True)]
    heights = torch.empty(len(scores), dtype=torch.float64)
    heights[order] = (torch.arange(len(scores), dtype=torch.float64) + 0.5) / max(len(scores), 1)
    return heights
