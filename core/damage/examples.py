"""The very examples behind a confusion cell, with both predictions and confidences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.types import Outcome, Result


@dataclass(frozen=True)
class Example:
    """One evaluation example: its place in the split, its label, and what each model says of it."""

    index: int
    label: int
    original: int
    original_confidence: float
    tempered: int
    tempered_confidence: float

    @property
    def flipped(self) -> bool:
        """Whether the two models disagree."""
        return self.original != self.tempered


@dataclass(frozen=True)
class Cell:
    """A cell of the confusion matrix and its examples, those that flipped into or out of it first."""

    true: int
    predicted: int
    original: int
    tempered: int
    examples: tuple[Example, ...]


def most_changed_cell(result: Result) -> tuple[int, int]:
    """The off-diagonal cell (true, predicted) whose count changed most; else the fullest one."""
    before, after = (_errors(outcome) for outcome in (result.original, result.tempered))
    change = np.abs(after - before)
    counts = change if change.any() else after
    true, predicted = np.unravel_index(int(counts.argmax()), counts.shape)
    return int(true), int(predicted)


def _errors(outcome: Outcome) -> np.ndarray:
    counts = np.zeros((len(outcome.classes), len(outcome.classes)), np.int64)
    np.add.at(counts, (outcome.labels, outcome.predictions), 1)
    np.fill_diagonal(counts, 0)
    return counts


def cell(result: Result, true: int, predicted: int, limit: int) -> Cell:
    """Up to `limit` examples of class `true` that either model predicts as `predicted`."""
    before, after = result.original, result.tempered
    inside_before = (before.labels == true) & (before.predictions == predicted)
    inside_after = (after.labels == true) & (after.predictions == predicted)
    chosen = np.flatnonzero(inside_before | inside_after)
    flipped = inside_before[chosen] != inside_after[chosen]
    surest = np.maximum(before.confidence[chosen], after.confidence[chosen])
    order = chosen[np.lexsort((-surest, ~flipped))][:limit]
    examples = tuple(
        Example(
            int(i),
            true,
            int(before.predictions[i]),
            float(before.confidence[i]),
            int(after.predictions[i]),
            float(after.confidence[i]),
        )
        for i in order
    )
    return Cell(true, predicted, int(inside_before.sum()), int(inside_after.sum()), examples)
