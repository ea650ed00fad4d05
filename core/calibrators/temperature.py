"""Temperature scaling."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.calibrators._fitted import FittedCalibrator, check, softmax
from core.errors import TemperError
from core.registry import register
from core.types import Floats, Integers

SMALLEST, LARGEST = 1e-3, 1e3  # bounds of T: beyond them the likelihood is flat to the last digit
TOLERANCE = 1e-10  # of log T
MARGIN = 1e-6  # relative distance at which T counts as being at its bound
NEWTON = 20  # steps before halving takes over: Newton needs about 6, and creeps where the optimum is at a bound


@register(
    kind="calibrate",
    name="temperature",
    title="Temperature",
    summary="Divides all logits by one number, so that no prediction changes.",
    reference="Guo et al. 2017, On calibration of modern neural networks, arXiv 1706.04599",
)
def temperature(logits: NDArray[Any], labels: Integers) -> FittedCalibrator:
    """Fit T > 0 at the maximum of the likelihood, in float64. Raises `TemperError`."""
    found = optimal_temperature(check(logits, labels), labels)
    fitted: dict[str, Any] = {"temperature": found}
    if not SMALLEST * (1 + MARGIN) < found < LARGEST * (1 - MARGIN):
        fitted["warning"] = (
            f"The likelihood has no optimum inside T = {SMALLEST:g} to {LARGEST:g}; T is at its bound."
        )
    return FittedCalibrator(lambda new: softmax(new.astype(np.float64) / found), fitted)


def optimal_temperature(logits: Floats, labels: Integers) -> float:
    """The T that minimises the negative log-likelihood of `softmax(logits / T)`.

    In beta = 1 / T the likelihood is log-concave: Newton's steps, halved towards a bracket where they
    leave it, find its only optimum. The derivative is the mean over examples of E[z] - z_label and the
    second derivative the mean variance of z, both under the softmax.
    """
    centred = logits - logits.max(1, keepdims=True)
    own = centred[np.arange(len(labels)), labels].mean()
    low, high = 1 / LARGEST, 1 / SMALLEST
    beta = 1.0
    for turn in range(100):
        weights = np.exp(beta * centred)
        total = weights.sum(1)
        mean = np.einsum("nc,nc->n", weights, centred) / total
        slope = float(mean.mean() - own)
        curvature = float((np.einsum("nc,nc,nc->n", weights, centred, centred) / total - mean**2).mean())
        low, high = (low, beta) if slope > 0 else (beta, high)
        step = beta - slope / curvature if curvature > 0 and turn < NEWTON else -1.0
        after = step if low < step < high else (low * high) ** 0.5
        if abs(np.log(after / beta)) < TOLERANCE or high / low < 1 + TOLERANCE:
            return float(np.clip(1 / after, SMALLEST, LARGEST))
        beta = after
    raise TemperError("The temperature did not converge on these logits.", "Check that they are logits, not labels.")
