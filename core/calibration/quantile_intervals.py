"""Three ways to conformal intervals of numbers: one width, widths scaled by a deviation, and fitted quantiles.

Split conformal: Lei et al. 2018, doi 10.1080/01621459.2017.1307116, and its locally weighted form; conformalised
quantile regression: Romano, Patterson and Candes 2019, arXiv 1905.03222. The networks give a number, perhaps with a
deviation, and no quantiles: those are fitted here on one half of the calibration split, by boosted trees on what the
network says, and the other half makes them conformal. Every interval is judged on the evaluation split.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats

from core.calibration.calibration_lab import Material
from core.calibrators._widths import check_numbers, deviations
from core.calibrators.conformal import rank
from core.engine.memory import RESULTS
from core.engine.statistics import LEVEL as SURE
from core.errors import TemperError
from core.task import LEVEL
from core.types import Floats, Integers, Interval, Quantity

Way = Literal["plain", "normalised", "quantile"]
WAYS: tuple[Way, ...] = ("plain", "normalised", "quantile")
BANDS = 10  # equally full parts of the predictions by which coverage is told
LEAST = 100  # calibration examples: a half of them fits trees whose leaves hold 20
TREES, LEAVES, LEAF = 100, 8, 20
BEYOND = 5  # examples of a leaf that should lie beyond its quantile: one or two would make it a matter of luck
SMALLEST = 1e-9  # of the mean residual: no fitted deviation lies below


@dataclass(frozen=True)
class Intervals:
    """One way's intervals on the evaluation split, `low` and `high` float64 `(N,)`; an empty one holds nothing.

    `fitted` and `set` count the calibration examples that fitted it and those that made it conformal. `coverage` and
    `by_band` are shares with Clopper and Pearson's interval, `widths` the mean width of each band.
    """

    way: Way
    low: Floats
    high: Floats
    fitted: int
    set: int
    coverage: Quantity
    width: float
    score: float
    by_band: tuple[Quantity, ...]
    widths: tuple[float, ...]


@dataclass(frozen=True)
class QuantileIntervals:
    """The ways at one `level`, by bands of the prediction: `ends` `(B + 1,)` rising, in the unit of the number."""

    level: float
    ends: Floats
    ways: tuple[Intervals, ...]
    states_scale: bool
    unit: str
    n: int

    def of(self, way: Way) -> Intervals:
        """One way's."""
        return next(one for one in self.ways if one.way == way)


def quantile_intervals(given: Material, level: float = LEVEL, seed: int = 0) -> QuantileIntervals:
    """Make and judge them all, remembered. Raises `TemperError` for classes and for too few examples."""
    if given.evaluation.task.decides:
        raise TemperError("Intervals are of numbers; classes get sets.")
    key = ("quantile intervals", *given.key, level, seed)
    return RESULTS.remember(key, lambda: _made(given, level, seed), lambda found: 48 * found.n)


