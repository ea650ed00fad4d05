"""Which class is taken for which: the confusion matrix of an outcome."""

from __future__ import annotations

import numpy as np

from core.types import Integers, Outcome


def confusion_matrix(outcome: Outcome) -> Integers:
    """Counts int64 `(C, C)`: row the true class, column the predicted one; they sum to `outcome.n`."""
    size = len(outcome.classes)
    cells = outcome.labels * size + outcome.predictions
    return np.bincount(cells, minlength=size * size).reshape(size, size).astype(np.int64)
