"""Vector scaling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.blocks import by_blocks
from core.calibrators._fitted import Affine, FittedCalibrator, check, doubt, softmax
from core.calibrators.temperature import optimal_temperature
from core.registry import register
from core.types import Floats, Integers

STEPS = 100  # of Newton's: 10 to 25 are usual, most of them where classes are separable
GRADIENT = 1e-7  # the largest derivative left at the end, with logits of standard deviation 1
DECREMENT = 1e-8  # nats that a last Newton step would still gain
ROUNDING = 1e-13  # of the loss: below it a step's gain cannot be seen
INNER = 50  # conjugate-gradient steps for one of Newton's: 1 or 2 are usual
DAMPING = 1e-8  # of the diagonal: the rounding of float32 may bend the curvature, and more slows the last steps


@register(
    kind="calibrate",
    name="vector",
    title="Vector",
    summary="Scales and shifts each class's logit, so that predictions may change.",
    reference="Guo et al. 2017, On calibration of modern neural networks, arXiv 1706.04599",
)
def vector(logits: NDArray[Any], labels: Integers) -> FittedCalibrator:
    """Fit a scale and a bias a class by maximum likelihood, from the optimal temperature. Raises `TemperError`.

    Newton's method, each step by conjugate gradients (Nocedal and Wright 2006, Numerical Optimization, 7.1): the
    loss and its gradient are float64, the curvature, which only decides how many steps it takes, float32.
    """
    z = check(logits, labels)
    n, classes = z.shape
    spread = float(z.std()) or 1.0
    z /= spread  # so that logits of any size give gradients of one size
    start = np.concatenate([np.full(classes, 1 / optimal_temperature(z, labels)), np.zeros(classes)])
    found, converged = _newton(z, labels, start)
    scale, bias = found[:classes] / spread, found[classes:]
    fitted: dict[str, Any] = {"scale": scale.tolist(), "bias": bias.tolist(), "converged": converged}
    fitted |= doubt(n, 2 * classes, "Vector scaling")
    if not converged:
        unfinished = f"Vector scaling did not converge within {STEPS} steps: the classes may be separable."
        fitted["warning"] = f"{fitted['warning']} {unfinished}" if "warning" in fitted else unfinished
    form = Affine(scale, bias)
    return FittedCalibrator(lambda new: softmax(new.astype(np.float64) * scale + bias), fitted, form)


@dataclass(frozen=True)
class _Point:
    """The loss at some scales and biases, its gradient `(2C,)`, and what its curvature is made of.

    `moments` and `diagonal` `(3, C)` are means over the examples of p and of p (1 - p), each times 1, z and z**2,
    where p is a class's probability and z its logit.
    """

    loss: float
    gradient: Floats
    moments: Floats
    diagonal: Floats


def _newton(z: Floats, labels: Integers, start: Floats) -> tuple[Floats, bool]:
    """Scales and biases `(2C,)` of least loss, and whether they were reached."""
    n, classes = z.shape
    weights = np.empty((n, 2 * classes), np.float32)
    at = _loss(z, labels, weights)
    here, point = start, at(start)
    for _ in range(STEPS):
        step = _step(point, weights)
        gain = -float(point.gradient @ step)
        if np.abs(point.gradient).max() <= GRADIENT and gain <= DECREMENT:
            return here, True
        length = 1.0
        while True:
            after = at(here + length * step)
            if after.loss <= point.loss - 1e-4 * length * gain + ROUNDING * max(1.0, point.loss):
                break
            length /= 2
            if length < 1e-6:
                return here, False
        here, point = here + length * step, after
    return here, False


def _loss(z: Floats, labels: Integers, weights: NDArray[np.float32]) -> Callable[[Floats], _Point]:
    """The mean negative log-likelihood as a function of scales and biases.

    Each call writes p z and p of every example and class into `weights` `(N, 2C)`.
    """
    n, classes = z.shape
    rows = np.arange(n)
    observed = np.concatenate(
        [np.bincount(labels, z[rows, labels], classes), np.bincount(labels, minlength=classes)]
    ) / n  # fmt: skip

    def at(parameters: Floats) -> _Point:
        scale, bias = parameters[:classes], parameters[classes:]

        def part(block: slice) -> tuple[float, Floats]:
            mine = z[block]
            p = mine * scale
            p += bias
            chosen = p[np.arange(len(p)), labels[block]]
            most = p.max(1)
            p -= most[:, None]
            np.exp(p, out=p)
            total = p.sum(1)
            p /= total[:, None]
            pz = p * mine
            weights[block, :classes], weights[block, classes:] = pz, p
            moments = np.stack([p.sum(0), pz.sum(0), np.einsum("nc,nc->c", pz, mine)])
            squares = [np.einsum("nc,nc->c", a, b) for a, b in ((p, p), (p, pz), (pz, pz))]
            return float((np.log(total) + most - chosen).sum()), np.stack([moments, moments - squares])

        losses, sums = zip(*by_blocks(part, n, classes), strict=True)
        moments, diagonal = sum(sums[1:], sums[0]) / n
        return _Point(sum(losses) / n, np.concatenate([moments[1], moments[0]]) - observed, moments, diagonal)

    return at


def _step(point: _Point, weights: NDArray[np.float32]) -> Floats:
    """Newton's step `(2C,)`, nearly: the curvature times it is minus the gradient.

    Scales meet scales and biases of their own class in `moments`, and all others through the weights: the
    curvature is moments - weights' weights / N. The preconditioner is its block of each class, 2 x 2.
    """
    n, classes = len(weights), weights.shape[1] // 2
    tiny = np.finfo(np.float64).tiny
    damping = DAMPING * point.moments[[0, 2]] + tiny

    def curved(v: Floats) -> Floats:
        scale, bias = v[:classes], v[classes:]
        one, first, second = point.moments
        own = [(second + damping[1]) * scale + first * bias, first * scale + (one + damping[0]) * bias]
        return np.concatenate(own) - weights.T @ (weights @ v.astype(np.float32)) / n

    one, second = point.diagonal[0] + damping[0], point.diagonal[2] + damping[1]
    first = point.diagonal[1]
    determinant = np.maximum(one * second - first**2, DAMPING * one * second + tiny)

    def preconditioned(v: Floats) -> Floats:
        scale, bias = v[:classes], v[classes:]
        return np.concatenate([one * scale - first * bias, second * bias - first * scale]) / np.tile(determinant, 2)

    step, left = np.zeros(2 * classes), -point.gradient
    towards = direction = preconditioned(left)
    size = begun = float(left @ towards)
    enough = min(0.25, begun**0.5) ** 2 * begun  # ever more exact, so that the steps converge faster than linearly
    for turn in range(INNER):
        bent = curved(direction)
        curvature = float(direction @ bent)
        if curvature <= 0:
            return direction if turn == 0 else step
        step = step + size / curvature * direction
        left = left - size / curvature * bent
        towards = preconditioned(left)
        before, size = size, float(left @ towards)
        if size <= enough:
            break
        direction = towards + size / before * direction
    return step
