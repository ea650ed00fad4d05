"""Every measure before and after as rows for people: intervals, whether the change is sure, what would settle it."""

from __future__ import annotations

import pandas as pd

from core.damage.settle import more_examples, more_labels
from core.engine.compare import Comparison, shown_by
from core.figures import said, words
from core.types import Interval, Quantity

CERTAIN = 10_000_000  # more labels than this are no plan
SMALL, TINY = 0.01, 0.0001  # changes between are shown with two significant digits


def evidence_table(found: Comparison) -> pd.DataFrame:
    """One row a measure, in words; shares are in per cent, their changes in points."""
    rows = []
    for name, change in found.change.items():
        if name == "mse":  # RMSE says it in a unit that people know
            continue
        counted = name == "accuracy" and found.flips is not None
        least = found.detectable if counted else shown_by(change)
        sure = found.significant if counted else _sure(change)
        more = more_labels(found.flips) if counted and found.flips else more_examples(change, least)
        rows.append(
            {
                "Measure": said.title(name) + (f", {change.unit}" if _own(change.unit) else ""),
                "Original": _value(found.original[name]),
                "Tempered": _value(found.tempered[name]),
                "Change": _moved(change),
                "Beyond chance": "yes" if sure else "no" if change.value else "no change",
                "Smallest change shown": f"{_number(least, change.unit).lstrip('+')} "
                f"{_after(change.unit)}".rstrip() if change.value else words.NOTHING,
                "More examples to settle it": "settled" if sure else _labels(more),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _value(quantity: Quantity) -> str:
    ends, unit = quantity.interval, quantity.unit
    between = f" ({said.number(ends.low, unit)} to {said.number(ends.high, unit)})" if ends else ""
    return (said.number if _own(unit) else said.value)(quantity.value, unit) + between


def _moved(change: Quantity) -> str:
    ends, unit = change.interval, change.unit
    between = f" ({_number(ends.low, unit)} to {_number(ends.high, unit)})" if ends else ""
    return f"{_number(change.value, unit)} {_after(unit)}".rstrip() + between


def _own(unit: str) -> bool:
    """Whether it is the unit of the numbers predicted, which may be long and stands beside the measure instead."""
    return bool(said.shown_unit(unit)) and unit not in ("fraction", "nats")


def _after(unit: str) -> str:
    return "" if _own(unit) else said.moved_unit(unit)


def _sure(change: Quantity) -> bool:
    ends = change.interval or Interval(0.0, 0.0)
    return not ends.low <= 0 <= ends.high


def _number(value: float | None, unit: str) -> str:
    """A change; small ones of measures without a unit with the digits that tell them from nothing."""
    if value is not None and 0 < abs(value) < SMALL and (said.plain(unit) or unit == "nats"):
        return f"{value:+.2g}".replace("-", words.MINUS) if abs(value) >= TINY else words.signed(value, 4)
    return said.moved(value, unit)


def _labels(more: int | None) -> str:
    if more is None:
        return words.NOTHING
    if more == 0:
        return "enough"
    return f"over {words.count(CERTAIN)}" if more > CERTAIN else f"about {words.count(rounded(more))}"


def rounded(count: int) -> int:
    """To two significant digits, upwards: it is a plan, not a measurement."""
    step = 10 ** max(0, len(str(count)) - 2)
    return -(-count // step) * step
