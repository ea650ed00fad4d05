"""The recipes of a neighbourhood in the background: begun by a button, found again by every page, to be cancelled.

It gives way to whatever a person waits for. Points already visited cost nothing; what was computed before a
cancellation is kept by the store, so that a second start goes on from there.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Literal

from core import fingerprint
from core.data.handle import DataHandle
from core.engine.evaluate import evaluate
from core.engine.exemplars import Exemplars, exemplars
from core.engine.lane import Priority, working
from core.errors import TemperError
from core.models.handle import ModelHandle
from core.recipe import Recipe
from core.types import Integers, Outcome

LOG = logging.getLogger("temper")
KEPT = 24  # neighbourhoods remembered by this process
State = Literal["ready", "running", "cancelled", "failed", "done"]


class _Cancelled(Exception):  # noqa: N818  (not an error: a person ended it)
    """Ends it at the next chunk."""


@dataclass(eq=False)
class Around:
    """One neighbourhood of one model and data set: its state, how far it is, and what was found."""

    model: ModelHandle
    data: DataHandle
    recipes: tuple[Recipe, ...]
    state: State = "ready"
    fraction: float = 0.0
    note: str = ""
    found: Exemplars | None = None
    left_out: tuple[str, ...] = ()
    _begun: float = 0.0
    _leave: threading.Event = field(default_factory=threading.Event)
    _starting: threading.Lock = field(default_factory=threading.Lock)

    @property
    def alive(self) -> bool:
        """Whether it computes."""
        return self.state == "running"

    @property
    def seconds_left(self) -> float | None:
        """About how long it still takes; None while that would be a guess."""
        if not self.alive or self.fraction < 0.05:
            return None
        return (time.monotonic() - self._begun) / self.fraction * (1 - self.fraction)

    def cancel(self) -> None:
        """End it at its next chunk."""
        self._leave.set()

    def start(self) -> threading.Thread | None:
        """Begin in a thread of its own, unless it is under way already."""
        with self._starting:
            if self.alive:
                return None
            self.state, self.fraction, self.note = "running", 0.0, ""
            self._leave.clear()
            self._begun = time.monotonic()
        thread = threading.Thread(target=self._run, name="around", daemon=True)
        thread.start()
        return thread

    def _run(self) -> None:
        try:
            self.found = self.compute()
            self.state = "done"
        except _Cancelled:
            self.state = "cancelled"
        except TemperError as error:
            self.note, self.state = f"{error.message} {error.hint}".strip(), "failed"
        except Exception as error:  # a fault of ours: the log has the trace, the person a sentence
            LOG.exception("while evaluating a neighbourhood")
            self.note, self.state = f"It ended with a fault ({type(error).__name__}).", "failed"

    def compute(self) -> Exemplars:
        """Evaluate every recipe, those that cannot run left out, and find the exemplars. Raises `TemperError`."""
        calls: list[Integers] = []
        left: list[str] = []
        original: Outcome | None = None
        for turn, recipe in enumerate(self.recipes):

            def told(fraction: float, turn: int = turn) -> None:
                self.fraction = (turn + min(fraction, 1.0)) / len(self.recipes)
                if self._leave.is_set():
                    raise _Cancelled

            told(0.0)
            try:
                with working("around", Priority.SWEEP):
                    result = evaluate(self.model, self.data, recipe, told)
            except TemperError as error:
                left.append(f"{recipe.notation} ({error.message})")
                continue
            original = result.original
            calls.append(result.uncalibrated.predictions)
        self.left_out = tuple(left)
        if original is None:
            raise TemperError("None of the recipes around this one can run.", "Choose another recipe in the Studio.")
        return exemplars(original, calls)


_KNOWN: OrderedDict[tuple[str, ...], Around] = OrderedDict()
_LOCK = threading.Lock()


def around(model: ModelHandle, data: DataHandle, recipes: tuple[Recipe, ...]) -> Around:
    """A neighbourhood at work or at rest; the same for every visit of this process."""
    named = fingerprint.of_json([one.fingerprint for one in recipes])
    key = (model.fingerprint, data.fingerprint, named)
    with _LOCK:
        found = _KNOWN.setdefault(key, Around(model, data, recipes))
        _KNOWN.move_to_end(key)
        for old in list(_KNOWN)[:-KEPT]:
            if not _KNOWN[old].alive:
                del _KNOWN[old]
        return found


def _leave_all() -> None:
    for one in list(_KNOWN.values()):
        one.cancel()


atexit.register(_leave_all)
