"""Random pruning, the control every criterion must beat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from core.engine.context import Context
from core.engine.network import Network
from core.pruners._ranking import SPARSITY, ranks_within, remove, report
from core.registry import register


@register(
    kind="prune",
    name="random",
    title="Random (control)",
    summary="Removes weights of each layer at random: the control that a criterion must beat.",
    reference="Blalock et al. 2020, What is the state of neural network pruning?, arXiv 2003.03033",
    parameters=(SPARSITY,),
)
def random_weights(network: Network, values: Mapping[str, Any], context: Context) -> tuple[Network, dict[str, Any]]:
    """Zero the same fraction of every layer's weights, drawn by the recipe's seed."""

    def draw() -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(context.seed)
        return ranks_within(
            {name: torch.rand(network.tensors[name].shape, generator=generator) for name in network.weight_names}
        )

    pruned = remove(
        network,
        context.scores(network, "random", draw),
        values["sparsity"],
        False,
        context.apart(network, "sparsity"),
    )
    return pruned, report(pruned)
