"""Conformal sets of a recipe: thresholds on calibration examples that fitted no confidence calibration."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from core.calibration.calibration_lab import NONE, Material
from core.calibration.sets import Examples, Rule, Sets, conformal_sets
from core.calibrators._fitted import softmax
from core.data.handle import DataHandle, load_split
from core.engine.evaluate import calibration_outcomes, evaluate
from core.engine.memory import RESULTS
from core.errors import TemperError
from core.models.handle import ModelHandle
from core.recipe import Recipe, Step
from core.registry import method
from core.types import Integers, Outcome

HALVES = (
    "The confidence calibration was fitted on one half of the calibration split and the threshold on the "
    "other, as examples that fitted it look less strange than new ones."
)


def sets_of(model: ModelHandle, data: DataHandle, recipe: Recipe, rule: Rule, groups: str = "") -> Sets:
    """The sets of a recipe's model on the evaluation split, remembered.

    `groups` is a declared column, by which coverage is then told as well. Raises `TemperError` for a task without
    classes and for an unknown column.
    """
    if not data.task.decides:
        raise TemperError("Sets are of classes; numbers get intervals.", "Take the conformal calibration.")
    made = recipe.simplified()
    key = ("sets", model.fingerprint, data.fingerprint, made.fingerprint, rule, groups)
    return RESULTS.remember(key, lambda: _sets_of(model, data, made, rule, groups), lambda found: found.inside.nbytes)


def _sets_of(model: ModelHandle, data: DataHandle, recipe: Recipe, rule: Rule, groups: str) -> Sets:
    _, fitting = calibration_outcomes(model, data, recipe.without("calibrate"))
    judging = evaluate(model, data, recipe.without("calibrate")).tempered
    names: tuple[str, ...] = ()
    here = there = None
    if groups:
        column = next((one for one in data.groups if one.title == groups), None)
        found = [load_split(data, split).groups.get(groups) for split in ("calibration", "evaluation")]
        if column is None or found[0] is None or found[1] is None:
            have = ", ".join(one.title for one in data.groups) or "none"
            raise TemperError(f"The data set '{data.id}' has no groups called {groups!r:.60}; it has: {have}.")
        here, there, names = found[0].astype(np.int64), found[1].astype(np.int64), column.names
    step = next(iter(recipe.only("calibrate").steps), None)
    return _made(fitting, judging, step, rule, data.classes, (here, there), names)


def sets_from(given: Material, name: str, rule: Rule) -> Sets:
    """The sets of a network's outcomes after one calibration, remembered; needs no model.

    Raises `TemperError` for numbers, for cross-fitted examples, and where the calibration cannot be fitted.
    """
    if not given.evaluation.task.decides:
        raise TemperError("Sets are of classes; numbers get intervals.", "Take the conformal calibration.")
    if given.crossed:
        raise TemperError("Sets need examples that set their threshold apart from those judged.", "Take two halves.")
    own = given.own if given.own and given.own.method == name else None
    step = None if name == NONE else own or Step.of("calibrate", name)
    key = ("sets-from", *given.name, name, rule)

    def compute() -> Sets:
        return _made(given.calibration, given.evaluation, step, rule, given.evaluation.classes)

    return RESULTS.remember(key, compute, lambda found: found.inside.nbytes)


def _made(
    fitting: Outcome,
    judging: Outcome,
    step: Step | None,
    rule: Rule,
    classes: tuple[str, ...],
    groups: tuple[Integers | None, Integers | None] = (None, None),
    names: tuple[str, ...] = (),
) -> Sets:
    rows, mapped = np.arange(fitting.n), softmax
    caveats: tuple[str, ...] = ()
    here, there = groups
    if step is not None:
        order = np.random.default_rng(rule.seed).permutation(fitting.n)
        first, rows = np.sort(order[: fitting.n // 2]), np.sort(order[fitting.n // 2 :])
        fitted = method("calibrate", step.method).function(
            fitting.logits[first], fitting.labels[first], **step.values
        )
        mapped, caveats = fitted.probabilities, (HALVES,)
    made = conformal_sets(
        Examples(mapped(fitting.logits[rows]), fitting.labels[rows], None if here is None else here[rows]),
        Examples(mapped(judging.logits), judging.labels, there),
        rule,
        classes,
        names,
    )
    return replace(made, caveats=(*made.caveats, *caveats))
