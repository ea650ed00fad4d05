"""Every measure before and after as rows for people: intervals, whether the change is sure, what would settle it."""

from __future__ import annotations

import pandas as pd

from core.engine.compare import Comparison, shown_by
from core.engine.settle import more_examples, more_labels
from core.figures import said, words
from core.types import Interval, Quantity

CERTAIN = 10_000_000  # more labels than this are no plan


def evidence_table(found: Comparison) -> pd.DataFrame:
    """One row a measure, in words; shares are in per cent, their changes in points."""
    rows = []
    for name, change in found.change.items():
        counted = name == "accuracy" and found.flips is not None
        least = found.detectable if counted else shown_by(change)
        more = more_labels(found.flips) if counted and found.flips else more_examples(change, least)
        rows.append(
            {
                "Measure": said.title(name),
                "Original": _value(found.original[name]),
                "Tempered": _value(found.tempered[name]),
                "Change": _moved(change),
                "Beyond chance": _sure(change),
                "Smallest change shown": f"{said.moved(least, change.unit).lstrip('+')} "
                f"{said.moved_unit(change.unit)}".rstrip() if change.value else words.NOTHING,
                "More examples to settle it": _labels(more),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _value(quantity: Quantity) -> str:
    ends, unit = quantity.interval, quantity.unit
    between = f" ({said.number(ends.low, unit)} to {said.number(ends.high, unit)})" if ends else ""
    return said.value(quantity.value, unit) + between


def _moved(change: Quantity) -> str:
    ends, unit = change.interval, change.unit
    between = f" ({said.moved(ends.low, unit)} to {said.moved(ends.high, unit)})" if ends else ""
    return f"{said.moved(change.value, unit)} {said.moved_unit(unit)}".rstrip() + between


def _sure(change: Quantity) -> str:
    ends = change.interval or Interval(0.0, 0.0)
    if not change.value:
        return "no change"
    return "no" if ends.low <= 0 <= ends.high else "yes"


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
