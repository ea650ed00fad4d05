"""What labels and groups every split holds; examples themselves are not read."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, TypeVar

import numpy as np

from core.data.handle import DataHandle, Groups, SplitName
from core.errors import TemperError
from core.types import Floats, Integers, Labels

T = TypeVar("T")


def _arrays(data: DataHandle, wanted: Callable[[Any], T]) -> dict[SplitName, T]:
    """What `wanted` takes from the arrays of each split, in the order fit, calibration, evaluation."""
    found: dict[SplitName, T] = {}
    by_name = {split.name: split for split in data.splits}
    order: tuple[SplitName, ...] = ("fit", "calibration", "evaluation")
    for name in order:
        if name not in by_name:
            continue
        try:
            with np.load(by_name[name].path, allow_pickle=False) as arrays:
                found[name] = wanted(arrays)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise TemperError(f"The labels of the {name} split of '{data.id}' cannot be read: {error}.") from error
    return found


@lru_cache(maxsize=16)
def class_counts(data: DataHandle) -> dict[SplitName, Integers]:
    """Examples of each class, int64 `(C,)`, by split in the order fit, calibration, evaluation.

    Raises `TemperError` where a split's labels cannot be read.
    """
    found = _arrays(data, lambda arrays: np.bincount(arrays["y"].astype(np.int64), minlength=len(data.classes)))
    for name, counts in found.items():
        if len(counts) != len(data.classes):
            raise TemperError(f"The {name} split of '{data.id}' names more classes than there are.")
        counts.setflags(write=False)
    return found


@lru_cache(maxsize=16)
def target_values(data: DataHandle) -> dict[SplitName, Floats]:
    """The numbers to predict, float64 `(N,)`, by split; raises as `class_counts`."""
    found = _arrays(data, lambda arrays: arrays["y"].astype(np.float64))
    for values in found.values():
        values.setflags(write=False)
    return found


def group_sizes(data: DataHandle) -> dict[str, list[Any]]:
    """A table of columns: what examples are grouped by, the group, and its examples in each split."""
    table: dict[str, list[Any]] = {"Grouped by": [], "Group": []}
    for group in data.groups:
        table["Grouped by"] += [group.title] * len(group.names)
        table["Group"] += list(group.names)
        for split, counts in _arrays(data, partial(_sizes, group)).items():
            table.setdefault(f"{split}, examples", []).extend(counts)
    return table


def _sizes(group: Groups, arrays: Any) -> list[int]:
    codes = arrays[group.array].astype(np.int64)
    return [int(n) for n in np.bincount(codes, minlength=len(group.names))]


def some_of(data: DataHandle, labels: Labels, most: int) -> list[int]:
    """Places of up to `most` examples of many kinds: of different classes, or over the range of the numbers."""
    if data.task.decides:
        return some_of_each(labels, most)
    order = np.argsort(labels, kind="stable")
    spread = np.linspace(0, len(order) - 1, min(most, len(order))).round().astype(int)
    return [int(i) for i in order[np.unique(spread)]]


def some_of_each(labels: Integers, most: int) -> list[int]:
    """Places of the first example of up to `most` classes, spread evenly over the classes that occur."""
    classes, first = np.unique(labels, return_index=True)
    chosen = np.unique(np.linspace(0, len(classes) - 1, min(most, len(classes))).round().astype(int))
    places = first[chosen].tolist()
    if len(places) < most:  # few classes: the next examples fill up
        rest = [int(i) for i in np.arange(min(len(labels), 4 * most)) if int(i) not in set(places)]
        places += rest[: most - len(places)]
    return [int(i) for i in places]
