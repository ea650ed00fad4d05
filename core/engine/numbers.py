"""Networks that predict numbers: what their outputs mean before any calibration, and the examples that paid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.calibrators._widths import intervals, raw_widths
from core.types import Floats, Result

By = Literal["moved", "grew"]


def stated(outputs: NDArray[Any]) -> Floats:
    """`predicted` float64 `(N, 1 + len(LEVELS))` of a network's outputs `(N, 1 or 2)`, taken at their word.

    With two columns, a value and the log of its standard deviation, the intervals are Gaussian; that log is held
    within 50 of zero, so that no deviation overflows. With one column the network claims to be certain: its
    intervals have no width. Raises `TemperError` where outputs are not finite.
    """
    return intervals(outputs, raw_widths(outputs.ndim == 2 and outputs.shape[1] == 2))


@dataclass(frozen=True)
class Moved:
    """One evaluation example: its place in the split, its number, and what each model says of it."""

    place: int
    actual: float
    before: float
    after: float

    @property
    def change(self) -> float:
        """By how much the prediction moved."""
        return self.after - self.before

    @property
    def growth(self) -> float:
        """By how much the prediction is further off than it was."""
        return abs(self.after - self.actual) - abs(self.before - self.actual)


def worst(result: Result, limit: int, by: By = "grew") -> tuple[Moved, ...]:
    """Up to `limit` examples whose prediction moved most, or whose error grew most; the worst first.

    Examples that did not move, or whose error did not grow, are left out; ties go by place.
    """
    actual, before, after = result.original.labels, result.original.values, result.tempered.values
    size = np.abs(after - before) if by == "moved" else np.abs(after - actual) - np.abs(before - actual)
    order = np.argsort(-size, kind="stable")[:limit]
    return tuple(Moved(int(i), float(actual[i]), float(before[i]), float(after[i])) for i in order if size[i] > 0)


def decimals(values: Floats) -> int:
    """How many decimals give the median of `values` `(N,)` four significant digits."""
    size = float(np.median(np.abs(values))) if len(values) else 0.0
    return min(12, max(0, 3 - math.floor(math.log10(size)))) if size > 0 else 6


def worst_table(result: Result, limit: int, by: By = "grew") -> pd.DataFrame:
    """`worst` as rows for people: the example's place, its number, what each model says, the change.

    Columns carry the task's unit; numbers have as many decimals as the median one needs for four digits.
    """
    task, found = result.original.task, worst(result, limit, by)
    columns = {
        f"Actual {task.target}".strip(): [one.actual for one in found],
        "Original says": [one.before for one in found],
        "Tempered says": [one.after for one in found],
        "Change": [one.change for one in found],
        "Further off by": [one.growth for one in found],
    }
    unit, places = f", {task.unit}" if task.unit else "", decimals(result.original.labels)
    values = {f"{name}{unit}": np.round(np.array(column, np.float64), places) for name, column in columns.items()}
    return pd.DataFrame({"Row": [one.place for one in found], **values})
