"""Paired statistics: intervals, flips, McNemar's test and what a set could have detected."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.sparse import csr_array

from core.errors import TemperError
from core.metrics._measure import Measure
from core.registry import method
from core.types import Floats, Interval, Outcome, Quantity

RESAMPLES = 500  # the ends of a 95 % interval then rest on 12 resamples each; twice as many moved them by 2 %
LEVEL = 0.95
NORMAL = float(special.ndtri(0.5 + LEVEL / 2))
POWER = 0.80
BLOCK = 1_024  # examples whose weights are float64 at once: 4 MB; every thread keeps the room of one
SHARES = ("accuracy", "coverage")  # of all examples: the first statistic of each is 0 or 1
RATES = (  # of 0 to 1, moved by 1 / n an error or more
    "macro_f1", "ece", "ece_equal_mass", "ece_debiased", "ece_smooth", "ks_calibration", "mce", "auroc",
    "average_precision",
)  # fmt: skip


@lru_cache(maxsize=2)
def resampling_weights(n: int, resamples: int = RESAMPLES, seed: int = 0) -> NDArray[np.uint8]:
    """How often each example is drawn in each bootstrap resample: counts `(N, B)`, columns sum to N.

    One byte a count, an eighth of float64: a count beyond 255 has a probability below 1e-500.
    """
    generator = np.random.default_rng(seed)
    counts = np.empty((resamples, n), np.uint8)
    for row in counts:
        row[:] = np.bincount(generator.integers(0, n, n), minlength=n)
    weights = np.ascontiguousarray(counts.T)
    weights.setflags(write=False)
    return weights


def resampled_sums(cells: csr_array) -> Floats:
    """Totals of per-example statistics `(N, K)` under each resample, `(B, K)`."""
    n, statistics = cells.shape
    weights = resampling_weights(n)
    sums = np.zeros((statistics, weights.shape[1]))
    for start in range(0, n, BLOCK):
        rows = slice(start, start + BLOCK)
        sums += cells[rows].T @ weights[rows].astype(np.float64)
    return sums.T


def wilson(successes: Floats | float, n: Floats | float) -> tuple[Floats, Floats]:
    """Wilson's interval of a proportion (1927, doi 10.1080/01621459.1927.10502953); `[0, 1]` where n is 0."""
    size = np.maximum(np.asarray(n, np.float64), 1e-12)
    rate = np.asarray(successes, np.float64) / size
    centre = (rate + NORMAL**2 / (2 * size)) / (1 + NORMAL**2 / size)
    half = NORMAL / (1 + NORMAL**2 / size) * np.sqrt(rate * (1 - rate) / size + NORMAL**2 / (4 * size**2))
    empty = np.asarray(n) == 0
    return np.where(empty, 0.0, np.maximum(0, centre - half)), np.where(empty, 1.0, np.minimum(1, centre + half))


def interval_of(name: str, outcome: Outcome) -> Interval:
    """The 95 % interval of a registered metric: Wilson's for a share of examples, else recentred bootstrap.

    Where every example is right a bootstrap knows no error and collapses: macro F1 and ECE are therefore
    never surer than accuracy.
    """
    measure: Measure = method("metric", name).function
    if name in SHARES:
        return Interval(*(float(end) for end in wilson(float(_hits(name, outcome).sum()), float(outcome.n))))
    value = measure.of(outcome)
    interval = _recentred(measure.total(resampled_sums(measure.cells_of(outcome))), value)
    if name in RATES:
        low, high = (float(end) for end in wilson(float(outcome.correct.sum()), float(outcome.n)))
        interval = _at_least(interval, high - low)
        over = max(0.0, interval.high - 1) - max(0.0, -interval.low)  # slid back into 0 to 1, as wide
        interval = Interval(interval.low - over, min(1.0, interval.high - over), LEVEL)
    return Interval(max(measure.least, interval.low), min(measure.most, interval.high), LEVEL)


def difference(name: str, before: Outcome, after: Outcome) -> Quantity:
    """The paired difference `after - before` of a registered metric on the same examples, with its interval.

    Shares of examples, such as accuracy: Agresti and Min's interval for matched pairs (2005,
    doi 10.1002/sim.1781), which keeps its width when no flip was seen. Other metrics: recentred bootstrap, both
    models resampled alike; macro F1 is never narrower than accuracy, whose interval knows of flips not yet seen. Two
    models that predict the same differ by exactly nothing. Raises `TemperError` where the examples are not the same.
    """
    _same_examples(before, after)
    measure: Measure = method("metric", name).function
    value, unit = measure.of(after) - measure.of(before), after.task.unit_of(measure.unit)
    if before.predicted is after.predicted or np.array_equal(before.predicted, after.predicted):
        return Quantity(0.0, unit, "measured", Interval(0.0, 0.0, LEVEL), after.n)
    if name in SHARES:
        was, now = _hits(name, before), _hits(name, after)
        gained, lost = int((now > was).sum()), int((now < was).sum())
        interval = matched_pairs(Flips(gained + lost, gained, lost, 0, after.n))
    else:
        sums = [resampled_sums(measure.cells_of(o)) for o in (before, after)]
        interval = _recentred(measure.total(sums[1]) - measure.total(sums[0]), value)
        if name == "macro_f1":
            known = matched_pairs(flips(before, after))
            interval = _at_least(interval, known.high - known.low)
    return Quantity(value, unit, "measured", interval, after.n)


