"""A temperature for each declared group, shrunk towards the common one where a group has few examples.

Each group's own log-temperature has a standard error from the curvature of its likelihood. How far groups truly
differ is estimated from the spread beyond those errors (DerSimonian and Laird 1986, doi
10.1016/0197-2456(86)90046-2), and each is moved to the common one by the share of its variance that is error (Efron
and Morris 1975, doi 10.1080/01621459.1975.10479864). Fitted on the calibration split, judged on evaluation. It is no
step of a recipe: a file that leaves is given inputs, not groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.calibrators._fitted import check, softmax
from core.calibrators.temperature import LARGEST, MARGIN, SMALLEST, optimal_temperature
from core.data.handle import DataHandle, load_split
from core.engine.statistics import LEVEL, NORMAL
from core.errors import TemperError
from core.metrics._reduction import reduce
from core.metrics.nll import surprise
from core.types import Floats, Integers, Interval, Outcome, Quantity

FEWEST = 10  # examples of a group below which it has no temperature of its own, and nothing is judged


@dataclass(frozen=True)
class GroupTemperature:
    """One group: its examples in both splits, its own temperature with its interval, and the one that is used.

    `weight` is how far the used one is its own: 0 the common one, 1 its own. `own` is None where the group is too
    small or its likelihood has no optimum. `common_ece`, `ece` and the paired change of NLL, in nats, compare the
    common temperature with the used one on the evaluation split; None where the group is too small there.
    """

    name: str
    n: int
    own: Quantity | None
    weight: float
    temperature: float
    judged: int
    common_ece: float | None
    ece: float | None
    nll_change: Quantity | None


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
    every = GroupTemperature("all", len(y), None, 0.0, common, 0, None, None, None)
    made = GroupTemperatures(title, common, spread, every, tuple(shown))
    return _judged(made, *evaluation)


def group_temperatures_of(
    data: DataHandle, calibration: Outcome, evaluation: Outcome, title: str
) -> GroupTemperatures:
    """The same for a model's outcomes on both splits, by a declared column. Raises `TemperError`."""
    column = next((one for one in data.groups if one.title == title), None)
    of = [load_split(data, split).groups.get(title) for split in ("calibration", "evaluation")]
    if column is None or of[0] is None or of[1] is None:
        have = ", ".join(one.title for one in data.groups) or "none"
        raise TemperError(f"The data set '{data.id}' has no groups called {title!r:.60}; it has: {have}.")
    if not data.task.decides:
        raise TemperError("A temperature is of classes; numbers have scales.", "Take the scale calibration.")
    both = [
        (outcome.logits.astype(np.float64), outcome.labels, groups.astype(np.int64))
        for outcome, groups in ((calibration, of[0]), (evaluation, of[1]))
    ]
    return group_temperatures(title, column.names, both[0], both[1])


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
    return GroupTemperature(name, n, quantity, weight, used, 0, None, None, None)


def _judged(made: GroupTemperatures, z: Floats, y: Integers, of: Integers) -> GroupTemperatures:
    before, after = softmax(z / made.common), made.probabilities(z, of)

    def judge(row: GroupTemperature, inside: np.ndarray) -> GroupTemperature:
        n = int(inside.sum())
        if n < FEWEST:
            return GroupTemperature(row.name, row.n, row.own, row.weight, row.temperature, n, None, None, None)
        old, new, mine = before[inside], after[inside], y[inside]
        rows = np.arange(n)
        moved = surprise(new[rows, mine]) - surprise(old[rows, mine])
        mean, half = float(moved.mean()), NORMAL * float(moved.std(ddof=1)) / n**0.5
        change = Quantity(mean, "nats", "measured", Interval(mean - half, mean + half, LEVEL), n)
        return GroupTemperature(
            row.name, row.n, row.own, row.weight, row.temperature, n,
            reduce(old, mine).ece(), reduce(new, mine).ece(), change,
        )  # fmt: skip

    return GroupTemperatures(
        made.title, made.common, made.spread, judge(made.every, np.ones(len(y), bool)),
        tuple(judge(row, of == k) for k, row in enumerate(made.groups)),
    )  # fmt: skip
