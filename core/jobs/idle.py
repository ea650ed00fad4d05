"""While a person thinks: evaluate what they are likely to ask for next, without ever being in their way.

`TEMPER_AHEAD=0` turns it off, for a battery's sake perhaps.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from core.data.handle import DataHandle
from core.engine.compare import compare
from core.engine.evaluate import evaluate
from core.engine.lane import LANE, Priority, working
from core.errors import TemperError
from core.models.handle import ModelHandle
from core.recipe import Recipe
from core.registry import Param, Value, method

LOG = logging.getLogger("temper")
QUIET = 0.7  # seconds after a person's last question before anything is done in advance
FURTHER = 2  # steps further the way a person was going
MOST = 8  # points done in advance of one place


def neighbours(recipe: Recipe, before: Recipe | None = None) -> list[Recipe]:
    """Recipes one step of one slider away, first those further on the way from `before`."""
    found = []
    moved = _moved(before, recipe) if before is not None else None
    if moved is not None:
        place, param, way = moved
        found += [_shifted(recipe, place, param, way * far) for far in range(1, FURTHER + 1)]
    for place, step in enumerate(recipe.steps):
        for param in method(step.kind, step.method).parameters:
            if param.neutral is not None:
                found += [_shifted(recipe, place, param, way) for way in (1, -1)]
    return list(dict.fromkeys(one for one in found if one is not None and one != recipe))[:MOST]


def _moved(before: Recipe, after: Recipe) -> tuple[int, Param, int] | None:
    """The slider that leads from one recipe to the other, and which way, if one alone does."""
    if len(before.steps) != len(after.steps):
        return None
    changed = [
        (place, param)
        for place, (old, new) in enumerate(zip(before.steps, after.steps, strict=True))
        if (old.kind, old.method) == (new.kind, new.method)
        for param in method(new.kind, new.method).parameters
        if old.values[param.name] != new.values[param.name]
    ]
    if len(changed) != 1 or changed[0][1].neutral is None:
        return None
    place, param = changed[0]
    old, new = (_position(param, r.steps[place].values[param.name]) for r in (before, after))
    return place, param, 1 if new > old else -1


def _position(param: Param, value: Value) -> float:
    return param.choices.index(value) if param.choices else float(value or 0)


def _shifted(recipe: Recipe, place: int, param: Param, by: int) -> Recipe | None:
    """The recipe with one slider moved by some steps, or None beyond its end."""
    step = recipe.steps[place]
    value = step.values[param.name]
    if param.choices:
        at = param.choices.index(value) + by
        if not 0 <= at < len(param.choices):
            return None
        new: Value = param.choices[at]
    else:
        new = round(float(value or 0) + by * float(param.step or 0.01), 10)
        if not float(param.low or 0) <= new <= float(param.high or 0):
            return None
    moved = step.with_values({param.name: new})
    return replace(recipe, steps=(*recipe.steps[:place], moved, *recipe.steps[place + 1 :])).simplified()


class _Overtaken(Exception):  # noqa: N818  (not an error: the person has moved on)
    """Ends a pass that nobody waits for any more."""


@dataclass
class Idle:
    """One thread that works through what every visitor may ask for next, the latest visitor first."""

    _wanted: OrderedDict[str, tuple[ModelHandle, DataHandle, list[Recipe]]] = field(default_factory=OrderedDict)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _asked: float = 0.0
    _turn: int = 0
    _thread: threading.Thread | None = None

    def fill(self, owner: str, model: ModelHandle, data: DataHandle, recipes: Sequence[Recipe]) -> None:
        """Replace what is done in advance for one visitor; an empty list stops it."""
        with self._changed:
            self._wanted[owner] = (model, data, list(recipes) if os.environ.get("TEMPER_AHEAD") != "0" else [])
            self._wanted.move_to_end(owner)
            self._turn += 1
            self._asked = time.monotonic()
            if self._thread is None and self._wanted[owner][2]:
                self._thread = threading.Thread(target=self._work, name="idle", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _next(self) -> tuple[int, str, ModelHandle, DataHandle, Recipe]:
        """Wait for quiet, then the next point."""
        with self._changed:
            while True:
                for owner in reversed(self._wanted):
                    model, data, left = self._wanted[owner]
                    if left:
                        rest = self._asked + QUIET - time.monotonic()
                        if rest <= 0 and not LANE.busy_for_people() and not LANE.gated:
                            return self._turn, owner, model, data, left.pop(0)
                        self._changed.wait(max(rest, QUIET / 2))
                        break
                else:
                    self._wanted.clear()
                    self._changed.wait()

    def _work(self) -> None:
        while True:
            turn, owner, model, data, recipe = self._next()

            def still(_: float, turn: int = turn) -> None:
                if turn != self._turn:
                    raise _Overtaken

            try:
                with working(owner, Priority.IDLE):
                    compare(evaluate(model, data, recipe, still))
            except (_Overtaken, TemperError):
                continue
            except Exception:  # a fault of ours must not end what is only a courtesy
                LOG.exception("while working ahead")


IDLE = Idle()
