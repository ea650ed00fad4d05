"""Interval score: narrow intervals, with a fine for every value that they miss."""

import numpy as np
from scipy.sparse import csr_array

from core.metrics._measure import Measure
from core.metrics._numbers import averaged, errors, half_widths, mean
from core.registry import register
from core.task import LEVEL, NUMBERS
from core.types import Floats

FINE = 2 / round(1 - LEVEL, 10)  # for each unit by which the interval misses


def _cells(predicted: Floats, labels: Floats) -> csr_array:
    half = half_widths(predicted)
    return averaged(2 * half + FINE * np.maximum(np.abs(errors(predicted, labels)) - half, 0))


register(
    kind="metric",
    name="interval_score",
    title="Interval score",
    summary=f"The width of the {100 * LEVEL:.0f} % interval plus {FINE:.0f} times the distance by which it misses "
    "the actual value, on average: coverage and width in one number.",
    reference="Gneiting and Raftery 2007, doi 10.1198/016214506000001437, equation 43",
    tasks=NUMBERS,
)(Measure(_cells, mean, "target", higher_is_better=False))
