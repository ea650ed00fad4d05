"""A data set that stands in while recipes are chosen: both of its splits are halves of the calibration split.

On the first half steps are fitted, on the second they are judged. The true evaluation split is not in it at all, so
that nothing which works on it can look there. Nor is the fit split: a search tries no recipe that trains.
"""

from __future__ import annotations

from dataclasses import replace

from core.data.handle import DataHandle
from core.errors import TemperError

LEAST = 40  # calibration examples: conformal calibration alone needs 19 in the half that fits


def rehearsal(data: DataHandle) -> DataHandle:
    """The stand-in: `calibration` is one half of the calibration split, `evaluation` the other.

    Raises `TemperError` where the calibration split is too small to be halved.
    """
    whole = data.split("calibration")
    if whole.n < LEAST:
        raise TemperError(
            f"A search fits on one half of the calibration split and chooses on the other; '{data.id}' has {whole.n} "
            f"examples there and {LEAST} are needed.",
            "Make the calibration split larger.",
        )
    fitting = replace(whole, n=(whole.n + 1) // 2, half=0)
    choosing = replace(whole, name="evaluation", n=whole.n // 2, half=1)
    return replace(data, splits=(fitting, choosing))
