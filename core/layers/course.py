"""A recipe step by step: what each costs and saves, and what the other order of pruning and rounding would give."""

from __future__ import annotations

from dataclasses import dataclass, replace

from core.data.handle import DataHandle
from core.engine.compare import stated
from core.engine.evaluate import evaluate
from core.engine.runtime import Progress
from core.engine.statistics import difference
from core.errors import TemperError
from core.models.handle import ModelHandle
from core.recipe import Recipe, Step
from core.registry import Method, method
from core.types import Quantity, Result


@dataclass(frozen=True)
class Stage:
    """A recipe up to one of its steps, exact on the evaluation split.

    `value` is the task's leading metric, `change` its paired difference to the stage before, both with intervals;
    the original has none. `bytes` are packed.
    """

    step: Step | None
    recipe: Recipe
    value: Quantity
    change: Quantity | None
    bytes: int

    @property
    def title(self) -> str:
        """The method's name, or that nothing was done yet."""
        return method(self.step.kind, self.step.method).title if self.step else "Original"


@dataclass(frozen=True)
class Turned:
    """The same recipe with rounding before pruning.

    `stage.change` is its paired difference to the recipe itself. `left` names steps that this order cannot have.
    Where it cannot be at all `stage` is None and `why` a sentence.
    """

    stage: Stage | None
    left: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class Course:
    """Every stage from the original on, and the other order where there are two."""

    metric: str
    stages: tuple[Stage, ...]
    turned: Turned | None


def turned(recipe: Recipe) -> tuple[Recipe, tuple[Method, ...]] | None:
    """The recipe with its quantize step first, and the methods that then fall away; None with only one order.

    Re-estimating batch-norm falls away: rounding folds it into the layers.
    """
    steps = recipe.simplified().steps
    kinds = [step.kind for step in steps]
    if kinds.count("prune") != 1 or kinds.count("quantize") != 1 or kinds.index("quantize") < kinds.index("prune"):
        return None
    gone = [s for s in steps if s.kind == "repair" and method("repair", s.method).after == "prune"]
    pruning, rounding = (next(s for s in steps if s.kind == kind) for kind in ("prune", "quantize"))
    rest = [s for s in steps if s not in (*gone, pruning, rounding)]
    return (
        replace(recipe, steps=(rounding, pruning, *rest)),
        tuple(method("repair", step.method) for step in gone),
    )


def course(model: ModelHandle, data: DataHandle, recipe: Recipe, progress: Progress | None = None) -> Course:
    """Evaluate a recipe after each of its steps, and in the other order. Raises `TemperError` as `evaluate` does."""
    steps = recipe.simplified().steps
    other, metric = turned(recipe), data.task.facts.headline
    total = 1 + len(steps) + (other is not None)

    def run(of: Recipe, place: int) -> Result:
        def told(fraction: float) -> None:
            if progress is not None:
                progress((place + fraction) / total)

        return evaluate(model, data, of, told)

    def stage(step: Step | None, of: Recipe, found: Result, before: Result | None) -> Stage:
        change = difference(metric, before.tempered, found.tempered) if before else None
        return Stage(step, of, stated(metric, found.tempered), change, found.bytes.packed)

    empty = replace(recipe, steps=())
    last = run(empty, 0)
    stages = [stage(None, empty, last, None)]
    for place, step in enumerate(steps, 1):
        of = replace(recipe, steps=steps[:place])
        found = run(of, place)
        stages.append(stage(step, of, found, last))
        last = found
    if other is None:
        return Course(metric, tuple(stages), None)
    of, gone = other
    left = tuple(one.title for one in gone if not one.why_not(model))
    try:
        found = run(of, total - 1)
    except TemperError as error:
        return Course(metric, tuple(stages), Turned(None, left, error.message))
    return Course(metric, tuple(stages), Turned(stage(of.steps[-1], of, found, last), left))
