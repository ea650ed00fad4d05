"""Settings of one layer alone: what it may have of its own in a recipe, and the recipe with or without that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from core.recipe import Recipe, Step
from core.registry import Kind, Method, Param, Value, method, methods
from core.sweeps.plan import joined

KINDS: tuple[Kind, ...] = ("prune", "quantize")


@dataclass(frozen=True)
class Setting:
    """One parameter of one step as it stands for one layer; `own` says whether the layer has it of its own."""

    kind: Kind
    method: str
    param: Param
    value: Value
    own: bool


def settings(recipe: Recipe, layer: str) -> tuple[Setting, ...]:
    """Everything one layer may have of its own, pruning first. A step that is missing stands at rest."""
    found = []
    for kind in KINDS:
        for step in _steps(recipe, kind) or _resting(kind):
            own = step.own.get(layer, {})
            found += [
                Setting(kind, step.method, p, own.get(p.name, step.values[p.name]), p.name in own)
                for p in method(kind, step.method).by_layer
            ]
    return tuple(found)


def with_setting(recipe: Recipe, layer: str, setting: Setting, value: Value) -> Recipe:
    """The recipe with one layer's parameter at `value`; a missing step joins at rest. Raises `TemperError`."""
    place, recipe = joined(recipe, setting.kind, setting.method)
    steps = list(recipe.steps)
    own = steps[place].own.get(layer, {})
    steps[place] = steps[place].with_layer(layer, own | {setting.param.name: value})
    return replace(recipe, steps=tuple(steps)).simplified()


def protected(recipe: Recipe, layer: str) -> Recipe:
    """The recipe that leaves one layer's weights as they are: not pruned by weights, not rounded."""
    treating = _treating(recipe)
    steps = (
        step.with_layer(layer, _neutral(method(step.kind, step.method))) if step in treating else step
        for step in recipe.steps
    )
    return replace(recipe, steps=tuple(steps)).simplified()


def is_protected(recipe: Recipe, layer: str) -> bool:
    """Whether the recipe treats weights, but none of this layer's because the layer has it so of its own."""
    treating = _treating(recipe)
    return bool(treating) and all(
        step.own.get(layer) == _neutral(method(step.kind, step.method)) for step in treating
    )


def treats(recipe: Recipe) -> bool:
    """Whether there is a step from which a layer can be protected."""
    return bool(_treating(recipe))


def as_the_others(recipe: Recipe, layer: str) -> Recipe:
    """The recipe without anything that one layer has of its own."""
    steps = (step.with_layer(layer, {}) if layer in step.own else step for step in recipe.steps)
    return replace(recipe, steps=tuple(steps)).simplified()


def apart(recipe: Recipe) -> Mapping[str, tuple[Setting, ...]]:
    """What single layers have of their own, by layer, in the order of their names."""
    names = sorted({layer for step in recipe.steps for layer in step.own})
    return {name: tuple(one for one in settings(recipe, name) if one.own) for name in names}


def _steps(recipe: Recipe, kind: Kind) -> tuple[Step, ...]:
    return tuple(step for step in recipe.steps if step.kind == kind)


def _resting(kind: Kind) -> tuple[Step, ...]:
    """The step that would join: of the usual method that has settings of single layers, changing nothing."""
    able = [one for one in methods(kind) if one.by_layer and one.neutral]
    return tuple(Step.of(kind, one.name, one.complete({}) | one.neutral) for one in able[:1])


def _neutral(declared: Method) -> dict[str, Value]:
    return {p.name: p.neutral for p in declared.by_layer if p.neutral is not None}


def _treating(recipe: Recipe) -> list[Step]:
    return [step for step in recipe.steps if step.kind in KINDS and _neutral(method(step.kind, step.method))]
