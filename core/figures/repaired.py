"""Thresholds per group as a repair, in words and as rows."""

from __future__ import annotations

import pandas as pd

from core.decisions.parity import Repair
from core.figures import said, words
from core.figures.disparity import moved_by
from core.types import Quantity

LETTERS = 30
RATES = {"selection": "selection rate", "tpr": "true positive rate", "fpr": "false positive rate"}


def sentence(found: Repair) -> str:
    """What the repair does to the gap and what it costs."""
    gap, price, name = found.gap, found.price, RATES[found.goal]
    if gap.original is None or gap.tempered is None or gap.change is None:
        return (
            "Fewer than two groups have enough evaluation examples that count, so that the repair cannot be judged."
        )
    before, after = (words.points(one.gap.value).lstrip("+") for one in (gap.original, gap.tempered))
    if gap.change.value:
        verb = "narrows" if gap.change.value < 0 else "widens"
        sure = "surely" if _clear(gap.change) else "not surely"
        moved = f"from {before} to {after} points ({sure}: {moved_by(gap.change)})"
        told = f"A threshold a group {verb} the gap of the {name} {moved}"
    else:
        told = f"A threshold a group leaves the gap of the {name} at {after} points"
    cost = "costs" if (price.value or 0.0) < 0 else "gains" if (price.value or 0.0) > 0 else "leaves"
    if cost == "leaves":
        return f"{told}; accuracy stays at {words.percent(found.repaired.value)}."
    return (
        f"{told}; it {cost} {words.points(abs(price.value or 0.0)).lstrip('+')} points of accuracy "
        f"({_ends(price)}), {words.percent(found.accuracy.value)} to {words.percent(found.repaired.value)}."
    )


def _clear(change: Quantity) -> bool:
    ends = change.interval
    return ends is not None and (ends.low > 0 or ends.high < 0)


def _ends(change: Quantity) -> str:
    ends = change.interval
    return f"{said.moved(ends.low, change.unit)} to {said.moved(ends.high, change.unit)}" if ends else ""


def rows(found: Repair) -> pd.DataFrame:
    """A row a group: its threshold and what that rests on."""
    return pd.DataFrame(
        {
            "Group": [cut.group for cut in found.cuts],
            "Called from a probability of": [
                f"{cut.threshold:.3f}" if cut.threshold < 2 else "never" for cut in found.cuts
            ],
            "Calibration examples that count": [cut.n for cut in found.cuts],
            "Note": ["too few: keeps 0.5" if cut.kept else "" for cut in found.cuts],
        }
    )
