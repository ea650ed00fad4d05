"""Structured pruning by what the loss would say to a channel's removal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from core.engine.context import Context
from core.engine.network import Network, fold
from core.layers.gradients import by_example
from core.models.channels import Group
from core.pruners._channels import PARAMETERS, Scores, remove_least
from core.registry import register


@register(
    kind="prune",
    name="channels-taylor",
    title="Channels, Taylor",
    summary="Removes whole channels that the loss misses least to first order, with all that depends on them.",
    reference="Molchanov et al. 2019, Importance estimation for neural network pruning, arXiv 1906.10771; "
    "Fang et al. 2023, DepGraph: towards any structural pruning, arXiv 2301.12900",
    parameters=PARAMETERS,
)
def channels_taylor(network: Network, values: Mapping[str, Any], context: Context) -> tuple[Network, dict[str, Any]]:
    """Remove the channels of least Taylor importance on examples of the calibration split.

    A layer's channel counts for the mean over examples of `(sum g w)^2`, the sum over its filter and bias with
    batch-norm folded in: the square of the loss's change to first order, were the channel zero, which is the paper's
    gate after batch-norm. Channels removed together count for the sum over the layers that make them.
    """
    return remove_least(
        network,
        values,
        context,
        f"channels-taylor {context.data.fingerprint}",
        lambda groups: _importances(network, context, groups),
    )


def _importances(network: Network, context: Context, groups: tuple[Group, ...]) -> Scores:
    folded = fold(network)
    makers = {member.tensor for group in groups for member in group.members if member.makes}
    layers = [layer for layer in folded.layers if layer.weight in makers]
    parts = {layer: tuple(name for name in (layer.weight, layer.bias) if name in folded.tensors) for layer in layers}
    total = {layer.weight: np.zeros(folded.tensors[layer.weight].shape[layer.channel_axis]) for layer in layers}
    count = 0
    for found in by_example(folded, context, tuple(name for names in parts.values() for name in names)):
        count += 1
        for layer, (weight, *bias) in parts.items():
            change = (
                (found[weight] * folded.tensors[weight]).movedim(layer.channel_axis, 0).flatten(1).double().sum(1)
            )
            for name in bias:
                change += found[name] * folded.tensors[name]
            total[layer.weight] += change.square().numpy()
    scores = []
    for group in groups:
        sums = np.zeros(group.size)
        for member in group.members:
            if member.makes:
                np.add.at(sums, member.channel, total[member.tensor][member.at] / count)
        scores.append(sums)
    return scores
