"""The recipes of a neighbourhood in the background.

Points already visited cost nothing; what was computed before a cancellation is kept by the store, so that a second
start goes on from there.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from core import fingerprint
from core.damage.exemplars import Exemplars, exemplars
from core.data.handle import DataHandle
from core.engine.evaluate import evaluate
from core.engine.runtime import Progress
from core.errors import TemperError
from core.jobs.background import Background
from core.models.handle import ModelHandle
from core.recipe import Recipe
from core.types import Integers, Outcome

KEPT = 24  # neighbourhoods remembered by this process


@dataclass(eq=False)
class Around(Background):
    """One neighbourhood of one model and data set, and what was found; `left_out` says which recipes cannot run."""

    model: ModelHandle
    data: DataHandle
    recipes: tuple[Recipe, ...]
    found: Exemplars | None = None
    left_out: tuple[str, ...] = ()

    def start(self) -> threading.Thread | None:
        """Begin, unless it is under way already."""
        return self.begin("around", self.compute)

    def compute(self, told: Progress) -> None:
        """Evaluate every recipe, those that cannot run left out, and find the exemplars. Raises `TemperError`."""
        calls: list[Integers] = []
        left: list[str] = []
        original: Outcome | None = None
        for turn, recipe in enumerate(self.recipes):

            def share(fraction: float, turn: int = turn) -> None:
                told((turn + min(fraction, 1.0)) / len(self.recipes))

            share(0.0)
            try:
                result = evaluate(self.model, self.data, recipe, share)
            except TemperError as error:
                left.append(f"{recipe.notation} ({error.message})")
                continue
            original = result.original
            calls.append(result.uncalibrated.predictions)
        self.left_out = tuple(left)
        if original is None:
            raise TemperError("None of the recipes around this one can run.", "Choose another recipe in the Studio.")
        self.found = exemplars(original, calls)


_KNOWN: OrderedDict[tuple[str, ...], Around] = OrderedDict()
_LOCK = threading.Lock()


def around(model: ModelHandle, data: DataHandle, recipes: tuple[Recipe, ...]) -> Around:
    """A neighbourhood at work or at rest; the same for every visit of this process."""
    key = (model.fingerprint, data.fingerprint, fingerprint.of_json([one.fingerprint for one in recipes]))
    with _LOCK:
        found = _KNOWN.setdefault(key, Around(model, data, recipes))
        _KNOWN.move_to_end(key)
        for old in list(_KNOWN)[:-KEPT]:
            if not _KNOWN[old].alive:
                del _KNOWN[old]
        return found
