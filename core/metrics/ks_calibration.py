"""Kolmogorov-Smirnov calibration error: no bins."""

import numpy as np
from scipy.sparse import csr_array

from core.metrics._measure import Measure, divided, scattered
from core.registry import register
from core.types import Floats, Integers

FINE = 512  # bins of confidence on which its interval rests


def _cells(probabilities: Floats, labels: Integers) -> csr_array:
    """Each example in a fine bin of confidence: one, and its hit minus its confidence."""
    confidence = probabilities.max(1)
    gap = (probabilities.argmax(1) == labels) - confidence
    place = np.minimum((confidence * FINE).astype(np.int64), FINE - 1)
    return scattered(np.stack([place, FINE + place], 1), np.stack([np.ones(len(gap)), gap], 1), 2 * FINE)


def _total(sums: Floats) -> Floats:
    count, gap = np.split(sums, 2, axis=-1)
    return divided(np.abs(np.cumsum(gap, -1)).max(-1), count.sum(-1))


def _exact(probabilities: Floats, labels: Integers) -> float:
    """By sorting; equally sure examples come together, so that their order cannot matter."""
    if not len(labels):
        return 0.0
    confidence = probabilities.max(1)
    _, place = np.unique(confidence, return_inverse=True)
    gap = np.bincount(place, (probabilities.argmax(1) == labels) - confidence)
    return float(np.abs(np.cumsum(gap)).max() / len(labels))


register(
    kind="metric",
    name="ks_calibration",
    title="KS calibration error",
    summary="The largest gap between cumulative confidence and cumulative accuracy, examples in order of confidence: "
    "no bins.",
    reference="Gupta et al. 2021, arXiv 2006.12800",
)(Measure(_cells, _total, "fraction", higher_is_better=False, exact=_exact))
