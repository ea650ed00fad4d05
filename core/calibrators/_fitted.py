"""What every confidence calibration returns, and what it needs to be fitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import TemperError
from core.types import Floats, Integers

ENOUGH = 25  # examples a parameter below which a fit is doubted: 100 examples for 20 parameters cost 2.6 points


@dataclass(frozen=True)
class FittedCalibrator:
    """A map from logits to calibrated probabilities.

    `probabilities(logits (M, C)) -> (M, C)` float64, rows summing to 1. `fitted` is what was learned, as
    JSON values.
    """

    probabilities: Callable[[NDArray[Any]], Floats]
    fitted: dict[str, Any] = field(default_factory=dict)


def check(logits: NDArray[Any], labels: Integers) -> Floats:
    """The logits as float64, or `TemperError` where nothing can be fitted on them."""
    if logits.ndim != 2 or len(logits) != len(labels):
        raise TemperError(
            f"Confidence calibration needs logits (N, C) with N labels; got {logits.shape} and {labels.shape}."
        )
    if not np.isfinite(logits).all():
        raise TemperError("Confidence calibration needs finite logits; some of these are not.")
    if len(np.unique(labels)) < 2:
        raise TemperError("Confidence calibration needs examples of at least two classes; these hold one.")
    return logits.astype(np.float64)


def doubt(examples: int, parameters: int, title: str) -> dict[str, str]:
    """A warning for `fitted` where there are too few examples for a method's parameters."""
    if examples >= ENOUGH * parameters:
        return {}
    return {
        "warning": f"{title} fits {parameters} parameters on {examples} examples: "
        f"expect it to overfit below about {ENOUGH * parameters}."
    }


def softmax(logits: NDArray[Any]) -> Floats:
    """Probabilities float64 `(N, C)` of logits `(N, C)`."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(1, keepdims=True)
    np.exp(shifted, out=shifted)
    shifted /= shifted.sum(1, keepdims=True)
    return shifted
