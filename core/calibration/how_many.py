"""How many calibration examples a method needs: fitted on nested subsets, judged on the evaluation split."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from core.calibration.calibration_lab import Material
from core.engine.runtime import Progress
from core.errors import TemperError
from core.registry import method
from core.types import Floats, Integers

SEEDS = 8  # orders in which the examples are added
FIRST = 20  # examples of the smallest subset
STEP = 2.0  # times as many each time
NEAR = 0.05  # of what all examples gain over none: so near to it is enough


@dataclass(frozen=True)
class HowMany:
    """A measure on the evaluation split by the size of the calibration split: arrays `(K,)`, rising `sizes`.

    `middle`, `low` and `high` are the median and the 10th and 90th percentile over `SEEDS` subsets, of those that
    could be fitted, whose number is `fitted`; `none` is the uncalibrated model's. Sizes at which none could be fitted
    are left out. `enough` is the smallest size from which on the median stays within `NEAR` of what all gain; None
    where calibrating gains nothing.
    """

    name: str
    title: str
    measure: str
    unit: str
    sizes: Integers
    middle: Floats
    low: Floats
    high: Floats
    fitted: Integers
    none: float
    enough: int | None
    n: int


def how_many(given: Material, name: str, measure: str, progress: Progress | None = None) -> HowMany:
    """Fit a method on nested subsets of the calibration split. Raises `TemperError` where no size can be fitted."""
    chosen, metric = method("calibrate", name), method("metric", measure).function
    values = dict(given.own.values) if given.own and given.own.method == name else chosen.complete({})
    total, evaluation = given.calibration.n, given.evaluation
    sizes = [round(FIRST * STEP**k) for k in range(40)]
    sizes = [size for size in sizes if size < 0.75 * total] + [total]
    found: list[list[float]] = [[] for _ in sizes]
    said = ""
    for seed in range(SEEDS):
        order = np.random.default_rng(seed).permutation(total)
        for place, size in enumerate(sizes):
            if progress is not None:
                progress((seed * len(sizes) + place) / (SEEDS * len(sizes)))
            if size == total and seed:
                continue
            part = np.sort(order[:size])
            try:
                fit = chosen.function(given.calibration.logits[part], given.calibration.labels[part], **values)
            except TemperError as error:
                said = f"{error.message} {error.hint}".strip()
                continue
            found[place].append(metric.of(replace(evaluation, predicted=fit.probabilities(evaluation.logits))))
    kept = [(size, some) for size, some in zip(sizes, found, strict=True) if some]
    if not kept:
        raise TemperError(f"{chosen.title} could be fitted on no part of the calibration split: {said}")
    middle, low, high = (np.array([np.quantile(some, q) for _, some in kept]) for q in (0.5, 0.1, 0.9))
    at, none = np.array([size for size, _ in kept]), float(metric.of(evaluation))
    return HowMany(
        name, chosen.title, measure, evaluation.task.unit_of(metric.unit), at, middle, low, high,
        np.array([len(some) for _, some in kept]), none, _enough(at, middle, none, metric.higher_is_better), total,
    )  # fmt: skip


def _enough(sizes: Integers, middle: Floats, none: float, higher: bool) -> int | None:
    gained = (middle - none) if higher else (none - middle)
    if gained[-1] <= 0:
        return None
    short = np.flatnonzero(gained < (1 - NEAR) * gained[-1])
    return int(sizes[short[-1] + 1 if len(short) else 0])
