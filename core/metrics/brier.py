"""Brier score."""

import numpy as np
from scipy.sparse import csr_array

from core.metrics._measure import Measure, columns, divided
from core.registry import register
from core.types import Floats, Integers


def _cells(probabilities: Floats, labels: Integers) -> csr_array:
    chosen = probabilities[np.arange(len(labels)), labels]
    squares = np.einsum("nc,nc->n", probabilities, probabilities) - 2 * chosen + 1
    return columns(np.stack([squares, np.ones(len(labels))], 1))


def _total(sums: Floats) -> Floats:
    return divided(sums[..., 0], sums[..., 1])


register(
    kind="metric",
    name="brier",
    title="Brier score",
    summary="The mean squared distance of the probabilities from the truth, summed over classes.",
    reference="Brier 1950, doi 10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2",
)(Measure(_cells, _total, "squared probability, 0 to 2", higher_is_better=False))
