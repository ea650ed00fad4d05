"""One class against the rest: which classes are mapped, and how their maps become probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.calibrators._fitted import Steps, softmax
from core.types import Floats


def mapped_classes(classes: int) -> list[int]:
    """The classes that get a map: all of them, or of two only class 1, as class 0 takes the complement."""
    return [1] if classes == 2 else list(range(classes))


def together(mapped: Floats) -> Floats:
    """Probabilities `(N, C)` of the maps' values `(N, C)`, or `(N, 1)` for two classes; rows of zeros are uniform."""
    if mapped.shape[1] == 1:
        return np.concatenate([1 - mapped, mapped], 1)
    total = mapped.sum(1, keepdims=True)
    return np.where(total > 0, mapped / np.where(total > 0, total, 1), 1 / mapped.shape[1])


def stepped(new: NDArray[Any], form: Steps) -> Floats:
    """Probabilities `(N, C)` of logits `(N, C)` through a step function a class."""
    raw = softmax(new)
    columns = mapped_classes(raw.shape[1])
    made = [
        values[np.searchsorted(edges, raw[:, c], "right")]
        for c, (edges, values) in zip(columns, form.steps, strict=True)
    ]
    return together(np.stack(made, 1))


def cuts(rising: Floats, bins: int) -> NDArray[np.int64]:
    """Where `(N,)` rising values part into `bins` of equally many, as far as ties let them: the first place of each.

    Equal values stay together, so that there may be fewer bins. The first is 0.
    """
    places = np.round(np.arange(1, bins) * len(rising) / bins).astype(np.int64)
    places = np.unique(places[(places > 0) & (places < len(rising))])
    return np.concatenate([[0], places[rising[places - 1] < rising[places]]])


def edges_at(rising: Floats, places: NDArray[np.int64]) -> Floats:
    """An edge midway between each of these places and the value before it; `places` `(B - 1,)`, none of them 0."""
    below, above = rising[places - 1], rising[places]
    middle = below + (above - below) / 2
    return np.where(middle > below, middle, above)
