"""Calibration error with the bias of finite bins taken off, equal-mass bins."""

import numpy as np
from scipy.sparse import csr_array

from core.metrics._bins import BINS, top_label
from core.metrics._measure import Measure, divided
from core.registry import register
from core.types import Floats, Integers


def _cells(probabilities: Floats, labels: Integers) -> csr_array:
    return top_label(probabilities, labels, BINS, "mass")


def debiased(sums: Floats) -> Floats:
    """Root of the mean squared gap of a bin less the variance of its accuracy, at least 0; sums `(..., 3 * bins)`.

    A bin of one example cannot tell its own variance and counts as if it had no gap.
    """
    count, values, hits = np.split(sums, 3, axis=-1)
    accuracy, several = divided(hits, count), count > 1.5
    noise = divided(accuracy * (1 - accuracy), np.where(several, count - 1, 0.0))
    squares = np.where(several, divided(hits - values, count) ** 2 - noise, 0.0)
    return np.sqrt(np.maximum(divided((count * squares).sum(-1), count.sum(-1)), 0.0))


register(
    kind="metric",
    name="ece_debiased",
    title="Debiased calibration error",
    summary="The root mean squared gap between confidence and accuracy over 15 bins of equally many examples, less "
    "what chance alone puts into them.",
    reference="Kumar et al. 2019, arXiv 1909.10155; Bröcker 2012, doi 10.1007/s00382-011-1191-1; Ferro and Fricker "
    "2012, doi 10.1002/qj.1924",
)(Measure(_cells, debiased, "fraction", higher_is_better=False))
