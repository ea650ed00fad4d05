"""Coefficient of determination."""

import math

import numpy as np
from scipy.sparse import csr_array

from core.metrics._measure import Measure, columns, divided
from core.metrics._numbers import errors
from core.registry import register
from core.task import NUMBERS
from core.types import Floats

# Labels within a resample that vary by less than this share of their distance from the median vary only by rounding:
# a share below one half never occurs for all the labels, whose mean lies within a deviation of their median.
ROUNDING = 1e-12


def _cells(predicted: Floats, labels: Floats) -> csr_array:
    """Squared error; the label and its square; one. The label counts from the labels' own median.

    Squares of labels far from zero would cancel to nothing. The median is one of the labels, so that labels
    which are all alike give exact zeros. Cells of unlike labels must therefore not be added: those of two
    models on the same examples may, and in their difference the labels cancel.
    """
    labels = np.asarray(labels, np.float64)
    middle = len(labels) // 2
    from_median = labels - np.partition(labels, middle)[middle] if len(labels) else labels
    squares = errors(predicted, labels) ** 2
    return columns(np.stack([squares, from_median, from_median**2, np.ones(len(labels))], 1))


def _total(sums: Floats) -> Floats:
    squares, sum_, sum_of_squares, n = (sums[..., place] for place in range(4))
    spread = sum_of_squares - divided(sum_**2, n)
    spread = np.where(spread > ROUNDING * sum_of_squares, spread, 0.0)
    return divided(spread - squares, spread)


register(
    kind="metric",
    name="r2",
    title="R²",
    summary="The share of the variance that the predictions explain; 0 is no better than always saying the mean, "
    "and what is shown where all actual values are one.",
    reference="Draper and Smith 1998, Applied regression analysis, doi 10.1002/9781118625590",
    tasks=NUMBERS,
)(Measure(_cells, _total, "", higher_is_better=True, least=-math.inf, most=1.0))
