"""How many examples of each class every split holds; only labels are read."""

from __future__ import annotations

import zipfile
from functools import lru_cache

import numpy as np

from core.data.handle import DataHandle, SplitName
from core.errors import TemperError
from core.types import Integers


@lru_cache(maxsize=16)
def class_counts(data: DataHandle) -> dict[SplitName, Integers]:
    """Examples of each class, int64 `(C,)`, by split in the order fit, calibration, evaluation.

    Raises `TemperError` where a split's labels cannot be read.
    """
    found: dict[SplitName, Integers] = {}
    by_name = {split.name: split for split in data.splits}
    order: tuple[SplitName, ...] = ("fit", "calibration", "evaluation")
    for name in order:
        if name not in by_name:
            continue
        try:
            with np.load(by_name[name].path, allow_pickle=False) as arrays:
                counts = np.bincount(arrays["y"].astype(np.int64), minlength=len(data.classes))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise TemperError(f"The labels of the {name} split of '{data.id}' cannot be read: {error}.") from error
        if len(counts) != len(data.classes):
            raise TemperError(f"The {name} split of '{data.id}' names more classes than there are.")
        counts.setflags(write=False)
        found[name] = counts
    return found


def some_of_each(labels: Integers, most: int) -> list[int]:
    """Places of the first example of up to `most` classes, spread evenly over the classes that occur."""
    classes, first = np.unique(labels, return_index=True)
    chosen = np.unique(np.linspace(0, len(classes) - 1, min(most, len(classes))).round().astype(int))
    places = first[chosen].tolist()
    if len(places) < most:  # few classes: the next examples fill up
        rest = [int(i) for i in np.arange(min(len(labels), 4 * most)) if int(i) not in set(places)]
        places += rest[: most - len(places)]
    return [int(i) for i in places]
