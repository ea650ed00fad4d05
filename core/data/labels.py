"""From labels as people write them, numbers or names, to places in the classes of a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from core.data.archive import shown
from core.errors import TemperError

if TYPE_CHECKING:
    from core.types import Integers

MOST_CLASSES = 100_000
EXACT = 2**53  # beyond, a float64 does not tell whole numbers apart
Where = Callable[[int], str]  # from an example's place to 'line 17' or 'row 17'
Placed = tuple["Integers", tuple[str, ...], tuple[str, ...]]  # y, classes, notes


def placed(
    distinct: Sequence[str | float], codes: Integers, classes: tuple[str, ...] | None, what: str, where: Where
) -> Placed:
    """Places in the classes, int64 `(N,)`, with the classes and notes on how they were found.

    `distinct` are the different labels, `codes` int64 `(N,)` places among them; `classes` are the model's, if known.
    Raises `TemperError` for labels that are missing, not whole, out of range or unknown by name.
    """
    if not len(codes):
        raise TemperError(f"{what} holds no labels: there are no examples.", "Give at least 4, of two classes.")

    def at(label: int) -> str:
        return where(int(np.argmax(codes == label)))

    for k, value in enumerate(distinct):
        if value == "" or value != value:
            raise TemperError(f"{what} is missing in {at(k)}.", "Fill it in or leave the example out.")
    numbers = _numbers(distinct)
    if numbers is None:
        found = by_name([str(value) for value in distinct], classes, what, at)
    else:
        odd = [k for k, number in enumerate(numbers) if not number.is_integer()]
        far = [k for k, number in enumerate(numbers) if not abs(number) < EXACT]
        if far:
            raise TemperError(
                f"{what} holds {shown(distinct[far[0]])} in {at(far[0])}; whole numbers below 2^53 are expected.",
                "Number the classes from 0, in the order of the model's outputs.",
            )
        if odd:
            raise TemperError(
                f"{what} holds {shown(distinct[odd[0]])} in {at(odd[0])}: numbers to predict are not classes.",
                "A classifier needs whole numbers or names as labels; a network for numbers has one output, or two.",
            )
        found = _by_number([int(number) for number in numbers], classes, what, at)
    places, names, notes = found
    if classes is None and len(codes) >= 20 and len(distinct) > len(codes) / 2:
        raise TemperError(
            f"{what} holds {len(distinct):,} different values in {len(codes):,} examples: those are not classes.",
            "Choose the column that holds the class.",
        )
    return places[codes], names, notes


def _numbers(distinct: Sequence[str | float]) -> list[float] | None:
    """All labels as numbers, or None where one is a name."""
    try:
        return [float(value) for value in distinct]
    except ValueError:
        return None


def _by_number(numbers: list[int], classes: tuple[str, ...] | None, what: str, at: Where) -> Placed:
    low, high, ascending = min(numbers), max(numbers), sorted(set(numbers))
    if classes is not None:
        if set(map(str, numbers)) <= set(classes):
            return by_name([str(number) for number in numbers], classes, what, at)
        if low < 0 or high >= len(classes):
            wrong = next(k for k, number in enumerate(numbers) if not 0 <= number < len(classes))
            raise TemperError(
                f"{what} holds {shown(numbers[wrong])} in {at(wrong)}; the {len(classes):,} classes have places 0 to "
                f"{len(classes) - 1:,}.",
                "Number the labels from 0 in the order of the model's outputs, or give the class names.",
            )
        return np.array(numbers, np.int64), classes, ()
    if low == 0 and high < min(2 * len(ascending) + 10, MOST_CLASSES):
        absent = sorted(set(range(high + 1)) - set(ascending))
        note = f"No example has the label {', '.join(map(str, absent[:5]))}." if absent else ""
        names = tuple(str(number) for number in range(high + 1))
        return np.array(numbers, np.int64), names, (note,) if note else ()
    note = f"The labels {shown(low)} to {shown(high)} were numbered from 0 in ascending order."
    rank = {number: place for place, number in enumerate(ascending)}
    return np.array([rank[n] for n in numbers], np.int64), tuple(shown(n) for n in ascending), (note,)


def by_name(names: Sequence[str], classes: tuple[str, ...] | None, what: str, at: Where) -> Placed:
    """The place of each name, with all class names and notes; sorted names are the classes where none are given."""
    ascending = sorted(set(names))
    rank = {name: place for place, name in enumerate(ascending)}
    if classes is None:
        return np.array([rank[name] for name in names], np.int64), tuple(ascending), ()
    places = {name: place for place, name in enumerate(classes)}
    known, notes = set(names) & set(places), []
    if not known and all(name.isascii() and name.isdigit() and int(name[:9]) < len(classes) for name in names):
        notes.append(f"{what}: numbers were read as places among the classes.")
        places = {name: int(name) for name in names}
    elif not known and len(ascending) == len(classes):
        notes.append(f"{what}: no name is that of a class, so sorted names were taken in the classes' order.")
        places = rank
    for k, name in enumerate(names):
        if name not in places:
            listed = shown(", ".join(classes[:8]), 120)
            raise TemperError(
                f"{what} holds {shown(name)} in {at(k)}, which is no class; classes are {listed}.",
                "Correct the name or give the class names in the order of the model's outputs.",
            )
    count = Counter(classes)
    double = next((name for name in names if count[name] > 1 and places is not rank), None)
    if double is not None:
        raise TemperError(
            f"{what} holds {shown(double)}, a name that {count[double]} classes share.",
            "Label by number: places from 0 in the order of the model's outputs.",
        )
    return np.array([places[name] for name in names], np.int64), classes, tuple(notes)
