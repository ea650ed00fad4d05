"""How many labels look wrong, by confident learning: an estimate, and the examples that it doubts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.engine.runtime import Progress
from core.engine.statistics import LEVEL, wilson
from core.training.suitability.folds import logistic_shares
from core.types import Floats, Integers, Interval, Quantity

MOST = 4_000  # examples looked at
SHOWN = 60  # doubtful examples listed
PLANTED = 0.05  # share of labels made wrong to see how many are found
LEAST = 50


@dataclass(frozen=True)
class Doubt:
    """An example whose label looks wrong: its place in the fit split, the label, what it looks like, both shares."""

    place: int
    given: int
    other: int
    given_share: float
    other_share: float


@dataclass(frozen=True)
class LabelNoise:
    """The estimated share of wrong labels among `n` examples, and the doubtful ones, the most doubtful first.

    `found` is the share of labels made wrong on purpose that the same procedure doubts: what it misses, it misses in
    the estimate too.
    """

    share: Quantity
    doubtful: tuple[Doubt, ...]
    found: float
    n: int


def confident_joint(shares: Floats, y: Integers) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """How many examples of each label confidently look like each class, `(C, C)`, and what each looks like `(N,)`.

    An example looks like the likeliest of the classes whose share of it is at least the mean share that examples
    labelled so have (Northcutt et al. 2021, Confident learning, doi 10.1613/jair.1.12125); -1 where there is none.
    """
    classes = shares.shape[1]
    counts = np.bincount(y, minlength=classes)
    own = np.bincount(y, shares[np.arange(len(y)), y], classes)
    bar = np.where(counts > 0, own / np.maximum(counts, 1), np.inf)
    inside = shares >= bar
    looks = np.where(inside.any(1), np.where(inside, shares, -1.0).argmax(1), -1).astype(np.int64)
    joint = np.zeros((classes, classes))
    np.add.at(joint, (y[looks >= 0], looks[looks >= 0]), 1)
    return joint, looks


def label_noise(x: Floats, y: Integers, told: Progress, seed: int = 0) -> LabelNoise | None:
    """The estimate for values `(N, k)` with labels `(N,)`; None for fewer than fifty examples or one class."""
    rows = np.sort(np.random.default_rng(seed).permutation(len(y))[:MOST])
    kept, labels = np.unique(y[rows], return_inverse=True)
    if len(rows) < LEAST or len(kept) < 2:
        return None
    given = labels.reshape(-1).astype(np.int64)
    shares = logistic_shares(x[rows], given)
    told(0.5)
    joint, looks = confident_joint(shares, given)
    wrong = np.flatnonzero((looks >= 0) & (looks != given))
    margins = shares[wrong, looks[wrong]] - shares[wrong, given[wrong]]
    order = wrong[np.argsort(-margins, kind="stable")][:SHOWN]
    doubtful = tuple(
        Doubt(
            int(rows[i]), int(kept[given[i]]), int(kept[looks[i]]), float(shares[i, given[i]]),
            float(shares[i, looks[i]]),
        )
        for i in order
    )  # fmt: skip
    counts = np.bincount(given, minlength=len(kept)).astype(float)
    rowsums = joint.sum(1)
    scaled = joint * (counts / np.maximum(rowsums, 1))[:, None]
    off = float(scaled.sum() - np.trace(scaled)) / len(given)
    low, high = (float(end) for end in wilson(off * len(given), float(len(given))))
    share = Quantity(off, "fraction", "estimated", Interval(low, high, LEVEL), len(given))
    return LabelNoise(share, doubtful, _found(x[rows], given, seed), len(given))


def _found(x: Floats, y: Integers, seed: int) -> float:
    """The share of labels made wrong on purpose that are doubted."""
    generator = np.random.default_rng(seed + 1)
    classes = int(y.max()) + 1
    planted = generator.permutation(len(y))[: max(1, round(PLANTED * len(y)))]
    wrong = y.copy()
    wrong[planted] = (y[planted] + generator.integers(1, classes, len(planted))) % classes
    _, looks = confident_joint(logistic_shares(x, wrong), wrong)
    doubted = (looks >= 0) & (looks != wrong)
    return float(doubted[planted].mean())
