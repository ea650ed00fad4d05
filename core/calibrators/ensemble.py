"""Ensemble temperature scaling."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.calibrators._fitted import FittedCalibrator, Mixture, check, softmax
from core.calibrators.temperature import optimal_temperature
from core.registry import register
from core.types import Floats, Integers

STEPS = 200  # of Newton's: 5 to 20 are usual
MOVED = 1e-11  # of a weight by the last step
RIDGE = 1e-12  # of the curvature: where T is 1 two of the parts are the same
LEAST = 1e-300  # of a probability whose inverse is taken


@register(
    kind="calibrate",
    name="ensemble",
    title="Ensemble temperature",
    summary="Blends the tempered, the untempered and even probabilities, so that no prediction changes.",
    reference="Zhang et al. 2020, Mix-n-Match, arXiv 2003.07329",
)
def ensemble(logits: NDArray[Any], labels: Integers) -> FittedCalibrator:
    """Fit T, then the three weights, each at the maximum of the likelihood. Raises `TemperError`.

    As in the paper T is that of temperature scaling: with it the likelihood of the weights has one optimum.
    """
    z = check(logits, labels)
    found = optimal_temperature(z, labels)
    rows = np.arange(len(labels))
    own = np.stack([softmax(z / found)[rows, labels], softmax(z)[rows, labels], np.full(len(z), 1 / z.shape[1])], 1)
    weights = best_weights(own)
    form = Mixture(found, weights, z.shape[1])
    fitted: dict[str, Any] = {"temperature": found, "weights": weights.tolist()}
    if (z == z[:, :1]).all():
        fitted["warning"] = "The logits of every example are all equal, so that all blends are the same."
    return FittedCalibrator(lambda new: blended(new, form), fitted, form)


def blended(new: NDArray[Any], form: Mixture) -> Floats:
    """Probabilities `(N, C)` of logits `(N, C)`."""
    z = new.astype(np.float64)
    first, second, third = form.weights
    return first * softmax(z / form.temperature) + second * softmax(z) + third / form.classes


def best_weights(own: Floats) -> Floats:
    """The weights `(K,)`, none below 0 and summing to 1, that maximise the mean log of `own @ weights`.

    `own` `(N, K)` holds what each part gives the right class. Minimising mean(w) + sum(w) - 1 instead of a bound on
    the sum leads to the same weights; each Newton step is the best of those that keep a set of weights at 0.
    """
    n, parts = own.shape
    w = np.full(parts, 1 / parts)

    def loss(at: Floats) -> float:
        return float(at.sum() - np.log(np.maximum(own @ at, LEAST)).mean())

    for _ in range(STEPS):
        ratio = own / np.maximum(own @ w, LEAST)[:, None]
        gradient, curvature = 1 - ratio.mean(0), ratio.T @ ratio / n
        after = _nearest(w, gradient, curvature + RIDGE * np.eye(parts) * curvature.diagonal().max())
        length, here = 1.0, loss(w)
        while loss(w + length * (after - w)) > here + 1e-15 * max(1.0, abs(here)) and length > 1e-6:
            length /= 2
        step = length * (after - w)
        w = w + step
        if np.abs(step).max() <= MOVED:
            break
    w = np.maximum(w, 0)
    return w / w.sum()


def _nearest(w: Floats, gradient: Floats, curvature: Floats) -> Floats:
    """The weights, none below 0, that minimise the quadratic around `w`."""
    best, least = w, np.inf
    linear = gradient - curvature @ w
    for size in range(len(w), 0, -1):
        for used in combinations(range(len(w)), size):
            at = np.zeros(len(w))
            at[list(used)] = np.linalg.solve(curvature[np.ix_(used, used)], -linear[list(used)])
            value = float(linear @ at + at @ curvature @ at / 2)
            if (at >= 0).all() and value < least:
                best, least = at, value
    return best
