"""Temperature scaling."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.calibrators._fitted import Affine, FittedCalibrator, check, softmax
from core.errors import TemperError
from core.registry import register
from core.types import Floats, Integers

SMALLEST, LARGEST = 1e-3, 1e3  # bounds of T: beyond them the likelihood is flat to the last digit
TOLERANCE = 1e-6  # of log T: the last step of Newton's; as it converges quadratically the error is far below
MARGIN = 1e-4  # relative distance at which T counts as being at its bound
NEWTON = 20  # steps before halving takes over: Newton needs about 6, and creeps where the optimum is at a bound
SAMPLE = 1_000  # examples, spread evenly, that tell where to start on all of them
BLOCK = 1 << 15  # logits worked on at once: 256 KiB, which stay in a core's cache through all passes


@register(
    kind="calibrate",
    name="temperature",
    title="Temperature",
    summary="Divides all logits by one number, so that no prediction changes.",
    reference="Guo et al. 2017, On calibration of modern neural networks, arXiv 1706.04599",
    usual=True,
)
def temperature(logits: NDArray[Any], labels: Integers) -> FittedCalibrator:
    """Fit T > 0 at the maximum of the likelihood, in float64. Raises `TemperError`."""
    z = check(logits, labels)
    found = optimal_temperature(z, labels)
    fitted: dict[str, Any] = {"temperature": found}
    if (z == z[:, :1]).all():
        fitted["warning"] = "The logits of every example are all equal, so that every temperature fits: T stays 1."
    elif not SMALLEST * (1 + MARGIN) < found < LARGEST * (1 - MARGIN):
        fitted["warning"] = (
            f"The likelihood has no optimum inside T = {SMALLEST:g} to {LARGEST:g}; T is at its bound."
        )
    form = Affine(np.array([1 / found]), np.zeros(1))
    return FittedCalibrator(lambda new: softmax(new.astype(np.float64) / found), fitted, form)


def optimal_temperature(logits: Floats, labels: Integers) -> float:
    """The T that minimises the negative log-likelihood of `softmax(logits / T)`.

    `logits` float64 `(N, C)`, `labels` `(N,)`. T lies within `SMALLEST` and `LARGEST`, and is 1 where the
    logits of every example are all equal. In beta = 1 / T the likelihood is log-concave: Newton's steps,
    halved towards a bracket where they leave it, find its only optimum, from that of a sample.
    """
    centred = logits - logits.max(1, keepdims=True)
    if not centred.any():
        return 1.0
    own = centred[np.arange(len(labels)), labels]
    beta = 1.0
    if len(labels) >= 4 * SAMPLE:
        spread = slice(None, None, len(labels) // SAMPLE)
        beta = _optimal_beta(np.ascontiguousarray(centred[spread]), float(own[spread].mean()), beta)
    return float(np.clip(1 / _optimal_beta(centred, float(own.mean()), beta), SMALLEST, LARGEST))


def _optimal_beta(centred: Floats, own: float, beta: float) -> float:
    low, high = 1 / LARGEST, 1 / SMALLEST
    for turn in range(100):
        slope, curvature = _derivatives(centred, own, beta)
        low, high = (low, beta) if slope > 0 else (beta, high)
        step = beta - slope / curvature if curvature > 0 and turn < NEWTON else -1.0
        inside = low < step < high
        after = step if inside else (low * high) ** 0.5
        if (inside and abs(np.log(after / beta)) < TOLERANCE) or high / low < 1 + TOLERANCE:
            return float(after)
        beta = after
    raise TemperError("The temperature did not converge on these logits.", "Check that they are logits, not labels.")


def _derivatives(centred: Floats, own: float, beta: float) -> tuple[float, float]:
    """First and second derivative in beta: the mean of E[z] - z_label, and the mean variance of z.

    Both under the softmax of `beta * centred`; `own` is the mean z_label. Works through blocks of rows.
    """
    n, classes = centred.shape
    rows = max(1, BLOCK // classes)
    mean_sum = variance_sum = 0.0
    for start in range(0, n, rows):
        z = centred[start : start + rows]
        weights = beta * z
        np.exp(weights, out=weights)
        total = weights.sum(1)
        weights *= z
        mean = weights.sum(1) / total
        variance = np.einsum("nc,nc->n", weights, z) / total - mean**2
        mean_sum += float(mean.sum())
        variance_sum += float(variance.sum())
    return mean_sum / n - own, variance_sum / n
