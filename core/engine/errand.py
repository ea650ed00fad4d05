"""Work in the background that a person asked for: begun once, found again by every page, to be cancelled at a chunk.

It gives way to whatever a person waits for. What it found is kept in `RESULTS` under its name.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from core.engine.lane import Priority, working
from core.engine.memory import RESULTS
from core.engine.runtime import Progress
from core.errors import TemperError

LOG = logging.getLogger("temper")
KEPT = 200  # errands at rest that are remembered
TELLING = 0.05  # fraction done before which a time left would be a guess
State = Literal["ready", "running", "cancelled", "failed", "done"]
Key = tuple[Any, ...]


class Cancelled(Exception):  # noqa: N818  (not an error: a person ended it)
    """Ends an errand at its next chunk."""


@dataclass(eq=False)
class Errand:
    """`compute` under a name; it tells the fraction done to the function it is given, which may raise `Cancelled`."""

    key: Key
    compute: Callable[[Progress], Any]
    state: State = "ready"
    fraction: float = 0.0
    note: str = ""
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
        if not self.alive or self.fraction < TELLING:
            return None
        return (time.monotonic() - self._begun) / self.fraction * (1 - self.fraction)

    def found(self) -> Any | None:
        """The result, None where there is none. Nothing is computed."""
        return None if self.alive else RESULTS.get(self.key)

    def cancel(self) -> None:
        """End it at its next chunk; half a result is not kept."""
        self._leave.set()

    def start(self) -> threading.Thread | None:
        """Begin in a thread of its own, unless it is under way already."""
        with self._starting:
            if self.alive:
                return None
            self.state, self.fraction, self.note = "running", 0.0, ""
            self._leave.clear()
            self._begun = time.monotonic()
        thread = threading.Thread(target=self._run, name="errand", daemon=True)
        thread.start()
        return thread

    def _told(self, fraction: float) -> None:
        self.fraction = fraction
        if self._leave.is_set():
            raise Cancelled

    def _run(self) -> None:
        try:
            with working("errand", Priority.SWEEP):
                RESULTS.put(self.key, self.compute(self._told), 100_000)
            self.state = "done"
        except Cancelled:
            self.state = "cancelled"
        except TemperError as error:
            self.note, self.state = f"{error.message} {error.hint}".strip(), "failed"
        except Exception as error:  # a fault of ours: the log has the trace, the person a sentence
            LOG.exception("in the background")
            self.note, self.state = f"It ended with a fault of Temper's own ({type(error).__name__}).", "failed"


_ERRANDS: dict[Key, Errand] = {}
_LOCK = threading.Lock()


def errand(key: Key, compute: Callable[[Progress], Any]) -> Errand:
    """The errand of a name, at work or at rest; the same for every visit of this process."""
    with _LOCK:
        found = _ERRANDS.setdefault(key, Errand(key, compute))
        resting = [name for name, one in _ERRANDS.items() if not one.alive and one is not found]
        for name in resting[: max(0, len(resting) - KEPT)]:
            del _ERRANDS[name]
    return found
