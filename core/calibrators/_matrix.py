"""A full matrix on logits or log-probabilities, regularised: the fit that matrix scaling and Dirichlet share.

The loss is the mean negative log-likelihood, plus strength times the mean square of the off-diagonal weights and
that of the biases (ODIR, off-diagonal and intercept regularisation, Kull et al. 2019, arXiv 1910.12656), on inputs of
root mean square 1, so that a strength means the same for logits of every size. One strength serves both terms, where
the paper searches a grid of two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from core.calibrators._fitted import FittedCalibrator, Matrix, absent, check, joined, softmax
from core.calibrators._newton import Point, minimise
from core.calibrators.temperature import optimal_temperature
from core.errors import TemperError
from core.types import Floats, Integers

MOST = 20  # classes: 420 parameters, some ten seconds on 10,000 examples; 1,000 classes would have a million
STRENGTHS = (1e2, 1e1, 1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # from hardly more than a temperature to free
FOLDS = 5
ROUGH = 1e6  # of a fold's fit: within 1e-7 nats of its optimum, far below what tells two strengths apart
KEPT = 1e-6  # strength that holds the diagonal at the best temperature: without it a class never seen has no optimum
ROWS = 4_096  # examples whose products are in memory at once: 14 MB
Penalty = Literal["odir", "l2"]


@dataclass(frozen=True)
class Strengths:
    """How strongly each weight and bias is held, float64 `(C, C + 1)`, and at which value."""

    held: Floats
    at: Floats


def fit_matrix(
    logits: NDArray[Any], labels: Integers, of_logs: bool, title: str, penalty: Penalty = "odir", seed: int = 0
) -> FittedCalibrator:
    """Fit weights and biases, their regularisation chosen by cross-validation inside these examples.

    Raises `TemperError` for more than `MOST` classes and like `check`.
    """
    z = check(logits, labels)
    classes = z.shape[1]
    if classes > MOST:
        raise TemperError(too_many(title, classes), "Take vector scaling, which has only the diagonal.")
    x = logarithms(z) if of_logs else z
    size = float(np.sqrt(np.mean(x**2))) or 1.0
    x = x / size
    tried = dict(zip(STRENGTHS, _held_out(x, labels, penalty, seed), strict=True))
    chosen = min(STRENGTHS, key=lambda strength: (round(tried[strength], 12), -strength))
    found, converged = fit_held(x, labels, held(x, labels, chosen, penalty))
    form = Matrix(found[:, :-1] / size, found[:, -1], of_logs)
    unfinished = {} if converged else {"warning": f"{title} did not converge on these logits."}
    fitted: dict[str, Any] = {
        "weights": form.weights.tolist(),
        "bias": form.bias.tolist(),
        "strength": chosen,
        "held_out_nll": {f"{strength:g}": nll for strength, nll in tried.items()},
        "folds": FOLDS,
        "converged": converged,
    } | joined(absent(labels, classes, 1) or absent(labels, classes, FOLDS), unfinished)
    return FittedCalibrator(lambda new: through(new, form), fitted, form)


def too_many(title: str, classes: int) -> str:
    """Why so many classes have no matrix, '' where they may."""
    if classes <= MOST:
        return ""
    parameters = classes * (classes + 1)
    return f"{title} would fit {parameters:,} parameters for {classes:,} classes; it is offered up to {MOST} classes."


def logarithms(z: Floats) -> Floats:
    """Log-probabilities of logits `(N, C)`."""
    found: Floats = z - special.logsumexp(z, axis=1, keepdims=True)
    return found


def through(new: NDArray[Any], form: Matrix) -> Floats:
    """Probabilities `(N, C)` of logits `(N, C)`."""
    z = new.astype(np.float64)
    return softmax((logarithms(z) if form.of_logs else z) @ form.weights.T + form.bias)


def held(x: Floats, labels: Integers, strength: float, penalty: Penalty) -> Strengths:
    """The strengths of ODIR, where the diagonal is all but free, or of L2, which holds all parameters at 0."""
    classes = x.shape[1]
    diagonal = np.eye(classes, classes + 1)
    if penalty == "l2":
        each = strength / (classes * (classes + 1))
        return Strengths(np.full((classes, classes + 1), each), np.zeros((classes, classes + 1)))
    each = np.full((classes, classes + 1), strength / (classes * (classes - 1)))
    each[:, -1] = strength / classes
    each[diagonal > 0] = KEPT / classes
    return Strengths(each, diagonal / optimal_temperature(x, labels))


def objective(x: Floats, labels: Integers, by: Strengths) -> Callable[[Floats], Point]:
    """The regularised loss as a function of the parameters `(C (C + 1),)`, a row of weights and a bias a class."""
    n, classes = x.shape
    wide = np.concatenate([x, np.ones((n, 1))], 1)
    rows = np.arange(n)

    def at(flat: Floats) -> Point:
        parameters = flat.reshape(classes, classes + 1)
        odds = wide @ parameters.T
        total = special.logsumexp(odds, axis=1)
        away = parameters - by.at
        loss = float((total - odds[rows, labels]).mean() + (by.held * away**2).sum())
        p = np.exp(odds - total[:, None])
        wrong = p.copy()
        wrong[rows, labels] -= 1
        gradient = wrong.T @ wide / n + 2 * by.held * away
        return loss, gradient.ravel(), lambda: _curvature(wide, p) + np.diag(2 * by.held.ravel())

    return at


def _curvature(wide: Floats, p: Floats) -> Floats:
    (n, width), classes = wide.shape, p.shape[1]
    found = np.zeros((classes * width, classes * width))
    for start in range(0, n, ROWS):
        x, mine = wide[start : start + ROWS], p[start : start + ROWS]
        both = (mine[:, :, None] * x[:, None, :]).reshape(len(x), -1)
        found -= both.T @ both
        for k in range(classes):
            block = slice(k * width, (k + 1) * width)
            found[block, block] += both[:, block].T @ x
    return found / n


def fit_held(
    x: Floats, labels: Integers, by: Strengths, start: Floats | None = None, rough: float = 1.0
) -> tuple[Floats, bool]:
    """The parameters `(C, C + 1)` at the optimum of `objective`, and whether it was reached."""
    found, converged = minimise(objective(x, labels, by), (by.at if start is None else start).ravel(), rough)
    return found.reshape(by.at.shape), converged


def _held_out(x: Floats, labels: Integers, penalty: Penalty, seed: int) -> list[float]:
    """For each strength the mean negative log-likelihood of examples that were not fitted on."""
    folds = stratified(labels, FOLDS, seed)
    totals = [0.0] * len(STRENGTHS)
    for fold in range(FOLDS):
        out = folds == fold
        mine, own, start = x[~out], labels[~out], None
        for place, strength in enumerate(STRENGTHS):
            start, _ = fit_held(mine, own, held(mine, own, strength, penalty), start, ROUGH)
            odds = x[out] @ start[:, :-1].T + start[:, -1]
            totals[place] += float((special.logsumexp(odds, axis=1) - odds[np.arange(out.sum()), labels[out]]).sum())
    return [total / len(labels) for total in totals]


def stratified(labels: Integers, folds: int, seed: int) -> Integers:
    """The fold of each example, `(N,)`: every class is spread as evenly as it can be, by a seeded draw."""
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    found = np.empty(len(labels), np.int64)
    found[order] = np.arange(len(labels)) % folds
    return found
