"""What the number ECE is made of: how it moves with the bins and with n, for a model and for an honest one.

The honest model states the same probabilities and its labels are drawn from them, so that its true error is nothing;
all that ECE says of it is bias. Bröcker 2012, doi 10.1007/s00382-011-1191-1; Roelofs et al. 2022, arXiv 2012.08668.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.metrics._bins import Mass, bin_of, edges
from core.types import Floats, Integers, Outcome

DRAWS = 100  # sets of labels of the honest model
COUNTS = (1, 2, 3, 5, 8, 10, 12, 15, 20, 25, 30, 40, 50, 70, 100)  # numbers of bins tried


@dataclass(frozen=True)
class BinsLesson:
    """ECE at each number of `bins` `(K,)`: the model's, and the honest one's mean with its 95 % range.

    All on the same `n` of `total` examples, a random subset drawn once.
    """

    bins: Integers
    model: Floats
    honest: Floats
    low: Floats
    high: Floats
    n: int
    total: int
    by: Mass


def bins_lesson(outcome: Outcome, n: int, bins: int, by: Mass = "width", seed: int = 0) -> BinsLesson:
    """ECE of the predicted class on `n` of the examples, at most all of them and at least one.

    `bins` is one of the numbers tried.
    """
    generator = np.random.default_rng(seed)
    kept = max(1, min(n, outcome.n))
    part = np.sort(generator.permutation(outcome.n)[:kept])
    p, right = outcome.probabilities[part], outcome.correct[part].astype(np.float64)
    # Of the honest model, too, only whether the predicted class is right matters: it is so with its probability.
    sure = p.max(1)
    drawn = (generator.random((DRAWS, kept)) < sure).astype(np.float64)
    model, honest = [], []
    tried = sorted({*COUNTS, bins})
    for many in tried:
        at = edges(sure, many, by)
        place = bin_of(sure, at)
        gaps = np.stack([np.bincount(place, hits - sure, many) for hits in (right, *drawn)])
        errors = np.abs(gaps).sum(1) / kept
        model.append(errors[0])
        honest.append(errors[1:])
    every = np.array(honest)
    low, high = np.quantile(every, [0.025, 0.975], axis=1)
    return BinsLesson(np.array(tried), np.array(model), every.mean(1), low, high, kept, outcome.n, by)
