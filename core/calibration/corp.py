"""A reliability curve without bins: isotonic regression of right or wrong on the confidence stated.

Dimitriadis, Gneiting and Jordan 2021 (CORP), doi 10.1073/pnas.2016191118; consistency bands as in Bröcker and Smith
2007, doi 10.1175/WAF993.1: where the curve would lie were the confidence honest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

from core.decisions.brier_parts import recalibrated
from core.engine.statistics import LEVEL, wilson
from core.errors import TemperError
from core.metrics._bins import BINS, edges, expected_error, top_label
from core.metrics._measure import divided
from core.types import Floats, Integers, Outcome

DRAWS = 200  # sets of labels drawn from the confidences; the band's ends rest on 5 each
KNOTS = 200  # points of a drawn curve


@dataclass(frozen=True)
class Corp:
    """How often the predicted class is right by how sure the model says it is.

    The curve: `at` `(K,)` rising confidences, `right` `(K,)` the isotonic share right there, `low` and `high` `(K,)`
    the 95 % consistency band. By bin `(BINS,)`: `edges` `(BINS + 1,)`, `count`, mean `confidence`, `accuracy`, and
    Wilson's `bar_low` and `bar_high`. `miscalibration` is the part of the mean of (confidence - right)^2 that
    calibrating would take away.
    """

    at: Floats
    right: Floats
    low: Floats
    high: Floats
    edges: Floats
    count: Integers
    confidence: Floats
    accuracy: Floats
    bar_low: Floats
    bar_high: Floats
    says: float
    is_right: float
    ece: float
    miscalibration: float
    n: int


def corp(outcome: Outcome, seed: int = 0) -> Corp:
    """The curve of the predicted class. Raises `TemperError` for no example."""
    if not outcome.n:
        raise TemperError("A reliability curve needs at least one example; got none.")
    sure, hits = outcome.confidence, outcome.correct
    levels, place, count = np.unique(sure, return_inverse=True, return_counts=True)
    fitted = recalibrated(sure, hits)
    curve = np.empty(len(levels))
    curve[place] = fitted
    kept = np.unique(np.linspace(0, len(levels) - 1, KNOTS).round().astype(np.int64))
    low, high = _consistent(levels, count, kept, seed)
    sums = np.asarray(top_label(outcome.probabilities, outcome.labels, BINS, "width").sum(0), np.float64).reshape(-1)
    n, said, right = np.split(sums, 3)
    bar_low, bar_high = wilson(right, n)
    truth = hits.astype(np.float64)
    gap = float(np.mean((sure - truth) ** 2) - np.mean((fitted - truth) ** 2))
    return Corp(
        levels[kept], curve[kept], low, high, edges(sure, BINS, "width"), n.astype(np.int64), divided(said, n),
        divided(right, n), bar_low, bar_high, float(sure.mean()), float(truth.mean()), float(expected_error(sums)),
        max(0.0, gap), outcome.n,
    )  # fmt: skip


def _consistent(levels: Floats, count: Integers, kept: Integers, seed: int) -> tuple[Floats, Floats]:
    """Pointwise quantiles of the curves of labels drawn from the confidences, at the `kept` levels."""
    generator = np.random.default_rng(seed)
    drawn = np.empty((DRAWS, len(kept)))
    honest = np.clip(levels, 0.0, 1.0)
    for row in drawn:
        row[:] = isotonic_regression(generator.binomial(count, honest) / count, weights=count).x[kept]
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high
