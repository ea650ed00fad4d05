"""One sentence of what a point buys and what it costs."""

from __future__ import annotations

import math

from core.engine.compare import Comparison
from core.engine.statistics import difference
from core.figures import said, words
from core.recipe import Recipe
from core.registry import method
from core.task import LEVEL
from core.types import Interval, Outcome, Quantity, Result


def sentence(title: str, recipe: Recipe, result: Result, found: Comparison) -> str:
    """For example: 'Fashion ResNet at 1/10 of its bytes loses 0.6 points of accuracy [...]'."""
    if not recipe.simplified().steps:
        size = words.size(result.original_bytes.packed)
        if not found.task.decides:
            error, covered = found.original["mae"], _value(found.original["coverage"])
            return (
                f"{title}, untouched: off by {said.value(error.value, error.unit)} on average, {size}, and its "
                f"{words.percent(LEVEL, 0)} intervals hold {words.percent(covered)} of the truths. Move a slider."
            )
        accuracy, ece = (_value(found.original[name]) for name in ("accuracy", "ece"))
        return (
            f"{title}, untouched: {words.percent(accuracy)} accurate, {size}, "
            f"and its confidence is off by {words.percent(ece)} on average. Move a slider."
        )
    if not found.task.decides:
        return f"{title} {_size(result)} {_error(found)}; {_covered(found)}."
    return f"{title} {_size(result)} {_accuracy(found)}; {_confidence(found)}."


def remains(result: Result) -> str:
    """What is left of the model where channels, blocks or heads were removed, '' where none were.

    For example: '53.2 % of the channels are gone: 19,526 of 85,426 parameters and 20.6 % [...] remain.'
    """
    steps = [learned for learned in result.fitted if "multiply_adds" in learned]
    if not steps:
        return ""
    shares = [float(learned["channels_removed"]) for learned in steps if "channels_removed" in learned]
    blocks = [block for learned in steps for block in learned.get("blocks", ())]
    gone = [f"{words.percent(1 - math.prod(1 - share for share in shares))} of the channels"] if shares else []
    if blocks:
        first = next(len(learned["blocks"]) for learned in steps if "blocks" in learned)
        gone.append(f"{sum(block['removed'] for block in blocks)} of {first} residual blocks")
    heads = [pair for learned in steps for pair in learned.get("heads", {}).values()]
    if heads:
        first = next(sum(all_ for all_, _ in learned["heads"].values()) for learned in steps if "heads" in learned)
        gone.append(f"{sum(before - after for before, after in heads)} of {first} attention heads")
    parameters, work = ((steps[0][name][0], steps[-1][name][1]) for name in ("parameters", "multiply_adds"))
    return (
        f"{' and '.join(gone)} are gone: {parameters[1]:,} of {parameters[0]:,} parameters and "
        f"{words.percent(work[1] / work[0])} of the multiply-adds remain."
    )


def _value(quantity: Quantity) -> float:
    assert quantity.value is not None
    return quantity.value


def _size(result: Result) -> str:
    before, after = result.original_bytes.packed, result.bytes.packed
    if before == after:
        return "at the same size"
    return f"in {words.size(after)}, {words.ratio(before, after)},"


def _error(found: Comparison) -> str:
    change, before = found.change["rmse"], found.original["rmse"]
    value, interval = _value(change), change.interval or Interval(0, 0)
    if value == 0 and interval.low == interval.high:
        return "predicts every number as before"
    verb = "raises" if value > 0 else "lowers"
    unit = f"{words.SPACE}{said.moved_unit(change.unit)}".rstrip(words.SPACE)
    moved = (
        f"{verb} the typical error (RMSE) of {said.value(before.value, before.unit)} by {words.amount(abs(value))}"
    )
    if not found.significant:
        return (
            f"{moved}, within chance (this set of {words.count(change.n or 0)} could show "
            f"{words.amount(found.detectable)}{unit})"
        )
    low, high = sorted((abs(interval.low), abs(interval.high)))
    return f"{moved} ({words.amount(low)} to {words.amount(high)})"


def _covered(found: Comparison) -> str:
    before, after = _value(found.original["coverage"]), _value(found.tempered["coverage"])
    level = words.percent(LEVEL, 0)
    if words.percent(before) == words.percent(after):
        return f"its {level} intervals still hold {words.percent(after)} of the truths"
    return f"its {level} intervals hold {words.percent(after)} of the truths, before {words.percent(before)}"


def _accuracy(found: Comparison) -> str:
    change = found.change["accuracy"]
    value, interval = _value(change), change.interval or Interval(0, 0)
    if found.flips is not None and found.flips.flips == 0:
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


def gained(without: Outcome, repaired: Outcome) -> str:
    """What the repairs of a recipe give back, beside the same recipe without them.

    For example: 'Repair gives back 45.3 points of accuracy (44.2 to 46.4): without it 46.2 %.'
    """
    lead = repaired.task.facts.headline
    measure = method("metric", lead).function
    change, before = difference(lead, without, repaired), measure.of(without)
    value, interval = _value(change), change.interval or Interval(0, 0)
    better = value > 0 if measure.higher_is_better else value < 0
    size, unit = said.moved(abs(value), change.unit).lstrip("+"), said.moved_unit(change.unit)
    beside = f"without it {said.value(before, change.unit)}"
    if interval.low <= 0 <= interval.high:
        return (
            f"Repair changes {said.name(lead)} by {said.moved(value, change.unit)} {unit}, within chance: {beside}."
        )
    low, high = (said.moved(end, change.unit).lstrip("+") for end in sorted((abs(interval.low), abs(interval.high))))
    verb = "gives back" if better and measure.higher_is_better else "takes off" if better else "costs"
    return f"Repair {verb} {size} {unit} of {said.name(lead)} ({low} to {high}): {beside}."
