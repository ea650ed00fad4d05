"""The same student with and without its teacher, from several seeds: is it the teacher, or chance?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from core.data.handle import DataHandle
from core.engine.evaluate import evaluate
from core.engine.runtime import Progress
from core.models.handle import ModelHandle
from core.recipe import Recipe
from core.training.taught import alone_of, measures, taught, teacher_of
from core.training.training import Training, training_of
from core.types import Interval, Quantity

LEVEL = 0.95


@dataclass(frozen=True)
class Repeats:
    """Pairs of trainings from the same seed: the student with its teacher, and alone."""

    pairs: tuple[tuple[Training, Training], ...]

    @property
    def every(self) -> tuple[Training, ...]:
        """All trainings, a pair after the other."""
        return tuple(one for pair in self.pairs for one in pair)

    @property
    def alive(self) -> bool:
        """Whether any of them runs or waits."""
        return any(one.alive for one in self.every)

    @property
    def begun(self) -> bool:
        """Whether some of it was done."""
        return any(one.begun for one in self.every)

    @property
    def done(self) -> bool:
        """Whether all of them ended."""
        return all(one.result is not None for one in self.every)

    @property
    def fraction(self) -> float:
        """The fraction done of all."""
        return sum(one.standing().fraction for one in self.every) / len(self.every)

    @property
    def note(self) -> str:
        """What went wrong, '' where nothing did."""
        return next((one.standing().note for one in self.every if one.standing().state == "failed"), "")

    def start(self) -> None:
        """Begin those that have not ended, one after the other in the background."""
        for one in self.every:
            if one.result is None and not one.alive:
                one.start()

    def cancel(self) -> None:
        """End all; each can go on from its last checkpoint."""
        for one in self.every:
            one.cancel()


def repeats(model: ModelHandle, data: DataHandle, recipe: Recipe, count: int) -> Repeats:
    """`count` pairs of a recipe that ends in a distillation, from its own seed on. Only those started run."""
    seeded = [replace(recipe, seed=recipe.seed + turn) for turn in range(count)]
    pairs = [(training_of(model, data, one), training_of(model, data, alone_of(one))) for one in seeded]
    return Repeats(tuple(pairs))


@dataclass(frozen=True)
class Spread:
    """One measure over seeds: each student's values `(K,)`, their means with 95 % intervals, the paired difference.

    All intervals are Student's over the seeds; `p` is that of the paired t test, 1 where all differences are zero.
    """

    taught: tuple[float, ...]
    alone: tuple[float, ...]
    taught_mean: Quantity
    alone_mean: Quantity
    difference: Quantity
    p: float


@dataclass(frozen=True)
class Seeds:
    """What several seeds came to, by measure and `agreement`. `seeds` in order."""

    seeds: tuple[int, ...]
    n: int
    lead: str
    spreads: Mapping[str, Spread]


def seeds_of(model: ModelHandle, data: DataHandle, of: Repeats, progress: Progress | None = None) -> Seeds:
    """Judge every pair on the evaluation split, `progress` hears the fraction done. Raises `TemperError`."""
    rows: dict[str, list[tuple[float, float]]] = {}
    n = 0
    for turn, (with_it, without) in enumerate(of.pairs):
        known = teacher_of(with_it.recipe, model, data)
        assert known is not None and with_it.result is not None and without.result is not None
        before = evaluate(model, data, Recipe())
        after, alone = (evaluate(model, data, one.result) for one in (with_it, without) if one.result is not None)
        found = taught(known, data, before, after, alone)
        n = found.n
        both = found.sides["taught"], found.sides["alone"]
        for name in measures(data):
            rows.setdefault(name, []).append((both[0].values[name], both[1].values[name]))
        rows.setdefault("agreement", []).append((both[0].agreement, both[1].agreement))
        if progress is not None:
            progress((turn + 1) / len(of.pairs))
    spreads = {name: spread(*zip(*values, strict=True)) for name, values in rows.items()}
    return Seeds(tuple(one.recipe.seed for one, _ in of.pairs), n, data.task.facts.headline, spreads)


def spread(taught: Sequence[float], alone: Sequence[float]) -> Spread:
    """Means and their paired difference, with Student's intervals over two or more seeds."""
    a, b = np.asarray(taught, np.float64), np.asarray(alone, np.float64)
    gap = a - b
    middle, error = float(gap.mean()), float(gap.std(ddof=1) / len(gap) ** 0.5)
    t = abs(middle) / error if error else np.inf if middle else 0.0
    p = float(2 * special.stdtr(len(gap) - 1, -t))
    return Spread(tuple(a.tolist()), tuple(b.tolist()), _mean(a), _mean(b), _mean(gap), p)


def _mean(values: np.ndarray) -> Quantity:
    k = len(values)
    middle = float(values.mean())
    half = float(special.stdtrit(k - 1, 0.5 + LEVEL / 2) * values.std(ddof=1) / k**0.5)
    return Quantity(middle, "", "measured", Interval(middle - half, middle + half, LEVEL), k)
