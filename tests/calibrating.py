"""Made networks before confidence calibration, and what the calibration laboratory says of them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import regression

from core.calibration.bins_lesson import BinsLesson, bins_lesson
from core.calibration.calibration_lab import Column, Entry, Material, calibration_of, contest
from core.calibration.class_curves import ClassCurves, class_curves
from core.calibration.corp import Corp, corp
from core.calibration.group_temperature import GroupTemperatures, group_temperatures_of
from core.calibration.how_many import HowMany, how_many
from core.calibration.quantile_intervals import QuantileIntervals, quantile_intervals
from core.calibration.ranking import Ranking, rank
from core.calibration.temperatures import Temperatures, temperatures
from core.calibrators._fitted import softmax
from core.decisions.cost_curve import CostCurve, cost_curve
from core.decisions.referring import Referring, referring
from core.engine.numbers import stated
from core.task import task_of_classes
from core.types import Outcome, Provenance

MADE = Provenance("m", "d", "r", "test", 0.0)


def outcome(n: int, classes: int, seed: int, sharpness: float = 2.5) -> Outcome:
    """Labels drawn from the softmax of logits that are then multiplied by `sharpness`."""
    generator = np.random.default_rng(seed)
    honest = 1.5 * generator.normal(size=(n, classes))
    shares = np.exp(honest - honest.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    labels = (shares.cumsum(1) < generator.random((n, 1))).sum(1).clip(0, classes - 1)
    logits = (sharpness * honest).astype(np.float32)
    given = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    names = tuple(["T-shirt/top", "Ankle boot <b>"][k] if k < 2 else f"class {k}" for k in range(classes))
    return Outcome(logits, given / given.sum(1, keepdims=True), labels, task_of_classes(names), MADE)


@cache
def material(classes: int, n: int = 400, sharpness: float = 2.5) -> Material:
    """A calibration and an evaluation split of `n` examples each."""
    key = ("made", str(classes), str(n), str(sharpness))
    return Material(key, outcome(n, classes, 1, sharpness), outcome(n, classes, 2, sharpness))


@cache
def grouped(crossed: bool = False) -> Material:
    """Three groups: one whose logits are twice too large, one as they should be, one of three examples."""
    parts, columns = [], []
    for seed in (1, 2):
        one = outcome(400, 3, seed, 1.0)
        of = np.repeat([0, 1, 2], [240, 157, 3])
        logits = np.where(of[:, None] == 0, 3.0, 1.0) * one.logits
        parts.append(replace(one, logits=logits.astype(np.float32), predicted=softmax(logits)))
        columns.append(of)
    column = Column("site", ("Ankle <b>", "usual", "tiny"), *columns)
    return Material(("made", "grouped", str(crossed)), *parts, None, (column,), crossed)


@cache
def by_group() -> dict[str, dict[str, Any]]:
    alike = grouped()
    one = replace(alike.columns[0], calibration=np.ones(400, int), evaluation=np.ones(400, int))
    return {
        "unlike": {"found": group_temperatures_of(alike, "site")},
        "one": {"found": group_temperatures_of(replace(alike, key=("made", "one group"), columns=(one,)), "site")},
    }


@cache
def priced() -> dict[str, dict[str, Any]]:
    """Before and after a calibration; nothing changed; where all are right; where nothing is known."""
    before, after = pair(2)
    sure = replace(before, labels=before.predictions)
    flat = replace(before, predicted=np.full((before.n, 2), 0.5))
    cases = {"usual": (before, after), "same": (before, before), "all right": (sure, sure), "flat": (flat, flat)}
    return {case: {"found": cost_curve(*both)} for case, both in cases.items()}


@cache
def prices() -> Material:
    """The same of a model for numbers."""
    (known, truths), (outputs, labels) = regression.prices(300, 1), regression.prices(300, 2)
    parts = [Outcome(o, stated(o), y, regression.PRICES, MADE) for o, y in ((known, truths), (outputs, labels))]
    return Material(("made", "prices"), *parts)


@cache
def banded() -> dict[str, dict[str, Any]]:
    """Prices with a deviation stated; without; where every prediction is the same."""
    usual = prices()
    parts = [
        replace(o, logits=o.logits[:, :1], task=regression.ONLY_VALUES) for o in (usual.calibration, usual.evaluation)
    ]
    flat = [replace(o, logits=np.ones_like(o.logits)) for o in parts]
    return {
        "stated": {"found": quantile_intervals(usual)},
        "values": {"found": quantile_intervals(Material(("made", "values"), *parts), 0.5)},
        "flat": {"found": quantile_intervals(Material(("made", "flat"), *flat))},
    }


@cache
def rankings() -> dict[str, dict[str, Any]]:
    """Several measures, of two and of many classes and of numbers; a method that failed."""
    broken = Entry("x", "Broken", None, {}, "It needs at least 10 examples; got 2.")
    return {
        "ten classes": {"ranking": rank(contest(material(10)), "nll")},
        "two classes": {"ranking": rank((*contest(material(2)), broken), "ece")},
        "alone": {"ranking": rank(contest(material(2))[:1], "brier")},
        "numbers": {"ranking": rank(contest(prices()), "interval_score")},
    }


def situations(kinds: dict[str, Any]) -> dict[str, dict[str, Any]] | None:
    """Arguments for a chart of the laboratory, None for any other."""
    return next((made() for kind, made in KNOWN.items() if kind in kinds.values()), None)


@cache
def curves() -> dict[str, dict[str, Any]]:
    """Before and after temperature; where all are right; where every confidence is the same; few examples."""
    sure = outcome(60, 3, 5)
    right = replace(sure, labels=sure.predictions)
    flat = replace(sure, predicted=np.full((60, 3), 1 / 3))
    pairs = {"two classes": pair(2), "ten classes": pair(10), "all right": (right, right), "flat": (sure, flat)}
    pairs["three examples"] = (outcome(3, 4, 1), outcome(3, 4, 1, 1.0))
    return {case: {"before": corp(one), "after": corp(other)} for case, (one, other) in pairs.items()}


def pair(classes: int) -> tuple[Outcome, Outcome]:
    """The evaluation split before and after temperature."""
    entries = contest(material(classes))
    found = next(entry.outcome for entry in entries if entry.name == "temperature")
    assert found is not None
    return material(classes).evaluation, found


@cache
def of_classes() -> dict[str, dict[str, Any]]:
    cases = {"two": 2, "ten": 10, "thirty": 30}
    return {case: {"found": class_curves(*pair(classes))} for case, classes in cases.items()}


@cache
def dragged() -> dict[str, dict[str, Any]]:
    far = {"over": (material(10), 1.0), "under": (material(2, 400, 0.2), 0.3)}
    return {case: {"found": temperatures(given), "chosen": at} for case, (given, at) in far.items()}


@cache
def referred() -> dict[str, dict[str, Any]]:
    before, after = material(10), pair(10)[1]
    some = ((before.calibration, before.evaluation), (calibration_of(before, "temperature"), after))
    right = replace(before.evaluation, labels=before.evaluation.predictions)
    cases = {"usual": (*some, 0.2), "never": (*some, 0.0), "all right": ((right, right), (right, right), 0.1)}
    return {case: {"found": referring(*given)} for case, given in cases.items()}


@cache
def needed() -> dict[str, dict[str, Any]]:
    gains, nothing = material(4), material(4, 400, 1.0)
    return {
        "gains": {"found": how_many(gains, "temperature", "nll")},
        "gains nothing": {"found": how_many(nothing, "isotonic", "nll")},
        "numbers": {"found": how_many(prices(), "conformal", "interval_score")},
        "one size": {"found": how_many(material(2, 24), "temperature", "ece")},
    }


@cache
def lessons() -> dict[str, dict[str, Any]]:
    one = material(10).evaluation
    right = replace(one, labels=one.predictions)
    return {
        "width": {"found": bins_lesson(one, 400, 15), "bins": 15},
        "mass, few": {"found": bins_lesson(one, 50, 100, "mass"), "bins": 100},
        "all right": {"found": bins_lesson(right, 1, 1), "bins": 1},
    }


KNOWN: dict[type, Any] = {
    Ranking: rankings, Corp: curves, ClassCurves: of_classes, Temperatures: dragged, Referring: referred,
    HowMany: needed, BinsLesson: lessons, GroupTemperatures: by_group, CostCurve: priced, QuantileIntervals: banded,
}  # fmt: skip
