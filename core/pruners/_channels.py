"""Take channels out of a network: smaller tensors, masks cut along, the structure's own numbers put right."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.deploy.graph import structure
from core.engine.memory import RESULTS
from core.engine.network import Network, fold
from core.errors import TemperError
from core.models.channels import Cut, Dependencies, Group, dependencies, multiply_adds
from core.models.handle import RUNNING
from core.pruners._ranking import report as sparsity_report

LEAST = 0.02  # share of a group's channels that stays whatever is asked
ALIGNED_FROM = 16  # channels from which a group is kept to multiples


def dependencies_of(network: Network) -> Dependencies:
    """The groups of a network in its present state, remembered. Raises `TemperError` for a quantized one."""
    if network.grids or network.half or network.activations or network.activation_bits < 32:
        raise TemperError(
            "Channels cannot be removed after quantization: its grids were made for all of them.",
            "Move the pruning step before the quantize step.",
        )
    key = ("channels", network.identity)
    return RESULTS.remember(key, lambda: dependencies(structure(network), network.shapes), lambda _: 1_000_000)


def squared_norms(network: Network, groups: tuple[Group, ...]) -> list[NDArray[np.float64]]:
    """Squared L2 norm of each channel's coupled output filters, float64 `(size,)` a group.

    An embedding's filter is a column of its table. Batch-norm is folded into the filters it follows, so that the
    norm is that of what runs.
    """
    folded = fold(network).tensors
    found = []
    for group in groups:
        total = np.zeros(group.size)
        for member in group.members:
            if member.makes:
                filters = folded[member.tensor].movedim(member.axis, 0).flatten(1)
                np.add.at(total, member.channel, filters.double().square().sum(1).numpy()[member.at])
        found.append(total)
    return found


def kept_count(size: int, removed: int, multiple: int) -> int:
    """How many of a group's channels stay when `removed` are asked to go.

    Groups of 16 and more are kept to a multiple, rounded down; 2 % and at least one channel always stay.
    """
    if removed <= 0:
        return size
    least, kept = max(1, math.ceil(LEAST * size)), size - removed
    if size >= ALIGNED_FROM:
        kept, least = kept // multiple * multiple, -(-least // multiple) * multiple
    return min(size, max(kept, least))


def shrink(network: Network, cut: Cut) -> Network:
    """The network without the channels of a cut; tensors it does not touch are shared."""

    def smaller(tensor: Tensor, name: str) -> Tensor:
        for axis, kept in cut.kept[name]:
            tensor = tensor.index_select(axis, torch.from_numpy(kept))
        return tensor.contiguous()

    tensors = {name: smaller(network.tensors[name], name) for name in cut.kept}
    masks = {name: smaller(mask, name) if name in cut.kept else mask for name, mask in network.masks.items()}
    edits = tuple(sorted({**dict(network.edits), **dict(cut.edits)}.items()))
    return replace(network.with_tensors(tensors), masks=masks, edits=edits)


def channel_report(before: Network, after: Network, found: Dependencies, gone: int) -> dict[str, Any]:
    """What one step did: pairs are [before, after] it, for each layer's channels, parameters and multiply-adds.

    `channels_removed` is the fraction of `gone` in the channels that could go, each counted once however many
    layers make it; `left_alone` says which must stay, and why.
    """
    could = sum(group.size for group in found.groups if not group.whole)
    return sparsity_report(after) | {
        "channels_removed": round(gone / max(could, 1), 4),
        "channels": {
            layer.name: [one.tensors[layer.weight].shape[layer.channel_axis] for one in (before, after)]
            for layer in before.layers
        },
        "parameters": [_parameters(before), _parameters(after)],
        "multiply_adds": [_work(before), _work(after)],
        "left_alone": [
            {"layers": [name.removesuffix(".weight") for name in g.outputs], "channels": g.size, "why": g.whole}
            for g in found.groups
            if g.whole
        ],
        "warning": "" if could else "No channel of this model can be removed: each must stay with all the others.",
    }


def _parameters(network: Network) -> int:
    return sum(tensor.numel() for name, tensor in network.tensors.items() if not name.endswith(RUNNING))


def _work(network: Network) -> int:
    key = ("multiply-adds", network.model.fingerprint, network.folded, tuple(network.shapes.values()))
    return RESULTS.remember(key, lambda: multiply_adds(structure(network), network.shapes), lambda _: 10_000)
