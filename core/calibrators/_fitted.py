"""What every confidence calibration returns, and what it needs to be fitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import TemperError
from core.types import Floats, Integers

ENOUGH = 25  # examples a parameter below which a fit is doubted: 100 examples for 20 parameters cost 2.6 points
LEAST = 10  # examples below which nothing can be said, let alone fitted
GREATEST = 1e30  # absolute logit: its square still leaves float64 room for sums, and no network means it


@dataclass(frozen=True)
class Affine:
    """`softmax(logits * scale + bias)`: float64 `(C,)` or `(1,)` each."""

    scale: Floats
    bias: Floats


@dataclass(frozen=True)
class Curves:
    """Each class's probability through a piecewise linear map, then normalised to sum to 1.

    `knots` holds rising x and their y, float64 `(K,)`, a pair a class; with two classes one pair, that of class 1,
    and class 0 takes the complement.
    """

    knots: tuple[tuple[Floats, Floats], ...]


@dataclass(frozen=True)
class Matrix:
    """`softmax(weights @ x + bias)`: float64 `(C, C)` and `(C,)`.

    `x` are an example's logits, or their log-softmax where `of_logs`, the logarithms of the probabilities.
    """

    weights: Floats
    bias: Floats
    of_logs: bool


@dataclass(frozen=True)
class Steps:
    """Each class's probability through a step function, then normalised to sum to 1.

    `steps` holds rising edges `(B - 1,)` and values `(B,)`, float64, a pair a class, with two classes one pair as in
    `Curves`; a probability at an edge takes the value above it.
    """

    steps: tuple[tuple[Floats, Floats], ...]


@dataclass(frozen=True)
class Mixture:
    """`weights[0] softmax(logits / temperature) + weights[1] softmax(logits) + weights[2] / classes`.

    The weights, float64 `(3,)`, are none below 0 and sum to 1.
    """

    temperature: float
    weights: Floats
    classes: int


@dataclass(frozen=True)
class Widths:
    """Half the width of a number's interval at each of `core.task.LEVELS`: `factors` float64 `(len(LEVELS),)`.

    Where `scaled`, each is to be multiplied by the standard deviation that the network states for the example;
    otherwise it is the same for every example, in the unit of the number.
    """

    factors: Floats
    scaled: bool


Form = Affine | Matrix | Curves | Steps | Mixture | Widths


@dataclass(frozen=True)
class FittedCalibrator:
    """A map from a network's outputs to what they mean, calibrated.

    For classes `probabilities(logits (M, C)) -> (M, C)` float64, rows summing to 1; for numbers it takes outputs
    `(M, 1 or 2)` to `predicted` `(M, 1 + len(LEVELS))` as in `core.task`. `fitted` is what was learned, as JSON
    values. `form` says the same map as numbers, so that an artifact can carry it.
    """

    probabilities: Callable[[NDArray[Any]], Floats]
    fitted: dict[str, Any]
    form: Form


def check(logits: NDArray[Any], labels: Integers) -> Floats:
    """The logits as float64, or `TemperError` where nothing can be fitted on them."""
    if logits.ndim != 2 or logits.shape[1] < 2 or labels.shape != (len(logits),):
        raise TemperError(
            "Confidence calibration needs logits (N, C), C at least 2, with N labels; "
            f"got {logits.shape} and {labels.shape}."
        )
    n, classes = logits.shape
    if logits.dtype.kind not in "fiu" or labels.dtype.kind not in "iu":
        raise TemperError(
            "Confidence calibration needs numbers as logits and integers as labels; "
            f"got {logits.dtype} and {labels.dtype}."
        )
    if n < LEAST:
        raise TemperError(
            f"Confidence calibration needs at least {LEAST} examples; got {n}.", "Make the calibration split larger."
        )
    unusable = unusable_count(logits)
    if unusable:
        raise TemperError(
            f"Confidence calibration needs finite logits of at most {GREATEST:g}; {unusable:,} are not.",
            "Look for a layer that overflows.",
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise TemperError(
            f"Confidence calibration needs labels from 0 to {classes - 1}; "
            f"they run from {labels.min()} to {labels.max()}."
        )
    if labels.min() == labels.max():
        raise TemperError(
            f"Confidence calibration needs examples of at least two classes; all these are of class {labels[0]}.",
            "Take a calibration split with every class.",
        )
    return logits.astype(np.float64)


def unusable_count(logits: NDArray[Any]) -> int:
    """How many logits are not finite or beyond `GREATEST`; `logits` must hold at least one."""
    if -GREATEST <= float(logits.min()) <= float(logits.max()) <= GREATEST:  # false for nan
        return 0
    return int((~(np.abs(logits.astype(np.float64)) <= GREATEST)).sum())


def absent(labels: Integers, classes: int, least: int = 1) -> dict[str, str]:
    """A warning for `fitted` where classes have fewer than `least` examples, so that nothing is learned of them."""
    scarce = np.flatnonzero(np.bincount(labels, minlength=classes) < least)
    if not len(scarce):
        return {}
    named = ", ".join(map(str, scarce[:5])) + (f" and {len(scarce) - 5} more" if len(scarce) > 5 else "")
    have = "no example" if least == 1 else f"fewer than {least} examples"
    many = len(scarce) > 1
    said = f"Class{'es' if many else ''} {named} {'have' if many else 'has'} {have} in the calibration split"
    return {"warning": f"{said}: what is fitted of {'them' if many else 'it'} rests on nothing."}


def joined(*said: dict[str, str]) -> dict[str, str]:
    """One warning of several."""
    texts = [one["warning"] for one in said if one]
    return {"warning": " ".join(texts)} if texts else {}


def doubt(examples: int, parameters: int, title: str) -> dict[str, str]:
    """A warning for `fitted` where there are too few examples for a method's parameters."""
    if examples >= ENOUGH * parameters:
        return {}
    return {
        "warning": f"{title} fits {parameters} parameters on {examples} examples: "
        f"expect it to overfit below about {ENOUGH * parameters}."
    }


def softmax(logits: NDArray[Any]) -> Floats:
    """Probabilities float64 `(N, C)` of logits `(N, C)`."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(1, keepdims=True)
    np.exp(shifted, out=shifted)
    shifted /= shifted.sum(1, keepdims=True)
    return shifted
