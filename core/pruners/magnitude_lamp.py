"""Layer-adaptive magnitude pruning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from core.engine.context import Context
from core.engine.network import Network
from core.pruners._ranking import FLOOR, SPARSITY, ranks_across, remove, report
from core.registry import register


@register(
    kind="prune",
    name="magnitude-lamp",
    title="Magnitude, LAMP",
    summary="Ranks all weights together, each by its share of what its layer would have left, square by square.",
    reference="Lee et al. 2021, Layer-adaptive sparsity for the magnitude-based pruning, arXiv 2010.07611",
    parameters=(SPARSITY, FLOOR),
)
def magnitude_lamp(network: Network, values: Mapping[str, Any], context: Context) -> tuple[Network, dict[str, Any]]:
    """Zero the weights of least LAMP score, which no layer loses all of before another does."""
    ranks = context.scores(
        network,
        "magnitude-lamp",
        lambda: ranks_across({name: lamp(network.tensors[name]) for name in network.weight_names}),
    )
    pruned = remove(network, ranks, values["sparsity"], True, context.apart(network, "sparsity"), values["floor"])
    return pruned, report(pruned)


def lamp(weight: Tensor) -> Tensor:
    """`w^2 / sum of v^2 over all v at least as large`, float64 of the weight's shape; equal weights go by place."""
    squares = weight.double().square().reshape(-1)
    order = torch.argsort(squares, stable=True)
    left = squares[order].flip(0).cumsum(0).flip(0)
    scores = torch.zeros_like(squares)
    scores[order] = squares[order] / left.clamp_min(torch.finfo(torch.float64).tiny)
    return scores.reshape(weight.shape)
