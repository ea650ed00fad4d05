"""What acting on stated probabilities costs, for every ratio of the two errors' costs.

Cost curves: Drummond and Holte 2006, doi 10.1007/s10994-006-8199-5. Here the threshold is the one that a calibrated
model would take, the costs' own share (Elkan 2001), so that miscalibration shows as a price; the mean over all ratios
is the Brier score (Hernandez-Orallo, Flach and Ferri 2011, Brier curves, ICML).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.decisions.thresholds import Flags
from core.engine.statistics import NORMAL, difference
from core.errors import TemperError
from core.types import Floats, Interval, Outcome, Quantity

POINTS = 201  # ratios drawn, both ends among them


@dataclass(frozen=True)
class CostCurve:
    """Mean cost an example at each `share` `(K,)` that a false alarm has of both costs, whose mean is 1.

    `before` and `after` act on the probabilities stated before and after calibrating; `low` and `high` are the 95 %
    interval of `after` at each point. `hindsight` takes, of all thresholds, the one that turned out cheapest on these
    very examples: nobody can, and no calibration that keeps the order goes below. `idle` is the cheaper of always and
    never calling `positive`. `mean_before`, `mean_after` and the paired `change` are over all shares.
    """

    positive: str
    shares: Floats
    before: Floats
    after: Floats
    low: Floats
    high: Floats
    hindsight: Floats
    idle: Floats
    mean_before: float
    mean_after: float
    change: Quantity
    n: int

    @property
    def useful(self) -> tuple[float, float] | None:
        """The ends of the shares where `after` is cheaper than always and never beyond chance; None where nowhere."""
        better = np.flatnonzero(self.high < self.idle)
        return None if not len(better) else (float(self.shares[better[0]]), float(self.shares[better[-1]]))


def cost_curve(before: Outcome, after: Outcome) -> CostCurve:
    """Both on the same examples. Raises `TemperError` unless two classes are told apart."""
    if before.task.kind != "binary":
        raise TemperError(f"A curve of two errors' costs is of two classes; got {len(before.classes)}.")
    place = before.task.positive
    positive = before.labels == place
    shares = np.linspace(0.0, 1.0, POINTS)
    one, other = (cost_at(outcome.probabilities[:, place], positive, shares) for outcome in (before, after))
    n, rate = before.n, float(positive.mean())
    half = NORMAL * np.sqrt(np.maximum(other[1] - other[0] ** 2, 0.0) / n)
    moved = difference("brier", before, after)  # which sums over both classes: twice the mean cost
    assert moved.value is not None and moved.interval is not None
    ends = Interval(moved.interval.low / 2, moved.interval.high / 2, moved.interval.level)
    mean_before, mean_after = (
        float(np.mean((outcome.probabilities[:, place] - positive) ** 2)) for outcome in (before, after)
    )
    return CostCurve(
        before.classes[place], shares, one[0], other[0], np.maximum(other[0] - half, 0.0), other[0] + half,
        cheapest(before.probabilities[:, place], positive, shares),
        2 * np.minimum(shares * (1 - rate), (1 - shares) * rate), mean_before, mean_after,
        Quantity(moved.value / 2, "", "measured", ends, n), n,
    )  # fmt: skip


def cost_at(scores: Floats, positive: Flags, shares: Floats) -> tuple[Floats, Floats]:
    """Mean cost and mean squared cost `(K,)` of calling positive from each share on; `scores`, `positive` `(N,)`."""
    rising = np.sort(scores[~positive]), np.sort(scores[positive])
    alarms = len(rising[0]) - np.searchsorted(rising[0], shares, "left")
    misses = np.searchsorted(rising[1], shares, "left")
    dear = 2 * shares, 2 * (1 - shares)
    n = len(scores)
    return (alarms * dear[0] + misses * dear[1]) / n, (alarms * dear[0] ** 2 + misses * dear[1] ** 2) / n


def cheapest(scores: Floats, positive: Flags, shares: Floats) -> Floats:
    """The least mean cost `(K,)` that any one threshold on `scores` gives, known afterwards."""
    levels = np.unique(scores)
    hits = np.sort(scores[positive])
    others = np.sort(scores[~positive])
    alarms = np.append(len(others) - np.searchsorted(others, levels, "left"), 0)
    misses = np.append(np.searchsorted(hits, levels, "left"), len(hits))
    hull = _lower(alarms.astype(np.float64), misses.astype(np.float64))
    costs = 2 * (shares[:, None] * alarms[hull] + (1 - shares[:, None]) * misses[hull])
    least: Floats = costs.min(1) / len(scores)
    return least


def _lower(alarms: Floats, misses: Floats) -> list[int]:
    """Places of the lower convex hull of the pairs: every other threshold is dearer at every ratio."""
    kept: list[int] = []
    for k in np.lexsort((misses, alarms)).tolist():
        while len(kept) > 1:
            a, b = kept[-2], kept[-1]
            turn = (alarms[b] - alarms[a]) * (misses[k] - misses[a]) - (misses[b] - misses[a]) * (
                alarms[k] - alarms[a]
            )
            if turn > 0:
                break
            kept.pop()
        kept.append(k)
    return kept
