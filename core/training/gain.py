"""What a training brought: the same recipe before and after it, on the examples that judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from core.engine.statistics import difference
from core.recipe import Recipe, Step
from core.registry import method
from core.task import Task
from core.training.measured import MEASURED
from core.types import Floats, Labels, Outcome, Quantity, Result


@dataclass(frozen=True)
class Gain:
    """By measure: the original, the network before and after, and the paired change that training made.

    `left` is the paired difference of the trained network to the original.
    """

    task: Task
    n: int
    original: Mapping[str, float]
    before: Mapping[str, float]
    after: Mapping[str, float]
    change: Mapping[str, Quantity]
    left: Mapping[str, Quantity]


def gain(before: Result, after: Result) -> Gain:
    """Compare two results of one model and data; confidence as each recipe calibrates it."""
    task = after.original.task
    shown = task.facts.shown if task.decides else MEASURED[task.kind]

    def values(of: Outcome) -> dict[str, float]:
        return {name: _value(name, task, of.predicted, of.labels) for name in shown}

    change = {name: difference(name, before.tempered, after.tempered) for name in shown}
    left = {name: difference(name, after.original, after.tempered) for name in shown}
    n = after.original.n
    return Gain(task, n, values(after.original), values(before.tempered), values(after.tempered), change, left)


def _value(name: str, task: Task, predicted: Floats, labels: Labels) -> float:
    measure = method("metric", name).function
    found: float = measure.value(*measure.facing(task, predicted, labels))
    return found


def untrained(recipe: Recipe) -> Recipe:
    """The recipe without its trainings."""
    return recipe.without("train")


def with_training(recipe: Recipe, name: str, values: Mapping[str, object]) -> Recipe:
    """The recipe with one training in the place of all others, last before confidence calibration."""
    steps = untrained(recipe).simplified()
    trained = Step.of("train", name, values)
    return replace(steps, steps=(*steps.without("calibrate").steps, trained, *steps.only("calibrate").steps))
