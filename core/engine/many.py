"""Looking at many changes at once: the chance of each by its interval, and Holm's correction for their number."""

from __future__ import annotations

from collections.abc import Sequence

from scipy import special

from core.engine.statistics import NORMAL
from core.types import Quantity

SIGNIFICANT = 0.05  # two-sided, for all changes looked at together


def chance(change: Quantity) -> float:
    """The two-sided probability of a change so large if there were none, by its interval's normal deviate.

    The side of the interval that faces zero counts, so that a skewed one is not taken for surer than it is.
    """
    value, interval = change.value or 0.0, change.interval
    if value == 0 or interval is None:
        return 1.0
    towards = value - interval.low if value > 0 else interval.high - value
    return float(2 * special.ndtr(-abs(value) * NORMAL / towards)) if towards > 0 else 1.0


def holm(chances: Sequence[float], level: float = SIGNIFICANT) -> list[bool]:
    """Which of several null hypotheses fall at a family-wise `level`, given their p-values: Holm's step-down.

    Holm 1979, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6.
    """
    fallen = [False] * len(chances)
    for turn, k in enumerate(sorted(range(len(chances)), key=lambda k: chances[k])):
        if chances[k] > level / (len(chances) - turn):
            break
        fallen[k] = True
    return fallen
