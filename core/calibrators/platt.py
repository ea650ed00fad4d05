"""Platt scaling of two classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from core.calibrators._fitted import Affine, FittedCalibrator, check, softmax
from core.calibrators._newton import Point, minimise
from core.errors import TemperError
from core.registry import register
from core.types import Floats, Integers


@register(
    kind="calibrate",
    name="platt",
    title="Platt",
    summary="Scales and shifts the log-odds of two classes, by targets that are kept off 0 and 1.",
    reference="Platt 2000, Probabilistic outputs for support vector machines; "
    "Lin et al. 2007, doi 10.1007/s10994-007-5018-6",
    tasks=("binary",),
)
def platt(logits: NDArray[Any], labels: Integers) -> FittedCalibrator:
    """Fit `sigmoid(slope (z1 - z0) + shift)` by maximum likelihood. Raises `TemperError`.

    The targets are (N1 + 1) / (N1 + 2) and 1 / (N0 + 2), so that separable classes have an optimum as well. Of more
    classes, sigmoids that are made to sum to one maximise no likelihood; vector scaling does.
    """
    z = check(logits, labels)
    two_only("Platt scaling", z, "Take vector scaling.")
    score = z[:, 1] - z[:, 0]
    spread = float(score.std()) or 1.0
    ones = int(labels.sum())
    targets = np.where(labels == 1, (ones + 1) / (ones + 2), 1 / (len(labels) - ones + 2))
    features = np.stack([score / spread, np.ones(len(score))], 1)
    start = np.array([0.0, float(special.logit(targets.mean()))])
    found, converged = minimise(logistic(features, targets), start)
    slope, shift = float(found[0]) / spread, float(found[1])
    fitted: dict[str, Any] = {"slope": slope, "shift": shift, "converged": converged}
    if (score == score[0]).all():
        fitted["warning"] = "Every example has the same log-odds: all get the share of class 1."
    elif slope <= 0:
        fitted["warning"] = "The slope is not positive: on the calibration split the model ranks the classes wrongly."
    form = Affine(np.array([slope]), np.array([0.0, shift]))
    return FittedCalibrator(lambda new: softmax(new.astype(np.float64) * form.scale + form.bias), fitted, form)


def two_only(title: str, logits: Floats, hint: str) -> None:
    """Raise `TemperError` unless logits `(N, C)` are of two classes."""
    if logits.shape[1] != 2:
        raise TemperError(f"{title} tells two classes apart; these logits are of {logits.shape[1]}.", hint)


def logistic(features: Floats, targets: Floats) -> Any:
    """The mean cross-entropy of `sigmoid(features @ w)` `(N,)` with targets `(N,)` as a function of w."""
    n = len(targets)

    def at(w: Floats) -> Point:
        odds = features @ w
        p = special.expit(odds)
        loss = float((np.logaddexp(0, odds) - targets * odds).mean())
        return loss, features.T @ (p - targets) / n, lambda: (features * (p * (1 - p))[:, None]).T @ features / n

    return at
