"""Who may train, and who hears of it. A page that only shows results never sets off minutes of work by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from core.errors import TemperError
from core.training.loop import Look


@dataclass(frozen=True)
class Permit:
    """Training is allowed: `told` hears the fraction done, `looked` of every look, `leave` says whether to stop.

    `saved` hears of every folder with what was learned. With `seconds` nothing is learned, and `Paced` is raised;
    with `ranging` neither, and `Ranged` is.
    """

    told: Callable[[float], None] = lambda _: None
    looked: Callable[[Look], None] = lambda _: None
    leave: Callable[[], bool] = lambda: False
    saved: Callable[[Path], None] = lambda _: None
    seconds: float | None = None
    ranging: bool = False


_PERMIT: ContextVar[Permit | None] = ContextVar("permit", default=None)


@contextmanager
def permitted(permit: Permit | None = None) -> Iterator[None]:
    """Inside, a `train` step that was not run on this machine is run."""
    token = _PERMIT.set(permit or Permit())
    try:
        yield
    finally:
        _PERMIT.reset(token)


def permit() -> Permit | None:
    """The present permit, None where nothing may be trained."""
    return _PERMIT.get()


class Untrained(TemperError):  # noqa: N818  (an error by its base)
    """A recipe's training was not run here yet, and nobody said that it may be now."""


class StoppedEarly(Exception):  # noqa: N818  (not an error: a person ended it)
    """A training ended before its time and what it came to is kept, under the step with this `until`.

    `note` says why where nobody asked for it.
    """

    def __init__(self, until: float, note: str = "") -> None:
        super().__init__(until, note)
        self.until, self.note = until, note
