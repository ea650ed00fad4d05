"""One sentence of what a point buys and what it costs."""

from __future__ import annotations

from core.engine.compare import Comparison
from core.figures import words
from core.recipe import Recipe
from core.types import Interval, Quantity, Result


def sentence(title: str, recipe: Recipe, result: Result, found: Comparison) -> str:
    """For example: 'Fashion ResNet at 1/10 of its bytes loses 0.6 points of accuracy [...]'."""
    if not recipe.simplified().steps:
        accuracy, ece = (_value(found.original[name]) for name in ("accuracy", "ece"))
        return (
            f"{title}, untouched: {words.percent(accuracy)} accurate, {words.size(result.original_bytes.packed)}, "
            f"and its confidence is off by {words.percent(ece)} on average. Move a slider."
        )
    return f"{title} {_size(result)} {_accuracy(found)}; {_confidence(found)}."


def _value(quantity: Quantity) -> float:
    assert quantity.value is not None
    return quantity.value


def _size(result: Result) -> str:
    before, after = result.original_bytes.packed, result.bytes.packed
    if before == after:
        return "at the same size"
    return f"in {words.size(after)}, {words.ratio(before, after)},"


def _accuracy(found: Comparison) -> str:
    change = found.change["accuracy"]
    value, interval = _value(change), change.interval or Interval(0, 0)
    if found.flips.flips == 0:
        return "predicts every example as before"
    verb = "gains" if value > 0 else "loses"
    if not found.significant:
        least = words.points(found.detectable)
        return (
            f"{verb} {words.points(abs(value)).lstrip('+')} points of accuracy, within chance "
            f"(this set of {words.count(change.n or 0)} could show {least.lstrip('+')})"
        )
    bounds = sorted((abs(interval.low), abs(interval.high)))
    low, high = (words.points(b).lstrip("+") for b in bounds)
    return f"{verb} {words.points(abs(value)).lstrip('+')} points of accuracy ({low} to {high})"


def _confidence(found: Comparison) -> str:
    before, after = _value(found.original["ece"]), _value(found.tempered["ece"])
    if words.percent(before) == words.percent(after):
        return f"its ECE stays at {words.percent(after)}"
    return f"its ECE {'falls' if after < before else 'rises'} from {words.percent(before)} to {words.percent(after)}"
