"""A temperature for each declared group, shrunk towards the common one where a group has few examples.

Each group's own log-temperature has a standard error from the curvature of its likelihood. How far groups truly
differ is estimated from the spread beyond those errors (DerSimonian and Laird 1986, doi
10.1016/0197-2456(86)90046-2), and each is moved to the common one by the share of its variance that is error (Efron
and Morris 1975, doi 10.1080/01621459.1975.10479864). Fitted on the calibration split, judged on evaluation. It is no
step of a recipe: a file that leaves is given inputs, not groups.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from core.calibration.calibration_lab import Material
from core.calibrators._fitted import check, softmax
from core.calibrators.temperature import LARGEST, MARGIN, SMALLEST, optimal_temperature
from core.engine.memory import RESULTS
from core.engine.statistics import LEVEL, NORMAL, interval_of
from core.errors import TemperError
from core.metrics._reduction import reduce
from core.metrics.nll import surprise
from core.task import task_of_classes
from core.types import Floats, Integers, Interval, Outcome, Provenance, Quantity

FEWEST = 10  # examples of a group below which it has no temperature of its own, and nothing is judged


@dataclass(frozen=True)
class GroupTemperature:
    """One group: its examples in both splits, its own temperature with its interval, and the one that is used.

    `weight` is how far the used one is its own: 0 the common one, 1 its own. `own` is None where the group is too
    small or its likelihood has no optimum. `raw_ece` without a temperature, `common_ece`, `ece` and the paired change
    of NLL from the common temperature to the used one, in nats, are of the evaluation split; None where the group is
    too small there.
    """

    name: str
    n: int
    own: Quantity | None
    weight: float
    temperature: float
    judged: int = 0
    common_ece: float | None = None
    ece: float | None = None
    nll_change: Quantity | None = None
    raw_ece: Quantity | None = None
    ends: Interval | None = None  # of `ece`


@dataclass(frozen=True)
class GroupTemperatures:
    """The temperatures of a column's groups. `spread` is the standard deviation of log-temperatures between groups.

    `every` judges all evaluation examples together.
    """

    title: str
    common: float
    spread: float
    every: GroupTemperature
    groups: tuple[GroupTemperature, ...]

    def probabilities(self, logits: Floats, groups: Integers) -> Floats:
        """Probabilities `(N, C)` of logits `(N, C)` of examples of these groups `(N,)`; below 0 means not stated."""
        by = np.array([*(one.temperature for one in self.groups), self.common])
        return softmax(logits / by[np.where(groups < 0, len(self.groups), groups)][:, None])


def group_temperatures(
    title: str,
    names: tuple[str, ...],
    calibration: tuple[Floats, Integers, Integers],
    evaluation: tuple[Floats, Integers, Integers],
) -> GroupTemperatures:
    """Fit on one split, judge on another: logits `(N, C)`, labels and groups `(N,)`. Raises `TemperError`."""
    z, y, of = check(calibration[0], calibration[1]), calibration[1], calibration[2]
    if of.shape != y.shape or evaluation[2].shape != evaluation[1].shape:
        raise TemperError("Temperatures by group need a group an example in both splits.")
    if max(of.max(), evaluation[2].max()) >= len(names):
        raise TemperError(f"Groups must lie below {len(names)}, the number of their names.")
    common = optimal_temperature(z, y)
    own = [_own(z[of == k], y[of == k]) for k in range(len(names))]
    known = [k for k, one in enumerate(own) if one is not None]
    logs = np.array([one[0] for one in own if one is not None])
    errors = np.array([one[1] for one in own if one is not None])
    spread = between(logs, errors)
    weights = np.zeros(len(names))
    weights[known] = spread**2 / (spread**2 + errors**2)
    used = np.full(len(names), np.log(common))
    used[known] += weights[known] * (logs - np.log(common))
    shown = [_row(name, int((of == k).sum()), own[k], float(weights[k]), float(np.exp(used[k])))
             for k, name in enumerate(names)]  # fmt: skip
    every = GroupTemperature("all", len(y), None, 0.0, common)
    made = GroupTemperatures(title, common, spread, every, tuple(shown))
    return _judged(made, *evaluation)


def group_temperatures_of(given: Material, title: str) -> GroupTemperatures:
    """The same for a network's outcomes on both splits, by a declared column, remembered. Raises `TemperError`."""
    column = next((one for one in given.columns if one.title == title), None)
    if column is None:
        have = ", ".join(one.title for one in given.columns) or "none"
        raise TemperError(f"The data set has no groups called {title!r:.60}; it has: {have}.")
    if not given.evaluation.task.decides:
        raise TemperError("A temperature is of classes; numbers have scales.", "Take the scale calibration.")
    if given.crossed:
        raise TemperError("Temperatures by group need examples apart from those judged.", "Take two halves.")
    both = [
        (outcome.logits.astype(np.float64), outcome.labels, groups.astype(np.int64))
        for outcome, groups in ((given.calibration, column.calibration), (given.evaluation, column.evaluation))
    ]

    def compute() -> GroupTemperatures:
        return group_temperatures(title, column.names, both[0], both[1])

    return RESULTS.remember(("group temperatures", *given.key, title), compute, lambda _: 10_000)


