"""Pruning of single weights by what removing each would do to the loss: one file a score, all else is here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from core.engine.context import Context
from core.engine.network import Network
from core.layers.gradients import EXAMPLES, Gradients, gradients
from core.pruners._ranking import FLOOR, SPARSITY, ranks_across, remove, report
from core.registry import Param

Score = Callable[[Gradients, str, Tensor], Tensor]
LEFT = 0.05  # share of the weights that the last round leaves
PARAMETERS = (
    SPARSITY,
    FLOOR,
    Param(
        "rounds",
        "Rounds",
        8,
        "How often gradients are taken: anew of what is left, as weights that go change what the others are worth.",
        choices=(1, 4, 8, 16),
    ),
)


def remove_least(
    network: Network, values: Mapping[str, Any], context: Context, name: str, score: Score
) -> tuple[Network, dict[str, Any]]:
    """Zero the weights of least `score(gradients, weight's name, weight)`, ranked over the whole network.

    In several `rounds` gradients are taken anew of what is left (`ranks_in_rounds`). Equal scores go by magnitude, so
    that weights that are zero already go first. A layer without gradients is ranked by magnitude and loses the whole
    network's share: `magnitude` in the report says which, before the first round, and why.
    """
    found = gradients(network, context, _examples(values["rounds"]))
    ranks = context.scores(
        network,
        f"{name} {values['rounds']} {context.data.fingerprint}",
        lambda: ranks_in_rounds(network, context, name, score, values["rounds"]),
    )
    pruned = remove(network, ranks, values["sparsity"], True, context.apart(network, "sparsity"), values["floor"])
    return pruned, report(pruned) | {"examples": found.examples, "magnitude": dict(found.why)}


def _examples(rounds: int) -> int:
    """Calibration examples of one round: fewer where there are several, which even each other out."""
    return EXAMPLES if rounds == 1 else EXAMPLES // 2


def ranks_in_rounds(network: Network, context: Context, name: str, score: Score, rounds: int) -> dict[str, Tensor]:
    """Rank of every weight, int32 of its tensor's shape: the order in which they go when scores are renewed.

    After round r of R all but `0.05^(r / R)` of the weights are gone; what is left is ranked by gradients of the
    network without them. The order does not depend on how many are asked to go, so that masks nest.
    """
    left, ranks, gone = network, dict[str, Tensor](), 0
    for turn in range(rounds):

        def told(fraction: float, done: int = turn) -> None:
            context.told((done + fraction) / rounds)

        found = gradients(left, replace(context, told=told), _examples(rounds))
        sizes = {weight: left.tensors[weight].abs() for weight in network.weight_names}
        new = ranks_beside({weight: score(found, weight, left.tensors[weight]) for weight in found.mean}, sizes)
        total = sum(rank.numel() for rank in new.values())
        if ranks:
            settled = {weight: rank < gone for weight, rank in ranks.items()}
            new = ranks_across(
                {w: torch.where(settled[w], ranks[w].long(), total + new[w].long()) for w in new}  # as they went
            )
        ranks, gone = new, round((1 - LEFT ** ((turn + 1) / rounds)) * total)
        kept = {weight: network.tensors[weight] * (rank >= gone) for weight, rank in ranks.items()}
        left = network.with_tensors(kept).after(f"{name}, {turn + 1} of {rounds}, {context.data.fingerprint}")
    return ranks


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
