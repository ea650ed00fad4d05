"""One declaration a method: from it come controls, command-line options, docs and contract tests.

A method lives in one file of its kind's package and registers itself on import; `methods()` imports
every module of those packages, so a new file is found without being named anywhere.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeVar

from core.errors import TemperError
from core.task import CLASSES, EVERY, TaskKind

Value = float | int | str | bool | None
Kind = Literal["prune", "quantize", "repair", "train", "calibrate", "metric", "chart", "format", "explain"]
STEP_KINDS: tuple[Kind, ...] = ("prune", "quantize", "repair", "train", "calibrate")
STEP_ORDER: tuple[tuple[Kind, Kind | None], ...] = (
    ("prune", None), ("train", None), ("repair", "prune"), ("quantize", None), ("repair", "quantize"),
    ("calibrate", None),
)  # fmt: skip
PACKAGES: dict[Kind, str] = {
    "prune": "core.pruners",
    "quantize": "core.quantizers",
    "repair": "core.repairs",
    "train": "core.trainers",
    "calibrate": "core.calibrators",
    "metric": "core.metrics",
    "chart": "core.figures",
    "format": "core.formats",
    "explain": "core.explainers",
}
F = TypeVar("F")
BRIEF = 80  # characters of a given value that a message repeats


def brief(value: Any) -> str:
    """`repr` cut to what a one-sentence message can hold; some values refuse to be written out at all."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, a very deep list
        text = "a value too large to write out"
    return text if len(text) <= BRIEF else f"{text[: BRIEF - 3]}..."


@dataclass(frozen=True)
class Param:
    """One parameter of a method.

    With `choices` the value is one of them; otherwise it is a number from `low` to `high` in steps
    of `step`. `labels` names choices for people. `shown_when` is `(other parameter, value)`: the
    parameter only matters then. `neutral` is the value at which the parameter changes nothing.
    The unit `fraction` is shown to people in per cent; `of` says of what, where it is not of weights that become
    zero. A default of None is filled in by the method. `by_layer`: a recipe may set it for single layers.
    A search tries `slow` choices only when it is asked to.
    """

    name: str
    title: str
    default: Value
    help: str
    low: float | None = None
    high: float | None = None
    step: float | None = None
    choices: tuple[Value, ...] = ()
    labels: Mapping[Any, str] | None = None
    unit: str = ""
    shown_when: tuple[str, Value] | None = None
    neutral: Value = None
    of: str = ""
    by_layer: bool = False
    slow: tuple[Value, ...] = ()

    def label(self, value: Value) -> str:
        """The words for one choice."""
        return (self.labels or {}).get(value, str(value))

    def check(self, value: Any, owner: str) -> Value:
        """Return `value` in the parameter's own type, or raise `TemperError` saying what was expected."""
        if value is None:
            return self.default
        if self.choices:
            for choice in self.choices:
                same_type = isinstance(value, str) == isinstance(choice, str) and not isinstance(value, bool)
                if same_type and value == choice:
                    return choice
            allowed = ", ".join(str(choice) for choice in self.choices)
            raise TemperError(f"{owner}: {self.name} must be one of {allowed}; got {brief(value)}.")
        low, high = self.low, self.high
        assert low is not None and high is not None, f"{self.name} declares neither choices nor a range"
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not low <= value <= high:  # also false for nan and for integers beyond every float
            raise TemperError(f"{owner}: {self.name} must be a number from {low:g} to {high:g}; got {brief(value)}.")
        if isinstance(self.default, int) and not isinstance(self.default, bool):
            if value != int(value):
                raise TemperError(f"{owner}: {self.name} must be a whole number; got {brief(value)}.")
            return int(value)
        return float(value)