def between(logs: Floats, errors: Floats) -> float:
    """The standard deviation of true values `(G,)` behind estimates with these standard errors; it may be 0."""
    if len(logs) < 2:
        return 0.0
    w = 1 / errors**2
    mean = float((w * logs).sum() / w.sum())
    beyond = float((w * (logs - mean) ** 2).sum()) - (len(logs) - 1)
    scale = float(w.sum() - (w**2).sum() / w.sum())
    return max(0.0, beyond / scale) ** 0.5 if scale > 0 else 0.0


def _own(z: Floats, y: Integers) -> tuple[float, float] | None:
    """Log of the best temperature and its standard error, or None where there is none."""
    if len(y) < FEWEST or not (z - z.max(1, keepdims=True)).any():
        return None
    found = optimal_temperature(z, y)
    if not SMALLEST * (1 + MARGIN) < found < LARGEST * (1 - MARGIN):
        return None
    centred = (z - z.max(1, keepdims=True)) / found
    p = softmax(centred)
    information = float(((p * centred**2).sum(1) - (p * centred).sum(1) ** 2).sum())
    return (float(np.log(found)), information**-0.5) if information > 0 else None


def _row(name: str, n: int, own: tuple[float, float] | None, weight: float, used: float) -> GroupTemperature:
    quantity = None
    if own is not None:
        low, high = (float(np.exp(own[0] + side * NORMAL * own[1])) for side in (-1, 1))
        quantity = Quantity(float(np.exp(own[0])), "", "measured", Interval(low, high, LEVEL), n)
    return GroupTemperature(name, n, quantity, weight, used)


def _judged(made: GroupTemperatures, z: Floats, y: Integers, of: Integers) -> GroupTemperatures:
    raw, before, after = softmax(z), softmax(z / made.common), made.probabilities(z, of)
    task = task_of_classes([str(place) for place in range(z.shape[1])])
    nowhere = Provenance("", "", "", "", 0.0)

    def judge(row: GroupTemperature, inside: np.ndarray) -> GroupTemperature:
        n = int(inside.sum())
        if n < FEWEST:
            return replace(row, judged=n)
        old, new, mine = before[inside], after[inside], y[inside]
        rows = np.arange(n)
        moved = surprise(new[rows, mine]) - surprise(old[rows, mine])
        mean, half = float(moved.mean()), NORMAL * float(moved.std(ddof=1)) / n**0.5
        change = Quantity(mean, "nats", "measured", Interval(mean - half, mean + half, LEVEL), n)
        none, used = (Outcome(z[inside], p[inside], mine, task, nowhere) for p in (raw, after))
        return replace(
            row, judged=n, common_ece=reduce(old, mine).ece(), ece=reduce(new, mine).ece(), nll_change=change,
            raw_ece=Quantity(reduce(raw[inside], mine).ece(), "fraction", "measured", interval_of("ece", none), n),
            ends=interval_of("ece", used),
        )  # fmt: skip

    return replace(
        made, every=judge(made.every, np.ones(len(y), bool)),
        groups=tuple(judge(row, of == k) for k, row in enumerate(made.groups)),
    )  # fmt: skip
