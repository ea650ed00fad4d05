"""Columns of a table that are no features, or not only: labels, groups, and an own split."""

from __future__ import annotations

from array import array
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.data.archive import shown
from core.data.arrays import PARTS
from core.data.columns import LONGEST_VALUE, MISSING, Values
from core.data.intake import DataWish
from core.data.labels import MOST_CLASSES
from core.data.targets import Grouped
from core.errors import TemperError

if TYPE_CHECKING:
    from core.types import Integers

MOST_GROUPS = 50  # groups of a column; with more, each is too small to say anything of
NOT_STATED = "not stated"


class Coded:
    """A column as codes of its different values, which are numbered as they come; texts lose spaces at their ends."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.known: dict[str | float, int] = {}
        self.codes = array("i")

    def take(self, values: Values) -> int:
        """Take a piece in; returns how many different values there are so far."""
        found: list[Any] = values.tolist() if isinstance(values, np.ndarray) else [(v or "").strip() for v in values]
        known = self.known
        self.codes.extend([known.setdefault(value, len(known)) for value in found])
        return len(known)

    def places(self) -> Integers:
        """The codes, int64 `(N,)`."""
        return np.array(self.codes, np.int64)


class GroupColumn(Coded):
    """A column of groups. Raises `TemperError` where it has more of them than `MOST_GROUPS`."""

    def take(self, values: Values) -> int:
        """See `Coded`; what is missing is a group of its own."""
        if isinstance(values, np.ndarray):
            plain: Values = ["" if v != v else f"{v:.10g}" for v in values.tolist()]
        else:
            plain = [value if (value or "").strip().lower() not in MISSING else "" for value in values]
        count = super().take(plain)
        if any(len(str(name)) > LONGEST_VALUE for name in self.known):
            raise TemperError(f"The group column {shown(self.name)} holds texts, not groups.", "Name another column.")
        if count > MOST_GROUPS:
            raise TemperError(
                f"The group column {shown(self.name)} has more than {MOST_GROUPS} different values.",
                "Join them into bands or fewer groups first.",
            )
        return count

    def grouped(self, feature: bool) -> Grouped:
        """The groups in order: numbers by size, names by the letter, what is not stated last."""
        names = [str(name) for name in self.known if name]
        try:
            names.sort(key=float)
        except ValueError:
            names.sort()
        if "" in self.known:
            names.append("")
        rank = np.array([names.index(str(name)) for name in self.known], np.int64)
        return Grouped(self.name, rank[self.places()], tuple(name or NOT_STATED for name in names), feature)


def own_split(names: tuple[str, ...], label: int) -> int | None:
    """The column that may say which part of an own split each row is of."""
    return next((k for k, name in enumerate(names) if name.lower() == "split" and k != label), None)


def parts_of(own: Coded) -> tuple[NDArray[np.int8] | None, str]:
    """The parts of an own split, int8 `(N,)`, or None where the column names something else; and a note."""
    if not all(str(name).lower() in PARTS for name in own.known):
        return None, f"The column {shown(own.name)} names other parts than train, val and test: a feature."
    codes = np.array([PARTS[str(name).lower()] for name in own.known], np.int8)
    return codes[own.places()], f"Own split from the column {shown(own.name)}."


def sorted_groups(columns: list[GroupColumn], chosen: Integers, features: set[str]) -> tuple[Grouped, ...]:
    """The groups of the chosen rows."""
    found = [column.grouped(column.name in features) for column in columns]
    return tuple(replace(one, codes=one.codes[chosen]) for one in found)


def take_labels(label: Coded, values: Values, wish: DataWish) -> None:
    """Note the labels of a piece. Raises `TemperError` where they are too many for classes and no numbers."""
    numbers = wish.task == "numbers" or (wish.task is None and wish.outputs in (1, 2))
    if label.take(values) > MOST_CLASSES and not numbers:
        raise TemperError(
            f"Column {shown(label.name)} has more than {MOST_CLASSES:,} different values: no classes.",
            "Choose the column that holds the class.",
        )
