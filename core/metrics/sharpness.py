"""Sharpness: how concentrated the stated probabilities are, whatever the truth."""

import numpy as np
from scipy.sparse import csr_array

from core.metrics._measure import Measure, columns, divided
from core.registry import register
from core.types import Floats, Integers


def _cells(probabilities: Floats, labels: Integers) -> csr_array:
    """Each example's sum of squared probabilities, and one; the labels play no part."""
    squares = np.einsum("nc,nc->n", probabilities, probabilities)
    return columns(np.stack([squares, np.ones(len(labels))], 1))


def _total(sums: Floats) -> Floats:
    return divided(sums[..., 0], sums[..., 1])


register(
    kind="metric",
    name="sharpness",
    title="Sharpness",
    summary="The mean sum of squared probabilities, 1 where it is always certain; of forecasts that hold what they "
    "say the Brier score is 1 minus this, so that it is worth something only beside a small calibration error.",
    reference="Gneiting, Balabdaoui and Raftery 2007, doi 10.1111/j.1467-9868.2007.00587.x; Bröcker 2009, doi "
    "10.1002/qj.456",
)(Measure(_cells, _total, "squared probability, 0 to 1", higher_is_better=True, most=1.0))
