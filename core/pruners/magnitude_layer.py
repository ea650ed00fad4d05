"""Layer-wise magnitude pruning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.engine.context import Context
from core.engine.network import Network
from core.pruners._ranking import SPARSITY, ranks_within, remove, report
from core.registry import register


@register(
    kind="prune",
    name="magnitude-layer",
    title="Magnitude, per layer",
    summary="Removes the smallest weights of each layer, so that every layer ends equally sparse.",
    reference="Han et al. 2015, Learning both weights and connections, arXiv 1506.02626",
    parameters=(SPARSITY,),
)
def magnitude_layer(network: Network, values: Mapping[str, Any], context: Context) -> tuple[Network, dict[str, Any]]:
    """Zero the same fraction of every layer's weights, smallest absolute value first."""
    ranks = context.scores(
        network,
        "magnitude-layer",
        lambda: ranks_within({name: network.tensors[name].abs() for name in network.weight_names}),
    )
    pruned = remove(network, ranks, values["sparsity"], False, context.apart(network, "sparsity"))
    return pruned, report(pruned)
