"""What the tests of conformal sets share: probabilities that are right or not, and sets made of them."""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

from core.calibration.sets import Examples, Rule, Sets, conformal_sets


def examples(n: int, classes: int, seed: int, sharp: float = 1.0, groups: int = 0) -> Examples:
    """Labels drawn from a softmax of noise; the probabilities given are those of logits `sharp` times as large."""
    random = np.random.default_rng(seed)
    logits = 2 * random.normal(size=(n, classes))
    labels = (softmax(logits, 1).cumsum(1) < random.random((n, 1))).sum(1).clip(max=classes - 1)
    of = random.integers(0, groups, n) if groups else None
    return Examples(softmax(sharp * logits, 1), labels.astype(np.int64), of)


def made(n: int, m: int, classes: int, rule: Rule, sharp: float = 1.0, names: tuple[str, ...] = ()) -> Sets:
    groups = 3 if rule.by == "group" else 0
    return conformal_sets(examples(n, classes, 1, sharp, groups), examples(m, classes, 2, sharp, groups), rule, names)


NAMES = ("T-shirt/top", "Ankle boot <b>", "of a kind that nobody was asked to name " * 3)
SITUATIONS = {
    case: {"found": one}
    for case, one in {
        "three classes": made(500, 900, 3, Rule(), names=NAMES),
        "empty sets": made(400, 300, 4, Rule("lac", 0.5), 3.0),
        "over-confident": made(300, 200, 10, Rule("raps", 0.95, True), 4.0),
        "by class, too few": made(40, 60, 12, Rule("lac", 0.9, by="class")),
        "by group": made(300, 200, 5, Rule("aps", 0.8, True, "group")),
        "fifty classes": made(900, 400, 50, Rule("aps", 0.99)),
        "one example": made(9, 1, 2, Rule("lac", 0.9)),
    }.items()
}
