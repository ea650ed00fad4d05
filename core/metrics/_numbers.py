"""Where a metric of numbers reads the value and the interval that a model states."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from core.metrics._measure import columns, divided
from core.task import LEVEL, LEVELS
from core.types import Floats


def errors(predicted: Floats, labels: Floats) -> Floats:
    """Actual minus predicted value, float64 `(N,)`."""
    return np.asarray(labels, np.float64) - predicted[:, 0]


def half_widths(predicted: Floats, level: float = LEVEL) -> Floats:
    """Half the width of the central interval at a level of `LEVELS`, float64 `(N,)`."""
    return predicted[:, 1 + LEVELS.index(level)]


def averaged(values: Floats) -> csr_array:
    """The cells of a metric that is the mean of `values` `(N,)`: each value, and one for each example."""
    return columns(np.stack([values, np.ones(len(values))], 1))


def mean(sums: Floats) -> Floats:
    """The total that belongs to `averaged`."""
    return divided(sums[..., 0], sums[..., 1])
