"""Beta calibration of two classes."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from core.calibrators._fitted import FittedCalibrator, Matrix, check
from core.calibrators._matrix import through
from core.calibrators._newton import minimise
from core.calibrators.platt import logistic, two_only
from core.registry import register
from core.types import Floats, Integers


@register(
    kind="calibrate",
    name="beta",
    title="Beta",
    summary="Bends the probability of two classes by three numbers, more freely than a sigmoid.",
    reference="Kull et al. 2017, Beta calibration, PMLR 54, and doi 10.1214/17-EJS1338SI",
    tasks=("binary",),
)
def beta(logits: NDArray[Any], labels: Integers) -> FittedCalibrator:
    """Fit log-odds `a ln p - b ln (1 - p) + c` by maximum likelihood, a and b at least 0. Raises `TemperError`.

    The likelihood is log-concave: where its optimum has a negative a or b, the best with one or both of them 0 is
    the optimum within bounds. Of more classes, Dirichlet calibration is the same idea.
    """
    z = check(logits, labels)
    two_only("Beta calibration", z, "Take Dirichlet calibration.")
    logs = z - special.logsumexp(z, axis=1, keepdims=True)
    features = np.stack([logs[:, 1], -logs[:, 0]], 1)
    spread = float(features.std()) or 1.0
    (a, b, c), converged = _bounded(features / spread, labels.astype(np.float64))
    a, b = a / spread, b / spread
    fitted: dict[str, Any] = {"a": a, "b": b, "c": c, "converged": converged}
    score = z[:, 1] - z[:, 0]
    if a == b == 0:
        fitted["warning"] = "No rising curve fits better than a flat one: every example gets the share of class 1."
    elif score[labels == 1].min() > score[labels == 0].max():
        fitted["converged"] = False
        fitted["warning"] = "The classes are separable on the calibration split: the curve is as steep as a step."
    elif not converged:
        fitted["warning"] = "Beta calibration did not converge on these logits."
    form = Matrix(np.array([[0.0, 0.0], [-b, a]]), np.array([0.0, c]), True)
    return FittedCalibrator(lambda new: through(new, form), fitted, form)


def _bounded(features: Floats, targets: Floats) -> tuple[tuple[float, float, float], bool]:
    """`(a, b, c)` of the greatest likelihood with a and b at least 0, and whether it was reached."""
    n = len(targets)
    prior = float(special.logit(targets.mean()))
    found: list[tuple[float, tuple[float, float, float], bool]] = []
    for size in (2, 1, 0):
        for used in combinations((0, 1), size):
            at = logistic(np.concatenate([features[:, list(used)], np.ones((n, 1))], 1), targets)
            w, converged = minimise(at, np.concatenate([np.zeros(size), [prior]]))
            if (w[:-1] >= 0).all():
                values = dict(zip((*used, 2), map(float, w), strict=True))
                found.append((at(w)[0], (values.get(0, 0.0), values.get(1, 0.0), values[2]), converged))
        if found and size == 2:
            break
    _, best, converged = min(found, key=lambda one: one[0])
    return best, converged
