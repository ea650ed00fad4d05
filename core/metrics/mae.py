"""Mean absolute error."""

import numpy as np
from scipy.sparse import csr_array

from core.metrics._measure import Measure
from core.metrics._numbers import averaged, errors, mean
from core.registry import register
from core.task import NUMBERS
from core.types import Floats


def _cells(predicted: Floats, labels: Floats) -> csr_array:
    return averaged(np.abs(errors(predicted, labels)))


register(
    kind="metric",
    name="mae",
    title="MAE",
    summary="How far the predicted value is from the actual one on average, in the unit of what is predicted.",
    reference="Willmott and Matsuura 2005, doi 10.3354/cr030079",
    tasks=NUMBERS,
)(Measure(_cells, mean, "target", higher_is_better=False))
