"""Smooth calibration error: a kernel in place of bins, as wide as the error that it finds."""

import numpy as np
from scipy.fft import dct, idct
from scipy.sparse import csr_array

from core.metrics._measure import Measure, divided, scattered
from core.registry import register
from core.types import Floats, Integers

COARSE = 256  # cells of confidence on which its interval rests
FINE = 8192  # and its value
STEPS = {COARSE: 14, FINE: 40}  # halvings of the bandwidth


def _cells(probabilities: Floats, labels: Integers) -> csr_array:
    """The count, then in each cell of confidence the hits minus confidences: `(N, 1 + COARSE)`."""
    place, gap = _placed(probabilities, labels, COARSE)
    columns = np.stack([np.zeros(len(gap), np.int64), 1 + place], 1)
    return scattered(columns, np.stack([np.ones(len(gap)), gap], 1), 1 + COARSE)


def _placed(probabilities: Floats, labels: Integers, cells: int) -> tuple[Integers, Floats]:
    confidence = probabilities.max(1)
    gap = (probabilities.argmax(1) == labels) - confidence
    return np.minimum((confidence * cells).astype(np.int64), cells - 1), gap


def _total(sums: Floats) -> Floats:
    return smooth_error(divided(sums[..., 1:], sums[..., :1]))


def _exact(probabilities: Floats, labels: Integers) -> float:
    if not len(labels):
        return 0.0
    place, gap = _placed(probabilities, labels, FINE)
    return float(smooth_error(np.bincount(place, gap, FINE) / len(labels)))


def smooth_error(gaps: Floats) -> Floats:
    """The bandwidth that equals the smoothed error at it, of mean gaps by cell of 0 to 1, `(..., cells)`.

    Smoothing by a Gaussian that is reflected at 0 and 1 is diagonal in the cosine basis. The error falls as the
    bandwidth grows, so that halving finds where they meet.
    """
    cells = gaps.shape[-1]
    waves = dct(gaps, norm="ortho", axis=-1)
    rates = (np.pi * np.arange(cells)) ** 2 / 2
    low, high = np.zeros(gaps.shape[:-1]), np.ones(gaps.shape[:-1])
    for _ in range(STEPS.get(cells, 40)):
        middle = (low + high) / 2
        error = np.abs(idct(waves * np.exp(-rates * middle[..., None] ** 2), norm="ortho", axis=-1)).sum(-1)
        wide = error <= middle
        low, high = np.where(wide, low, middle), np.where(wide, middle, high)
    found: Floats = np.where(high <= 2.0 ** -STEPS.get(cells, 40), 0.0, high)
    return found


register(
    kind="metric",
    name="ece_smooth",
    title="Smooth ECE",
    summary="The mean gap between confidence and accuracy after smoothing by a kernel as wide as the error itself: "
    "no bins.",
    reference="Błasiok and Nakkiran 2023, arXiv 2309.12236",
)(Measure(_cells, _total, "fraction", higher_is_better=False, exact=_exact))
