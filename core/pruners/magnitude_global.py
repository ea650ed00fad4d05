"""Global magnitude pruning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.engine.context import Context
from core.engine.network import Network
from core.pruners._ranking import FLOOR, SPARSITY, ranks_across, remove, report
from core.registry import register


@register(
    kind="prune",
    name="magnitude-global",
    title="Magnitude, whole network",
    summary="Removes the smallest weights of the whole network, so that layers may end unequally sparse.",
    reference="Han et al. 2015, Learning both weights and connections, arXiv 1506.02626",
    parameters=(SPARSITY, FLOOR),
    usual=True,
)
def magnitude_global(network: Network, values: Mapping[str, Any], context: Context) -> tuple[Network, dict[str, Any]]:
    """Zero the weights of smallest absolute value among all layers together."""
    ranks = context.scores(
        network,
        "magnitude-global",
        lambda: ranks_across({name: network.tensors[name].abs() for name in network.weight_names}),
    )
    pruned = remove(network, ranks, values["sparsity"], True, context.apart(network, "sparsity"), values["floor"])
    return pruned, report(pruned)
