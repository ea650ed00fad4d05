"""What is out of the ordinary in a row: values far from those of the calibration split."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from core.data.handle import DataHandle, SplitName, load_split
from core.types import Floats

NOTABLE = 2.0  # deviations from the mean beyond which a value is called unusual
LEAST_SPREAD = 1e-12


@dataclass(frozen=True)
class Value:
    """A row's value: the feature's name, the value in words, and how many deviations it lies above the mean."""

    name: str
    text: str
    deviations: float

    @property
    def notable(self) -> bool:
        """Whether it is unusual."""
        return abs(self.deviations) >= NOTABLE


def most_unusual(
    data: DataHandle, places: list[int], most: int, split: SplitName = "evaluation"
) -> list[tuple[Value, ...]]:
    """The `most` values of each row of a split that lie furthest from the calibration split's mean, furthest first.

    Distances are in the calibration split's standard deviations; codes of categories count as numbers.
    """
    x, (mean, deviation), names = load_split(data, split).x, _usual(data), feature_names(data)
    found = []
    for place in places:
        row = x[place].astype(np.float64)
        away = (row - mean) / deviation
        order = np.argsort(-np.abs(away), kind="stable")[:most]
        found.append(tuple(Value(names[i], said(data, i, float(row[i])), float(away[i])) for i in order))
    return found


def feature_names(data: DataHandle) -> tuple[str, ...]:
    """A name for each column of a table: its own, or its number."""
    width = int(load_split(data, "evaluation").x.shape[1])
    return data.features if len(data.features) == width else tuple(f"Value {i + 1}" for i in range(width))


def said(data: DataHandle, column: int, value: float) -> str:
    """A stored value in words: the name of its category, or a number of up to five digits."""
    named = data.categories.get(feature_names(data)[column], ())
    if named and value.is_integer() and 0 <= value < len(named):
        return named[int(value)]
    return f"{value:.5g}".replace("-", "−")


@lru_cache(maxsize=8)
def _usual(data: DataHandle) -> tuple[Floats, Floats]:
    """Mean and deviation of each column on the calibration split."""
    x = load_split(data, "calibration").x.astype(np.float64)
    return x.mean(0), np.maximum(x.std(0), LEAST_SPREAD)
