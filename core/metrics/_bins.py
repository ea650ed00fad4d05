"""Bins of confidence, right-closed, and the calibration error over them."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.sparse import csr_array

from core.metrics._measure import divided, scattered
from core.types import Floats, Integers

BINS = 15  # the usual number (Guo et al. 2017, arXiv 1706.04599)
Mass = Literal["width", "mass"]


def edges(values: Floats, bins: int, by: Mass) -> Floats:
    """The `bins + 1` edges: equally wide, or at quantiles of `values` so that bins hold equally many.

    Equal values are never split over two bins, so that equal-mass bins may differ and some be empty.
    """
    if by == "width":
        return np.linspace(0, 1, bins + 1)
    inner = np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1]) if len(values) else np.zeros(bins - 1)
    return np.concatenate([[0.0], inner, [1.0]])


def bin_of(values: Floats, at: Floats) -> Integers:
    """The bin of each value: bin b holds `at[b] < value <= at[b + 1]`, the first also `at[0]`."""
    return np.searchsorted(at[1:-1], values, side="left").astype(np.int64)


def binned(values: Floats, hits: Floats, at: Floats) -> csr_array:
    """Count, sum of values and sum of hits by bin: three blocks of columns, sparse `(N, 3 * bins)`."""
    bins = len(at) - 1
    place = bin_of(values, at)
    index = np.stack([place, bins + place, 2 * bins + place], 1)
    return scattered(index, np.stack([np.ones(len(values)), values, hits], 1), 3 * bins)


def top_label(probabilities: Floats, labels: Integers, bins: int, by: Mass) -> csr_array:
    """`binned` for the confidence of the predicted class."""
    confidence = probabilities.max(1)
    right = (probabilities.argmax(1) == labels).astype(np.float64)
    return binned(confidence, right, edges(confidence, bins, by))


def expected_error(sums: Floats) -> Floats:
    """Sum over bins of |hits - values| over the number of examples; `sums` is `(..., 3 * bins)`."""
    count, values, hits = np.split(sums, 3, axis=-1)
    return divided(np.abs(hits - values).sum(-1), count.sum(-1))


def greatest_error(sums: Floats) -> Floats:
    """The largest |accuracy - mean confidence| of a bin."""
    count, values, hits = np.split(sums, 3, axis=-1)
    return divided(np.abs(hits - values), count).max(-1)


def classwise(probabilities: Floats, labels: Integers) -> csr_array:
    """For every class, the gap |hits - values| needs only hits minus values by bin.

    Sparse `(N, 1 + C * BINS)`; the first column counts the examples.
    """
    n, classes = probabilities.shape
    at = edges(probabilities, BINS, "width")
    place = np.zeros((n, classes), np.int64)
    above = probabilities > at[1]  # few of many classes: the search is left out for the rest
    place[above] = bin_of(probabilities[above], at)
    gap = -probabilities.copy()
    gap[np.arange(n), labels] += 1
    index = np.concatenate([np.zeros((n, 1), np.int64), 1 + place + BINS * np.arange(classes)], 1)
    return scattered(index, np.concatenate([np.ones((n, 1)), gap], 1), 1 + classes * BINS)


def classwise_sum(sums: Floats) -> Floats:
    """Sum over classes of each class's expected calibration error."""
    return divided(np.abs(sums[..., 1:]).sum(-1), sums[..., 0])


def classwise_mean(sums: Floats) -> Floats:
    """Mean over classes of each class's expected calibration error."""
    return classwise_sum(sums) / ((sums.shape[-1] - 1) // BINS)
