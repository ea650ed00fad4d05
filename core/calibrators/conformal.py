"""Split conformal prediction: intervals that hold their share of the truths, whatever the network."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.calibrators._fitted import FittedCalibrator, Widths
from core.calibrators._widths import check_numbers, deviations, intervals
from core.errors import TemperError
from core.registry import register
from core.task import LEVEL, LEVELS, NUMBERS

SLACK = 1e-9  # so that 20 * 0.95 counts as 19 and not as the next whole number after it


def rank(n: int, level: float) -> int:
    """Which of `n` sorted scores bounds the interval at `level`: the smallest k with k / (n + 1) at least that."""
    return math.ceil((n + 1) * level - SLACK)


NEEDED = next(n for n in range(1, 10_000) if rank(n, LEVELS[-1]) <= n)


@register(
    kind="calibrate",
    name="conformal",
    title="Conformal",
    summary="Sets the width of each interval by the errors seen on the calibration split; the values stay.",
    reference="Vovk et al. 2005, Algorithmic learning in a random world, doi 10.1007/b106715; "
    "Lei et al. 2018, doi 10.1080/01621459.2017.1307116",
    tasks=NUMBERS,
)
def conformal(outputs: NDArray[Any], labels: NDArray[Any]) -> FittedCalibrator:
    """Fit the widths on outputs `(N, 1 or 2)` and numbers `(N,)`. Raises `TemperError`.

    The scores are `|y - value|`, divided by the stated deviation where there is one. At each level the factor is
    the ceil((N + 1) level)-th smallest score, so that on exchangeable new examples the interval holds at least
    that share, and no more than 1 / (N + 1) beyond it where no scores are equal. With too few examples for the
    highest level that score would have to be infinite: this is an error, not an interval.
    """
    z, y = check_numbers(outputs, labels)
    n, scaled = len(y), z.shape[1] == 2
    if n < NEEDED:
        raise TemperError(
            f"Conformal calibration needs at least {NEEDED} examples for its {100 * LEVELS[-1]:.0f} % intervals; "
            f"got {n}.",
            "Make the calibration split larger.",
        )
    scores = np.abs(y - z[:, 0])
    if scaled:
        scores /= deviations(z)
    scores.sort()
    factors = scores[[rank(n, level) - 1 for level in LEVELS]]
    form = Widths(factors, scaled)
    fitted: dict[str, Any] = {
        "factors": factors.tolist(),
        "at_level": {"level": LEVEL, "factor": float(factors[LEVELS.index(LEVEL)])},
        "scaled": scaled,
        "examples": n,
    }
    return FittedCalibrator(lambda new: intervals(new, form), fitted, form)
