"""Where there is one split only: each part is predicted by a fit on the others, so that nothing judges itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.calibrators._fitted import FittedCalibrator
from core.errors import TemperError
from core.types import Floats, Integers, Labels

FOLDS = 5


def folds(labels: Integers, count: int = FOLDS, seed: int = 0) -> Integers:
    """The part of each example, 0 to `count - 1`, `(N,)`: each class is spread evenly over the parts."""
    generator = np.random.default_rng(seed)
    found = np.empty(len(labels), np.int64)
    dealt = 0
    for one in np.unique(labels):
        mine = generator.permutation(np.flatnonzero(labels == one))
        found[mine] = (dealt + np.arange(len(mine))) % count
        dealt += len(mine)
    return found


def cross_fitted(
    fit: Callable[[NDArray[Any], Any], FittedCalibrator], logits: NDArray[Any], labels: Labels
) -> Floats:
    """What a fit that has not seen it predicts of every example, `(N, K)`. Raises `TemperError` like `fit`.

    Classes are spread evenly over the parts; numbers are dealt by a seeded draw.
    """
    if len(labels) < FOLDS:
        raise TemperError(f"Cross-fitting takes at least {FOLDS} examples; got {len(labels)}.")
    drawn = labels if labels.dtype.kind in "iu" else np.zeros(len(labels), np.int64)
    part, parts = folds(drawn), []
    for one in range(FOLDS):
        inside = part == one
        parts.append(fit(logits[~inside], labels[~inside]).probabilities(logits[inside]))
    predicted = np.empty((len(labels), parts[0].shape[1]))
    for one, found in enumerate(parts):
        predicted[part == one] = found
    return predicted
