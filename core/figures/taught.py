"""A teacher and its students in words: who stands where, and what the teacher brought."""

from __future__ import annotations

from core.data.handle import DataHandle
from core.figures import said, words
from core.training.seeds import Seeds
from core.training.taught import Side, Taught, measures
from core.types import Quantity

WHO = {
    "teacher": "Teacher",
    "before": "Student, before",
    "alone": "Student, taught by labels alone",
    "taught": "Student, taught by the teacher",
}


def agreement_unit(data: DataHandle) -> str:
    """The unit of an agreement: a share of answers, or the gap of numbers."""
    return "fraction" if data.task.decides else said.unit_of("rmse")


def agreement_title(data: DataHandle) -> str:
    """What an agreement is called."""
    return "Agrees with the teacher" if data.task.decides else "Gap to the teacher"


def sides_table(found: Taught, data: DataHandle) -> tuple[list[str], list[list[str]]]:
    """Column heads and a row a side, all text."""
    heads = ["", *(said.title(name) for name in measures(data)), agreement_title(data)]
    heads += ["Mean confidence"] if data.task.decides else []
    return [*heads, "Size"], [_row(who, side, data) for who, side in found.sides.items()]


def _row(who: str, side: Side, data: DataHandle) -> list[str]:
    parts = [WHO[who], *(said.value(side.values[name], said.unit_of(name)) for name in measures(data))]
    parts.append(said.value(side.agreement, agreement_unit(data)) if who != "teacher" else words.NOTHING)
    if data.task.decides:
        parts.append(said.value(side.confidence, "fraction"))
    return [*parts, words.size(side.bytes) if side.bytes is not None else f"{words.count(side.trees or 0)} trees"]


def brought_sentence(found: Taught, data: DataHandle) -> str:
    """What the teacher brought over the labels alone, and whether chance could have."""
    lead, unit = found.lead, said.unit_of(found.lead)
    change = found.over_alone[lead]
    with_it, without = (found.sides[who] for who in ("taught", "alone"))
    verdict = _verdict(change, higher=data.task.decides)
    return (
        f"{verdict}: {said.name(lead)} {said.value(with_it.values[lead], unit)} with it, "
        f"{said.value(without.values[lead], unit)} without, {moved(change, unit)}; "
        f"{_agreeing(found, data)}."
    )


def _verdict(change: Quantity, higher: bool) -> str:
    if not sure(change):
        return "The teacher made no difference that this test could show"
    better = ((change.value or 0.0) > 0) == higher
    return "The teacher helped" if better else "The teacher did harm"


def _agreeing(found: Taught, data: DataHandle) -> str:
    unit = agreement_unit(data)
    now, then = (said.value(found.sides[who].agreement, unit) for who in ("taught", "before"))
    if data.task.decides:
        return f"it answers as the teacher on {now} of the examples, {then} before"
    return f"it lies {now} from the teacher, {then} before"


def sure(change: Quantity) -> bool:
    """Whether an interval leaves zero out."""
    return change.interval is not None and not change.interval.low <= 0 <= change.interval.high


def moved(change: Quantity, unit: str) -> str:
    """A signed change with its interval, for a sentence."""
    ends = change.interval
    text = f"{said.moved(change.value, unit)} {said.moved_unit(unit)}".strip()
    if ends is None:
        return text
    return f"{text} [{said.moved(ends.low, unit)}, {said.moved(ends.high, unit)}]"


def seeds_sentence(found: Seeds, data: DataHandle) -> str:
    """What several seeds say, with the paired t test."""
    unit, of = said.unit_of(found.lead), found.spreads[found.lead]
    means = (said.value(one.value, unit) for one in (of.taught_mean, of.alone_mean))
    verdict = _verdict(of.difference, higher=data.task.decides)
    p = "p < 0.001" if of.p < 0.001 else f"p = {of.p:.3f}"
    return (
        f"{verdict}: over {len(found.seeds)} seeds {said.name(found.lead)} is {next(means)} with it and "
        f"{next(means)} without, {moved(of.difference, unit)}, paired t test {p}."
    )
