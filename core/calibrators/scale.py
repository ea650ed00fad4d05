"""One factor on the standard deviation that a network states."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.calibrators._fitted import FittedCalibrator, Widths
from core.calibrators._widths import GAUSSIAN, check_numbers, deviations, intervals
from core.errors import TemperError
from core.registry import register
from core.task import NUMBERS


@register(
    kind="calibrate",
    name="scale",
    title="Scale",
    summary="Multiplies every stated standard deviation by one number; the values stay.",
    reference="Levi et al. 2022, Evaluating and calibrating uncertainty prediction in regression tasks, "
    "doi 10.3390/s22155540",
    tasks=NUMBERS,
)
def scale(outputs: NDArray[Any], labels: NDArray[Any]) -> FittedCalibrator:
    """Fit the factor on outputs `(N, 2)` and numbers `(N,)`. Raises `TemperError`.

    The maximum of the Gaussian likelihood is in closed form: the root of the mean squared standardised error. The
    intervals stay Gaussian, so that they cover what they claim only as far as the errors are.
    """
    z, y = check_numbers(outputs, labels)
    if z.shape[1] != 2:
        raise TemperError(
            "Scale calibration needs a network that states a standard deviation; this one states only values.",
            "Use conformal calibration, which needs none.",
        )
    factor = float(np.sqrt(np.mean(((y - z[:, 0]) / deviations(z)) ** 2)))
    fitted: dict[str, Any] = {"factor": factor, "examples": len(y)}
    if factor == 0:
        fitted["warning"] = "Every value is exactly right on the calibration split: the intervals have no width."
    form = Widths(factor * GAUSSIAN, True)
    return FittedCalibrator(lambda new: intervals(new, form), fitted, form)
