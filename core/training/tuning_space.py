"""What of a training tuning varies: settings that its method declares, over the values that are usual for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from core import fingerprint
from core.errors import TemperError
from core.recipe import Recipe
from core.registry import Method, Param, Value, method
from core.training.gain import untrained, with_training

TUNED = ("rate", "schedule", "weight_decay", "batch", "augment", "mix", "temperature")
GRIDS: Mapping[str, tuple[Value, ...]] = {
    "mix": (0.0, 0.25, 0.5, 0.7, 0.9, 1.0),
    "temperature": (1.0, 2.0, 4.0, 8.0),
}
EPOCHS, EXAMPLES = 2.0, 2_000  # of a trial, unless something else is asked for
WIDTH = 35.0  # by how much a rate may lie above or below the usual one
NEEDS = {"temperature": "mix"}  # a setting that says nothing where the other one is zero
Draw = Callable[[str, tuple[Value, ...]], Value]


@dataclass(frozen=True)
class TuningSpace:
    """Trainings of one method after the steps of `base`; what is in `tuned` varies, all else is in `given`."""

    base: Recipe
    name: str
    given: tuple[tuple[str, Value], ...]
    tuned: tuple[str, ...]

    @classmethod
    def of(cls, recipe: Recipe, name: str, given: Mapping[str, Any], tuned: tuple[str, ...]) -> TuningSpace:
        """Raises `TemperError` where nothing varies or the method declares no such setting."""
        known = offered(name)
        for one in tuned:
            if one not in known:
                words = f"{method('train', name).title} has no setting {one!r:.40} to tune."
                raise TemperError(words, f"There are: {', '.join(known)}.")
        if not tuned:
            raise TemperError("Nothing is left to tune.", f"Take one at least of: {', '.join(known)}.")
        complete = method("train", name).complete({key: given[key] for key in given if key != "until"})
        order = tuple(one for one in known if one in tuned)
        return cls(untrained(recipe).simplified(), name, tuple(sorted(complete.items())), order)

    @property
    def fingerprint(self) -> str:
        """Names the space by all that decides what is tried."""
        values = {name: list(self.values(name)) for name in self.tuned}
        return fingerprint.of_json([self.base.fingerprint, self.name, dict(self.given), values])

    @property
    def usual(self) -> Recipe:
        """The training with the settings as they were given: what a person gets without tuning."""
        return with_training(self.base, self.name, dict(self.given))

    @property
    def start(self) -> dict[str, Value]:
        """The given settings as far as they vary: the first trial."""
        given = dict(self.given)
        return {name: given[name] for name in self.tuned}

    def values(self, name: str) -> tuple[Value, ...]:
        """The values that are tried of a setting, the given one among them."""
        param, given = param_of(method("train", self.name), name), dict(self.given)[name]
        if name == "rate":
            usual = float(str(param.default))
            found = [v for v in param.choices if usual / WIDTH <= float(str(v)) <= usual * WIDTH]
        else:
            found = list(GRIDS.get(name, param.choices))
        if given in found:
            return tuple(found)
        return tuple(sorted([*found, given]))  # type: ignore[type-var]

    def recipe(self, draw: Draw, seed: int = 0) -> Recipe:
        """One recipe: `draw` gives a value of each setting. `seed` is the base's own and not asked for."""
        chosen: dict[str, Value] = dict(self.given)
        for name in self.tuned:
            if NEEDS.get(name) in chosen and not chosen[NEEDS[name]]:
                continue
            chosen[name] = draw(name, self.values(name))
        return with_training(self.base, self.name, chosen)


def param_of(one: Method, name: str) -> Param:
    """A method's parameter."""
    return next(param for param in one.parameters if param.name == name)


def offered(name: str) -> tuple[str, ...]:
    """The settings of a way of training that can be tuned."""
    declared = {param.name for param in method("train", name).parameters}
    return tuple(one for one in TUNED if one in declared)
