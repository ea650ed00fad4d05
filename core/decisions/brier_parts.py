"""The Brier score of one class, taken apart: miscalibration - discrimination + uncertainty, and skill.

Dimitriadis, Gneiting and Jordan 2021 (CORP), doi 10.1073/pnas.2016191118. Here the score is the mean of
(probability of the positive class - truth)^2, half of the registered `brier`, which sums over both classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

from core.decisions.thresholds import Flags
from core.engine.statistics import LEVEL, resampled_sums
from core.errors import TemperError
from core.metrics._measure import columns
from core.types import Floats, Interval, Quantity


@dataclass(frozen=True)
class BrierParts:
    """`score = miscalibration - discrimination + uncertainty`, each at least 0, in squared probability.

    `skill` is 1 - score / (score of always forecasting `climatology`, the base rate of the calibration split); it
    has no value where that forecast is never wrong.
    """

    score: float
    miscalibration: float
    discrimination: float
    uncertainty: float
    climatology: float
    skill: Quantity
    n: int


def recalibrated(scores: Floats, positive: Flags) -> Floats:
    """The scores that isotonic regression of the truth on them gives, `(N,)`; equal scores stay equal."""
    levels, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    rates = np.bincount(place, positive, len(levels)) / count
    fitted: Floats = isotonic_regression(rates, weights=count).x[place]
    return fitted


def brier_parts(scores: Floats, positive: Flags, climatology: float) -> BrierParts:
    """Take the score of `scores` `(N,)` on `positive` `(N,)` apart. Raises `TemperError` for no example."""
    if not len(scores):
        raise TemperError("A Brier score needs at least one example; got none.")
    truth = positive.astype(np.float64)
    score = float(np.mean((scores - truth) ** 2))
    best = float(np.mean((recalibrated(scores, positive) - truth) ** 2))
    rate = float(truth.mean())
    uncertainty = rate * (1 - rate)
    # Both differences are at least 0 by construction; rounding alone may leave less.
    parts = max(0.0, score - best), max(0.0, uncertainty - best)
    return BrierParts(score, *parts, uncertainty, climatology, _skill(scores, truth, climatology), len(scores))


def _skill(scores: Floats, truth: Floats, climatology: float) -> Quantity:
    """Skill with the bootstrap's percentiles, moved to lie around the value."""
    errors = np.stack([(scores - truth) ** 2, (climatology - truth) ** 2], 1)
    mine, base = errors.mean(0)
    if base == 0:
        return Quantity(None, "fraction", "measured", None, len(truth), "the base rate alone is never wrong here")
    value = float(1 - mine / base)
    sums = resampled_sums(columns(errors))
    sums = sums[sums[:, 1] > 0]
    drawn = 1 - sums[:, 0] / sums[:, 1]
    low, high = np.quantile(drawn - drawn.mean() + value, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    ends = Interval(float(min(low, value)), float(max(high, value)), LEVEL)
    return Quantity(value, "fraction", "measured", ends, len(truth))