@dataclass(frozen=True)
class Method:
    """A registered method: what it is, what it takes, which tasks it suits and the function (or declaration)."""

    kind: Kind
    name: str
    title: str
    summary: str
    reference: str
    parameters: tuple[Param, ...]
    function: Any
    tasks: tuple[TaskKind, ...] = EVERY
    after: Kind | None = None
    fits: Callable[[Any], str] | None = None
    usual: bool = False  # stands first among its kind, and is meant where only a parameter is named

    def why_not(self, model: Any) -> str:
        """Why the method has nothing to do for a model (a `ModelHandle`), '' where it has or nobody can tell."""
        try:
            return self.fits(model) if self.fits else ""
        except TemperError:  # a damaged model says so where it is evaluated
            return ""

    @property
    def rank(self) -> int:
        """Where its steps usually stand in a recipe: the lower, the earlier."""
        return STEP_ORDER.index((self.kind, self.after))

    @property
    def neutral(self) -> dict[str, Value]:
        """The parameter values at which a step changes nothing; empty where there are none."""
        return {p.name: p.neutral for p in self.parameters if p.neutral is not None}

    @property
    def by_layer(self) -> tuple[Param, ...]:
        """The parameters that a recipe may set for single layers."""
        return tuple(p for p in self.parameters if p.by_layer)

    def is_identity(self, values: Mapping[str, Value]) -> bool:
        """Whether a step with these complete parameters changes nothing and can be left out."""
        return bool(self.neutral) and all(values[name] == value for name, value in self.neutral.items())

    def complete_layer(self, layer: str, given: Any) -> dict[str, Value]:
        """Check what one layer has of its own. Raises `TemperError`."""
        owner = f"{self.kind} method '{self.name}', layer {brief(layer)}"
        known = {p.name: p for p in self.by_layer}
        if not isinstance(given, Mapping) or not given or not set(given) <= set(known):
            expected = (
                f"an object with {' or '.join(known)}" if known else "nothing, as this method has no such settings"
            )
            raise TemperError(f"{owner}: a layer's own settings must be {expected}; got {brief(given)}.")
        for name, value in given.items():
            if value is None:
                raise TemperError(f"{owner}: {name} must have a value of its own; got None.")
        return {name: known[name].check(value, owner) for name, value in given.items()}

    def complete(self, given: Mapping[str, Any]) -> dict[str, Value]:
        """Check the given parameters and fill in defaults; one that does not matter is at its default.

        Raises `TemperError`.
        """
        owner = f"{self.kind} method '{self.name}'"
        known = {p.name: p for p in self.parameters}
        for name in given:
            if name not in known:
                expected = ", ".join(known) or "no parameters"
                raise TemperError(f"{owner} has no parameter {brief(name)}; it takes {expected}.")
        values = {name: p.check(given.get(name), owner) for name, p in known.items()}
        idle = [p for p in self.parameters if p.shown_when and values[p.shown_when[0]] != p.shown_when[1]]
        return values | {p.name: p.default for p in idle}


_REGISTERED: dict[tuple[Kind, str], Method] = {}


def register(
    kind: Kind,
    name: str,
    title: str,
    summary: str,
    reference: str,
    parameters: tuple[Param, ...] = (),
    tasks: tuple[TaskKind, ...] | None = None,
    after: Kind | None = None,
    fits: Callable[[Any], str] | None = None,
    usual: bool = False,
) -> Callable[[F], F]:
    """Register the decorated function as a method. The function itself is returned unchanged.

    Metrics and confidence calibrations are of classes unless `tasks` says otherwise; all else suits every task.
    A repair says `after` which kind of step it belongs. `fits` tells of a model why the method has nothing to do.
    The `usual` method of a kind stands first.
    """
    suits = tasks or (CLASSES if kind in ("metric", "calibrate") else EVERY)

    def decorate(function: F) -> F:
        known = (kind, name, title, summary, reference, parameters, function, suits, after, fits, usual)
        _REGISTERED[kind, name] = Method(*known)
        return function

    return decorate


@cache
def _discover(kind: Kind) -> None:
    package = importlib.import_module(PACKAGES[kind])
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"{PACKAGES[kind]}.{module.name}")


def methods(kind: Kind, task: TaskKind | None = None) -> tuple[Method, ...]:
    """Every method of a kind: the usual one, the others by name, those of single weights before whole channels.

    With `task` only those that suit it. The first of several that take a parameter is meant where only the
    parameter is named, so that a new method changes no grid and no page.
    """
    if kind in PACKAGES:
        _discover(kind)
    found = [method for (k, _), method in sorted(_REGISTERED.items()) if k == kind]
    found = [method for method in found if task is None or task in method.tasks]
    return tuple(sorted(found, key=lambda one: (any(param.of for param in one.parameters), not one.usual)))


def method(kind: str, name: str) -> Method:
    """One method. Raises `TemperError` with the nearest name for an unknown kind or method."""
    for known in (*STEP_KINDS, "metric", "chart", "format", "explain"):
        if known == kind:
            found = {m.name: m for m in methods(known)}
            if isinstance(name, str) and name in found:
                return found[name]
            near = difflib.get_close_matches(name[:BRIEF], found, 1, 0.3) if isinstance(name, str) else []
            hint = f"Did you mean '{near[0]}'?" if near else ""
            listed = ", ".join(found) or "none yet"
            raise TemperError(f"No {kind} method is called {brief(name)}; there are: {listed}.", hint)
    raise TemperError(f"A step's kind must be one of {', '.join(STEP_KINDS)}; got {brief(kind)}.")
