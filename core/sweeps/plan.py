"""A grid of recipes: some parameters, the values each takes, and the recipe of every combination."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from core import fingerprint
from core.errors import TemperError
from core.recipe import Recipe, Step
from core.registry import BRIEF, STEP_KINDS, Param, Value, brief, method, methods

POINT_LIMIT = 2_000  # points of a grid: an hour or so of the shipped samples
TOLERANCE = 1e-9  # of a step: 0.1 is no exact binary fraction, and 0:0.9:0.1 still ends at 0.9
Place = tuple[int, ...]  # a point's index along each axis


@dataclass(frozen=True)
class Axis:
    """One parameter of one step and the values it takes, in order."""

    kind: str
    method: str
    name: str
    values: tuple[Value, ...]

    @property
    def parameter(self) -> Param:
        """The parameter as its method declares it."""
        return next(p for p in method(self.kind, self.method).parameters if p.name == self.name)

    @property
    def title(self) -> str:
        """The parameter's name for people, with its unit."""
        unit = "%" if self.parameter.unit == "fraction" else self.parameter.unit
        return f"{self.parameter.title}, {unit}" if unit else self.parameter.title

    @property
    def labels(self) -> tuple[str, ...]:
        """The values as people read them, without the unit."""
        if self.parameter.unit == "fraction":
            return tuple(f"{100 * float(value or 0):.4g}" for value in self.values)
        return tuple(self.parameter.label(v) if self.parameter.labels else f"{v}" for v in self.values)

    def set(self, recipe: Recipe, value: Value) -> Recipe:
        """The recipe with this parameter at `value`; a step that is missing joins at rest, in its place."""
        place, recipe = joined(recipe, self.kind, self.method)
        steps = list(recipe.steps)
        steps[place] = steps[place].with_values({self.name: value})
        return replace(recipe, steps=tuple(steps))


def joined(recipe: Recipe, kind: str, name: str) -> tuple[int, Recipe]:
    """Where a method's step stands in the recipe; one that is missing joins at rest, in its place."""
    found = [i for i, s in enumerate(recipe.steps) if (s.kind, s.method) == (kind, name)]
    if found:
        return found[0], recipe
    declared = method(kind, name)
    place = sum(method(s.kind, s.method).rank <= declared.rank for s in recipe.steps)
    step = Step.of(kind, name, declared.complete({}) | declared.neutral)
    return place, replace(recipe, steps=(*recipe.steps[:place], step, *recipe.steps[place:]))


