"""Evaluate a set in the order that tells most first, with an estimate at each look on the way to the exact result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.engine.estimate import LOOKS, Estimate, Strata, estimate, next_examples, stratify
from core.engine.meaning import meaning
from core.engine.runtime import CHUNK, Progress, run
from core.engine.weighting import totals, weighted
from core.errors import TemperError
from core.types import Floats, Outcome

Look = Callable[[Estimate], None]
Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]
Map = Callable[[NDArray[Any]], Floats]


def check_finite(logits: NDArray[np.float32]) -> None:
    """Raise `TemperError` where a model's outputs are not finite numbers."""
    if not np.isfinite(logits).all():
        raise TemperError("The model's outputs are not finite numbers on this data.", "Try a gentler recipe.")


@dataclass(frozen=True)
class Ground:
    """What is known of an original before anything is seen of another model: strata, and totals of statistics."""

    strata: Strata
    totals: Mapping[str, Floats]


def ground(original: Outcome, seed: int = 0) -> Ground:
    """The ground of an original, its examples shuffled by `seed`."""
    return Ground(stratify(original, seed), totals(original))


@lru_cache(maxsize=8)
def _ground(original: _Same) -> Ground:
    return ground(original.outcome)


@dataclass(frozen=True)
class _Same:
    """An outcome told apart by its model and data, so that its ground is laid once."""

    key: tuple[str, str]
    outcome: Outcome = field(compare=False)


def _ground_of(original: Outcome) -> Ground:
    """`ground`, remembered by the provenance, which names an outcome of the engine."""
    made = original.provenance
    return _ground(_Same((made.model, made.data), original))


@dataclass
class Watch:
    """An evaluation on its way: what was seen of one network on one split, and what that says.

    `logits` `(N, C)` float32 are valid where `seen` `(N,)`. `mapped` is the confidence calibration once it is
    fitted; `waits` says that there is one still to come.
    """

    original: Outcome
    ground: Ground
    seen: NDArray[np.bool_]
    logits: NDArray[np.float32]
    waits: bool = False
    mapped: Map | None = None

    @classmethod
    def of(cls, original: Outcome, waits: bool = False, on: Ground | None = None) -> Watch:
        """Nothing seen yet. An outcome that is not the engine's needs a ground of its own."""
        seen, logits = np.zeros(original.n, bool), np.zeros_like(original.logits)
        return cls(original, on or _ground_of(original), seen, logits, waits)

    def fill(
        self,
        predict: Predict,
        inputs: NDArray[np.float32],
        budget: int,
        progress: Progress | None,
        chunk: int = CHUNK,
    ) -> None:
        """See about `budget` examples in all, or every one with the whole set's size. Raises `TemperError`."""
        if budget >= self.original.n:
            chosen = np.flatnonzero(~self.seen)
        else:
            chosen = next_examples(self.ground.strata, self.seen, self._moved(), budget)
        if not len(chosen):
            return
        done = int(self.seen.sum())

        def report(fraction: float) -> None:
            if progress is not None:
                progress((done + fraction * len(chosen)) / self.original.n)

        found = run(predict, inputs[chosen], report, chunk)
        check_finite(found)
        self.logits[chosen] = found
        self.seen[chosen] = True

    def _moved(self) -> Floats:
        """What each example seen adds to the difference `(N,)`: a change of sides, or of the squared error."""
        known, found = self.original, np.zeros(self.original.n)
        labels = known.labels[self.seen]
        if known.task.decides:
            right = self.logits[self.seen].argmax(1) == labels
            found[self.seen] = right != known.correct[self.seen]
        else:
            after = meaning(known.task, self.logits[self.seen])[:, 0]
            found[self.seen] = (after - labels) ** 2 - (known.values[self.seen] - labels) ** 2
        return found

    def estimate(self) -> Estimate:
        """What the examples seen say of the whole set."""
        known, strata = self.original, self.ground.strata
        logits = self.logits[self.seen]
        after = self.mapped(logits) if self.mapped else meaning(known.task, logits)
        found, least = Estimate(int(self.seen.sum()), known.n), 0.0
        if known.task.decides:
            predicted = known.predictions.copy()
            predicted[self.seen] = after.argmax(1)
            found = estimate(strata, self.seen, known.predictions, predicted, known.labels)
            interval = found.changes["accuracy"].interval
            least = interval.high - interval.low if interval else 0.0
        if self.waits and self.mapped is None:
            return found
        more = weighted(strata, self.seen, known, after, least, self.ground.totals)
        return replace(
            found,
            calibrated=self.mapped is not None,
            values={**found.values, **more.values},
            changes={**found.changes, **more.changes},
            recalls=more.recalls,
            recall_changes=more.recall_changes,
        )


def look_first(
    predict: Predict,
    inputs: NDArray[np.float32],
    original: Outcome,
    look: Look,
    progress: Progress | None = None,
    fit: Callable[[], Map] | None = None,
    chunk: int = CHUNK,
) -> NDArray[np.float32]:
    """Logits `(N, C)` of `inputs` `(N, ...)`; every example is evaluated once, also those of the estimates.

    `look` receives an estimate when about `LOOKS` examples are seen. `fit` gives the confidence calibration; it is
    called after the first look, so that the next ones are of calibrated probabilities.
    """
    watch = Watch.of(original, fit is not None)
    for place, budget in enumerate(LOOKS):
        watch.fill(predict, inputs, min(budget, original.n), progress, chunk)
        look(watch.estimate())
        if place == 0 and fit is not None:
            watch.mapped = fit()
    watch.fill(predict, inputs, original.n, progress, chunk)
    return watch.logits
