"""Allocation in the background: begun once, found again by every page and visit, to be cancelled between its parts.

It gives way to whatever a person waits for. What options do and what was predicted is kept on disk, so that the same
wish after a restart takes a fraction of the time.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field

from core.data.handle import DataHandle
from core.engine.allocate import Allocation, allocate
from core.engine.budget import Budget
from core.engine.lane import Priority, working
from core.engine.probe import State
from core.errors import TemperError
from core.models.handle import ModelHandle

LOG = logging.getLogger("temper")
KEPT = 20  # results of one model that are found again


class _Cancelled(Exception):  # noqa: N818  (not an error: a person ended it)
    """Ends a search between two parts."""


@dataclass(eq=False)
class Allocating:
    """The searches of one model on one data set, one at a time, and what they found."""

    model: ModelHandle
    data: DataHandle
    state: State = "ready"
    fraction: float = 0.0
    note: str = ""
    last: Budget | None = None
    found: dict[Budget, Allocation] = field(default_factory=dict)
    _begun: float = 0.0
    _leave: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

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

    @property
    def latest(self) -> Allocation | None:
        """The answer to the last wish, None where there is none."""
        return self.found.get(self.last) if self.last is not None else None

    def cancel(self) -> None:
        """End it before its next part."""
        self._leave.set()

    def start(self, budget: Budget) -> threading.Thread | None:
        """Begin in a thread of its own, unless one is under way or the answer is known."""
        with self._lock:
            if self.alive:
                return None
            self.last, self.note = budget, ""
            if budget in self.found:
                self.state = "done"
                return None
            self.state, self.fraction = "running", 0.0
        self._leave.clear()
        self._begun = time.monotonic()
        thread = threading.Thread(target=self._run, args=(budget,), name="allocate", daemon=True)
        thread.start()
        return thread

    def _told(self, fraction: float) -> None:
        self.fraction = max(self.fraction, fraction)
        if self._leave.is_set():
            raise _Cancelled

    def _run(self, budget: Budget) -> None:
        try:
            with working("allocate", Priority.SWEEP):
                found = allocate(self.model, self.data, budget, self._told)
            self.found = dict([*self.found.items(), (budget, found)][-KEPT:])
            self.state = "done"
        except _Cancelled:
            self.state = "cancelled"
        except TemperError as error:
            self.note, self.state = f"{error.message} {error.hint}".strip(), "failed"
        except Exception as error:  # a fault of ours: the log has the trace, the person a sentence
            LOG.exception("while allocating bits")
            self.note, self.state = f"The search ended with a fault ({type(error).__name__}).", "failed"


_ALL: dict[tuple[str, str], Allocating] = {}
_LOCK = threading.Lock()


def allocating(model: ModelHandle, data: DataHandle) -> Allocating:
    """The searches of a model and its data, at work or at rest; the same for every visit of this process."""
    key = (model.fingerprint, data.fingerprint)
    with _LOCK:
        return _ALL.setdefault(key, Allocating(model, data))
