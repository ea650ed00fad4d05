"""Allocation in the background, cancelled between its parts.

What options do and what was predicted is kept on disk, so that the same wish after a restart takes a fraction of the
time.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from core.data.handle import DataHandle
from core.engine.runtime import Progress
from core.jobs.background import Background
from core.models.handle import ModelHandle
from core.search.allocate import Allocation, allocate
from core.search.budget import Budget

KEPT = 20  # results of one model that are found again


@dataclass(eq=False)
class Allocating(Background):
    """The searches of one model on one data set, one at a time, and what they found."""

    model: ModelHandle
    data: DataHandle
    last: Budget | None = None
    found: dict[Budget, Allocation] = field(default_factory=dict)

    @property
    def latest(self) -> Allocation | None:
        """The answer to the last wish, None where there is none."""
        return self.found.get(self.last) if self.last is not None else None

    def start(self, budget: Budget) -> threading.Thread | None:
        """Begin, unless one is under way or the answer is known."""
        if self.alive:
            return None
        self.last = budget
        if budget in self.found:
            self.state, self.note = "done", ""
            return None

        def search(told: Progress) -> None:
            found = allocate(self.model, self.data, budget, told)
            self.found = dict([*self.found.items(), (budget, found)][-KEPT:])

        return self.begin("allocate", search)


_ALL: dict[tuple[str, str], Allocating] = {}
_LOCK = threading.Lock()


def allocating(model: ModelHandle, data: DataHandle) -> Allocating:
    """The searches of a model and its data, at work or at rest; the same for every visit of this process."""
    key = (model.fingerprint, data.fingerprint)
    with _LOCK:
        return _ALL.setdefault(key, Allocating(model, data))
