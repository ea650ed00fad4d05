"""What a layer reads, in sentences."""

from __future__ import annotations

from core.figures import words
from core.layers.inputs import INNER, Inputs
from core.layers.layer_weights import InputRange

FAR = 1.5  # times the quantiles' reach from which values stick out


def sentences(given: Inputs | None, read: InputRange | None) -> list[str]:
    """What the original's layer reads and how far outliers go; then the tempered one's grid and what that clips."""
    found = []
    if given is not None:
        held = words.percent((INNER[1] - INNER[0]) / 100)
        text = (
            f"What it reads in the original goes from {_short(given.low)} to {_short(given.high)}, {held} of it from "
        )
        text += f"{_short(given.inner_low)} to {_short(given.inner_high)}"
        far = f": outliers reach {given.reach:.1f} times as far" if given.reach >= FAR else ": no value sticks out"
        found.append(f"{text}{far} ({given.examples} calibration examples).")
    if read is not None:
        text = (
            f"In this recipe it goes from {_short(read.low)} to {_short(read.high)}; its {read.bits}-bit grid from "
        )
        text += f"{_short(read.grid_low)} to {_short(read.grid_high)}, so {words.percent(read.beyond, 2)} is clipped"
        found.append(f"{text} ({read.examples} calibration examples, those that set the grid).")
    return found


def _short(value: float) -> str:
    return f"{value:.3g}".replace("-", words.MINUS)
