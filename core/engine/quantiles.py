"""Quantiles of a sample with intervals that assume nothing of its distribution."""

from __future__ import annotations

import numpy as np
from scipy import special

from core.engine.statistics import LEVEL
from core.types import Floats, Interval, Quantity

LEVELS = (0.25, 0.5, 0.75, 0.9, 0.95, 0.99)


def quantiles(values: Floats, unit: str = "") -> list[Quantity]:
    """The quantiles of `values` `(N,)` at `LEVELS`, each between two order statistics that hold it in 95 % of cases.

    The ranks are those of the binomial of N and the level (David and Nagaraja 2003, Order statistics, 7.1). A
    quantile of which the sample holds too few values beyond has no interval.
    """
    n, ordered = len(values), np.sort(values)
    places = np.arange(n + 1)
    found = []
    for level in LEVELS:
        below = special.bdtr(places, n, level)  # P(at most k values lie below the quantile)
        low = int(np.searchsorted(below, (1 - LEVEL) / 2, "right"))  # 0-based: P(fewer than this many) <= 2.5 %
        high = int(np.searchsorted(below, (1 + LEVEL) / 2, "left"))
        ends = Interval(float(ordered[low - 1]), float(ordered[high]), LEVEL) if low > 0 and high < n else None
        found.append(Quantity(float(np.quantile(ordered, level)), unit, "measured", ends, n))
    return found
