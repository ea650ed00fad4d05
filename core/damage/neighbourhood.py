"""The recipes around a recipe: those visited, and a small fixed set with one slider moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from core.recipe import Recipe
from core.registry import Param, Value, method

SHARES = (-0.1, -0.05, 0.05, 0.1)  # of a slider's range by which it is moved
PLACES = (-1, 1)  # choices by which a picker is moved
VISITED = 8  # recipes of the trail that take part, the latest
MOST = 16  # recipes in all


def neighbourhood(recipe: Recipe, visited: Sequence[Recipe] = ()) -> tuple[Recipe, ...]:
    """The recipe itself, the latest visited ones, and those one slider away; without confidence calibration.

    A slider goes 5 and 10 % of its range up and down, a picker such as that of bits one place; only what has a
    setting that changes nothing is moved. The untouched model is left out, equal recipes stand once.
    """
    own = recipe.without("calibrate").simplified()
    moved = [
        one
        for place, step in enumerate(own.steps)
        for param in method(step.kind, step.method).parameters
        if param.neutral is not None
        for one in _moved(own, place, param)
    ]
    latest = [one.without("calibrate").simplified() for one in list(visited)[::-1][:VISITED]]
    found = dict.fromkeys(one for one in (own, *latest, *moved) if one.steps)
    return tuple(found)[:MOST]


def _moved(recipe: Recipe, place: int, param: Param) -> list[Recipe]:
    step = recipe.steps[place]
    now = step.values[param.name]
    values: list[Value] = []
    if param.choices:
        at = param.choices.index(now)
        values = [param.choices[at + by] for by in PLACES if 0 <= at + by < len(param.choices)]
    elif not param.longest:
        low, high = float(param.low or 0), float(param.high or 0)
        size = float(param.step or 0.01)
        for share in SHARES:
            value = round(round((float(now or 0) + share * (high - low)) / size) * size, 10)
            if low <= value <= high:
                values.append(value)
    return [
        replace(
            recipe, steps=(*recipe.steps[:place], step.with_values({param.name: value}), *recipe.steps[place + 1 :])
        ).simplified()
        for value in values
        if value != now
    ]