@dataclass(frozen=True)
class Plan:
    """Every combination of the axes' values on top of a base recipe."""

    base: Recipe
    axes: tuple[Axis, ...]

    def __post_init__(self) -> None:
        names = [(a.kind, a.method, a.name) for a in self.axes]
        if not self.axes or len(set(names)) < len(names):
            raise TemperError("A grid needs at least one parameter, and each only once.")
        for axis in self.axes:
            self._check_matters(axis)
        points = math.prod(len(axis.values) for axis in self.axes)
        if not 1 <= points <= POINT_LIMIT:
            raise TemperError(
                f"A grid has 1 to {POINT_LIMIT:,} points; this one has {points:,}.", "Take fewer values."
            )

    def _check_matters(self, axis: Axis) -> None:
        """Refuse an axis along which nothing would change: its parameter needs another one's value."""
        if axis.parameter.shown_when is None:
            return
        needed, value = axis.parameter.shown_when
        alike = [a for a in self.axes if (a.kind, a.method, a.name) == (axis.kind, axis.method, needed)]
        if alike:
            matters = value in alike[0].values
        else:
            others = axis.set(self.base, axis.values[0])
            matters = any(s.values.get(needed) == value for s in others.steps if s.method == axis.method)
        if not matters:
            raise TemperError(
                f"The grid's parameter '{axis.name}' changes nothing unless {needed} is {value}.",
                f"Set {needed} to {value} in the recipe, or make it a parameter of the grid too.",
            )

    @cached_property
    def recipes(self) -> dict[Place, Recipe]:
        """The recipe of every place, the last axis running fastest."""
        found = {}
        for place in product(*(range(len(axis.values)) for axis in self.axes)):
            recipe = self.base
            for axis, index in zip(self.axes, place, strict=True):
                recipe = axis.set(recipe, axis.values[index])
            found[place] = recipe.simplified()
        return found

    @property
    def fingerprint(self) -> str:
        """Names the plan by the recipes it asks for."""
        return fingerprint.of_json([recipe.fingerprint for recipe in self.recipes.values()])

    def order(self) -> Iterator[Place]:
        """Places from coarse to fine: the corners first, then each as far as can be from all before it."""
        places = list(self.recipes)
        spans = np.maximum([len(axis.values) - 1 for axis in self.axes], 1)
        at = np.asarray(places, float) / spans
        corners = ((at == 0) | (at == 1)).all(1)
        nearest = np.full(len(places), np.inf)
        following = 0
        for _ in places:
            yield places[following]
            nearest = np.minimum(nearest, ((at - at[following]) ** 2).sum(1))
            corners[following] = False
            following = int(np.where(corners, nearest, -1).argmax() if corners.any() else nearest.argmax())

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON values."""
        axes = [{"kind": a.kind, "method": a.method, "name": a.name, "values": list(a.values)} for a in self.axes]
        return {"base": self.base.to_dict(), "axes": axes}


def axis_of(base: Recipe, name: str, values: Sequence[Any]) -> Axis:
    """An axis over the parameter `name`, also written `method.name`, with checked values in the order given.

    The parameter belongs to the base recipe's step that has it, else to the first registered method that
    has it. Raises `TemperError` for an unknown parameter, a value out of range, or one given twice.
    """
    wanted, _, parameter = name.rpartition(".")
    owners = [(kind, m) for kind in STEP_KINDS for m in methods(kind)]
    owners = [(k, m) for k, m in owners if parameter in {p.name for p in m.parameters} and wanted in ("", m.name)]
    if not owners:
        every = sorted({p.name for kind in STEP_KINDS for m in methods(kind) for p in m.parameters})
        near = difflib.get_close_matches(parameter[:BRIEF], every, 1)
        hint = f"Did you mean '{near[0]}'?" if near else ""
        raise TemperError(f"No step has a parameter called {brief(name)}; there are: {', '.join(every)}.", hint)
    used = {(s.kind, s.method) for s in base.steps}
    kind, owner = next(((k, m) for k, m in owners if (k, m.name) in used), owners[0])
    declared = next(p for p in owner.parameters if p.name == parameter)
    checked = tuple(declared.check(value, f"{kind} method '{owner.name}'") for value in values)
    if not checked:
        raise TemperError(f"The grid's parameter {brief(name)} needs at least one value.")
    if len(set(checked)) < len(checked):
        raise TemperError(f"The grid's parameter {brief(name)} has the same value twice.")
    return Axis(kind, owner.name, parameter, checked)


def axis_from_text(base: Recipe, text: str) -> Axis:
    """Read `name=first:last:step` or `name=value,value,...`. Raises `TemperError`.

    A range holds its last value too where the steps meet it.
    """
    name, equals, listed = (part.strip() for part in text.partition("="))
    if not (name and equals and listed):
        raise TemperError(f"A grid is written name=first:last:step or name=value,value; got {brief(text)}.")
    if ":" in listed:
        return axis_of(base, name, _range(text, listed))
    return axis_of(base, name, [_value(item.strip()) for item in listed.split(",")])


def _range(text: str, listed: str) -> list[Value]:
    try:
        first, last, step = (float(part) for part in listed.split(":"))
        steps = (last - first) / step
    except (ValueError, OverflowError, ZeroDivisionError):
        steps = math.nan
    if not math.isfinite(steps) or not math.isfinite(step) or steps < -TOLERANCE:
        raise TemperError(
            f"A grid's range is first:last:step with a step that leads from first to last; got {brief(text)}."
        )
    if steps >= POINT_LIMIT:
        raise TemperError(f"A grid's range has at most {POINT_LIMIT:,} values; {brief(text)} has more.")
    count = math.floor(steps + TOLERANCE) + 1
    return [_whole(round(first + place * step, 10)) for place in range(count)]


def _value(item: str) -> Value:
    try:
        return _whole(float(item))
    except (ValueError, OverflowError):
        return item


def _whole(number: float) -> Value:
    return int(number) if math.isfinite(number) and number == int(number) else number
