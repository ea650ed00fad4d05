"""Class shares by logistic regression, each example judged by a fit that has not seen it."""

from __future__ import annotations

import warnings

import numpy as np

from core.calibration.cross_fit import FOLDS, folds
from core.types import Floats, Integers

STRENGTH = 0.1  # C of the ridge: its inverse weight
ROUNDS = 60  # steps of the solver at most: shares move by less than a thousandth afterwards


def logistic_shares(x: Floats, y: Integers, seed: int = 0) -> Floats:
    """Probabilities `(N, C)` of the classes 0 to C - 1 of `y` `(N,)` from values `(N, k)`, cross-fitted."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    part, classes = folds(y, FOLDS, seed), int(y.max()) + 1
    found = np.zeros((len(y), classes))
    for one in range(FOLDS):
        inside = part == one
        if not inside.any() or len(np.unique(y[~inside])) < 2:
            continue
        mean, spread = x[~inside].mean(0), np.maximum(x[~inside].std(0), 1e-9)
        fitted = LogisticRegression(C=STRENGTH, max_iter=ROUNDS)
        with warnings.catch_warnings(), threadpool_limits(1):  # arrays this small only wait for other threads
            warnings.simplefilter("ignore", ConvergenceWarning)
            fitted.fit((x[~inside] - mean) / spread, y[~inside])
        found[np.ix_(inside, fitted.classes_)] = fitted.predict_proba((x[inside] - mean) / spread)
    return found
