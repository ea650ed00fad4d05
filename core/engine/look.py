"""Evaluate a set in the order that tells most first, with an estimate at each look on the way to the exact result."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from core.engine.estimate import LOOKS, Estimate, estimate, next_examples, stratify
from core.engine.runtime import Progress, run
from core.errors import TemperError
from core.types import Outcome

Look = Callable[[Estimate], None]
Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def check_finite(logits: NDArray[np.float32]) -> None:
    """Raise `TemperError` where a model's outputs are not finite numbers."""
    if not np.isfinite(logits).all():
        raise TemperError("The model's outputs are not finite numbers on this data.", "Try a gentler recipe.")


def look_first(
    predict: Predict,
    inputs: NDArray[np.float32],
    original: Outcome,
    look: Look,
    progress: Progress | None = None,
    looks: tuple[int, ...] = LOOKS,
    to_end: bool = True,
) -> NDArray[np.float32]:
    """Logits `(N, C)` of `inputs` `(N, ...)`; every example is evaluated once, also those of the estimates.

    `look` receives an estimate when about `looks` examples are seen. Without `to_end` the rest stays 0.
    """
    strata, seen = stratify(original), np.zeros(original.n, bool)
    logits = np.zeros_like(original.logits)
    before = original.predictions

    def predicted() -> NDArray[np.int64]:
        return np.where(seen, logits.argmax(1), before)

    def fill(chosen: NDArray[np.int64]) -> None:
        done = int(seen.sum())

        def report(fraction: float) -> None:
            if progress is not None:
                progress((done + fraction * len(chosen)) / original.n)

        logits[chosen] = run(predict, inputs[chosen], report)
        check_finite(logits[chosen])
        seen[chosen] = True

    for budget in looks:
        changed = (predicted() == original.labels) != original.correct
        chosen = next_examples(strata, seen, changed, min(budget, original.n))
        if len(chosen):
            fill(chosen)
        look(estimate(strata, seen, before, predicted(), original.labels))
    if to_end and not seen.all():
        fill(np.flatnonzero(~seen))
    return logits
