"""What each temperature would do: likelihood and calibration error against T, on both splits."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from core.calibration.calibration_lab import Material
from core.calibrators._fitted import check, softmax
from core.calibrators.temperature import optimal_temperature
from core.engine.runtime import Progress
from core.errors import TemperError
from core.metrics._bins import BINS, edges, expected_error
from core.metrics.nll import surprise
from core.types import Floats, Outcome

POINTS = 41  # temperatures tried beside the optimum
REACH = 3.0  # times the optimum, and its part, to which they go
SMALLEST, LARGEST = 0.05, 50.0  # T that a person can drag to


@dataclass(frozen=True)
class Temperatures:
    """At each temperature `(K,)`, rising, the optimum one of them: NLL in nats and ECE, by split.

    `optimum` is the T of the greatest likelihood on the calibration split; the evaluation split played no part.
    """

    at: Floats
    nll_calibration: Floats
    nll_evaluation: Floats
    ece_calibration: Floats
    ece_evaluation: Floats
    optimum: float
    n: tuple[int, int]


def temperatures(given: Material, progress: Progress | None = None) -> Temperatures:
    """Try temperatures around the optimum, 1 among those covered. Raises `TemperError` where none can be fitted."""
    logits = check(given.calibration.logits, given.calibration.labels)
    optimum = optimal_temperature(logits, given.calibration.labels)
    middle = float(np.clip(optimum, SMALLEST * REACH, LARGEST / REACH))
    low, high = min(middle / REACH, 0.8), max(middle * REACH, 1.25)
    at = np.unique([*np.geomspace(low, high, POINTS), min(max(optimum, low), high)])
    found = np.empty((4, len(at)))
    for place, temperature in enumerate(at):
        if progress is not None:
            progress(place / len(at))
        for column, outcome in enumerate((given.calibration, given.evaluation)):
            found[column, place], found[2 + column, place] = _judged(outcome, float(temperature))
    return Temperatures(
        at, found[0], found[1], found[2], found[3], optimum, (given.calibration.n, given.evaluation.n)
    )


def _judged(outcome: Outcome, temperature: float) -> tuple[float, float]:
    p = softmax(outcome.logits.astype(np.float64) / temperature)
    n = len(p)
    nll = float(surprise(p[np.arange(n), outcome.labels]).mean())
    sure, hits = p.max(1), (p.argmax(1) == outcome.labels).astype(np.float64)
    place = np.searchsorted(edges(sure, BINS, "width")[1:-1], sure, side="left")
    sums = [np.bincount(place, column, BINS) for column in (np.ones(n), sure, hits)]
    return nll, float(expected_error(np.concatenate(sums)))


def at_temperature(outcome: Outcome, temperature: float) -> Outcome:
    """The outcome of logits divided by a temperature chosen by hand. Raises `TemperError` outside the range."""
    if not SMALLEST <= temperature <= LARGEST:
        raise TemperError(f"A temperature must be a number from {SMALLEST:g} to {LARGEST:g}; got {temperature:g}.")
    return replace(outcome, predicted=softmax(outcome.logits.astype(np.float64) / temperature))
