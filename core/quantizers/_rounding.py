"""Rounding that looks at what each layer reads: a layer's output shall move least, not its weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from core.data.handle import DataHandle
from core.engine.grid import Grid, dequantize, quantize, spread
from core.engine.network import Network
from core.layers.gram import EXAMPLES, Moments, moments, unread
from core.layers.second_order import DAMPING, error, grouped
from core.models.layers import Layer
from core.quantizers._adaround import chosen
from core.quantizers._gptq import compensated


def reconstruct(
    network: Network,
    grids: Mapping[str, Grid],
    rounding: str,
    data: DataHandle,
    told: Callable[[float], None] = lambda _: None,
    seen: Iterable[tuple[Layer, Moments]] | None = None,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights on their grids by `gptq` or `adaround`, and what there is to say of each layer.

    Weights that are zero stay zero. A row (output channel) whose output error on the calibration examples is not
    below that of rounding to nearest is rounded to nearest. `output_error` is, a layer, the share of its output's
    energy that the rounding changes there, `[nearest, this]`; `skipped` says which layers were rounded to nearest.
    `seen` are moments of what the layers read where that is not what they read in this network.
    """
    nearest = {name: dequantize(quantize(network.tensors[name], grid), grid) for name, grid in grids.items()}
    rounded = dict(nearest)
    errors: dict[str, list[float]] = {}
    damping: dict[str, float] = {}
    skipped = {layer.name: unread(layer) for layer in network.layers}
    rows = fell_back = 0
    for place, (layer, read) in enumerate(moments(network, data) if seen is None else seen):
        told(place / len(network.layers))
        if layer.weight not in grids:
            skipped[layer.name] = "it stays float"
            continue
        weight, grid = network.tensors[layer.weight], grids[layer.weight]
        skipped[layer.name] = _unfit(weight, read.why)
        if skipped[layer.name] or read.second is None:
            continue
        true = grouped(weight, len(read.power))
        integers, used = _integers(weight, grid, read.second, rounding)
        found = dequantize(integers.reshape(weight.shape).to(torch.int32), grid)
        before, after = (
            error(grouped(one, len(read.power)) - true, read.second) for one in (nearest[layer.weight], found)
        )
        better = after < before
        rounded[layer.weight] = torch.where(
            better.reshape(-1, *[1] * (weight.ndim - 1)), found, nearest[layer.weight]
        )
        energy = float(error(true, read.second).sum())
        errors[layer.name] = [
            float(one.sum()) / energy if energy else 0.0 for one in (before, torch.minimum(before, after))
        ]
        rows, fell_back = rows + better.numel(), fell_back + int((after > before).sum())
        if read.columns < true.shape[2] or not read.power.all() or used > DAMPING:
            damping[layer.name] = used
    return rounded, {
        "rounding": rounding,
        "rounding_examples": EXAMPLES,
        "output_error": errors,
        "singular": damping,
        "skipped": {name: why for name, why in skipped.items() if why},
        "channels_to_nearest": [fell_back, rows],
    }


def _unfit(weight: Tensor, why: str) -> str:
    """Why a layer cannot be treated, or nothing."""
    if why:
        return why
    if not torch.isfinite(weight).all():
        return "its weights are not all finite numbers"
    return "" if weight.any() else "its weights are all zero"


def _integers(weight: Tensor, grid: Grid, second: Tensor, rounding: str) -> tuple[Tensor, float]:
    """Integers float64 `(G, R, K)` on the grid, and the share of damping used."""
    groups, rows = len(second), weight.shape[0] // len(second)
    if grid.group:
        scale, zero = (grouped(spread(part, grid, weight.shape), groups) for part in (grid.scale, grid.zero_point))
    else:
        shape = (groups, rows, 1) if grid.axis is not None else (1, 1, 1)
        scale, zero = grid.scale.double().reshape(shape), grid.zero_point.double().reshape(shape)
    true = grouped(weight, groups)
    fixed = true == 0
    if rounding == "gptq":
        low, high = (torch.where(fixed, zero, float(bound)) for bound in (grid.low, grid.high))
        return compensated(true, second, scale, zero, low, high)
    # In float32 like `quantize`, so that the nearest level is always one of the two.
    level = grouped(weight, groups).float() / scale.float()
    down, up = (one.double().add_(zero).clamp_(grid.low, grid.high) for one in (level.floor(), level.ceil()))
    nearest = grouped(quantize(weight, grid), groups)
    return chosen(true, second, scale, zero, nearest, down + up - nearest)
