"""What the tests of binary decisions share: judged pairs of made models, each with a provenance of its own."""

from __future__ import annotations

import itertools

import numpy as np
from scipy.special import expit

from core.decisions.decide import Judged, Rule
from core.decisions.thresholds import Costs
from core.decisions.verdict import Verdict, verdict
from core.task import task_of_classes
from core.types import Outcome, Provenance

TURN = itertools.count()
CLASSES = ("dry", "rain & <b>")


def outcome(scores: np.ndarray, positive: np.ndarray, place: int = 1, recipe: str = "") -> Outcome:
    """An outcome of the positive class's probabilities `(N,)`; the class stands at `place`."""
    predicted = np.stack([1 - scores, scores], 1) if place else np.stack([scores, 1 - scores], 1)
    labels = np.where(positive, place, 1 - place).astype(np.int64)
    made = Provenance("model", "data", recipe or f"made {next(TURN)}", "test", 0.0)
    return Outcome(predicted.astype(np.float32), predicted, labels, task_of_classes(CLASSES, place), made)


def made(n: int, seed: int, sharpness: float = 1.0, levels: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores and truths; a sharpness of 1 is calibrated. With `levels`, that many equally spaced scores."""
    generator = np.random.default_rng(seed)
    odds = generator.normal(-1.0, 1.8, n)
    positive = generator.random(n) < expit(odds)
    if n > 1:
        positive[:2] = [False, True]
    scores = expit(sharpness * odds)
    return (np.round(scores * levels) / levels if levels else scores), positive


def judged(n: int = 400, seed: int = 0, place: int = 1, sharpness: float = 4.0, levels: int = 0) -> Judged:
    """An over-confident original and a calibrated tempered model, on two splits."""
    recipe = f"made {next(TURN)}"
    four = []
    for split in (2 * seed, 2 * seed + 1):
        for sharp in (sharpness, 1.0):
            scores, positive = made(n, split, sharp, levels)
            four.append(outcome(scores, positive, place, recipe))
    return Judged(*four)


def flat(scores: float, positive: bool, n: int = 5) -> Judged:
    """All scores equal and one class only."""
    recipe = f"made {next(TURN)}"
    one = outcome(np.full(n, scores), np.full(n, positive), recipe=recipe)
    return Judged(one, one, one, one)


def _same(n: int) -> Judged:
    scores, positive = made(n, 9)
    one = outcome(scores, positive)
    return Judged(one, one, one, one)


SITUATIONS: dict[str, dict[str, Verdict]] = {
    case: {"given": verdict(of, rule, share)}
    for case, of, rule, share in (
        ("dear misses", judged(800, 1), Rule(costs=Costs(1, 8)), 0.1),
        ("the first class", judged(60, 2, place=0), Rule("hand", threshold=0.3), 0.2),
        ("few levels", judged(300, 3, levels=4), Rule("sensitivity", wish=0.9), 0.5),
        ("beyond float", judged(500, 4, sharpness=60.0), Rule("specificity", wish=0.8), 0.0),
        ("nobody decided", judged(30, 5), Rule("hand", threshold=1.0), 1.0),
        ("one class", flat(0.2, False), Rule(), 0.1),
        ("one example", flat(1.0, True, 1), Rule(costs=Costs(0, 1)), 0.0),
        ("the same twice", _same(200), Rule(), 0.1),
    )
}
