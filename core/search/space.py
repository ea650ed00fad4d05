"""The recipes a search may try, as the registry declares them: which methods take part and what of them varies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from core import fingerprint
from core.errors import TemperError
from core.models.handle import ModelHandle
from core.recipe import Recipe, Step
from core.registry import STEP_KINDS, Kind, Method, Param, Value, brief, methods
from core.task import TaskKind

KINDS: tuple[Kind, ...] = ("prune", "repair", "quantize")  # what takes part unless something else is asked for
NONE = "none"  # the choice that leaves a kind of step out
STARTS = 3  # widths that are tried first, from the usual one down

Draw = Callable[[str, tuple[Value, ...]], Value]  # of a dimension's name and its values in order, one value


@dataclass(frozen=True)
class Space:
    """Recipes of at most one step of each kind but repairs, of which each joins or not.

    Parameters with choices vary, and those that have a neutral value, which say how much a step does; all others stay
    at their defaults. Parameters alike in several methods of a kind are one dimension, so that what is learned of one
    method serves the others. Choices that a parameter declares slow take part only with `slow`. `left_out` names
    kinds, methods or parameters that do not.
    """

    methods: tuple[Method, ...]
    slow: bool = False
    left_out: frozenset[str] = frozenset()
    skipped: Mapping[str, str] = field(default_factory=dict, compare=False)

    @classmethod
    def of(
        cls,
        model: ModelHandle,
        task: TaskKind,
        kinds: tuple[Kind, ...] = KINDS,
        slow: bool = False,
        left_out: frozenset[str] = frozenset(),
    ) -> Space:
        """The methods that suit model and task. Raises `TemperError` for an unknown name, or where none do."""
        every = [one for kind in STEP_KINDS if kind != "train" for one in methods(kind)]
        known = {*STEP_KINDS} | {one.name for one in every}
        known |= {param.name for one in every for param in one.parameters}
        for name in sorted(left_out - known):
            raise TemperError(f"No kind, method or parameter is called {brief(name)}.", "See: python -m core methods")
        wanted = [m for m in every if m.kind in kinds and not {m.kind, m.name} & left_out and task in m.tasks]
        skipped = {m.name: why for m in wanted if (why := m.why_not(model))}
        suits = tuple(sorted((m for m in wanted if m.name not in skipped), key=lambda m: (m.rank, m.kind)))
        if not any(m.kind != "repair" for m in suits):
            raise TemperError(f"No method is left that could compress '{model.id}'.", "Leave fewer out.")
        return cls(suits, slow, left_out, skipped)

    @property
    def fingerprint(self) -> str:
        """Names the space by every dimension and its values."""
        found: dict[str, list[str]] = {}

        def seen(name: str, values: tuple[Value, ...]) -> Value:
            found[name] = [repr(value) for value in values]
            return values[0]

        for one in self.methods:
            for param in self._varying(one):
                seen(self._name(one, param), self.values(param))
        shown = [[m.kind, m.name, [[p.name, repr(p.default)] for p in m.parameters]] for m in self.methods]
        return fingerprint.of_json([shown, sorted(found.items())])

    def values(self, param: Param) -> tuple[Value, ...]:
        """The values of a parameter that take part, in order."""
        if param.choices:
            return tuple(c for c in param.choices if self.slow or c not in param.slow or c == param.default)
        assert param.low is not None and param.high is not None
        step = param.step or (param.high - param.low) / 100
        count = int((param.high - param.low) / step + 1e-9)
        found = [round(param.low + place * step, 10) for place in range(count + 1)]
        return tuple(int(value) for value in found) if isinstance(param.default, int) else tuple(found)

    def recipe(self, draw: Draw, seed: int = 0) -> Recipe:
        """The recipe of the values drawn; a dimension that does not matter then is not asked for."""
        steps: list[Step] = []
        for one in self._slots():
            if isinstance(one, Method):
                if any(s.kind == one.after for s in steps) and draw(f"repair.{one.name}", (False, True)):
                    steps.append(Step.of("repair", one.name))
                continue
            kind, some = one
            chosen = draw(kind, (NONE, *(m.name for m in some)))
            found = next((m for m in some if m.name == chosen), None)
            if found is not None:
                steps.append(self._step(found, draw))
        return Recipe(tuple(steps), seed).simplified()

    def starts(self) -> tuple[dict[str, Value], ...]:
        """What anyone would try first, as values of dimensions: quantized alone, wide to narrow, with its repairs.

        Then the usual of every kind together, at their defaults.
        """
        quantizer = next((m for m in self.methods if m.kind == "quantize" and m.usual), None) or next(
            (m for m in self.methods if m.kind == "quantize"), None
        )
        repairs: dict[str, Value] = {f"repair.{m.name}": True for m in self.methods if m.kind == "repair"}
        found: list[dict[str, Value]] = []
        if quantizer is not None:
            rest: dict[str, Value] = {"prune": NONE, "quantize": quantizer.name, **repairs}
            rest |= self._defaults(quantizer)
            strength = next((p for p in quantizer.parameters if p.neutral is not None), None)
            if strength is None:
                found.append(rest)
            else:
                values = self.values(strength)
                below = values[values.index(strength.default) :: 2][:STARTS]
                found += [rest | {self._name(quantizer, strength): value} for value in below]
        pruner = next((m for m in self.methods if m.kind == "prune"), None)
        if pruner is not None:
            pruned: dict[str, Value] = {"prune": pruner.name, **repairs, **self._defaults(pruner)}
            pruned |= {"quantize": quantizer.name, **self._defaults(quantizer)} if quantizer else {}
            found.append(pruned)
        return tuple(found)

    def _slots(self) -> list[tuple[Kind, list[Method]] | Method]:
        """What is decided, in the order of a recipe's steps: one of a kind, or whether a repair joins."""
        found: list[tuple[Kind, list[Method]] | Method] = []
        for one in self.methods:
            if one.kind == "repair":
                found.append(one)
            elif found and not isinstance(found[-1], Method) and found[-1][0] == one.kind:
                found[-1][1].append(one)
            else:
                found.append((one.kind, [one]))
        return found

    def _varying(self, one: Method) -> list[Param]:
        if one.kind == "repair":
            return []
        return [p for p in one.parameters if (p.choices or p.neutral is not None) and p.name not in self.left_out]

    def _step(self, one: Method, draw: Draw) -> Step:
        given: dict[str, Any] = {}
        for param in sorted(self._varying(one), key=lambda p: p.shown_when is not None):
            if param.shown_when is not None:
                other, needed = param.shown_when
                default = next(p.default for p in one.parameters if p.name == other)
                if given.get(other, default) != needed:
                    continue
            given[param.name] = draw(self._name(one, param), self.values(param))
        return Step.of(one.kind, one.name, given)

    @cached_property
    def _names(self) -> dict[tuple[str, str, str], str]:
        """The dimension of each parameter, shared by those of a kind that mean the same and have the same values."""
        first: dict[tuple[Any, ...], str] = {}
        found: dict[tuple[str, str, str], str] = {}
        for one in self.methods:
            for param in one.parameters:
                meaning = (one.kind, param.name, param.of, self.values(param))
                name = first.setdefault(meaning, f"{one.kind}.{one.name}.{param.name}")
                found[one.kind, one.name, param.name] = name
        return found

    def _name(self, one: Method, param: Param) -> str:
        return self._names[one.kind, one.name, param.name]

    def _defaults(self, one: Method) -> dict[str, Value]:
        return {self._name(one, p): p.default for p in self._varying(one)}
