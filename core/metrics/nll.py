"""Negative log-likelihood."""

import numpy as np
from scipy.sparse import csr_array

from core.metrics._measure import Measure, columns, divided
from core.registry import register
from core.types import Floats, Integers

LEAST = float(np.finfo(np.float64).eps)  # probabilities are clipped here, as scikit-learn's log_loss does


def surprise(chosen: Floats) -> Floats:
    """Minus the logarithm, in nats, of the probabilities `(N,)` given to the right class."""
    return -np.log(np.clip(chosen, LEAST, 1 - LEAST))


def _cells(probabilities: Floats, labels: Integers) -> csr_array:
    chosen = probabilities[np.arange(len(labels)), labels]
    return columns(np.stack([surprise(chosen), np.ones(len(labels))], 1))


def _total(sums: Floats) -> Floats:
    return divided(sums[..., 0], sums[..., 1])


register(
    kind="metric",
    name="nll",
    title="NLL",
    summary="The mean of minus the logarithm of the probability given to the right class, in nats.",
    reference="Good 1952, Rational decisions, doi 10.1111/j.2517-6161.1952.tb00104.x",
)(Measure(_cells, _total, "nats", higher_is_better=False))
