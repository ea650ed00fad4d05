"""Mean squared error."""

from scipy.sparse import csr_array

from core.metrics._measure import Measure
from core.metrics._numbers import averaged, errors, mean
from core.registry import register
from core.task import NUMBERS
from core.types import Floats


def _cells(predicted: Floats, labels: Floats) -> csr_array:
    return averaged(errors(predicted, labels) ** 2)


register(
    kind="metric",
    name="mse",
    title="MSE",
    summary="The mean of the squared difference between the predicted and the actual value.",
    reference="Hyndman and Koehler 2006, Another look at measures of forecast accuracy, "
    "doi 10.1016/j.ijforecast.2006.03.001",
    tasks=NUMBERS,
)(Measure(_cells, mean, "target squared", higher_is_better=False))
