"""Take every point of a grid as deep as the trade-off needs: look at all, then measure what may be on the front.

First every point is looked at, from coarse to fine, so that the whole picture stands within seconds. Then the points
that could still be on the front of the chosen measure against bytes are taken on, the most promising first: looked at
again, and measured on every example if they stay in the race. A point whose interval lies below what a smaller one
has been measured to reach is left as an estimate: it cannot be on the front at the stated confidence. With `exact`,
those follow too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from dataclasses import dataclass, replace
from statistics import median

from core.data.handle import DataHandle
from core.deploy.latency import latencies
from core.engine.estimate import LOOKS
from core.engine.lane import Priority, working
from core.engine.transform import transform
from core.errors import TemperError
from core.jobs.steered import State, Steered
from core.jobs.workers import Workers
from core.models.handle import ModelHandle
from core.recipe import Recipe
from core.sweeps.front import Spot, front, gain
from core.sweeps.journal import Journal
from core.sweeps.plan import Place, Plan
from core.sweeps.spots import EXACT, Answer, Errand, Part, answer

TRIES = 3  # times a point may see its worker die, after the first one alone
FLOAT = "float"  # the kernel of the original
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


class Sweep(Steered):
    """A grid on its way. Thread-safe: one thread runs it, others read it, pause it and resume it."""

    def __init__(
        self, model: ModelHandle, data: DataHandle, plan: Plan, exact: bool = False, journal: Journal | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.data = data
        self.plan = plan
        self.exact = exact
        self.measure = data.task.facts.headline
        self.journal = journal or Journal.of(model, data, plan)
        self._spots: dict[Place, Spot] = self.journal.read()
        self._depth: dict[Place, int] = {p: EXACT if s.exact or s.error else 0 for p, s in self._spots.items()}
        self._parts: dict[Place, Part] = {}
        self._tries: dict[Place, int] = {}
        self._again: list[Errand] = []
        self._over = False
        self._seconds: dict[int, list[float]] = {}
        self._latency: dict[str, float | None] = {}
        self._order = list(plan.order())
        self._left: int = 0
        self._lanes = 1

    @property
    def spots(self) -> dict[Place, Spot]:
        """What is known of each point, with the latency of its format once that was measured."""
        with self._lock:
            return {p: replace(s, latency=self._latency.get(s.kernel)) for p, s in self._spots.items()}

    @property
    def original_latency(self) -> float | None:
        """Milliseconds of the original for one example, once they were measured."""
        with self._lock:
            return self._latency.get(FLOAT)

    def wants(self) -> bool:
        """Whether running it would find out more: points, measurements for its measure, or latencies."""
        with self._lock:
            return self._choose(set()) is not None or bool(self._untimed())

    def standing(self) -> Standing:
        """How far the sweep is."""
        with self._lock:
            known = sum(s.known or bool(s.error) for s in self._spots.values())
            done = sum(s.exact or bool(s.error) for s in self._spots.values())
            return Standing(self._state, len(self._order), known, done, self._time_left(), self._note)

    def ready(self) -> None:
        """Make a sweep that ended, or never began, ready to run; failed points are tried again."""
        with self._lock:
            for place in [p for p, s in self._spots.items() if s.error]:
                del self._spots[place], self._depth[place]
            super().ready()

    def run(self, workers: Workers, told: Callable[[Standing], None] | None = None) -> None:
        """Compute until nothing more is needed. Raises `TemperError` when the workers cannot be had."""
        with self._lock:
            if self._state == "cancelled":
                return
            self._state = "running" if self._go.is_set() else "paused"
            self._over = False
            self._tries.clear()
            self._again.clear()
        pending: dict[Future[Answer], Errand] = {}
        losses = 0
        try:
            while not self._over and self.standing().state in ("running", "paused"):
                if not pending:
                    self._go.wait()
                broken = self._fill(pending, workers)
                finished, _ = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
                broken |= any([self._take(future, pending.pop(future)) for future in finished])
                if broken:
                    for future, task in pending.items():
                        self._take(future, task) if future.done() else self._lost(task)
                    pending.clear()
                    workers.stop()
                    losses += 1
                    if losses >= TRIES**2 and not self._seconds:
                        raise TemperError("The processes that compute stop as they start; is there enough memory?")
                if told is not None and finished:
                    told(self.standing())
            for future in pending:
                future.cancel()
            if self._over:
                self._time()
            with self._lock:
                self._state = "done" if self._over and self.alive else self._state
        except BaseException as error:
            with self._lock:
                self._state = "failed"
                self._note = error.message if isinstance(error, TemperError) else "The sweep stopped on a fault."
            raise
        finally:
            if told is not None:
                told(self.standing())

    def _fill(self, pending: dict[Future[Answer], Errand], workers: Workers) -> bool:
        """Keep the workers busy; True where they were lost meanwhile."""
        while len(pending) < 2 * workers.count and (task := self._next(pending.values())) is not None:
            try:
                pending[workers.submit(answer, task)] = task
            except BrokenExecutor:
                with self._lock:
                    if task.place in self._tries:
                        self._again.insert(0, task)
                return True
            self._lanes = workers.count
        return False

    def _next(self, under_way: Iterable[Errand]) -> Errand | None:
        """The task that tells most now. A point that saw its worker die is tried alone, so that only it is blamed."""
        with self._lock:
            busy = {task.place for task in under_way}
            if self._state != "running" or busy & self._tries.keys():
                return None
            if self._again:
                return None if busy else self._again.pop(0)
            task = self._choose(busy)
            self._over = task is None and not busy
            return task

    def _choose(self, busy: set[Place]) -> Errand | None:
        with self._lock:
            for place in self._order:
                if place not in self._spots and place not in busy:
                    return self._task(place, 0)
            waiting = [s for p, s in self._spots.items() if self._depth[p] < EXACT and not s.error]
            found = front(list(self._spots.values()), self.measure)
            still = set(found.open)
            unknown = [s for s in waiting if self.measure not in s.values]
            wanted = [s for s in waiting if s.place in still] + unknown
            self._left = len(wanted) + (len(waiting) - len(wanted) if self.exact else 0)
            wanted = [s for s in wanted if s.place not in busy]
            if wanted:
                leaders = self._leaders()
                best = max(wanted, key=lambda spot: self._promise(spot, leaders))
                return self._task(best.place, EXACT, None if self.exact else self._bar(best))
            if still & busy or not self.exact:
                return None
            rest = [s for s in waiting if s.place not in busy]
            return self._task(rest[0].place, EXACT) if rest else None

    def _leaders(self) -> set[Place]:
        """Places on the front of what is known now, estimates taken at their value.

        Measured first, they set the highest bars for all that cost more.
        """
        some = [s for s in self._spots.values() if s.known and self.measure in s.values]
        found, best = set(), -math.inf
        for spot in sorted(some, key=lambda s: (s.packed or 0, -gain(s, self.measure)[1])):
            if gain(spot, self.measure)[1] > best:
                best = gain(spot, self.measure)[1]
                found.add(spot.place)
        return found

    def _promise(self, spot: Spot, leaders: set[Place]) -> tuple[bool, float]:
        """What a point promises: leaders by their value, others by how far they could rise above the bar."""
        if self.measure not in spot.values:
            return False, 0.0
        _, value, top = gain(spot, self.measure)
        if spot.place in leaders:
            return True, value
        bar = self._bar(spot)
        return False, top - bar if bar is not None else math.inf

    def _bar(self, spot: Spot) -> float | None:
        """The best gain measured at no more bytes than a point's, or None."""
        reach = [
            gain(s, self.measure)[1]
            for s in self._spots.values()
            if s.exact and (s.packed or 0) <= (spot.packed or 0) and self.measure in s.values
        ]
        return max(reach, default=None)

    def _task(self, place: Place, depth: int, bar: float | None = None) -> Errand:
        part, recipe = self._parts.get(place), self.plan.recipes[place]
        prints = (self.model.id, self.model.fingerprint, self.data.fingerprint)
        return Errand(*prints, place, recipe, depth, part, self.measure, bar)

    def _take(self, future: Future[Answer], task: Errand) -> bool:
        """Note an answer; True where the worker was lost."""
        try:
            found = future.result()
        except (BrokenExecutor, CancelledError, ConnectionError):
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
            self._tries.pop(task.place, None)
            self._seconds.setdefault(found.depth, []).append(found.seconds)
            if found.part is not None:
                self._parts[task.place] = found.part
            else:
                self._parts.pop(task.place, None)
            self._note_spot(replace(found.spot, kernel=found.kernel), found.depth)
        return False

    def _lost(self, task: Errand) -> None:
        """A worker died at a point, or beside it: it is tried again, alone, and after three times said to fail."""
        with self._lock:
            self._tries[task.place] = self._tries.get(task.place, 0) + 1
            if self._tries[task.place] >= TRIES:
                words = f"The process that computed this point stopped {TRIES} times; there may be too little memory."
                self._note_spot(Spot(task.place, task.recipe, error=words), EXACT)
                del self._tries[task.place]
            else:
                self._again.append(task)

    def _note_spot(self, spot: Spot, depth: int) -> None:
        with self._lock:
            self._spots[spot.place] = spot
            self._depth[spot.place] = depth
        if not self.journal.write(spot) and self.journal.path is not None:
            self._note = "There is no room to keep the points on disk; they last as long as this program runs."

    def _untimed(self) -> dict[str, Recipe]:
        """A recipe for each format that has a kernel here and was not timed yet; the original's is float."""
        with self._lock:
            found = {s.kernel: s.recipe for s in self._spots.values() if s.kernel and s.known}
            return {kind: of for kind, of in {FLOAT: Recipe(), **found}.items() if kind not in self._latency}

    def _time(self) -> None:
        """Time each format once, alone."""
        for kind, recipe in self._untimed().items():
            with working("sweep", Priority.SWEEP):
                network, _ = transform(self.model, self.data, recipe)
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
