"""Take every point of a grid as deep as the trade-off needs: look at all, then measure what may be on the front.

First every point is looked at, from coarse to fine, so that the whole picture stands within seconds. Then the points
that could still be on the front of the chosen measure against bytes are looked at again, the most promising first,
and those that stay in the race are measured on every example. A point whose interval lies below what a smaller one
has been measured to reach is left as an estimate: it cannot be on the front at the stated confidence. With `exact`,
those follow too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal

from core.data.handle import DataHandle
from core.deploy.latency import latencies
from core.engine.estimate import LOOKS
from core.engine.front import MEASURES, Spot, front, gain
from core.engine.jobs import Workers
from core.engine.journal import Journal
from core.engine.lane import Priority, working
from core.engine.plan import Place, Plan
from core.engine.spots import EXACT, Answer, Part, Task, answer
from core.engine.transform import transform
from core.errors import TemperError
from core.models.handle import ModelHandle

State = Literal["ready", "queued", "running", "paused", "done", "cancelled", "failed"]
TRIES = 3  # times a point may see its worker die
DEEP = 0.3  # share of the points that are measured, as a guess while not all were looked at


@dataclass(frozen=True)
class Standing:
    """How far a sweep is: points known at all, points measured, what remains as a guess in seconds."""

    state: State
    points: int
    known: int
    exact: int
    seconds_left: float | None
    note: str = ""

    @property
    def fraction(self) -> float:
        """Share of the points that need nothing more, counting a look as a quarter."""
        return 1.0 if self.state == "done" else (0.25 * self.known + 0.75 * self.exact) / max(self.points, 1)


class Sweep:
    """A grid on its way. Thread-safe: one thread runs it, others read it, pause it and resume it."""

    def __init__(
        self, model: ModelHandle, data: DataHandle, plan: Plan, exact: bool = False, journal: Journal | None = None
    ) -> None:
        self.model = model
        self.data = data
        self.plan = plan
        self.exact = exact
        self.measure = "accuracy"
        self.journal = journal or Journal.of(model, data, plan)
        self._spots: dict[Place, Spot] = self.journal.read()
        self._depth: dict[Place, int] = {p: EXACT if s.exact or s.error else 0 for p, s in self._spots.items()}
        self._parts: dict[Place, Part] = {}
        self._tries: dict[Place, int] = {}
        self._seconds: dict[int, list[float]] = {}
        self._latency: dict[str, float | None] = {}
        self._order = list(plan.order())
        self._lock = threading.RLock()
        self._go = threading.Event()
        self._go.set()
        self._state: State = "ready"
        self._note = ""
        self._left: int = 0
        self._lanes = 1

    @property
    def spots(self) -> dict[Place, Spot]:
        """What is known of each point, with the latency of its format once that was measured."""
        with self._lock:
            return {p: replace(s, latency=self._latency.get(s.kernel)) for p, s in self._spots.items()}

    def standing(self) -> Standing:
        """How far the sweep is."""
        with self._lock:
            known = sum(s.known or bool(s.error) for s in self._spots.values())
            done = sum(s.exact or bool(s.error) for s in self._spots.values())
            return Standing(self._state, len(self._order), known, done, self._time_left(), self._note)

    @property
    def alive(self) -> bool:
        """Whether a thread is at it, or about to be."""
        return self._state in ("queued", "running", "paused")

    def ready(self) -> None:
        """Make a sweep that ended, or never began, ready to run; failed points are tried again."""
        with self._lock:
            self._state, self._note = "queued", ""
            self._tries.clear()
            for place in [p for p, s in self._spots.items() if s.error]:
                del self._spots[place], self._depth[place]
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

    def run(self, workers: Workers, told: Callable[[Standing], None] | None = None) -> None:
        """Compute until nothing more is needed. Raises `TemperError` when the workers cannot be had."""
        with self._lock:
            if self._state == "cancelled":
                return
            self._state = "running" if self._go.is_set() else "paused"
        pending: dict[Future[Answer], Task] = {}
        try:
            while self.standing().state != "cancelled":
                if not pending:
                    self._go.wait()
                while len(pending) < 2 * workers.count and (task := self._next(pending.values())) is not None:
                    pending[workers.submit(answer, task)] = task
                    self._lanes = workers.count
                if not pending:
                    if self._go.is_set():
                        break
                    continue
                finished, _ = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
                broken = [self._take(future, pending.pop(future)) for future in finished]
                if any(broken):
                    lost = [pending.pop(future) for future in list(pending)]
                    for task in lost:
                        self._lost(task)
                    workers.stop()
                if told is not None and finished:
                    told(self.standing())
            for future in pending:
                future.cancel()
            if self._state == "running":
                self._time()
                self._state = "done"
        except BaseException as error:
            with self._lock:
                self._state = "failed"
                self._note = error.message if isinstance(error, TemperError) else "The sweep stopped on a fault."
            raise
        finally:
            if told is not None:
                told(self.standing())

    def _next(self, under_way: Iterable[Task]) -> Task | None:
        """The task that tells most now."""
        with self._lock:
            busy = {task.place for task in under_way}
            if self._state != "running":
                return None
            for place in self._order:
                if place not in self._spots and place not in busy:
                    return self._task(place, 0)
            waiting = [s for p, s in self._spots.items() if self._depth[p] < EXACT and not s.error]
            found = front(list(self._spots.values()), self.measure if self.measure in MEASURES else "accuracy")
            still = set(found.open)
            unknown = [s for s in waiting if self.measure not in s.values]
            wanted = [s for s in waiting if s.place in still] + unknown
            self._left = len(wanted) + (len(waiting) - len(wanted) if self.exact else 0)
            wanted = [s for s in wanted if s.place not in busy]
            if wanted:
                best = max(wanted, key=self._promise)
                return self._task(best.place, min(self._depth[best.place] + 1, EXACT))
            if still & busy or not self.exact:
                return None
            rest = [s for s in waiting if s.place not in busy]
            return self._task(rest[0].place, EXACT) if rest else None

    def _promise(self, spot: Spot) -> float:
        """How far a point could lift the front: the top of its interval above the best that costs no more."""
        if self.measure not in spot.values:
            return 0.0
        reach = [
            gain(s, self.measure)[1]
            for s in self._spots.values()
            if s.exact and (s.packed or 0) <= (spot.packed or 0) and self.measure in s.values
        ]
        top = gain(spot, self.measure)[2]
        return top - max(reach) if reach else 1e9 + top

    def _task(self, place: Place, depth: int) -> Task:
        part = self._parts.get(place)
        recipe = self.plan.recipes[place]
        return Task(self.model.id, self.model.fingerprint, self.data.fingerprint, place, recipe, depth, part)

    def _take(self, future: Future[Answer], task: Task) -> bool:
        """Note an answer; True where the worker was lost."""
        try:
            found = future.result()
        except (BrokenProcessPool, CancelledError, ConnectionError):
            self._lost(task)
            return True
        except Exception as error:  # KilledWorker of Dask and faults of ours: the point fails, the sweep goes on
            lost = type(error).__name__ in ("KilledWorker", "FutureCancelledError", "CommClosedError")
            if lost:
                self._lost(task)
            else:
                self._note_spot(Spot(task.place, task.recipe, error=_sentence(error)), EXACT)
            return False
        with self._lock:
            self._seconds.setdefault(found.depth, []).append(found.seconds)
            if found.part is not None:
                self._parts[task.place] = found.part
            else:
                self._parts.pop(task.place, None)
            self._note_spot(replace(found.spot, kernel=found.kernel), found.depth)
        return False

    def _lost(self, task: Task) -> None:
        """A worker died at a point: it is tried again, and after three times said to fail."""
        with self._lock:
            self._tries[task.place] = self._tries.get(task.place, 0) + 1
            if self._tries[task.place] >= TRIES:
                words = f"The process that computed this point stopped {TRIES} times; there may be too little memory."
                self._note_spot(Spot(task.place, task.recipe, error=words), EXACT)

    def _note_spot(self, spot: Spot, depth: int) -> None:
        with self._lock:
            self._spots[spot.place] = spot
            self._depth[spot.place] = depth
        if not self.journal.write(spot) and self.journal.path is not None:
            self._note = "There is no room to keep the points on disk; they last as long as this program runs."

    def _time(self) -> None:
        """Time each format that has a kernel here, once, alone."""
        with self._lock:
            kinds = {s.kernel: s for s in self._spots.values() if s.kernel and s.known}
        for kind, spot in kinds.items():
            with working("sweep", Priority.SWEEP):
                network, _ = transform(self.model, self.data, spot.recipe)
                found = latencies(network, self.data)[1].p50
            with self._lock:
                self._latency[kind] = found

    def _time_left(self) -> float | None:
        """Seconds that remain, from the time that tasks of each depth took so far."""
        looks = self._seconds.get(0, [])
        if self._state not in ("running", "paused") or not looks:
            return None
        look = median(looks)
        exact = median(self._seconds.get(EXACT) or [look * self.data.split("evaluation").n / (2 * LOOKS[0])])
        unseen = len(self._order) - len(self._spots)
        deep = len(self._order) * (1 if self.exact else DEEP) if unseen else self._left
        return (unseen * look + deep * exact) / self._lanes


def _sentence(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "There was too little memory for this point."
    return f"This point met a fault ({type(error).__name__})."
