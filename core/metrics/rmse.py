"""Root mean squared error."""

import numpy as np
from scipy.sparse import csr_array

from core.metrics._measure import Measure
from core.metrics._numbers import averaged, errors, mean
from core.registry import register
from core.task import NUMBERS
from core.types import Floats


def _cells(predicted: Floats, labels: Floats) -> csr_array:
    return averaged(errors(predicted, labels) ** 2)


def _total(sums: Floats) -> Floats:
    return np.sqrt(np.maximum(mean(sums), 0.0))  # an estimated total may fall below nothing


register(
    kind="metric",
    name="rmse",
    title="RMSE",
    summary="The root of the mean squared error, in the unit of what is predicted; large misses weigh most.",
    reference="Hyndman and Koehler 2006, Another look at measures of forecast accuracy, "
    "doi 10.1016/j.ijforecast.2006.03.001",
    tasks=NUMBERS,
)(Measure(_cells, _total, "target", higher_is_better=False))
