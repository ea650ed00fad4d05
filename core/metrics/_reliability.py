"""The numbers behind a reliability diagram: by bin, how sure and how often right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.engine.statistics import resampled_sums, wilson
from core.metrics._bins import BINS, Mass, edges, expected_error, top_label
from core.metrics._measure import divided
from core.types import Floats, Integers, Outcome


@dataclass(frozen=True)
class Reliability:
    """Bins of the confidence of the predicted class, each field `(bins,)`.

    `accuracy` and `confidence` are means and 0 where `count` is 0; `band_low` and `band_high` bound the
    accuracy at 95 %. `ece` is the expected calibration error over these bins.
    """

    low: Floats
    high: Floats
    count: Integers
    confidence: Floats
    accuracy: Floats
    band_low: Floats
    band_high: Floats
    ece: float


def reliability(outcome: Outcome, bins: int = BINS, by: Mass = "width") -> Reliability:
    """Bin an outcome's confidence. Bands: bootstrap, and never narrower than Wilson's interval.

    The bootstrap collapses in a bin whose examples are all right or all wrong; Wilson's does not.
    """
    at = edges(outcome.confidence, bins, by)
    cells = top_label(outcome.probabilities, outcome.labels, bins, by)
    sums = np.asarray(cells.sum(0), np.float64).reshape(-1)
    count, confidence, right = np.split(sums, 3)
    drawn, _, hit = np.split(resampled_sums(cells), 3, axis=1)
    rates = np.where(drawn > 0, divided(hit, drawn), divided(right, count))
    low, high = np.quantile(rates, [0.025, 0.975], axis=0)
    wilson_low, wilson_high = wilson(right, count)
    return Reliability(
        at[:-1],
        at[1:],
        count.astype(np.int64),
        divided(confidence, count),
        divided(right, count),
        np.minimum(low, wilson_low),
        np.maximum(high, wilson_high),
        float(expected_error(sums)),
    )
