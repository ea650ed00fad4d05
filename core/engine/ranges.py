"""Range rules: from values to the limits a quantization grid should cover (range calibration)."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from core.engine.grid import fake_quantize, from_limits

Rule = Literal["minmax", "percentile", "mse", "entropy"]
# The MSE rule shrinks the full range to these fractions and keeps the best. At two bits the best
# range of a bell-shaped tensor lies near a third of its extremes; below a tenth nothing was ever best.
FRACTIONS = np.linspace(1.0, 0.1, 46)
# The entropy rule's histogram, as in its source, which tries every end from the number of levels on; every 16th here.
HISTOGRAM, STRIDE = 2048, 16


def limits(values: Tensor, rule: Rule, bits: int, symmetric: bool, percentile: float) -> tuple[Tensor, Tensor]:
    """Lower and upper limits, each `(G,)`, of groups `values` `(G, M)` float32.

    `minmax` takes the extremes. `percentile` cuts `100 - percentile` per cent of the values, half at
    either end. `mse` takes the fraction of the extremes with the least squared quantization error. `entropy` cuts at
    the size beyond which clipping would lose more information than coarse levels do.
    """
    low, high = values.amin(1), values.amax(1)
    if rule == "minmax":
        return low, high
    if rule == "percentile":
        tail = (100 - percentile) / 200
        cut = np.quantile(values.numpy(), [tail, 1 - tail], axis=1)
        return torch.from_numpy(cut[0]).float(), torch.from_numpy(cut[1]).float()
    if rule == "entropy":
        one_sided = (low >= 0) | (high <= 0)
        ends = torch.where(
            one_sided & (not symmetric),
            _least_divergence(values, 2**bits),
            _least_divergence(values, 2 ** (bits - 1)),
        )
        return torch.maximum(low, -ends), torch.minimum(high, ends)
    best = torch.full_like(low, torch.inf)
    best_low, best_high = low.clone(), high.clone()
    for fraction in FRACTIONS:
        grid = from_limits(low * float(fraction), high * float(fraction), bits, symmetric, axis=0)
        error = (fake_quantize(values, grid) - values).square_().sum(1)
        better = error < best
        best = torch.where(better, error, best)
        best_low = torch.where(better, low * float(fraction), best_low)
        best_high = torch.where(better, high * float(fraction), best_high)
    return best_low, best_high


def _least_divergence(values: Tensor, levels: int) -> Tensor:
    """The size `(G,)` at which to cut so that the levels tell most of what the values did (Migacz 2017).

    Of each end of the histogram of absolute values the divergence KL(P || Q) is taken: P is the histogram up to there
    with all that lies beyond in its last bin, Q the same without what lies beyond, its bins merged into `levels` and
    each level spread evenly over those of its bins that P has. Zeros are left out: every grid holds them. Groups with
    values that are not finite keep their extremes. Source: 8-bit inference with TensorRT, GTC 2017.
    """
    size = values.abs()
    top = size.amax(1)
    usable = (torch.isfinite(top) & (top > 0))[:, None]
    place = torch.where(usable, size / top[:, None] * HISTOGRAM, 0.0).long().clamp_(max=HISTOGRAM - 1)
    place += torch.arange(len(values))[:, None] * HISTOGRAM
    counted = torch.bincount(place[usable & (size > 0)], minlength=len(values) * HISTOGRAM)
    counts = counted.reshape(-1, HISTOGRAM).double()
    total = counts.sum(1).clamp(min=1)

    def running(parts: Tensor) -> Tensor:
        return torch.nn.functional.pad(parts.cumsum(1), (1, 0))

    sums, filled, own = running(counts), running((counts > 0).double()), running(torch.xlogy(counts, counts))
    best, ends = torch.full_like(total, torch.inf), torch.full_like(total, HISTOGRAM)
    for end in range(HISTOGRAM, min(levels, HISTOGRAM) - 1, -STRIDE):
        edges = torch.ceil(torch.arange(min(levels, end) + 1).double() * end / min(levels, end)).long()
        inside, bins = sums[:, edges].diff(dim=1), filled[:, edges].diff(dim=1)
        beyond, last = total - sums[:, end], counts[:, end - 1]
        told = inside.clone()  # what P holds of each level
        told[:, -1] += beyond
        bins[:, -1] += (last == 0) & (beyond > 0)
        entropy = own[:, end] - torch.xlogy(last, last) + torch.xlogy(last + beyond, last + beyond)
        spread = torch.xlogy(told, inside / bins.clamp(min=1)).sum(1)  # minus infinity where Q lacks what P has
        divergence = (entropy - spread) / total - total.log() + sums[:, end].log()
        better = divergence < best
        best, ends = torch.where(better, divergence, best), torch.where(better, float(end), ends)
    return torch.where(usable[:, 0], top * (ends / HISTOGRAM).float(), top)
