"""Examples to learn from that are in the evaluation split too, read as the very same or nearly so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core import fingerprint
from core.engine.runtime import Progress
from core.engine.statistics import LEVEL, wilson
from core.types import Floats, Integers, Interval, Quantity

BLOCK = 1_000  # rows of the table of cosines at once
SHOWN = 24  # pairs listed
BY_CHANCE = 0.001  # share of evaluation examples that may have a near calibration example


@dataclass(frozen=True)
class Pair:
    """An example to learn from and one that judges: their places, how alike they are, whether they are the same."""

    fit: int
    evaluation: int
    cosine: float
    exact: bool


@dataclass(frozen=True)
class Duplicates:
    """Copies of evaluation examples among those to learn from.

    `exact` evaluation examples are read as the very same numbers. `near` is the share of evaluation examples whose
    nearest of `beside` examples to learn from is as alike as `bar`, `chance` the same of as many of calibration.
    `pairs` are the most alike, exact ones first.
    """

    exact: int
    near: Quantity
    chance: Quantity
    bar: float
    beside: int
    n: int
    pairs: tuple[Pair, ...]

    @property
    def more(self) -> bool:
        """Whether there are more near ones than chance brings."""
        assert self.near.interval and self.chance.interval
        return self.near.interval.low > self.chance.interval.high


def hashes(inputs: NDArray[np.float32]) -> list[str]:
    """Names of examples `(N, ...)` by what the network reads."""
    return [fingerprint.of_bytes(np.ascontiguousarray(one).tobytes()) for one in inputs]


def nearest(rows: Floats, among: Floats, told: Progress) -> tuple[Floats, Integers]:
    """The largest cosine of each of `rows` `(N, k)` with `among` `(M, k)`, and its place."""
    one, other = (_unit(part) for part in (rows, among))
    best, place = np.empty(len(one)), np.empty(len(one), np.int64)
    for start in range(0, len(one), BLOCK):
        table = one[start : start + BLOCK] @ other.T
        place[start : start + BLOCK] = table.argmax(1)
        best[start : start + BLOCK] = table.max(1)
        told(min(1.0, (start + BLOCK) / len(one)))
    return best, place


def _unit(x: Floats) -> NDArray[np.float32]:
    found: NDArray[np.float32] = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    return found


def bar_of(before: Floats, altered: Floats) -> float:
    """The cosine that half of the examples `(N, k)` reach with themselves after a light change."""
    return float(np.median((_unit(before) * _unit(altered)).sum(1)))


def duplicates(
    fit: Floats, evaluation: Floats, calibration: Floats, names: tuple[list[str], list[str]], bar: float,
    told: Progress, seed: int = 0,
) -> Duplicates:  # fmt: skip
    """Copies by the hashes `names` of fit and evaluation, and near ones by cosine of features along the main axes.

    Near is at least `bar`, and nearer than all but one in a thousand evaluation examples are to calibration ones.
    """
    count = min(len(fit), len(calibration))
    chance, _ = nearest(evaluation, calibration[:count], lambda part: told(0.2 * part))
    bar = max(bar, float(np.quantile(chance, 1 - BY_CHANCE)))
    known = {name: place for place, name in reversed(list(enumerate(names[0])))}
    same = [Pair(known[name], place, 1.0, True) for place, name in enumerate(names[1]) if name in known]
    best, place = nearest(evaluation, fit, lambda part: told(0.2 + 0.6 * part))
    some = np.random.default_rng(seed).permutation(len(fit))[:count]
    beside, _ = nearest(evaluation, fit[some], lambda part: told(0.8 + 0.2 * part))
    exact = {pair.evaluation for pair in same}
    order = [int(i) for i in np.argsort(-best, kind="stable")[: SHOWN + len(exact)] if int(i) not in exact]
    near = [Pair(int(place[i]), i, float(best[i]), False) for i in order if best[i] >= bar]
    shares = [_share(float((one >= bar).sum()), len(evaluation)) for one in (beside, chance)]
    return Duplicates(len(same), shares[0], shares[1], bar, count, len(evaluation), tuple([*same, *near][:SHOWN]))


def _share(hits: float, n: int) -> Quantity:
    low, high = (float(end) for end in wilson(hits, float(n)))
    return Quantity(hits / n, "fraction", "measured", Interval(low, high, LEVEL), n)
