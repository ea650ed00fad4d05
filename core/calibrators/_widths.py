"""What a network's outputs say where they are numbers: values, stated deviations, intervals; and fitting on them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from core.calibrators._fitted import GREATEST, LEAST, Widths, unusable_count
from core.errors import TemperError
from core.task import LEVELS
from core.types import Floats

STEEPEST = 50.0  # absolute log of a stated deviation: from 2e-22 to 5e21, whose squares float64 still holds
GAUSSIAN: Floats = special.ndtri((1 + np.array(LEVELS)) / 2)  # half-widths of a normal distribution, in deviations
GAUSSIAN.setflags(write=False)


def raw_widths(states_scale: bool) -> Widths:
    """What a network means before any calibration.

    Gaussian around the value where a deviation is stated. A network that states only a number claims to be
    certain: its intervals have no width, and cover nothing but what it hits exactly.
    """
    return Widths(GAUSSIAN if states_scale else np.zeros(len(LEVELS)), states_scale)


def deviations(outputs: NDArray[Any]) -> Floats:
    """Stated standard deviations float64 `(N,)` of outputs `(N, 2)`: value and log, the log within `STEEPEST`."""
    return np.exp(np.clip(outputs[:, 1].astype(np.float64), -STEEPEST, STEEPEST))


def intervals(outputs: NDArray[Any], form: Widths) -> Floats:
    """`predicted` float64 `(N, 1 + len(LEVELS))` of outputs `(N, 1 or 2)`: the value, then the half-widths.

    Raises `TemperError` where outputs are not finite or are no such outputs.
    """
    if outputs.ndim != 2 or outputs.shape[1] not in (1, 2) or (form.scaled and outputs.shape[1] == 1):
        wanted = "a value and the log of a deviation, (N, 2)" if form.scaled else "a value a row, (N, 1 or 2)"
        raise TemperError(f"A network that predicts numbers must give {wanted}; got {outputs.shape}.")
    if not np.isfinite(outputs).all():
        raise TemperError("The model's outputs are not finite numbers on this data.", "Try a gentler recipe.")
    predicted = np.empty((len(outputs), 1 + len(LEVELS)))
    predicted[:, 0] = outputs[:, 0]
    np.multiply(deviations(outputs)[:, None] if form.scaled else 1.0, form.factors, out=predicted[:, 1:])
    return predicted


def check_numbers(outputs: NDArray[Any], labels: NDArray[Any]) -> tuple[Floats, Floats]:
    """Outputs `(N, 1 or 2)` and labels `(N,)` as float64, or `TemperError` where nothing can be fitted on them."""
    if outputs.ndim != 2 or outputs.shape[1] not in (1, 2) or labels.shape != (len(outputs),):
        raise TemperError(
            "Confidence calibration of numbers needs outputs (N, 1) or (N, 2) with N labels; "
            f"got {outputs.shape} and {labels.shape}."
        )
    if outputs.dtype.kind not in "fiu" or labels.dtype.kind not in "fiu":
        raise TemperError(
            "Confidence calibration of numbers needs numbers as outputs and labels; "
            f"got {outputs.dtype} and {labels.dtype}."
        )
    if len(labels) < LEAST:
        raise TemperError(
            f"Confidence calibration needs at least {LEAST} examples; got {len(labels)}.",
            "Make the calibration split larger.",
        )
    for what, given, hint in (
        ("outputs", outputs, "Look for a layer that overflows."),
        ("labels", labels, "Look for missing values in the target."),
    ):
        unusable = unusable_count(given)
        if unusable:
            raise TemperError(
                f"Confidence calibration needs finite {what} of at most {GREATEST:g}; {unusable:,} are not.", hint
            )
    return outputs.astype(np.float64), labels.astype(np.float64)
