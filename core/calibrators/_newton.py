"""Newton's method for a smooth convex loss of a few hundred parameters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.linalg import LinAlgError, solve

from core.types import Floats

Point = tuple[float, Floats, Callable[[], Floats]]  # the loss, its gradient (P,), and what gives its curvature (P, P)
STEPS = 100  # 5 to 20 are usual, most of them where classes are separable
GRADIENT = 1e-9  # the largest derivative left at the end
DECREMENT = 1e-13  # of the loss that a last step would still gain
ROUNDING = 1e-14  # of the loss: below it a step's gain cannot be seen
DAMPING = 1e-13  # of the greatest curvature: directions in which the loss is flat stay where they are
SHORTEST = 1e-9  # of a step


def minimise(at: Callable[[Floats], Point], start: Floats, rough: float = 1.0) -> tuple[Floats, bool]:
    """Where the loss is least, `(P,)`, and whether it was reached (Nocedal and Wright 2006, Numerical Optimization).

    Steps are halved until they gain enough. A loss without an optimum ends when nothing is left to gain. `rough`
    multiplies what may be left to gain.
    """
    here, (loss, gradient, curvature) = start, at(start)
    for _ in range(STEPS):
        step = _solved(curvature(), -gradient)
        gain = -float(gradient @ step)
        if np.abs(gradient).max() <= GRADIENT * rough**0.5 and gain <= DECREMENT * rough:
            return here, True
        length = 1.0
        while True:
            after = at(here + length * step)
            if after[0] <= loss - 1e-4 * length * gain + ROUNDING * max(1.0, loss):
                break
            length /= 2
            if length < SHORTEST:
                return here, False
        here, (loss, gradient, curvature) = here + length * step, after
    return here, False


def _solved(curvature: Floats, towards: Floats) -> Floats:
    scale = float(curvature.diagonal().max()) + float(np.finfo(np.float64).tiny)
    damping = DAMPING
    while True:
        try:
            found: Floats = solve(curvature + damping * scale * np.eye(len(towards)), towards, assume_a="pos")
            return found
        except LinAlgError:  # rounding bent a flat direction downwards
            damping *= 100
