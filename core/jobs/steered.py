"""A job that a person steers while it runs: begun, paused, gone on with, cancelled. Sweeps and searches are such."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Future, wait
from typing import Any, Literal, TypeVar

from core.jobs.workers import Workers

TRIES = 3  # times a call may see its worker die
BEAT = 0.2  # seconds between two looks at whether a person ended the job
A = TypeVar("A")
T = TypeVar("T")
State = Literal["ready", "queued", "running", "paused", "done", "cancelled", "failed"]


class WorkerLost(Exception):  # noqa: N818  (the caller says what that means)
    """The worker died each time the call was tried."""


class Steered:
    """The job's state; `lanes` is how many workers it can use, None for one a core.

    What computes waits for `_go` before it starts a part, and ends where the state is no longer running or paused.
    """

    lanes: int | None = None

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._go = threading.Event()
        self._go.set()
        self._state: State = "ready"
        self._note = ""

    @property
    def alive(self) -> bool:
        """Whether a thread is at it, or about to be."""
        return self._state in ("queued", "running", "paused")

    def ready(self) -> None:
        """Make a job that ended, or never began, ready to run."""
        with self._lock:
            self._state, self._note = "queued", ""
            self._go.set()

    def pause(self) -> None:
        """Start nothing more until `resume`; what is under way is finished and kept."""
        with self._lock:
            if self._state == "running":
                self._state = "paused"
            self._go.clear()

    def resume(self) -> None:
        """Go on after `pause`."""
        with self._lock:
            if self._state == "paused":
                self._state = "running"
            self._go.set()

    def cancel(self) -> None:
        """Stop; what is known is kept, and `ready` lets it begin again."""
        with self._lock:
            self._state = "cancelled" if self.alive else self._state
            self._go.set()

    def ask(self, workers: Workers, call: Callable[[A], T], task: A) -> T | None:
        """What a worker answers to `call(task)`, None where the job was ended meanwhile.

        A call whose worker dies is made again. Raises `WorkerLost` where it died `TRIES` times, and whatever the call
        raises.
        """
        for _ in range(TRIES):
            try:
                future: Future[T] = workers.submit(call, task)
                while not wait([future], timeout=BEAT).done:
                    if not self.alive:
                        workers.stop()
                        return None
                return future.result()
            except (BrokenExecutor, CancelledError, ConnectionError, TimeoutError):
                workers.stop()
                if not self.alive:
                    return None
        raise WorkerLost

    def standing(self) -> Any:
        """How far it is."""
        raise NotImplementedError

    def run(self, workers: Workers) -> None:
        """Compute until nothing more is needed."""
        raise NotImplementedError
