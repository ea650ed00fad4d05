"""N:M pruning: so many of every few weights stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from core.engine.context import Context
from core.engine.network import Network
from core.pruners._ranking import report
from core.registry import Param, register


@register(
    kind="prune",
    name="pattern",
    title="Pattern, N:M",
    summary="Of every M weights in a row keeps the N largest, as sparse tensor cores read them.",
    reference="Mishra et al. 2021, Accelerating sparse deep neural networks, arXiv 2104.08378",
    parameters=(
        Param(
            "pattern",
            "Pattern",
            "2:4",
            "How many of how many neighbours along the input channels stay.",
            choices=("dense", "2:4", "4:8", "1:4"),
            labels={"dense": "Dense", "2:4": "2:4", "4:8": "4:8", "1:4": "1:4"},
            neutral="dense",
            by_layer=True,
        ),
    ),
)
def pattern(network: Network, values: Mapping[str, Any], context: Context) -> tuple[Network, dict[str, Any]]:
    """Zero all but the N largest of M neighbours along the input channels, of rows for an embedding.

    Layers whose channels M does not divide stay dense and are named under `left`.
    """
    masks, left = {}, []
    for layer in network.layers:
        weight, own = network.tensors[layer.weight], context.own(layer.name, values)["pattern"]
        if own == "dense":
            continue
        keep, of = (int(part) for part in own.split(":"))
        if weight.shape[1] % of:
            left.append(layer.name)
            continue
        mask = largest(weight, keep, of)
        masks[layer.weight] = mask & network.masks[layer.weight] if layer.weight in network.masks else mask
    pruned = network.with_tensors({name: network.tensors[name] * mask for name, mask in masks.items()})
    pruned = replace(pruned, masks={**network.masks, **masks})
    return pruned, report(pruned) | {"left": left}


def largest(weight: Tensor, keep: int, of: int) -> Tensor:
    """Which weights `(out, in, ...)` are among the `keep` largest of `of` neighbours along `in`; ties by place."""
    last = weight.abs().movedim(1, -1)
    groups = last.reshape(-1, of)
    order = torch.argsort(groups, dim=1, descending=True, stable=True)
    mask = torch.zeros_like(groups, dtype=torch.bool).scatter_(1, order[:, :keep], True)
    return mask.reshape(last.shape).movedim(-1, 1).contiguous()