def mean_change(name: str, before: Sequence[Outcome], after: Sequence[Outcome]) -> Quantity:
    """The mean over pairs of `after - before` of a registered metric on the same examples, as of several seeds.

    Its interval is a recentred bootstrap of the examples, all pairs resampled alike: it says how far other examples
    would move it, and nothing of other seeds. Raises `TemperError` where the examples are not the same.
    """
    measure: Measure = method("metric", name).function
    values, resampled, widths = [], [], [0.0]
    for one, other in zip(before, after, strict=True):
        _same_examples(one, other)
        values.append(measure.of(other) - measure.of(one))
        sums = [resampled_sums(measure.cells_of(outcome)) for outcome in (one, other)]
        resampled.append(measure.total(sums[1]) - measure.total(sums[0]))
        if name in SHARES:  # a bootstrap knows of no flip that was not seen
            known = difference(name, one, other).interval
            widths.append(known.high - known.low if known else 0.0)
    value = float(np.mean(values))
    interval = _recentred(np.mean(resampled, axis=0), value)
    if max(widths) > 0 and interval.low == interval.high:
        interval = _at_least(interval, float(np.mean(widths[1:])))
    return Quantity(value, after[0].task.unit_of(measure.unit), "measured", interval, after[0].n)


def _hits(name: str, outcome: Outcome) -> Floats:
    """Which examples count towards a share, 0 or 1 `(N,)`."""
    cells = method("metric", name).function.cells_of(outcome)
    return np.asarray(cells[:, [0]].todense(), np.float64).reshape(-1)


def _recentred(resampled: Floats, value: float) -> Interval:
    """Percentiles of the resampled values, moved so that their mean is `value`.

    Resampling adds the noise of n examples a second time, which inflates a calibration error again; moved
    back, the interval lies around the value that is shown.
    """
    low, high = np.quantile(resampled - resampled.mean() + value, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(min(low, value)), float(max(high, value)), LEVEL)


def _at_least(interval: Interval, width: float) -> Interval:
    """The interval, widened on both sides alike where it is narrower than `width`."""
    missing = max(0.0, width - (interval.high - interval.low)) / 2
    return Interval(interval.low - missing, interval.high + missing, interval.level)


def _same_examples(before: Outcome, after: Outcome) -> None:
    if not np.array_equal(before.labels, after.labels):
        raise TemperError(
            "A paired comparison needs two models judged on the same examples in the same order; "
            f"got {before.n:,} and {after.n:,} examples whose labels differ.",
            "Evaluate both on the same split.",
        )


@dataclass(frozen=True)
class Flips:
    """Predictions that differ between two models on the same `n` examples."""

    flips: int
    wrong_to_right: int
    right_to_wrong: int
    wrong_to_wrong: int
    n: int


@dataclass(frozen=True)
class McNemar:
    """McNemar's test of equal accuracy, two-sided: the mid-p value and the exact one."""

    mid_p: float
    exact_p: float


def flips(before: Outcome, after: Outcome) -> Flips:
    """Count the changed predictions by what became of them. Raises `TemperError` for unlike examples."""
    _same_examples(before, after)
    changed = before.predictions != after.predictions
    gained = int((~before.correct & after.correct).sum())
    lost = int((before.correct & ~after.correct).sum())
    total = int(changed.sum())
    return Flips(total, gained, lost, total - gained - lost, after.n)


def mcnemar(changed: Flips) -> McNemar:
    """McNemar's exact test and its mid-p form (Fagerland et al. 2013, doi 10.1186/1471-2288-13-91)."""
    fewer = min(changed.wrong_to_right, changed.right_to_wrong)
    discordant = changed.wrong_to_right + changed.right_to_wrong
    if discordant == 0:
        return McNemar(1.0, 1.0)
    # The binomial by special functions: importing scipy.stats takes half a second of every start.
    ways = math.lgamma(discordant + 1) - math.lgamma(fewer + 1) - math.lgamma(discordant - fewer + 1)
    here = math.exp(ways - discordant * math.log(2))
    exact = min(1.0, 2 * float(special.betainc(discordant - fewer, fewer + 1, 0.5)))
    # An even split is its own mirror image, so only half of its probability is taken off.
    even = changed.wrong_to_right == changed.right_to_wrong
    return McNemar(exact - (here / 2 if even else here), exact)


def matched_pairs(changed: Flips) -> Interval:
    """Agresti and Min's interval of the accuracy difference, a fraction, from counted flips."""
    n = changed.n + 2
    gained, lost = changed.wrong_to_right + 0.5, changed.right_to_wrong + 0.5
    centre = (gained - lost) / n
    half = NORMAL * math.sqrt((gained + lost) - (gained - lost) ** 2 / n) / n
    return Interval(max(-1.0, centre - half), min(1.0, centre + half), LEVEL)


def detectable(changed: Flips) -> float:
    """The smallest accuracy difference this set could have shown with 80 % power at the 5 % level.

    Connor's formula for paired proportions (1987, doi 10.2307/2531961), solved for the difference at the
    discordant rate seen. It is never less than six discordant pairs, all one way, since with fewer the exact
    test cannot reach 5 %; that is also the answer where no discordant pair was seen.
    """
    n = max(changed.n, 1)
    return detectable_at((changed.wrong_to_right + changed.right_to_wrong) / n, n)


def detectable_at(rate: float, n: int) -> float:
    """`detectable` of `n` examples of which a share `rate` is got right by one of the two models only."""
    high = float(special.ndtri(POWER))
    # With d the difference: n d^2 = (z_a sqrt(rate) + z_b sqrt(rate - d^2))^2, by fixed point from above.
    found = (NORMAL + high) * math.sqrt(rate / n)
    for _ in range(50):
        found = (NORMAL * math.sqrt(rate) + high * math.sqrt(max(rate - found**2, 0))) / math.sqrt(n)
    return min(1.0, max(found, 6 / n))
