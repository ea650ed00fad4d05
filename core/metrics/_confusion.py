"""Confusion matrix."""

from __future__ import annotations

import numpy as np

from core.types import Integers, Outcome


def confusion_matrix(outcome: Outcome) -> Integers:
    """Counts int64 `(C, C)`: rows are true classes, columns predicted ones."""
    classes = len(outcome.classes)
    flat = np.bincount(outcome.labels * classes + outcome.predictions, minlength=classes * classes)
    return flat.reshape(classes, classes).astype(np.int64)
