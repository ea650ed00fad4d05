"""Each class's probability against how often the class it is, before and after one calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.metrics._reduction import reduce
from core.metrics._reliability import Reliability
from core.types import Outcome

MOST = 12  # classes shown: those with the largest error uncalibrated
BINS = 10  # fewer than for all classes together: each class has few examples


@dataclass(frozen=True)
class ClassCurves:
    """Of each class shown, the worst calibrated first: its name and its curves before and after."""

    names: tuple[str, ...]
    before: tuple[Reliability, ...]
    after: tuple[Reliability, ...]
    classes: int
    n: int


def class_curves(before: Outcome, after: Outcome) -> ClassCurves:
    """The curves of up to `MOST` classes; of two classes that of the one looked for."""
    one, other = (reduce(outcome.probabilities, outcome.labels) for outcome in (before, after))
    classes = before.classes
    errors = one.classwise_ece(BINS)
    order = np.argsort(-errors, kind="stable")[:MOST] if len(classes) > 2 else [before.task.positive]
    shown = [int(column) for column in order]
    return ClassCurves(
        tuple(classes[c] for c in shown),
        tuple(one.of_class(c, BINS) for c in shown),
        tuple(other.of_class(c, BINS) for c in shown),
        len(classes),
        before.n,
    )
