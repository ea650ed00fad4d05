"""Work in the background that a person asked for: begun once, found again by every page, to be cancelled at a chunk.

It gives way to whatever a person waits for, and ends with the program.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from core.engine.lane import Priority, working
from core.engine.memory import RESULTS
from core.engine.runtime import Progress
from core.errors import TemperError

LOG = logging.getLogger("temper")
KEPT = 200  # named works at rest that are remembered
TELLING = 0.05  # fraction done before which a time left would be a guess
State = Literal["ready", "running", "cancelled", "failed", "done"]
Key = tuple[Any, ...]


class Cancelled(Exception):  # noqa: N818  (not an error: a person ended it)
    """Ends a work at its next chunk."""


@dataclass(eq=False)
class Background:
    """How far a work is and how it ended; `note` is the sentence that says why it failed."""

    state: State = field(default="ready", init=False)
    fraction: float = field(default=0.0, init=False)
    note: str = field(default="", init=False)
    _begun: float = field(default=0.0, init=False)
    _leave: threading.Event = field(default_factory=threading.Event, init=False)
    _starting: threading.Lock = field(default_factory=threading.Lock, init=False)

    @property
    def alive(self) -> bool:
        """Whether it computes."""
        return self.state == "running"

    @property
    def seconds_left(self) -> float | None:
        """About how long it still takes; None while that would be a guess."""
        if not self.alive or self.fraction < TELLING:
            return None
        return (time.monotonic() - self._begun) / self.fraction * (1 - self.fraction)

    def cancel(self) -> None:
        """End it at its next chunk; half a result is not kept."""
        self._leave.set()

    def begin(self, name: str, work: Callable[[Progress], None]) -> threading.Thread | None:
        """Run `work` in a thread of its own, unless one is under way already.

        It tells the fraction done to the function it is given, which raises `Cancelled` once a person ended it.
        """
        with self._starting:
            if self.alive:
                return None
            self.state, self.fraction, self.note = "running", 0.0, ""
            self._leave.clear()
            self._begun = time.monotonic()
        _AT_WORK.add(self)
        thread = threading.Thread(target=self._run, args=(name, work), name=name, daemon=True)
        thread.start()
        return thread

    def _told(self, fraction: float) -> None:
        self.fraction = max(self.fraction, min(fraction, 1.0))
        if self._leave.is_set():
            raise Cancelled

    def _run(self, name: str, work: Callable[[Progress], None]) -> None:
        try:
            with working(name, Priority.SWEEP):
                work(self._told)
            self.state = "done"
        except Cancelled:
            self.state = "cancelled"
        except TemperError as error:
            self.note, self.state = f"{error.message} {error.hint}".strip(), "failed"
        except Exception as error:  # a fault of ours: the log has the trace, the person a sentence
            LOG.exception("in the background: %s", name)
            self.note, self.state = f"It ended with a fault of Temper's own ({type(error).__name__}).", "failed"


@dataclass(eq=False)
class Named(Background):
    """A work whose result `RESULTS` keeps under its key."""

    key: Key
    compute: Callable[[Progress], Any]

    def found(self) -> Any | None:
        """The result, None where there is none. Nothing is computed."""
        return None if self.alive else RESULTS.get(self.key)

    def start(self) -> threading.Thread | None:
        """Begin, unless it is under way already."""
        return self.begin("named", lambda told: RESULTS.put(self.key, self.compute(told), 100_000))


_AT_WORK: weakref.WeakSet[Background] = weakref.WeakSet()
_NAMED: dict[Key, Named] = {}
_LOCK = threading.Lock()


def named(key: Key, compute: Callable[[Progress], Any]) -> Named:
    """The work of a key, under way or at rest; the same for every visit of this process."""
    with _LOCK:
        found = _NAMED.setdefault(key, Named(key, compute))
        resting = [one for one, work in _NAMED.items() if not work.alive and work is not found]
        for one in resting[: max(0, len(resting) - KEPT)]:
            del _NAMED[one]
    return found


@atexit.register
def _leave_all() -> None:
    for work in list(_AT_WORK):
        work.cancel()
