"""Structured pruning by the scales of batch-norms, which say how loud each channel is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from core.engine.context import Context
from core.engine.network import Network
from core.models.channels import Group, Member
from core.models.handle import weights_of
from core.pruners._channels import PARAMETERS, Scores, remove_least
from core.registry import register

MEAN = ".running_mean"
NONE = "This network has no batch-norm whose scales could rank its channels."


@register(
    kind="prune",
    name="channels-norm",
    title="Channels, batch-norm scale",
    summary="Removes whole channels that their batch-norm scales down most, with all that depends on them.",
    reference="Liu et al. 2017, Learning efficient convolutional networks through network slimming, arXiv "
    "1708.06519; Fang et al. 2023, DepGraph: towards any structural pruning, arXiv 2301.12900",
    parameters=PARAMETERS,
    fits=lambda model: "" if any(name.endswith(MEAN) for name in weights_of(model)) else NONE,
)
def channels_norm(network: Network, values: Mapping[str, Any], context: Context) -> tuple[Network, dict[str, Any]]:
    """Remove the channels of least `|gamma|`, summed over the batch-norms that channels removed together pass.

    The paper trains with a penalty on `gamma` first and ranks the whole network at once; here the model is as it is,
    and scales are compared within a group, or over their group's mean. Groups without a batch-norm stay whole.
    """

    def score(groups: tuple[Group, ...]) -> Scores:
        found = []
        for group in groups:
            total = np.zeros(group.size)
            for member in _scales(network, group):
                sizes = network.tensors[member.tensor].double().abs().numpy()
                np.add.at(total, member.channel, sizes[member.at])
            found.append(total)
        return found

    return remove_least(
        network,
        values,
        context,
        "channels-norm",
        score,
        lambda group: "" if _scales(network, group) else "no batch-norm follows them",
    )


def _scales(network: Network, group: Group) -> list[Member]:
    """The group's places in the scales of batch-norms."""
    return [
        member
        for member in group.members
        if member.tensor.endswith(".weight") and member.tensor.removesuffix(".weight") + MEAN in network.tensors
    ]
