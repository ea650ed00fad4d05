"""Which examples show what conformal sets do: the smallest sets, the largest, and those that miss the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.calibration.sets import Sets
from core.errors import TemperError
from core.types import Floats, Integers

Kind = Literal["smallest", "largest", "missed"]
KINDS: tuple[Kind, ...] = ("smallest", "largest", "missed")


@dataclass(frozen=True)
class SetExample:
    """One evaluation example: its place, its truth, and the classes of its set, the likeliest first.

    `truth` and `inside` are places of classes; `sure` is the probability of the likeliest class of all.
    """

    place: int
    truth: int
    inside: tuple[int, ...]
    sure: float
    held: bool


def set_examples(found: Sets, probabilities: Floats, kind: Kind, limit: int) -> tuple[SetExample, ...]:
    """Up to `limit` examples; `probabilities` `(N, C)` are what the sets' network states of the same examples.

    Of one size, among the smallest sets those come first that it is surest of, among the largest those least sure; of
    those missed, the ones whose truth it thought least likely. Smallest and largest hold the truth: what
    they miss is shown as missed. Raises `TemperError` for another number of examples.
    """
    if probabilities.shape != found.inside.shape:
        raise TemperError(f"Sets of {found.inside.shape} need as many probabilities; got {probabilities.shape}.")
    rows = _rows(found, probabilities, kind)[:limit]
    order = np.argsort(-probabilities[rows], axis=1, kind="stable")
    return tuple(
        SetExample(
            int(row), int(found.labels[row]), tuple(int(c) for c in ranked if found.inside[row, c]),
            float(probabilities[row].max()), bool(found.covered[row]),
        )
        for row, ranked in zip(rows, order, strict=True)
    )  # fmt: skip


def _rows(found: Sets, p: Floats, kind: Kind) -> Integers:
    if kind == "missed":
        rows = np.flatnonzero(~found.covered)
        return rows[np.argsort(p[rows, found.labels[rows]], kind="stable")]
    rows = np.flatnonzero(found.covered)
    sizes = found.sizes[rows]
    side = 1 if kind == "smallest" else -1
    return rows[np.lexsort((-side * p[rows].max(1), side * sizes))]