def _made(given: Material, level: float, seed: int) -> QuantileIntervals:
    z, y = check_numbers(given.calibration.logits, given.calibration.labels)
    new, truth = check_numbers(given.evaluation.logits, given.evaluation.labels)
    n = len(y)
    needed = 2 * next(k for k in range(1, 10**6) if rank(k, level) <= k)
    if n < max(LEAST, needed):
        raise TemperError(
            f"Quantile-based intervals need at least {max(LEAST, needed)} calibration examples; got {n}.",
            "Make the calibration split larger.",
        )
    order = np.random.default_rng(seed).permutation(n)
    first, second = np.sort(order[: n // 2]), np.sort(order[n // 2 :])
    scaled = z.shape[1] == 2

    plain = _bound(np.abs(y - z[:, 0]), level)
    made: list[tuple[Way, Floats, Floats, int, int]] = [("plain", new[:, 0] - plain, new[:, 0] + plain, 0, n)]

    if scaled:
        here, there, rows, fitted = deviations(z), deviations(new), np.arange(n), 0
    else:
        residual = np.abs(y - z[:, 0])
        predict = _boosted(z[first], residual[first], None, seed)
        floor = SMALLEST * max(float(residual[first].mean()), np.finfo(np.float64).tiny)
        here, there = (np.maximum(predict(x), floor) for x in (z, new))
        rows, fitted = second, len(first)
    factor = _bound(np.abs(y - z[:, 0])[rows] / here[rows], level)
    made.append(("normalised", new[:, 0] - factor * there, new[:, 0] + factor * there, fitted, len(rows)))

    tail = (1 - level) / 2
    lower, upper = (_boosted(z[first], y[first], q, seed) for q in (tail, 1 - tail))
    beyond = _bound(np.maximum(lower(z[second]) - y[second], y[second] - upper(z[second])), level)
    made.append(("quantile", lower(new) - beyond, upper(new) + beyond, len(first), len(second)))

    ends, band = _bands(new[:, 0])
    ways = tuple(_judged(*one, truth, band, len(ends) - 1, level) for one in made)
    return QuantileIntervals(level, ends, ways, scaled, given.evaluation.task.unit, len(truth))


def _bound(scores: Floats, level: float) -> float:
    """The ceil((n + 1) level)-th smallest score."""
    return float(np.sort(scores)[rank(len(scores), level) - 1])


def _boosted(x: Floats, y: Floats, quantile: float | None, seed: int) -> Callable[[Floats], Floats]:
    """Boosted trees of `y` `(N,)` on what the network says, `x` `(N, 1 or 2)`: a quantile, or the mean."""
    from sklearn.ensemble import HistGradientBoostingRegressor  # takes a second to import

    size = float(np.abs(y).max()) or 1.0  # trees see numbers near one, whatever their unit
    leaf = LEAF
    if quantile is not None:
        leaf = max(LEAF, min(round(BEYOND / min(quantile, 1 - quantile)), len(y) // 5))
    loss: dict[str, Any] = {"loss": "squared_error"}
    if quantile is not None:
        loss = {"loss": "quantile", "quantile": quantile}
    model = HistGradientBoostingRegressor(
        **loss, max_iter=TREES, max_leaf_nodes=LEAVES, min_samples_leaf=leaf, early_stopping=False, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of features that never vary
        model.fit(x, y / size)
    return lambda new: np.asarray(size * model.predict(new), np.float64)


def _bands(values: Floats) -> tuple[Floats, Integers]:
    """Ends `(B + 1,)` of up to `BANDS` equally full bands of the predictions, and each one's band; ties share one."""
    ends = np.unique(np.quantile(values, np.linspace(0, 1, BANDS + 1)))
    if len(ends) == 1:
        return np.array([ends[0], ends[0]]), np.zeros(len(values), np.int64)
    return ends, np.searchsorted(ends[1:-1], values, "left").astype(np.int64)


def _judged(
    way: Way, low: Floats, high: Floats, fitted: int, set_: int, y: Floats, band: Integers, bands: int, level: float
) -> Intervals:
    inside = (low <= y) & (y <= high)
    wide = np.maximum(high - low, 0.0)
    missed = np.maximum(np.maximum(low - y, y - high), 0.0)
    counts = np.bincount(band, minlength=bands)
    hits = np.bincount(band, inside, bands)
    widths = np.bincount(band, wide, bands) / np.maximum(counts, 1)
    return Intervals(
        way, low, high, fitted, set_, clopper_pearson(int(inside.sum()), len(y)), float(wide.mean()),
        float((wide + 2 / (1 - level) * missed).mean()),
        tuple(clopper_pearson(int(h), int(n)) for h, n in zip(hits, counts, strict=True)),
        tuple(float(one) for one in widths),
    )  # fmt: skip


def clopper_pearson(hits: int, n: int) -> Quantity:
    """A share with Clopper and Pearson's exact 95 % interval (1934, doi 10.1093/biomet/26.4.404)."""
    if not n:
        return Quantity(None, "fraction", "measured", None, 0, "there is no example")
    tail = (1 - SURE) / 2
    low = float(stats.beta.ppf(tail, hits, n - hits + 1)) if hits else 0.0
    high = float(stats.beta.ppf(1 - tail, hits + 1, n - hits)) if hits < n else 1.0
    return Quantity(hits / n, "fraction", "measured", Interval(low, high, SURE), n)
