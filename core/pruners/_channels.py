"""Take channels out of a network: smaller tensors, masks cut along, the structure's own numbers put right."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.deploy.graph import structure
from core.engine.context import Context
from core.engine.memory import RESULTS
from core.engine.network import Network, fold
from core.errors import TemperError
from core.models.channels import Cut, Dependencies, Group, dependencies, multiply_adds
from core.models.handle import RUNNING
from core.pruners._ranking import report as sparsity_report
from core.registry import Param

LEAST = 0.02  # share of a group's channels that stays whatever is asked
ALIGNED_FROM = 16  # channels from which a group is kept to multiples
UNFIT = "what they are ranked by is not a finite number for all of them"
Scores = list[NDArray[np.float64]]
PARAMETERS = (
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
        "The same share from every group of channels, or the least of the whole network, scores over group means.",
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
)


def remove_least(
    network: Network,
    values: Mapping[str, Any],
    context: Context,
    name: str,
    score: Callable[[tuple[Group, ...]], Scores],
    unscored: Callable[[Group], str] = lambda group: "",
) -> tuple[Network, dict[str, Any]]:
    """Remove the channels of least score, coupled ones together, and report it.

    `score` gives float64 `(size,)` of groups, in their order, none negative; it is remembered under `name`.
    Across the network, scores are divided by their group's mean before they are ranked together. A group for which
    `unscored` gives a reason stays whole, and so does one whose scores are not all finite.
    """
    every = dependencies_of(network)
    found = replace(every, groups=tuple(replace(one, whole=one.whole or unscored(one)) for one in every.groups))
    groups = tuple(group for group in found.groups if not group.whole)
    kept = context.scores(
        network, name, lambda: {str(i): torch.from_numpy(part) for i, part in enumerate(score(groups))}
    )
    scores = {id(group): kept[str(i)].numpy() for i, group in enumerate(groups)}
    finite = tuple(
        replace(one, whole=UNFIT) if id(one) in scores and not np.isfinite(scores[id(one)]).all() else one
        for one in found.groups
    )
    found = replace(found, groups=finite)
    groups = tuple(group for group in found.groups if not group.whole)
    norms = [scores[id(group)] for group in groups]
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


def _asked(scores: Scores, sparsity: float, across: bool) -> list[int]:
    """How many channels of each group should go, before groups are rounded."""
    if not across:
        return [round(sparsity * len(score)) for score in scores]
    relative = [score / mean if (mean := score.mean()) > 0 else np.zeros_like(score) for score in scores]
    owner = np.repeat(np.arange(len(scores)), [len(score) for score in scores])
    lowest = np.argsort(np.concatenate([np.zeros(0), *relative]), kind="stable")[: round(sparsity * len(owner))]
    return np.bincount(owner[lowest], minlength=len(scores)).tolist()


def dependencies_of(network: Network) -> Dependencies:
    """The groups of a network in its present state, remembered. Raises `TemperError` for a quantized one."""
    if network.grids or network.half or network.activations or network.activation_bits < 32:
        raise TemperError(
            "Channels cannot be removed after quantization: its grids were made for all of them.",
            "Move the pruning step before the quantize step.",
        )
    key = ("channels", network.identity)
    return RESULTS.remember(key, lambda: dependencies(structure(network), network.shapes), lambda _: 1_000_000)


def squared_norms(network: Network, groups: tuple[Group, ...]) -> Scores:
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
        "parameters": [parameters(before), parameters(after)],
        "multiply_adds": [work(before), work(after)],
        "left_alone": [
            {"layers": [name.removesuffix(".weight") for name in g.outputs], "channels": g.size, "why": g.whole}
            for g in found.groups
            if g.whole
        ],
        "warning": "" if could else "No channel of this model can be removed: each must stay with all the others.",
    }


def parameters(network: Network) -> int:
    """How many numbers the network learned, running statistics left out."""
    return sum(tensor.numel() for name, tensor in network.tensors.items() if not name.endswith(RUNNING))


def work(network: Network) -> int:
    """Multiply-adds of one example."""
    shapes = tuple(network.shapes.items())
    key = ("multiply-adds", network.model.fingerprint, network.folded, network.edits, shapes)
    return RESULTS.remember(key, lambda: multiply_adds(structure(network), network.shapes), lambda _: 10_000)
