"""Range rules: from values to the limits a quantization grid should cover (range calibration)."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from core.engine.grid import fake_quantize, from_limits

Rule = Literal["minmax", "percentile", "mse"]
# The MSE rule shrinks the full range to these fractions and keeps the best. At two bits the best
# range of a bell-shaped tensor lies near a third of its extremes; below a tenth nothing was ever best.
FRACTIONS = np.linspace(1.0, 0.1, 46)


def limits(values: Tensor, rule: Rule, bits: int, symmetric: bool, percentile: float) -> tuple[Tensor, Tensor]:
    """Lower and upper limits, each `(G,)`, of groups `values` `(G, M)` float32.

    `minmax` takes the extremes. `percentile` cuts `100 - percentile` per cent of the values, half at
    either end. `mse` takes the fraction of the extremes with the least squared quantization error.
    """
    low, high = values.amin(1), values.amax(1)
    if rule == "minmax":
        return low, high
    if rule == "percentile":
        tail = (100 - percentile) / 200
        cut = np.quantile(values.numpy(), [tail, 1 - tail], axis=1)
        return torch.from_numpy(cut[0]).float(), torch.from_numpy(cut[1]).float()
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
