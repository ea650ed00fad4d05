"""Vector scaling."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.calibrators._fitted import FittedCalibrator, check, doubt, softmax
from core.calibrators.temperature import optimal_temperature
from core.registry import register
from core.types import Floats, Integers


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
    truth = np.zeros((n, classes))
    truth[np.arange(n), labels] = 1

    def loss(parameters: Floats) -> tuple[float, Floats]:
        scale, bias = parameters[:classes], parameters[classes:]
        scores = z * scale + bias
        scores -= scores.max(1, keepdims=True)
        exponentials = np.exp(scores)
        total = exponentials.sum(1, keepdims=True)
        gap = (exponentials / total - truth) / n
        value = float((np.log(total[:, 0]) - scores[np.arange(n), labels]).mean())
        return value, np.concatenate([(gap * z).sum(0), gap.sum(0)])

    start = np.concatenate([np.full(classes, 1 / optimal_temperature(z, labels)), np.zeros(classes)])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500, "ftol": 1e-13, "gtol": 1e-7})
    scale, bias = found.x[:classes], found.x[classes:]
    fitted: dict[str, Any] = {"scale": scale.tolist(), "bias": bias.tolist(), "converged": bool(found.success)}
    fitted |= doubt(n, 2 * classes, "Vector scaling")
    if not found.success:
        fitted["warning"] = "Vector scaling did not converge within 500 steps: the classes may be separable."
    return FittedCalibrator(lambda new: softmax(new.astype(np.float64) * scale + bias), fitted)
