"""What a label column means, classes or numbers, and numbers read as they are written."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from core.data.archive import shown
from core.data.columns import MISSING
from core.data.labels import placed
from core.errors import TemperError

if TYPE_CHECKING:
    from core.data.intake import DataWish
    from core.types import Integers, Labels

MANY = 20  # different whole numbers up to which they may still be classes
SEPARATED = re.compile(r"[-+]?\d{1,3}([,' ]\d{3})+(\.\d+)?|[-+]?\d{1,3}(\.\d{3})+(,\d+)?|[-+]?\d*,\d+")
Where = Callable[[int], str]  # from an example's place to 'line 17' or 'row 17'
Kind = Literal["classes", "numbers"]


@dataclass(frozen=True)
class Grouped:
    """A column that sorts examples into groups: codes of `names`, int64 `(N,)`; the network may read it too."""

    title: str
    codes: Integers
    names: tuple[str, ...]
    feature: bool = False


def labelled(
    distinct: Sequence[str | float], codes: Integers, wish: DataWish, what: str, where: Where
) -> tuple[Labels, tuple[str, ...], tuple[str, ...]]:
    """Labels `(N,)`, the classes and notes: int64 places in the classes, or float64 numbers and no classes.

    What they mean follows from the values and the number of the network's outputs, unless `wish.task` says it.
    Raises `TemperError` where labels and network contradict each other, and for labels that cannot be read.
    """
    if len(codes) and _are_numbers(distinct, wish, what):
        return _numbers(distinct, codes, what, where), (), ()
    return placed(distinct, codes, wish.classes, what, where)


def _number(value: str | float) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _are_numbers(distinct: Sequence[str | float], wish: DataWish, what: str) -> bool:
    if wish.task is not None:
        return wish.task == "numbers"
    if wish.outputs is None or wish.classes is not None:
        return False
    stated = [value for value in distinct if str(value).strip().lower() not in MISSING - {"nan"}]
    numbers = [number for number in map(_number, stated) if number is not None]
    words = [value for value in stated if _number(value) is None]
    if words:
        mistaken = all(SEPARATED.fullmatch(str(word)) for word in words) or len(numbers) > len(words)
        if wish.outputs <= 2 and len(stated) > 2 and mistaken:
            return True  # to be told which of them is no number
        if wish.outputs == 1 and len(stated) > 2:
            raise TemperError(
                f"{what} holds words, such as {shown(words[0])}; the network has one output, which is a number.",
                "Choose the column of numbers (--label), or bring a network with an output for each class.",
            )
        return False
    many = len(numbers) > MANY or not all(number.is_integer() for number in numbers)
    if wish.outputs == 1:
        return not set(numbers) <= {0.0, 1.0}
    if wish.outputs == 2:
        return many
    if many and len(numbers) > max(MANY, wish.outputs):
        raise TemperError(
            f"{what} holds {len(numbers):,} different numbers, such as {shown(stated[0])}, and the network has "
            f"{wish.outputs:,} outputs.",
            "A network for numbers has one output, the value, or two: the value and the log of its standard "
            "deviation. Classes need whole numbers or names as labels.",
        )
    return False


def _numbers(distinct: Sequence[str | float], codes: Integers, what: str, where: Where) -> NDArray[np.float64]:
    """The numbers, float64 `(N,)`, each finite. Raises `TemperError`, naming the row."""

    def at(place: int) -> str:
        rows = np.flatnonzero(codes == place)
        return where(int(rows[0]))

    found = np.empty(len(distinct))
    for place, value in enumerate(distinct):
        number = _number(value)
        if str(value).strip().lower() in MISSING:
            raise TemperError(f"{what} is missing in {at(place)}.", "Fill it in or leave those rows out.")
        if number is None:
            hint = (
                "Write numbers with a point and without separators of thousands, such as 1234.5."
                if SEPARATED.fullmatch(str(value))
                else "Correct it, or say that these are classes (--task classes)."
            )
            raise TemperError(f"{what} holds {shown(value)} in {at(place)}, which is no number.", hint)
        if not math.isfinite(number):
            raise TemperError(f"{what} holds {shown(value)} in {at(place)}.", "Numbers to predict must be finite.")
        found[place] = number
    if len(codes) < 4:
        raise TemperError(f"At least 4 examples are needed for disjoint splits; got {len(codes)}.", "Add some.")
    if found.min() == found.max():
        raise TemperError(
            f"{what} holds {shown(distinct[0])} in all {len(codes):,} examples: there is nothing to predict.",
            "Choose the column that holds the target (--label).",
        )
    return found[codes]
