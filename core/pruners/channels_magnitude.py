"""Structured pruning: whole channels of least magnitude go, and the network becomes smaller and faster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from core.engine.context import Context
from core.engine.network import Network
from core.pruners._channels import channel_report, dependencies_of, kept_count, shrink, squared_norms
from core.registry import Param, register


@register(
    kind="prune",
    name="channels-magnitude",
    title="Channels, magnitude",
    summary="Removes whole channels of least magnitude with all that depends on them: the model itself shrinks.",
    reference="Li et al. 2017, Pruning filters for efficient ConvNets, arXiv 1608.08710; "
    "Fang et al. 2023, DepGraph: towards any structural pruning, arXiv 2301.12900",
    parameters=(
        Param(
            "sparsity",
            "Channels removed",
            0.5,
            "The fraction of channels removed; those that layers share, as across a residual sum, go together.",
            low=0.0,
            high=0.95,
            step=0.01,
            unit="fraction",
            neutral=0.0,
            of="channels",
        ),
        Param(
            "scope",
            "Ranked",
            "layer",
            "The same share from every group of channels, or the least of the whole network, norms over group means.",
            choices=("layer", "network"),
            labels={"layer": "Per layer", "network": "Whole network"},
        ),
        Param(
            "multiple",
            "Keep multiples of",
            4,
            "Groups of 16 channels and more are rounded down to such a multiple, as kernels work in blocks.",
            choices=(1, 4, 8),
        ),
    ),
)
def channels_magnitude(
    network: Network, values: Mapping[str, Any], context: Context
) -> tuple[Network, dict[str, Any]]:
    """Remove the channels whose coupled output filters, batch-norm folded in, have the least L2 norm.

    Across the network, squared norms are divided by their group's mean before they are ranked together.
    """
    found = dependencies_of(network)
    groups = tuple(group for group in found.groups if not group.whole)
    scores = context.scores(
        network,
        "channels-magnitude",
        lambda: {str(i): torch.from_numpy(norms) for i, norms in enumerate(squared_norms(network, groups))},
    )
    norms = [scores[str(i)].numpy() for i in range(len(groups))]
    asked = _asked(norms, values["sparsity"], values["scope"] == "network")
    gone = [
        group.channels[
            np.argsort(norm, kind="stable")[: group.size - kept_count(group.size, wish, values["multiple"])]
        ]
        for group, norm, wish in zip(groups, norms, asked, strict=True)
    ]
    channels = np.concatenate([np.zeros(0, np.int64), *gone])
    smaller = shrink(network, found.without(channels))
    return smaller, channel_report(network, smaller, found, len(channels))


def _asked(norms: list[NDArray[np.float64]], sparsity: float, across: bool) -> list[int]:
    """How many channels of each group should go, before groups are rounded."""
    if not across:
        return [round(sparsity * len(norm)) for norm in norms]
    relative = [norm / mean if (mean := norm.mean()) > 0 else np.zeros_like(norm) for norm in norms]
    owner = np.repeat(np.arange(len(norms)), [len(norm) for norm in norms])
    lowest = np.argsort(np.concatenate([np.zeros(0), *relative]), kind="stable")[: round(sparsity * len(owner))]
    return np.bincount(owner[lowest], minlength=len(norms)).tolist()
