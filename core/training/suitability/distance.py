"""How far data lie from the original's, beside how far two halves of the original's lie from each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.damage.exemplars import doubt
from core.engine.runtime import Progress
from core.errors import TemperError
from core.training.suitability.folds import logistic_shares
from core.types import Floats, Integers, Quantity

DRAWS = 19  # splits of the reference in halves: beyond all of them has a probability of one in twenty by chance
MOST, LEAST = 1_000, 20  # examples on each side


@dataclass(frozen=True)
class Distance:
    """How well a linear classifier tells two sets apart, and how far their normal fits lie from each other.

    `auc` is the probability that an example of the other set looks more like one than an example of the reference,
    cross-fitted: about 0.5 where the two cannot be told apart, and rather below, since each fold's fit leans away
    from what it left out. `chance` holds the same of halves of the reference, which lean alike.
    `frechet` and `frechet_chance` are squared Frechet distances in the reference's standard deviations, over `axes`
    axes. `n` examples are on each side.
    """

    auc: Quantity
    chance: tuple[float, ...]
    frechet: float
    frechet_chance: tuple[float, ...]
    axes: int
    explained: float
    n: int

    @property
    def apart(self) -> bool:
        """Whether they are told apart better than every pair of halves, as one time in twenty by chance."""
        return (self.auc.value or 0.0) > max(self.chance)


def distance(reference: Floats, other: Floats, explained: float, told: Progress, seed: int = 0) -> Distance:
    """The distance of `other` `(N, k)` to `reference` `(M, k)`, both along the reference's axes.

    A classifier two-sample test (Lopez-Paz and Oquab 2017, arXiv 1610.06545) by logistic regression on values and
    their squares, and the Frechet distance of normal fits (Dowson and Landau 1982, doi 10.1016/0047-259X(82)90077-X;
    Heusel et al. 2017, arXiv 1706.08500). Raises `TemperError` for fewer than forty references or twenty others.
    """
    n = min(MOST, len(reference) // 2, len(other))
    if n < LEAST:
        raise TemperError(
            f"A distance needs {2 * LEAST} calibration examples and {LEAST} of the data; got {len(reference):,} and "
            f"{len(other):,}."
        )
    generator = np.random.default_rng(seed)
    some, every = generator.permutation(len(other))[:n], generator.permutation(len(reference))
    ones, twos = reference[every[:n]], other[some]
    auc = _told_apart(ones, twos)
    chance, apart = [], []
    for draw in range(DRAWS):
        halves: Integers = generator.permutation(len(reference))
        one, two = reference[halves[:n]], reference[halves[n : 2 * n]]
        chance.append(float(_told_apart(one, two).value or 0.0))
        apart.append(frechet(one, two))
        told((draw + 1) / DRAWS)
    return Distance(
        auc, tuple(chance), frechet(ones, twos), tuple(apart), reference.shape[1], explained, n
    )  # fmt: skip


def _told_apart(one: Floats, two: Floats) -> Quantity:
    """The area under the curve of a classifier that has not seen the example it judges, with its interval."""
    x = np.concatenate([one, two])
    y = np.repeat([0, 1], [len(one), len(two)])
    x = np.clip(x, -8, 8)
    shares = logistic_shares(np.concatenate([x, x**2], 1), y)[:, 1]
    return doubt(shares[: len(one)], shares[len(one) :]).below


def frechet(one: Floats, two: Floats) -> float:
    """The squared Frechet distance of the normal fits of `(N, k)` and `(M, k)`."""
    means = one.mean(0) - two.mean(0)
    a, b = (np.atleast_2d(np.cov(part.T)) for part in (one, two))
    values, vectors = np.linalg.eigh(a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ b @ root), 0)).sum()
    return max(0.0, float(means @ means + np.trace(a) + np.trace(b) - 2 * cross))
