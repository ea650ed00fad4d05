"""Structured pruning: whole channels of least magnitude go, and the network becomes smaller and faster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.engine.context import Context
from core.engine.network import Network
from core.pruners._channels import PARAMETERS, remove_least, squared_norms
from core.registry import register


@register(
    kind="prune",
    name="channels-magnitude",
    title="Channels, magnitude",
    summary="Removes whole channels of least magnitude with all that depends on them: the model itself shrinks.",
    reference="Li et al. 2017, Pruning filters for efficient ConvNets, arXiv 1608.08710; "
    "Fang et al. 2023, DepGraph: towards any structural pruning, arXiv 2301.12900",
    parameters=PARAMETERS,
)
def channels_magnitude(
    network: Network, values: Mapping[str, Any], context: Context
) -> tuple[Network, dict[str, Any]]:
    """Remove the channels whose coupled output filters, batch-norm folded in, have the least squared L2 norm."""
    return remove_least(network, values, context, "channels-magnitude", lambda groups: squared_norms(network, groups))
