"""Magnitude pruning with layer densities after Erdős and Rényi."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from core.engine.context import Context
from core.engine.network import Network
from core.pruners._ranking import SPARSITY, ranks_within, report
from core.registry import register


@register(
    kind="prune",
    name="magnitude-erk",
    title="Magnitude, ERK",
    summary="Removes the smallest weights of each layer, more from large layers than from small ones.",
    reference="Evci et al. 2020, Rigging the lottery (Erdős-Rényi-kernel), arXiv 1911.11134",
    parameters=(SPARSITY,),
)
def magnitude_erk(network: Network, values: Mapping[str, Any], context: Context) -> tuple[Network, dict[str, Any]]:
    """Keep a share of each layer in proportion to the sum of its dimensions over their product, at most all."""
    ranks = context.scores(
        network,
        "magnitude-layer",
        lambda: ranks_within({name: network.tensors[name].abs() for name in network.weight_names}),
    )
    apart = context.apart(network, "sparsity")
    weights = {name: network.tensors[name] for name in network.weight_names}
    kept = counts({name: weight for name, weight in weights.items() if name not in apart}, 1 - values["sparsity"])
    kept |= {name: weights[name].numel() - round(own * weights[name].numel()) for name, own in apart.items()}
    masks = {}
    for name, rank in ranks.items():
        keep = rank >= rank.numel() - kept[name]
        masks[name] = keep & network.masks[name] if name in network.masks else keep
    pruned = network.with_tensors({name: network.tensors[name] * mask for name, mask in masks.items()})
    pruned = replace(pruned, masks={**network.masks, **masks})
    return pruned, report(pruned)


def counts(weights: Mapping[str, Tensor], density: float) -> dict[str, int]:
    """How many weights of each layer stay, so that a share `density` of all does to one weight.

    Layers that would keep more than they have keep all, and the others share what is left.
    """
    size = {name: weight.numel() for name, weight in weights.items()}
    raw = {name: sum(weight.shape) / weight.numel() for name, weight in weights.items()}
    wanted, whole = round(density * sum(size.values())), set[str]()
    while True:
        open_ = [name for name in weights if name not in whole]
        left = wanted - sum(size[name] for name in whole)
        factor = left / sum(raw[name] * size[name] for name in open_) if open_ else 0.0
        over = {name for name in open_ if factor * raw[name] > 1}
        if not over:
            break
        whole |= over
    exact = {name: float(size[name]) if name in whole else factor * raw[name] * size[name] for name in weights}
    kept = {name: int(value) for name, value in exact.items()}
    for name in sorted(exact, key=lambda name: kept[name] - exact[name])[: wanted - sum(kept.values())]:
        kept[name] += 1
    return kept
