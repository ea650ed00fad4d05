"""Ranking of two classes: exact by sorting, and in bins of log-odds, from which intervals and estimates follow."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from core.metrics._measure import scattered
from core.types import Floats, Integers

BINS = 384
BEND = 0.5  # log-odds about where the bins begin to widen: finest where the classes mix, wide where all is said
FARTHEST = 745.0  # log-odds of the smallest probability that float64 holds; over-confident networks reach beyond 100


def log_odds(predicted: Floats) -> Floats:
    """The logarithm of the odds of class 1, `(N,)`, of probabilities `(N, 2)`."""
    tiny = np.nextafter(0.0, 1.0)
    return np.log(np.maximum(predicted[:, 1], tiny)) - np.log(np.maximum(predicted[:, 0], tiny))


def cells(predicted: Floats, labels: Integers) -> csr_array:
    """Each example in its bin: negatives in columns 0 to 383, positives in 384 to 767, by rising log-odds.

    The bins are equally wide in asinh(log-odds / 0.5) and the same for every model, so that two models' totals can
    be taken from each other.
    """
    reach = np.arcsinh(FARTHEST / BEND)
    place = np.floor((np.arcsinh(log_odds(predicted) / BEND) / reach + 1) * (BINS / 2)).astype(np.int64)
    place = np.clip(place, 0, BINS - 1) + BINS * (labels == 1)
    return scattered(place[:, None], np.ones((len(labels), 1)), 2 * BINS)


def falling(sums: Floats) -> tuple[Floats, Floats]:
    """Negatives and positives by bin `(..., 384)`, the surest positives first.

    Estimated totals may hold counts below 0 beside others as much too high: their running sum is then made to rise,
    half-way between its running maximum from the left and its running minimum from the right, which leaves the
    number of examples as it is. Taking such counts for 0 would shift mass, and the ranking with it.
    """
    negatives, positives = sums[..., BINS - 1 :: -1], sums[..., : BINS - 1 : -1]
    return _risen(negatives), _risen(positives)


def _risen(counts: Floats) -> Floats:
    if (counts >= 0).all():
        return counts
    sums = np.cumsum(counts, -1)
    above = np.maximum.accumulate(sums, -1)
    below = np.minimum.accumulate(sums[..., ::-1], -1)[..., ::-1]
    middle = np.clip((above + below) / 2, 0.0, np.maximum(sums[..., -1:], 0.0))
    return np.diff(middle, axis=-1, prepend=0.0)


def ranked(predicted: Floats, labels: Integers) -> tuple[Integers, Integers]:
    """True and false positives `(T,)` as the threshold falls past one score after another; equal ones together.

    Scores are probabilities of class 1, as they are, so that what float64 cannot tell apart is a tie.
    """
    scores, positive = predicted[:, 1], labels == 1
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.diff(scores[order], append=-1.0))
    caught = np.cumsum(positive[order], dtype=np.int64)[last]
    return caught, last + 1 - caught
