"""Every confidence calibration that suits a task, fitted on one split and applied to another."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from numpy.typing import NDArray

from core.calibration.cross_fit import cross_fitted
from core.calibrators._fitted import Curves, FittedCalibrator, Steps
from core.data.handle import DataHandle, load_split
from core.engine.evaluate import uncalibrated_outcomes
from core.engine.memory import RESULTS
from core.engine.runtime import Progress
from core.errors import TemperError
from core.models.handle import ModelHandle
from core.recipe import Recipe, Step
from core.registry import Method, Value, method, methods
from core.types import Integers, Outcome

NONE = ""  # the name of the model without confidence calibration
NONE_TITLE = "Uncalibrated"


@dataclass(frozen=True)
class Column:
    """Groups of the examples: their names, and each example's in both splits, int64 `(N,)`; below 0 is not stated."""

    title: str
    names: tuple[str, ...]
    calibration: Integers
    evaluation: Integers


@dataclass(frozen=True)
class Material:
    """A network's outcomes before confidence calibration: where one is fitted, and where it is judged.

    `key` names both by content; `own` is the recipe's calibrate step, whose parameters its method is fitted with.
    Where `crossed` there is one split only, given as both: each part of it is judged by a fit on the others.
    """

    key: tuple[str, ...]
    calibration: Outcome
    evaluation: Outcome
    own: Step | None = None
    columns: tuple[Column, ...] = ()
    crossed: bool = False

    @property
    def name(self) -> tuple[str, ...]:
        """Names everything that a contest of it depends on."""
        return (*self.key, "" if self.own is None else repr((self.own.method, sorted(self.own.values.items()))))


@dataclass(frozen=True)
class Entry:
    """One method applied to the evaluation split, with what it fitted; where it cannot be, `error` says why."""

    name: str
    title: str
    outcome: Outcome | None
    fitted: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""

    @property
    def warning(self) -> str:
        """What the fit itself has to say."""
        return str(self.fitted.get("warning") or "")


def material(model: ModelHandle, data: DataHandle, recipe: Recipe, progress: Progress | None = None) -> Material:
    """What the calibrations of a recipe's network are fitted on and judged on. Raises `TemperError`."""
    calibration, evaluation = uncalibrated_outcomes(model, data, recipe, progress)
    own = next(iter(recipe.simplified().only("calibrate").steps), None)
    key = (model.fingerprint, data.fingerprint, calibration.provenance.recipe)
    return Material(key, calibration, evaluation, own, _columns(data))


def _columns(data: DataHandle) -> tuple[Column, ...]:
    if not data.groups:
        return ()
    here, there = load_split(data, "calibration").groups, load_split(data, "evaluation").groups
    return tuple(
        Column(one.title, one.names, here[one.title], there[one.title])
        for one in data.groups
        if one.title in here and one.title in there
    )


def contest(given: Material, progress: Progress | None = None) -> tuple[Entry, ...]:
    """The uncalibrated model first, then every registered method of the task, each fit remembered.

    `progress` is told the fraction done between fits and may raise to abandon; fits done by then are kept.
    """
    suiting = methods("calibrate", given.evaluation.task.kind)
    found = [Entry(NONE, NONE_TITLE, given.evaluation)]
    for place, one in enumerate(suiting):
        if progress is not None:
            progress(place / len(suiting))
        found.append(applied(given, one))
    return tuple(found)


def applied(given: Material, one: Method) -> Entry:
    """One method fitted on the calibration split and applied to the evaluation split, or cross-fitted; remembered."""
    values = dict(given.own.values) if given.own and given.own.method == one.name else one.complete({})

    def compute() -> Entry:
        return _applied(given, one, values)

    key = ("contest", *given.key, one.name, *(f"{name}={value}" for name, value in sorted(values.items())))
    return RESULTS.remember(key, compute, lambda entry: entry.outcome.predicted.nbytes if entry.outcome else 1_000)


def _applied(given: Material, one: Method, values: Mapping[str, Value]) -> Entry:
    try:
        fit = one.function(given.calibration.logits, given.calibration.labels, **values)
        predicted = (
            cross_fitted(
                lambda z, y: one.function(z, y, **values), given.calibration.logits, given.calibration.labels
            )
            if given.crossed
            else fit.probabilities(given.evaluation.logits)
        )
    except TemperError as error:
        return Entry(one.name, one.title, None, {}, f"{error.message} {error.hint}".strip())
    return Entry(one.name, one.title, replace(given.evaluation, predicted=predicted), dict(fit.fitted))


def calibration_of(given: Material, name: str) -> Outcome:
    """A method applied to the calibration split, where thresholds are chosen, remembered.

    Steps and curves follow single examples and look better on them than on new ones: they are cross-fitted there, so
    that no threshold rests on examples that vouch for themselves. Raises `TemperError` where it cannot be fitted.
    """
    if name == NONE:
        return given.calibration
    own = given.own if given.own and given.own.method == name else Step.of("calibrate", name)

    def compute() -> Outcome:
        def fitted(logits: NDArray[Any], labels: Integers) -> FittedCalibrator:
            found: FittedCalibrator = method("calibrate", name).function(logits, labels, **own.values)
            return found

        logits, labels = given.calibration.logits, given.calibration.labels
        fit = fitted(logits, labels)
        predicted = fit.probabilities(logits)
        if isinstance(fit.form, Steps | Curves):
            with suppress(TemperError):  # where a part is too small for a fit, all are judged by that of all
                predicted = cross_fitted(fitted, logits, labels)
        return replace(given.calibration, predicted=predicted)

    return RESULTS.remember(("calibration-of", *given.name, name), compute, lambda found: found.predicted.nbytes)


def with_calibration(recipe: Recipe, name: str) -> Recipe:
    """The recipe with this calibration as its last step and no other; '' takes it away."""
    bare = recipe.without("calibrate")
    return bare if name == NONE else replace(bare, steps=(*bare.steps, Step.of("calibrate", name)))
