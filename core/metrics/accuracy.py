"""Accuracy."""

import numpy as np
from scipy.sparse import csr_array

from core.metrics._measure import Measure, columns, divided
from core.registry import register
from core.types import Floats, Integers


def _cells(probabilities: Floats, labels: Integers) -> csr_array:
    right = probabilities.argmax(1) == labels
    return columns(np.stack([right, np.ones(len(labels))], 1).astype(np.float64))


def _total(sums: Floats) -> Floats:
    return divided(sums[..., 0], sums[..., 1])


register(
    kind="metric",
    name="accuracy",
    title="Accuracy",
    summary="The share of examples whose most probable class is the right one.",
    reference="Sokolova and Lapalme 2009, doi 10.1016/j.ipm.2009.03.002",
)(Measure(_cells, _total, "fraction", higher_is_better=True))
