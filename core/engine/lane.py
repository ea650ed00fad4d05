"""One compute lane a process: whoever computes holds it, the most urgent first, in turns, and a timing alone.

A holder calls `rest()` between chunks. There it gives way at once to anyone more urgent, and after a slice of time to
anyone as urgent who was served longer ago, so that two people share the processor evenly and work done in advance
never delays them. Jobs in other processes of this machine pass `Gate`s, which close while a person's work or a timing
holds the lane, and for a moment after it.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

LINGER = 0.5  # seconds that gates stay closed after a person's work: more of the same page mostly follows
SLICE = 0.05  # seconds of one turn while others as urgent wait: some ten chunks of the samples


class Priority(IntEnum):
    """How urgent work is; the smaller goes first."""

    PERSON = 0
    SWEEP = 1
    IDLE = 2


@dataclass(frozen=True)
class Work:
    """Who computes, for fair turns, and how urgently."""

    owner: str
    priority: Priority


class Gate(Protocol):
    """Lets the chunks of other processes pass while it is open."""

    def close(self) -> None:
        """Let nothing more pass, and return once what passed is over."""

    def open(self) -> None:
        """Let chunks pass."""


_WORK: ContextVar[Work | None] = ContextVar("work", default=None)


@contextmanager
def working(owner: str, priority: Priority = Priority.PERSON) -> Iterator[None]:
    """Say on whose behalf the calls inside compute."""
    token = _WORK.set(Work(owner, priority))
    try:
        yield
    finally:
        _WORK.reset(token)


@dataclass(eq=False)
class _Turn:
    work: Work
    number: int
    thread: int
    since: float = 0.0


@dataclass
class Lane:
    """The lane. `hold` is re-entrant within a thread. Gates stay closed `linger` seconds after a person's work."""

    linger: float = 0.0
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _holder: _Turn | None = None
    _waiting: list[_Turn] = field(default_factory=list)
    _served: dict[str, int] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _gates: list[Gate] = field(default_factory=list)
    _settling: threading.Lock = field(default_factory=threading.Lock)
    _closed: bool = False
    _busy: bool = False
    _quiet_until: float = 0.0

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the lane on behalf of the present `working`, a person's thread by default."""
        me = threading.get_ident()
        if self._holder is not None and self._holder.thread == me:
            yield
            return
        work = _WORK.get() or Work(f"thread {me}", Priority.PERSON)
        turn = _Turn(work, next(self._numbers), me)
        self._take(turn)
        try:
            yield
        finally:
            self._release(turn)

    def rest(self) -> None:
        """Between two chunks: give way to whoever is due. Without the lane held it does nothing."""
        turn = self._holder
        if turn is None or turn.thread != threading.get_ident() or not self._waiting:
            return
        with self._changed:
            first = min(self._waiting, key=self._rank, default=turn)
            urgent = first.work.priority < turn.work.priority
            fair = first.work.priority == turn.work.priority and time.monotonic() - turn.since >= SLICE
        if first is not turn and (urgent or fair):
            self._release(turn)
            turn.number = next(self._numbers)
            self._take(turn)

    def busy_for_people(self) -> bool:
        """Whether a person's work holds the lane or waits for it."""
        with self._changed:
            present = [*self._waiting, *([self._holder] if self._holder else [])]
            return any(turn.work.priority == Priority.PERSON for turn in present)

    def _settle(self) -> None:
        """Close or open the gates as the lane is now; one thread at a time, so that none undoes a later change."""
        with self._settling:
            busy = self.busy_for_people()
            if self._busy and not busy and self._gates and self.linger:
                self._quiet_until = time.monotonic() + self.linger
                again = threading.Timer(1.01 * self.linger, self._settle)
                again.daemon = True
                again.start()
            self._busy = busy
            closed = busy or time.monotonic() < self._quiet_until
            if closed != self._closed:
                self._closed = closed
                for gate in self._gates:
                    gate.close() if closed else gate.open()

    @property
    def gated(self) -> bool:
        """Whether other processes of this machine compute through a gate."""
        return bool(self._gates)

    @contextmanager
    def through(self, gate: Gate) -> Iterator[None]:
        """Keep a gate open while no person's work is under way here, until the block ends."""
        with self._settling:
            self._gates.append(gate)
            gate.close() if self._closed else gate.open()
        try:
            yield
        finally:
            with self._settling:
                self._gates.remove(gate)
                gate.open()

    def _rank(self, turn: _Turn) -> tuple[int, int, int]:
        return turn.work.priority, self._served.get(turn.work.owner, -1), turn.number

    def _take(self, turn: _Turn) -> None:
        with self._changed:
            self._waiting.append(turn)
        try:
            self._settle()
            with self._changed:
                self._changed.wait_for(lambda: self._holder is None and min(self._waiting, key=self._rank) is turn)
                self._waiting.remove(turn)
                self._holder = turn
                turn.since = time.monotonic()
                self._served.pop(turn.work.owner, None)
                self._served[turn.work.owner] = next(self._numbers)
                self._served = dict(list(self._served.items())[-1_000:])
        except BaseException:  # interrupted while it waited
            self._release(turn)
            raise

    def _release(self, turn: _Turn) -> None:
        with self._changed:
            if self._holder is turn:
                self._holder = None
            if turn in self._waiting:
                self._waiting.remove(turn)
            self._changed.notify_all()
        self._settle()


LANE = Lane(LINGER)
lane = LANE.hold
rest = LANE.rest
