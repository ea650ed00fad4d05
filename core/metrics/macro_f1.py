"""Macro-averaged F1."""

import numpy as np
from scipy.sparse import csr_array

from core.metrics._measure import Measure, divided, scattered
from core.registry import register
from core.types import Floats, Integers


def _cells(probabilities: Floats, labels: Integers) -> csr_array:
    """Right, true and predicted counts, three blocks of C columns."""
    classes = probabilities.shape[1]
    predicted = probabilities.argmax(1)
    index = np.stack([labels, classes + labels, 2 * classes + predicted], 1)
    values = np.ones((len(labels), 3))
    values[:, 0] = predicted == labels
    return scattered(index, values, 3 * classes)


def _total(sums: Floats) -> Floats:
    """F1 is 2 right / (true + predicted); classes neither true nor predicted are left out of the mean."""
    right, true, predicted = np.split(sums, 3, axis=-1)
    present = (true + predicted) > 0
    return divided(divided(2 * right, true + predicted).sum(-1), present.sum(-1).astype(np.float64))


register(
    kind="metric",
    name="macro_f1",
    title="Macro F1",
    summary="The mean over classes of the harmonic mean of precision and recall.",
    reference="Sokolova and Lapalme 2009, doi 10.1016/j.ipm.2009.03.002",
)(Measure(_cells, _total, "fraction", higher_is_better=True))
