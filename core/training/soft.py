"""Soft labels: what a teacher says of the very examples that its student learns from, where it wavers most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.calibrators._fitted import softmax
from core.data.handle import DataHandle, split_for_fitting
from core.training.taught import answers
from core.training.teachers import Known
from core.types import Integers

SOME = 1_000  # examples of the fit split that are looked through
ALIKE = 2  # examples at most of one first and second choice
APART = 0.08  # by which second choices differ at least where there are two classes, which all waver alike
TEXT = 240  # characters of a text


@dataclass(frozen=True)
class Soft:
    """An example of the fit split: its place, its label, the teacher's logits `(C,)` and, of a text, its words."""

    place: int
    label: int
    logits: tuple[float, ...]
    text: str


def wavering(known: Known, data: DataHandle, most: int) -> list[Soft]:
    """The `most` examples on which the teacher's second choice is strongest, among some of the fit split.

    None where numbers are predicted. Trees are asked as where they teach: those of the other folds.
    """
    if not data.task.decides:
        return []
    split = split_for_fitting(data, "fit")
    rows: Integers = np.unique(np.linspace(0, len(split.y) - 1, min(SOME, len(split.y))).round().astype(np.int64))
    logits = answers(known, data, "fit", rows).astype(np.float64)
    shares = softmax(logits)
    ranked = np.argsort(-shares, 1, kind="stable")
    second = np.take_along_axis(shares, ranked[:, 1:2], 1)[:, 0]
    found: list[Soft] = []
    met: dict[tuple[int, int], int] = {}
    last = 1.0
    for at in np.argsort(-second, kind="stable"):
        pair = int(ranked[at, 0]), int(ranked[at, 1])
        if met.get(pair, 0) == ALIKE if len(data.classes) > 2 else second[at] > last:
            continue
        last = float(second[at]) - APART
        met[pair] = met.get(pair, 0) + 1
        place = int(rows[at])
        text = str(split.x[place])[:TEXT] if data.modality == "text" else ""
        found.append(Soft(place, int(split.y[place]), tuple(float(v) for v in logits[at]), text))
        if len(found) == most:
            break
    return found


def softened(of: Soft, temperature: float, most: int) -> list[tuple[int, float]]:
    """The `most` likeliest classes of a teacher's answer at a temperature, and their probabilities."""
    shares = softmax(np.array([of.logits]) / temperature)[0]
    order = np.argsort(-shares, kind="stable")[:most]
    return [(int(k), float(shares[k])) for k in order]
