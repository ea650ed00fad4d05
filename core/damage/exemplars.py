"""Exemplars that compression flips in most recipes of a neighbourhood, and the claim that the original doubts them.

Hooker et al. 2019 (arXiv 1911.05248) call an example identified by pruning where the label most often given by a
population of compressed models differs from that of a population of untouched ones. Here one trained model stands for
the latter, and the recipes around the present one for the former: an exemplar is an example that more than half of
them call otherwise than the original does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from core.damage.flipped import lead
from core.engine.statistics import LEVEL, NORMAL, wilson
from core.errors import TemperError
from core.types import Floats, Integers, Interval, Outcome, Quantity

LEAST = 2  # recipes below which 'most' says nothing
FEW = 5  # exemplars, and others, below which nothing is tested


@dataclass(frozen=True)
class Claim:
    """Whether the original is less sure of the exemplars: its median lead on them and on all others.

    `below` is the probability that it is less sure of an exemplar than of another example, ties counting half, and
    `p` the two-sided p-value of the rank-sum test.
    """

    exemplars: float
    others: float
    below: Quantity
    p: float


@dataclass(frozen=True)
class Exemplars:
    """The exemplars of a population of recipes.

    `shares` float64 `(N,)` is the part of the recipes that call each example otherwise than the original; `places`
    are the exemplars, flipped most often first, then where the original was surer. `right` and `right_others` are
    how often the original is right of them and of all others. `claim` is None where there are too few.
    """

    recipes: int
    shares: Floats
    places: Integers
    right: Quantity | None
    right_others: Quantity | None
    claim: Claim | None

    @property
    def n(self) -> int:
        """Number of examples."""
        return len(self.shares)


def exemplars(original: Outcome, calls: Sequence[NDArray[np.integer]]) -> Exemplars:
    """The exemplars of a population of recipes, `calls` being each one's predicted classes `(N,)`.

    Raises `TemperError` for fewer than two recipes.
    """
    if len(calls) < LEAST:
        raise TemperError(
            f"Exemplars need at least {LEAST} recipes that change the model; got {len(calls)}.",
            "Choose a recipe in the Studio, or visit some.",
        )
    said = original.predictions
    shares = np.mean([np.asarray(one) != said for one in calls], axis=0)
    inside, sure = shares > 0.5, lead(original)
    places = np.flatnonzero(inside)
    places = places[np.lexsort((-sure[places], -shares[places]))]
    few = min(int(inside.sum()), int((~inside).sum()))
    right, others = (_share(original.correct[of]) if of.any() else None for of in (inside, ~inside))
    claim = doubt(sure[inside], sure[~inside]) if few >= FEW else None
    return Exemplars(len(calls), shares, places, right, others, claim)


def doubt(one: Floats, other: Floats) -> Claim:
    """Whether values `(m,)` lie below values `(n,)`: medians, probability with its interval, rank-sum test.

    The test is Wilcoxon's and Mann and Whitney's by its normal limit with ties and continuity corrected. The interval
    is Newcombe's fifth for the area (2006, doi 10.1002/sim.2324), a score interval that does not collapse at 0 or 1.
    """
    m, n = len(one), len(other)
    _, ties, counts = np.unique(np.concatenate([one, other]), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[ties.reshape(-1)]
    u = float(ranks[:m].sum()) - m * (m + 1) / 2  # pairs in which `one` is larger, ties half
    total = m + n
    variance = m * n / 12 * (total + 1 - float((counts.astype(float) ** 3 - counts).sum()) / (total * (total - 1)))
    away = max(0.0, abs(u - m * n / 2) - 0.5)
    p = min(1.0, float(2 * special.ndtr(-away / math.sqrt(variance)))) if variance > 0 else 1.0
    area = 1 - u / (m * n)
    below = Quantity(area, "fraction", "measured", _area_interval(area, m, n), total)
    return Claim(float(np.median(one)), float(np.median(other)), below, p)


def _area_interval(area: float, m: int, n: int) -> Interval:
    """The areas whose normal deviate from the one seen is within the level's."""
    half = (m + n) / 2 - 1

    def beyond(true: float) -> bool:
        spread = true * (1 - true) * (1 + half * (1 - true) / (2 - true) + half * true / (1 + true)) / (m * n)
        return abs(area - true) > NORMAL * math.sqrt(max(spread, 0.0))

    return Interval(_edge(area, 0.0, beyond), _edge(area, 1.0, beyond), LEVEL)


def _edge(inside: float, outside: float, beyond: Callable[[float], bool]) -> float:
    if not beyond(outside):
        return outside
    for _ in range(60):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if beyond(middle) else (middle, outside)
    return inside


def _share(hits: NDArray[np.bool_]) -> Quantity:
    low, high = (float(end) for end in wilson(float(hits.sum()), float(len(hits))))
    return Quantity(float(hits.mean()), "fraction", "measured", Interval(low, high, LEVEL), len(hits))
