"""Trials of tuning and what evaluation said of the best one, as the journal keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.data.handle import DataHandle
from core.engine.evaluate import evaluate
from core.models.handle import ModelHandle
from core.recipe import Recipe, from_dict
from core.training.gain import gain
from core.training.stopping import Curve
from core.types import Interval, Quantity


@dataclass(frozen=True)
class Attempted:
    """A trial as it is kept: its recipe, the calibration loss by the share of the steps, and its end.

    `loss` is on the whole calibration split, None where it was stopped early or failed. `keys` name what it learned.
    """

    number: int
    recipe: Recipe
    curve: Curve
    loss: float | None
    stopped: bool
    error: str
    seconds: float
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Judged:
    """What evaluation says, once: by measure the original's, the given settings' and the best trial's value.

    `change` is the paired difference, best less given.
    """

    original: dict[str, float]
    usual: dict[str, float]
    best: dict[str, float]
    change: dict[str, Quantity]
    n: int


def best_of(tried: list[Attempted]) -> Attempted | None:
    """The finished trial with the least loss, the earliest of equals."""
    finished = [(one.loss, one.number, one) for one in tried if one.loss is not None]
    return min(finished, key=lambda found: found[:2])[2] if finished else None


def judge(model: ModelHandle, data: DataHandle, usual: Recipe, best: Recipe) -> Judged:
    """Two recipes side by side on the evaluation split, confidence as each calibrates it. Raises `TemperError`."""
    found = gain(evaluate(model, data, usual), evaluate(model, data, best))
    return Judged(dict(found.original), dict(found.before), dict(found.after), dict(found.change), found.n)


def to_plain(one: Attempted) -> dict[str, Any]:
    """A trial as JSON values."""
    return {
        "number": one.number,
        "recipe": one.recipe.to_dict(),
        "curve": [list(point) for point in one.curve],
        "loss": one.loss,
        "stopped": one.stopped,
        "error": one.error,
        "seconds": one.seconds,
        "keys": list(one.keys),
        "objectives": None if one.loss is None else [one.loss],
    }


def from_plain(kept: dict[str, Any]) -> Attempted:
    """A trial from JSON values."""
    curve = tuple((float(share), float(loss)) for share, loss in kept["curve"])
    return Attempted(
        kept["number"], from_dict(kept["recipe"]), curve, kept["loss"], kept["stopped"], kept["error"],
        kept["seconds"], tuple(kept["keys"]),
    )  # fmt: skip


def verdict_to_plain(one: Judged) -> dict[str, Any]:
    """A verdict as JSON values."""
    change = {
        name: [q.value, q.unit, [q.interval.low, q.interval.high] if q.interval else None, q.n]
        for name, q in one.change.items()
    }
    return {"original": one.original, "usual": one.usual, "best": one.best, "change": change, "n": one.n}


def verdict_from_plain(kept: dict[str, Any]) -> Judged:
    """A verdict from JSON values."""
    change = {
        name: Quantity(value, unit, "measured", Interval(*ends) if ends else None, n)
        for name, (value, unit, ends, n) in kept["change"].items()
    }
    return Judged(kept["original"], kept["usual"], kept["best"], change, kept["n"])
