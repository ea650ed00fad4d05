"""Occlusion: what the score loses when a part of the example is covered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.data.handle import split_for_fitting
from core.data.texts import Tokens, pad_of
from core.explainers._subject import Attribution, Subject, Told, mean_input
from core.registry import Param, register
from core.types import Floats

DRAWS = 32  # calibration values that stand in for a column


@register(
    kind="explain",
    name="occlusion",
    title="Occlusion",
    summary="What the score loses when one part is covered: a patch of a picture, a word, a column.",
    reference="Zeiler and Fergus 2014, Visualizing and understanding convolutional networks, arXiv 1311.2901",
    parameters=(
        Param(
            "patches", "Patches", 7, "Patches across and down a picture, none overlapping.", low=2, high=16, step=1
        ),
    ),
)
def occlusion(subject: Subject, row: NDArray[np.float32], values: Mapping[str, Any], told: Told) -> Attribution:
    """The score less that without each part, by the very network that runs, activations rounded.

    Patches become the calibration split's mean picture, words padding; a column takes each of up to `DRAWS`
    calibration values, drawn evenly over the split, and the mean of the scores counts.
    """
    if subject.data.modality == "pictures":
        return _patches(subject, row, int(values["patches"]), told)
    return _words(subject, row, told) if subject.data.modality == "text" else _columns(subject, row, told)


def _patches(subject: Subject, row: NDArray[np.float32], across: int, told: Told) -> Attribution:
    height, width = row.shape[-2:]
    rows, columns = (np.array_split(np.arange(side), min(across, side)) for side in (height, width))
    boxes = [(slice(a[0], a[-1] + 1), slice(b[0], b[-1] + 1)) for a in rows for b in columns]
    mean = mean_input(subject.data)
    covered = np.repeat(row[None], len(boxes) + 1, axis=0)
    for k, (down, along) in enumerate(boxes, 1):
        covered[k, ..., down, along] = mean[..., down, along]
    scores = subject.scores(covered, told)
    found = np.zeros((height, width))
    for k, (down, along) in enumerate(boxes, 1):
        found[down, along] = scores[0] - scores[k]
    where = f"{len(rows)} × {len(columns)} patches, each covered by the mean of the calibration split"
    return Attribution(found, float(scores[0]), None, where, True)


def _words(subject: Subject, row: NDArray[np.float32], told: Told) -> Attribution:
    tokens = subject.data.preprocessing
    assert isinstance(tokens, Tokens)
    pad = pad_of(tokens)
    here = np.flatnonzero(row != pad)
    covered = np.repeat(row[None], len(here) + 1, axis=0)
    covered[np.arange(1, len(here) + 1), here] = pad
    scores = subject.scores(covered, told)
    found = np.zeros(row.shape)
    found[here] = scores[0] - scores[1:]
    return Attribution(found, float(scores[0]), None, "each word left out in turn", True)


def _columns(subject: Subject, row: NDArray[np.float32], told: Told) -> Attribution:
    seen = split_for_fitting(subject.data).inputs
    drawn = seen[np.unique(np.linspace(0, len(seen) - 1, min(DRAWS, len(seen))).round().astype(int))]
    covered = np.repeat(row[None], 1 + row.size * len(drawn), axis=0)
    others = covered[1:].reshape(row.size, len(drawn), row.size)
    for column in range(row.size):
        others[column, :, column] = drawn[:, column]
    scores = subject.scores(covered, told)
    found: Floats = scores[0] - scores[1:].reshape(row.size, len(drawn)).mean(1)
    where = f"each column replaced by {len(drawn)} calibration values in turn"
    return Attribution(found, float(scores[0]), None, where, True)
