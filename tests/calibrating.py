"""Made networks before confidence calibration, and what the calibration laboratory says of them."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import regression

from core.engine.calibration_lab import Entry, Material, contest
from core.engine.numbers import stated
from core.engine.ranking import Ranking, rank
from core.task import task_of_classes
from core.types import Outcome, Provenance

MADE = Provenance("m", "d", "r", "test", 0.0)


def outcome(n: int, classes: int, seed: int, sharpness: float = 2.5) -> Outcome:
    """Labels drawn from the softmax of logits that are then multiplied by `sharpness`."""
    generator = np.random.default_rng(seed)
    honest = 1.5 * generator.normal(size=(n, classes))
    shares = np.exp(honest - honest.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    labels = (shares.cumsum(1) < generator.random((n, 1))).sum(1).clip(0, classes - 1)
    logits = (sharpness * honest).astype(np.float32)
    given = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    names = tuple(["T-shirt/top", "Ankle boot <b>"][k] if k < 2 else f"class {k}" for k in range(classes))
    return Outcome(logits, given / given.sum(1, keepdims=True), labels, task_of_classes(names), MADE)


@cache
def material(classes: int, n: int = 400, sharpness: float = 2.5) -> Material:
    """A calibration and an evaluation split of `n` examples each."""
    key = ("made", str(classes), str(n), str(sharpness))
    return Material(key, outcome(n, classes, 1, sharpness), outcome(n, classes, 2, sharpness))


@cache
def prices() -> Material:
    """The same of a model for numbers."""
    (known, truths), (outputs, labels) = regression.prices(300, 1), regression.prices(300, 2)
    parts = [Outcome(o, stated(o), y, regression.PRICES, MADE) for o, y in ((known, truths), (outputs, labels))]
    return Material(("made", "prices"), *parts)


@cache
def rankings() -> dict[str, dict[str, Any]]:
    """Several measures, of two and of many classes and of numbers; a method that failed."""
    broken = Entry("x", "Broken", None, {}, "It needs at least 10 examples; got 2.")
    return {
        "ten classes": {"ranking": rank(contest(material(10)), "nll")},
        "two classes": {"ranking": rank((*contest(material(2)), broken), "ece")},
        "alone": {"ranking": rank(contest(material(2))[:1], "brier")},
        "numbers": {"ranking": rank(contest(prices()), "interval_score")},
    }


def situations(kinds: dict[str, Any]) -> dict[str, dict[str, Any]] | None:
    """Arguments for a chart of the laboratory, None for any other."""
    return next((made() for kind, made in KNOWN.items() if kind in kinds.values()), None)


KNOWN: dict[type, Any] = {Ranking: rankings}
