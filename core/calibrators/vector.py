"""Vector scaling."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.calibrators._fitted import FittedCalibrator, check, doubt, softmax
from core.calibrators.temperature import optimal_temperature
from core.registry import register
from core.types import Floats, Integers

STEPS = 500


@register(
    kind="calibrate",
    name="vector",
    title="Vector",
    summary="Scales and shifts each class's logit, so that predictions may change.",
    reference="Guo et al. 2017, On calibration of modern neural networks, arXiv 1706.04599",
)
def vector(logits: NDArray[Any], labels: Integers) -> FittedCalibrator:
    """Fit a scale and a bias a class by maximum likelihood, from the optimal temperature. Raises `TemperError`."""
    from scipy.optimize import minimize

    z = check(logits, labels)
    n, classes = z.shape
    spread = float(z.std()) or 1.0
    z /= spread  # so that logits of any size give gradients of one size
    rows = np.arange(n)
    observed = np.bincount(labels, minlength=classes) / n
    own = np.bincount(labels, z[rows, labels], minlength=classes) / n

    def loss(parameters: Floats) -> tuple[float, Floats]:
        scale, bias = parameters[:classes], parameters[classes:]
        scores = z * scale + bias
        scores -= scores.max(1, keepdims=True)
        chosen = scores[rows, labels].sum()
        np.exp(scores, out=scores)
        total = scores.sum(1)
        scores /= total[:, None]
        gradient = [np.einsum("nc,nc->c", scores, z) / n - own, scores.mean(0) - observed]
        return float((np.log(total).sum() - chosen) / n), np.concatenate(gradient)

    start = np.concatenate([np.full(classes, 1 / optimal_temperature(z, labels)), np.zeros(classes)])
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", options={"maxiter": STEPS, "ftol": 1e-13, "gtol": 1e-7}
    )
    scale, bias = found.x[:classes] / spread, found.x[classes:]
    fitted: dict[str, Any] = {"scale": scale.tolist(), "bias": bias.tolist(), "converged": bool(found.success)}
    fitted |= doubt(n, 2 * classes, "Vector scaling")
    if not found.success:
        unfinished = f"Vector scaling did not converge within {STEPS} steps: the classes may be separable."
        fitted["warning"] = f"{fitted['warning']} {unfinished}" if "warning" in fitted else unfinished
    return FittedCalibrator(lambda new: softmax(new.astype(np.float64) * scale + bias), fitted)
