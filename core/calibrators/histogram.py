"""Histogram binning."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.calibrators._fitted import FittedCalibrator, Steps, absent, check, joined, softmax
from core.calibrators._rest import cuts, edges_at, mapped_classes, stepped
from core.registry import Param, register
from core.types import Integers

FEW = 10  # examples a bin below which its share is doubted


@register(
    kind="calibrate",
    name="histogram",
    title="Histogram",
    summary="Gives each bin of a class's probability the share seen there, so that predictions may change.",
    reference="Zadrozny and Elkan 2001, Obtaining calibrated probability estimates, ICML",
    parameters=(
        Param(
            "bins", "Bins", 10, "Of equally many calibration examples; equal probabilities stay in one bin.",
            low=2, high=50, step=1,
        ),
    ),
)  # fmt: skip
def histogram(logits: NDArray[Any], labels: Integers, bins: int = 10) -> FittedCalibrator:
    """Fit one step function a class, one against the rest, and normalise. Raises `TemperError`.

    With two classes that of class 1 is fitted and class 0 takes the complement. A row that all send to zero becomes
    uniform.
    """
    probabilities = softmax(check(logits, labels))
    n, classes = probabilities.shape
    steps, fewest = [], n
    for c in mapped_classes(classes):
        order = np.argsort(probabilities[:, c], kind="stable")
        rising, hits = probabilities[order, c], (labels[order] == c).astype(np.float64)
        places = cuts(rising, bins)
        sizes = np.diff(np.append(places, n))
        fewest = min(fewest, int(sizes.min()))
        steps.append((edges_at(rising, places[1:]), np.add.reduceat(hits, places) / sizes))
    form = Steps(tuple(steps))
    certain = sum(int(((values == 0) | (values == 1)).sum()) for _, values in steps)
    few = f"A bin holds only {fewest} example{'s' if fewest > 1 else ''}: its share is mostly chance."
    fitted: dict[str, Any] = {
        "bins": [len(values) for _, values in steps],
        "fewest_in_a_bin": fewest,
        "bins_at_0_or_1": certain,
    } | joined(absent(labels, classes), {"warning": few} if fewest < FEW else {})
    return FittedCalibrator(lambda new: stepped(new, form), fitted, form)
