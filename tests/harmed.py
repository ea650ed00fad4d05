"""What the tests of damage share: results made of arrays and, for every chart of damage, its situations."""

from __future__ import annotations

from typing import Any

import grouped
import numpy as np

from core.damage.disparity import Disparities, disparities
from core.damage.payers import Payers, payers
from core.engine.statistics import Flips
from core.types import Result


def hurt(n: int = 600, classes: int = 4, seed: int = 1, by: float = 1.5) -> Result:
    """A result whose tempered model is worse, most of all at the last class."""
    labels = np.random.default_rng(seed).integers(0, classes, n)  # the first draw of `classified`
    return grouped.classified(n, seed, classes, np.where(labels == classes - 1, by, 0.3 * by))


def same(n: int = 60) -> Result:
    one = grouped.classified(n, 3).original
    return grouped.result(one, one)


def _never_called() -> Result:
    """The tempered model calls everything the first class."""
    found = grouped.classified(90, 5, 3)
    flat = grouped.outcome(np.tile([3.0, 0.0, 0.0], (90, 1)), found.original.labels, found.original.task)
    return grouped.result(found.original, flat)


def _parted(found: Result, groups: int, few: int = 0) -> Disparities:
    of = np.arange(found.tempered.n) % groups
    of[:few] = groups
    names = tuple(f"site <b>{k}</b>" for k in range(groups + bool(few)))
    return disparities(grouped.sorted_by(of, found, names), found, "age")


PAYERS: dict[str, dict[str, Payers]] = {
    case: {"payers": payers(found)}
    for case, found in {
        "one pays": hurt(900),
        "two classes": hurt(200, 2),
        "nothing changed": same(),
        "never called": _never_called(),
        "forty classes": hurt(500, 40),
    }.items()
}
DISPARITIES: dict[str, dict[str, Disparities]] = {
    "two of two classes": {"found": _parted(hurt(600, 2), 2)},
    "many classes": {"found": _parted(hurt(600, 5), 3, 4)},
    "prices": {"found": _parted(grouped.priced(600), 3)},
    "nothing changed": {"found": _parted(same(), 2)},
    "too few": {"found": _parted(hurt(12, 2), 3)},
}
SETTLED: dict[str, dict[str, Any]] = {
    case: {"flips": Flips(gained + lost, gained, lost, 0, n)}
    for case, gained, lost, n in (
        ("a loss", 40, 90, 10_000),
        ("nothing", 0, 0, 170),
        ("even", 30, 30, 500),
        ("all lost", 0, 30, 30),
        ("one", 0, 1, 7_000),
    )
}
