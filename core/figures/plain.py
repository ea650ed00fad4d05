"""What compression did, in plain words for people who were not there; every statement names where its evidence is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.damage.groups import ByGroup
from core.damage.payers import Payers
from core.engine.compare import Comparison
from core.figures import said, words
from core.task import LEVEL
from core.types import Interval, Latency, Quantity, Result

Anchor = Literal["size", "real", "flips", "classes", "groups", "moved"]
LETTERS = 40  # of a name
CHANCE = "which chance alone could make"
MORE = "more than chance explains"


@dataclass(frozen=True)
class Statement:
    """One sentence and the section of the page that holds its evidence."""

    text: str
    anchor: Anchor


def account(
    result: Result,
    found: Comparison,
    by_class: Payers | None = None,
    by_group: ByGroup | None = None,
    speed: tuple[Latency, Latency] | None = None,
) -> tuple[Statement, ...]:
    """The statements in order: size, how good, who pays, how sure, how fast; what is not known is left out."""
    told = [Statement(_size(result), "size")]
    if found.flips is None:
        told += [Statement(error(found), "real"), Statement(_moved(result), "moved")]
    elif found.flips.flips == 0:
        text = f"It calls every one of the {words.count(found.flips.n)} test examples as the original does."
        told.append(Statement(text, "flips"))
    else:
        told += [Statement(_accuracy(found), "real"), Statement(_flips(found), "flips")]
        if by_class is not None:
            told.append(Statement(_class(by_class), "classes"))
    changed = found.flips.flips > 0 if found.flips else bool((result.tempered.values != result.original.values).any())
    if by_group is not None and by_group.known and changed:
        told.append(Statement(_group(by_group), "groups"))
    told.append(Statement(_confidence(found), "real"))
    if speed is not None and speed[0].p50 is not None and speed[1].p50 is not None:
        told.append(Statement(_speed(speed[0].p50, speed[1].p50), "size"))
    return tuple(told)


def _size(result: Result) -> str:
    before, after = result.original_bytes.packed, result.bytes.packed
    if before == after:
        return f"The tempered model takes as much room as the original, {words.size(after)}."
    return (
        f"The tempered model takes {words.size(after)} instead of {words.size(before)}, {words.ratio(before, after)}."
    )


def _accuracy(found: Comparison) -> str:
    change, flips = found.change["accuracy"], found.flips
    assert flips is not None and change.interval is not None
    was, now = (
        round((one["accuracy"].value or 0.0) * flips.n) for one in (found.original, found.tempered)
    )  # fmt: skip
    begin = (
        f"Of {words.count(flips.n)} test examples it gets {words.count(now)} right, the original {words.count(was)}"
    )
    if was == now:
        return f"{begin}: the same number, though not the same examples."
    return f"{begin}: {_by(change, words.points, 'points')}, {MORE if found.significant else CHANCE}."


def _by(change: Quantity, shown: Callable[[float], str], unit: str) -> str:
    """A change as `1.2 points fewer (0.8 to 1.6)`, or with signed ends where these lie on both sides of zero."""
    value, ends = change.value or 0.0, change.interval or Interval(0.0, 0.0)
    size = shown(abs(value)).lstrip("+")
    word = "more" if value > 0 else "fewer" if unit == "points" else "less"
    if ends.low <= 0 <= ends.high:
        between = f"{shown(ends.low)} to {shown(ends.high)}"
    else:
        low, high = sorted((abs(ends.low), abs(ends.high)))
        between = f"{shown(low)} to {shown(high)}".replace("+", "")
    return f"{size} {unit}".rstrip() + f" {word} ({between})"


def _flips(found: Comparison) -> str:
    flips = found.flips
    assert flips is not None
    lost, gained = words.count(flips.right_to_wrong), words.count(flips.wrong_to_right)
    return f"Right before and wrong now are {lost} examples; wrong before and right now are {gained}."


def _class(found: Payers) -> str:
    most = found.most
    if most is None:
        return f"No class of {len(found.classes)} is found less often than before."
    before, after = (words.percent(one.value) for one in (most.recall.original, most.recall.tempered))
    sure = (
        "beyond chance"
        if most.recall.sure
        else f"which chance alone could make among {found.compared} changes looked at"
    )
    name = f"Of the classes, {words.cut(most.name, LETTERS)}"
    pays = "pays most" if most is found.by_loss[0] else "pays most of those beyond chance"
    return f"{name} {pays}: {after} of its examples are found, before {before}, {sure}."


def _group(found: ByGroup) -> str:
    name, column = said.name(found.measure), words.cut(found.title, LETTERS)
    sure = [row for row in found.known if row.sure and row.change is not None]
    if not sure:
        return f"By {column}, no group of {len(found.known)} changes beyond chance in {name}."
    most = max(sure, key=lambda row: abs((row.change.value or 0.0) if row.change else 0.0))
    assert most.original is not None and most.tempered is not None
    before, after = (said.value(one.value, one.unit) for one in (most.original, most.tempered))
    group = f"{words.cut(most.name, LETTERS)} changes most{_of_sure(found)}"
    return f"By {column}, {group}: {name} {after}, before {before}, beyond chance."


def _of_sure(found: ByGroup) -> str:
    """What to add where a group that chance may have moved moved further than any that it did not."""
    most = max(found.known, key=lambda row: abs((row.change.value or 0.0) if row.change else 0.0))
    return "" if most.sure else " of those beyond chance"


def _confidence(found: Comparison) -> str:
    if found.flips is None:
        before, after = (words.percent(one["coverage"].value) for one in (found.original, found.tempered))
        text = f"Its {words.percent(LEVEL, 0)} intervals hold {after} of the true numbers"
        return _settled(text, before, after, found.change["coverage"])
    before, after = (words.percent(one["ece"].value) for one in (found.original, found.tempered))
    return _settled(f"Its stated confidence is off by {after} on average (ECE)", before, after, found.change["ece"])


def _settled(text: str, before: str, after: str, change: Quantity) -> str:
    if before == after:
        return f"{text}, as before."
    ends = change.interval
    sure = ends is not None and not ends.low <= 0 <= ends.high
    return f"{text}, before {before}, {MORE if sure else 'a change ' + CHANCE}."


def error(found: Comparison) -> str:
    """How far off predictions of numbers are, before and after."""
    change, before, after = found.change["rmse"], found.original["rmse"], found.tempered["rmse"]
    begin = (
        f"Its typical error (RMSE) on {words.count(change.n or 0)} test examples is "
        f"{said.value(after.value, after.unit)}"
    )
    if change.value == 0:
        return f"{begin}, as before."
    begin = f"{begin}, before {said.value(before.value, before.unit)}"
    return f"{begin}: {_by(change, words.signed_amount, '')}, {MORE if found.significant else CHANCE}."


def _moved(result: Result) -> str:
    size, unit = np.abs(result.tempered.values - result.original.values), result.original.task.unit
    if not size.any():
        return "None of its predictions moved."
    middle, most = words.amount(float(np.median(size)), unit), words.amount(float(size.max()), unit)
    return f"Half of its predictions moved by no more than {middle}, the farthest by {most}."


def _speed(before: float, after: float) -> str:
    return f"On this machine one example takes {words.milliseconds(after)}, before {words.milliseconds(before)}."
