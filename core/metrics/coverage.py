"""How often the stated interval holds the actual value."""

import numpy as np
from scipy.sparse import csr_array

from core.metrics._measure import Measure
from core.metrics._numbers import averaged, errors, half_widths, mean
from core.registry import register
from core.task import LEVEL, NUMBERS
from core.types import Floats


def _cells(predicted: Floats, labels: Floats) -> csr_array:
    inside = np.abs(errors(predicted, labels)) <= half_widths(predicted)
    return averaged(inside.astype(np.float64))


register(
    kind="metric",
    name="coverage",
    title=f"Coverage of {100 * LEVEL:.0f} % intervals",
    summary=f"The share of actual values inside the interval that is said to hold {100 * LEVEL:.0f} %, best near "
    f"{100 * LEVEL:.0f} % and ranked as higher is better, since too few is the dangerous side; whether more is "
    "bought with wide intervals, the interval score says.",
    reference="Gneiting, Balabdaoui and Raftery 2007, doi 10.1111/j.1467-9868.2007.00587.x",
    tasks=NUMBERS,
)(Measure(_cells, mean, "fraction", higher_is_better=True, most=1.0))
