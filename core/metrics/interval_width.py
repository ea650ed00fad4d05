"""How wide the stated intervals are."""

from scipy.sparse import csr_array

from core.metrics._measure import Measure
from core.metrics._numbers import averaged, half_widths, mean
from core.registry import register
from core.task import LEVEL, NUMBERS
from core.types import Floats


def _cells(predicted: Floats, labels: Floats) -> csr_array:
    return averaged(2 * half_widths(predicted))


register(
    kind="metric",
    name="interval_width",
    title=f"Width of {100 * LEVEL:.0f} % intervals",
    summary="The mean full width of the stated intervals; narrow is good as long as they cover what they claim.",
    reference="Gneiting, Balabdaoui and Raftery 2007, doi 10.1111/j.1467-9868.2007.00587.x",
    tasks=NUMBERS,
)(Measure(_cells, mean, "target", higher_is_better=False))
