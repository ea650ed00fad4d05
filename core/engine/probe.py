"""Layer sensitivity in the background: begun once, found again by every page and visit, to be cancelled at a chunk.

It gives way to whatever a person waits for. What is finished is kept by `sensitivity` itself, also over a restart.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from core.data.handle import DataHandle
from core.engine.lane import Priority, working
from core.engine.sensitivity import Sensitivity, known, sensitivity
from core.errors import TemperError
from core.models.handle import ModelHandle

LOG = logging.getLogger("temper")
WIDTHS = (2, 3, 4, 8)  # bits of each layer alone
State = Literal["ready", "running", "cancelled", "failed", "done"]


class _Cancelled(Exception):  # noqa: N818  (not an error: a person ended it)
    """Ends a measurement at its next chunk."""


@dataclass(eq=False)
class Probe:
    """The measurement of one model on one data set."""

    model: ModelHandle
    data: DataHandle
    widths: tuple[int, ...] = WIDTHS
    state: State = "ready"
    fraction: float = 0.0
    note: str = ""
    _begun: float = 0.0
    _leave: threading.Event = field(default_factory=threading.Event)

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

    def found(self) -> Sensitivity | None:
        """The result, measured now or long ago; None where there is none. Nothing is computed."""
        return None if self.alive else known(self.model, self.data, self.widths)

    def cancel(self) -> None:
        """End it at its next chunk; half a measurement is not kept."""
        self._leave.set()

    def start(self) -> threading.Thread | None:
        """Begin in a thread of its own, unless it is under way already."""
        if self.alive:
            return None
        self.state, self.fraction, self.note = "running", 0.0, ""
        self._leave.clear()
        self._begun = time.monotonic()
        thread = threading.Thread(target=self._run, name="probe", daemon=True)
        thread.start()
        return thread

    def _told(self, fraction: float) -> None:
        self.fraction = fraction
        if self._leave.is_set():
            raise _Cancelled

    def _run(self) -> None:
        try:
            with working("probe", Priority.SWEEP):
                sensitivity(self.model, self.data, self.widths, self._told)
            self.state = "done"
        except _Cancelled:
            self.state = "cancelled"
        except TemperError as error:
            self.state, self.note = "failed", f"{error.message} {error.hint}".strip()
        except Exception as error:  # a fault of ours: the log has the trace, the person a sentence
            LOG.exception("while measuring each layer")
            self.state, self.note = "failed", f"The measurement ended with a fault ({type(error).__name__})."


_PROBES: dict[tuple[str, str, tuple[int, ...]], Probe] = {}
_LOCK = threading.Lock()


def probe(model: ModelHandle, data: DataHandle, widths: Sequence[int] = WIDTHS) -> Probe:
    """The measurement of a model and its data, at work or at rest; the same for every visit of this process."""
    key = (model.fingerprint, data.fingerprint, tuple(widths))
    with _LOCK:
        return _PROBES.setdefault(key, Probe(model, data, tuple(widths)))
