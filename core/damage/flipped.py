"""The examples whose prediction flipped, the most surprising first, and how the margin of every example moved."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from core.damage.examples import Example
from core.types import Floats, Integers, Outcome, Result

Way = Literal["lost", "gained", "other"]
WAYS: tuple[Way, ...] = ("lost", "gained", "other")
BECAME: dict[Way, str] = {"lost": "wrong", "gained": "right", "other": "wrong otherwise"}


def lead(outcome: Outcome) -> Floats:
    """By how much each call leads: its probability less that of the runner-up, 0 to 1, float64 `(N,)`."""
    top = np.partition(outcome.probabilities, -2, axis=1)[:, -2:]
    found: Floats = top[:, 1] - top[:, 0]
    return found


def margin(outcome: Outcome) -> Floats:
    """Probability of the true class less the likeliest other's, -1 to 1, float64 `(N,)`; wrong is below zero."""
    rows, others = np.arange(outcome.n), outcome.probabilities.copy()
    others[rows, outcome.labels] = -np.inf
    found: Floats = outcome.probabilities[rows, outcome.labels] - others.max(1)
    return found


def ways(result: Result) -> dict[Way, Integers]:
    """The places of the flipped examples by what became of them, the most surprising first.

    Lost are right to wrong, gained wrong to right, other one wrong class to another. A flip surprises by how sure
    the original was: the `lead` of its call. Ties go by place.
    """
    before, after = result.original, result.tempered
    changed, sure = before.predictions != after.predictions, -lead(before)
    masks = {
        "lost": before.correct & ~after.correct,
        "gained": ~before.correct & after.correct,
        "other": changed & ~before.correct & ~after.correct,
    }
    found: dict[Way, Integers] = {}
    for way in WAYS:
        places = np.flatnonzero(masks[way])
        found[way] = places[np.argsort(sure[places], kind="stable")]
    return found


def flipped(result: Result, way: Way, limit: int, skip: int = 0) -> tuple[Example, ...]:
    """Up to `limit` examples that flipped one way, after the first `skip`, the most surprising first."""
    return examples_at(result, ways(result)[way][skip : skip + limit])


def examples_at(result: Result, places: Integers) -> tuple[Example, ...]:
    """What both models say of the examples at these places, in that order."""
    before, after = result.original, result.tempered
    return tuple(
        Example(
            int(i), int(before.labels[i]),
            int(before.predictions[i]), float(before.confidence[i]),
            int(after.predictions[i]), float(after.confidence[i]),
        )
        for i in places
    )  # fmt: skip


def flips_table(result: Result) -> pd.DataFrame:
    """Every flipped example as a row for people, the most surprising first within each way; shares are per cent."""
    before, after, sure = result.original, result.tempered, lead(result.original)
    names = np.array(before.classes, object)
    parts = []
    for way, places in ways(result).items():
        parts.append(
            pd.DataFrame(
                {
                    "Example": places,
                    "Became": BECAME[way],
                    "Truth": names[before.labels[places]],
                    "Original says": names[before.predictions[places]],
                    "Original sure, %": 100 * before.confidence[places],
                    "Tempered says": names[after.predictions[places]],
                    "Tempered sure, %": 100 * after.confidence[places],
                    "Lead before, points": 100 * sure[places],
                }
            )
        )
    return pd.concat(parts, ignore_index=True)
