"""SparseGPT: weights are removed one input at a time, and those that stay make up for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from core.engine.context import Context
from core.engine.network import Network
from core.errors import TemperError
from core.layers.gram import EXAMPLES, moments, unread
from core.layers.second_order import BLOCK, DAMPING, carry, error, factor, grouped, relative_error
from core.models.layers import Layer
from core.pruners._ranking import SPARSITY, ranks_within, remove, report
from core.registry import register


@register(
    kind="prune",
    name="sparsegpt",
    title="SparseGPT",
    summary="Removes the weights that cost a layer's output least and changes those that stay to make up for them.",
    reference="Frantar and Alistarh 2023, SparseGPT, arXiv 2301.00774",
    parameters=(SPARSITY,),
)
def sparsegpt(network: Network, values: Mapping[str, Any], context: Context) -> tuple[Network, dict[str, Any]]:
    """Zero the same share of every layer by optimal brain surgery, column by column, on 256 calibration examples.

    Masks are chosen 128 columns at a time over all rows, each row counted as the batch-norm after it scales it.
    Weights that are zero already stay zero and count. A layer whose output error on those examples is no smaller
    than that of magnitude, and a layer without moments, falls back to magnitude within the layer: `magnitude` in
    `fitted` says which and why. `output_error` is, a layer, the share of its output's energy that changes there,
    `[by the zeros alone, with the weights that stay changed]`. All layers see the inputs they had before the step:
    layer after layer on what is left of those before it was no better on the samples.
    Masks do not nest: another sparsity chooses anew.
    """
    if network.grids or network.half:
        raise TemperError(
            "SparseGPT changes the weights that stay, which would leave the grid that quantization put them on.",
            "Move the pruning step before the quantize step.",
        )
    sparsity, apart = values["sparsity"], context.apart(network, "sparsity")
    plain = remove(
        network,
        ranks_within({name: network.tensors[name].abs() for name in network.weight_names}),
        sparsity,
        False,
        apart,
    )
    masks, tensors = dict(plain.masks), dict(plain.tensors)
    errors: dict[str, list[float]] = {}
    singular: dict[str, float] = {}
    why = {layer.name: unread(layer) for layer in network.layers}
    for place, (layer, seen) in enumerate(moments(network, context.data)):
        context.told(place / len(network.layers))
        weight = network.tensors[layer.weight]
        why[layer.name] = seen.why
        if seen.second is None:
            continue
        if not weight.isfinite().all():
            why[layer.name] = "its weights are not all finite numbers"
            continue
        factors = _row_factors(network, layer).reshape(len(seen.power), -1, 1)
        true = grouped(weight, len(seen.power)) * factors
        upper, damping = factor(seen.second)
        kept, updated = surgery(true, upper, apart.get(layer.weight, sparsity))
        found = (updated / factors).float().reshape(weight.shape)
        changed, magnitude = (
            grouped(one, len(seen.power)) * factors - true for one in (found, plain.tensors[layer.weight])
        )
        ours, theirs = (float(error(one, seen.second).sum()) for one in (changed, magnitude))
        zeros = relative_error(true * kept - true, true, seen.second)
        if seen.columns < true.shape[2] or not seen.power.all() or damping > DAMPING:
            singular[layer.name] = damping
        if ours < theirs:
            tensors[layer.weight], masks[layer.weight] = found, kept.reshape(weight.shape)
            errors[layer.name] = [zeros, relative_error(changed, true, seen.second)]
        elif theirs > 0:
            why[layer.name] = "magnitude changes its output no more on the calibration examples"
            errors[layer.name] = [relative_error(magnitude, true, seen.second)] * 2
    pruned = replace(network.with_tensors(tensors), masks=masks)
    said = {"examples": EXAMPLES, "output_error": errors, "singular": singular}
    return pruned, report(pruned) | said | {"magnitude": {name: reason for name, reason in why.items() if reason}}


def _row_factors(network: Network, layer: Layer) -> Tensor:
    """By how much the batch-norm after a layer scales each row, float64 `(O,)`; 1 where there is none.

    The error that counts is that of what leaves the batch-norm. Rows that it silences keep a millionth of the
    greatest factor, so that they can be divided by it.
    """
    rows = network.tensors[layer.weight].shape[0]
    if network.folded or layer.norm is None:
        return torch.ones(rows, dtype=torch.float64)
    gamma, variance = (network.tensors[f"{layer.norm}.{part}"].double() for part in ("weight", "running_var"))
    factors = (gamma / torch.sqrt(variance + layer.norm_epsilon)).abs()
    return factors.clamp(min=1e-6 * float(factors.max())) if factors.any() else torch.ones_like(factors)


def surgery(weight: Tensor, upper: Tensor, sparsity: float, block: int = BLOCK) -> tuple[Tensor, Tensor]:
    """Which weights of `weight` `(G, R, K)` float64 stay, bool, and the weights afterwards.

    `upper` is the factor of the inverse moments. Each block of columns gives up its share of what is still to go,
    over the rows of all groups, by the least `w^2 / u_kk^2` as the weights then stand.
    """
    kept = weight != 0
    free = int(kept.sum())  # weights that could go, in the columns to come
    wanted = max(0, round(sparsity * weight.numel()) - (weight.numel() - free))

    def begin(start: int, values: Tensor) -> None:
        nonlocal free, wanted
        part = kept[:, :, start : start + values.shape[2]]
        here = int(part.sum())
        count = round(wanted * here / free) if free else 0
        scores = (values / upper.diagonal(dim1=1, dim2=2)[:, None, start : start + values.shape[2]]).square()
        scores = torch.where(part, scores, torch.inf)
        gone = torch.argsort(scores.flatten(), stable=True)[:count]
        part &= torch.ones(part.numel(), dtype=torch.bool).index_fill_(0, gone, False).reshape(part.shape)
        free, wanted = free - here, wanted - count

    def settle(k: int, values: Tensor) -> Tensor:
        return values * kept[:, :, k]

    return kept, carry(weight, upper, settle, begin, block)
