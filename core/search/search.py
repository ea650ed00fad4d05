"""Search recipes under budgets: chosen on halves of the calibration split, judged once on the evaluation split.

One trial after another, each drawn from what the ones before it showed, so that the same seed tries the same recipes
however many processes there are and however often the search was interrupted. A trial runs in a worker process, which
stops at its next chunk while a person's work holds the compute lane.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from core import fingerprint
from core.data.handle import DataHandle
from core.engine.store import code_version
from core.errors import TemperError
from core.home import home
from core.jobs.steered import TRIES, State, Steered, WorkerLost
from core.jobs.workers import Workers
from core.models.handle import ModelHandle
from core.recipe import Recipe
from core.search.attempt import Attempt, attempt
from core.search.goal import Goal, Tried
from core.search.rehearse import rehearsal
from core.search.space import Space
from core.search.trials import SamplerName, Trials, fixed
from core.sweeps.front import Front, Spot, better_high, front
from core.sweeps.journal import from_plain, to_plain
from core.types import Interval, Quantity

TRIALS, SECONDS = 60, 60.0  # of one run, unless something else is asked for
MOST_TRIALS, MOST_SECONDS = 5_000, 24 * 3600.0
JUDGED = 8  # recipes that are judged at most, the best first
REMEMBERED = 8  # searches of this process; older ones are read from their journals again


@dataclass(frozen=True)
class Progress:
    """How far a search is: trials done of those asked for, what remains as a guess in seconds, what it is at."""

    state: State
    trials: int
    done: int
    seconds_left: float | None
    judging: bool
    note: str = ""

    @property
    def fraction(self) -> float:
        """Share of the trials that are done."""
        return 1.0 if self.state == "done" else min(self.done / max(self.trials, 1), 1.0)


class Search(Steered):
    """A search on its way. Thread-safe: one thread runs it, others read it, pause it and cancel it.

    `trials` in all and `seconds` of each run, whichever ends first; both may be raised later. Raises `TemperError`
    where a limit is out of range or the calibration split cannot be halved.
    """

    lanes = 1  # one trial at a time

    def __init__(
        self,
        model: ModelHandle,
        data: DataHandle,
        space: Space,
        goal: Goal,
        trials: int = TRIALS,
        seconds: float = SECONDS,
        seed: int = 0,
        sampler: SamplerName = "tpe",
        path: Path | None = None,
    ) -> None:
        if not 1 <= trials <= MOST_TRIALS:
            raise TemperError(f"A search has 1 to {MOST_TRIALS:,} trials; got {trials:,}.")
        if not 0 < seconds <= MOST_SECONDS:
            raise TemperError(f"The time of a search is above 0 and up to {MOST_SECONDS:,.0f} s; got {seconds:g}.")
        super().__init__()
        self.model, self.data, self.space, self.goal, self.seed = model, data, space, goal, seed
        self.trials, self.seconds = trials, seconds
        self.choosing = rehearsal(data)
        self.key = key_of(model, data, space, goal, seed, sampler)
        place = home()
        where = path or (None if place is None else place / "searches" / f"{self.key}.journal")
        self._trials = Trials(where, self.key, better_high(goal.measure), seed, sampler)
        self._starts = [fixed(space, start) for start in space.starts()]
        self._found: list[Tried] = []
        self._verdicts: dict[str, Tried] = {}
        self._judging = False
        self._began = 0.0
        self._read()

    @property
    def tried(self) -> list[Tried]:
        """Every trial so far, in order, as the choosing half of the calibration split sees it."""
        with self._lock:
            return list(self._found)

    @property
    def judged(self) -> dict[str, Tried]:
        """Recipes as the evaluation split sees them, by fingerprint: never looked at to choose."""
        with self._lock:
            return dict(self._verdicts)

    @property
    def best(self) -> Tried | None:
        """The best trial within the budgets, by the choosing half alone."""
        return self.goal.best(self.tried)

    @property
    def front(self) -> Front:
        """The front of the measure against bytes among trials within the budgets, by the choosing half alone."""
        return front([t.spot for t in self.tried if self.goal.keeps(t)], self.goal.measure)

    @property
    def original(self) -> Spot | None:
        """The original on the choosing half, once a trial ran."""
        return next((t.original for t in self.tried if not t.spot.error), None)

    @property
    def chosen(self) -> list[Tried]:
        """What is to be judged: the front within the budgets, the best first; where none keeps them, the nearest."""
        tried = self.tried
        best = self.goal.best(tried)
        if best is None:
            nearest = self.goal.nearest(tried)
            return [nearest] if nearest else []
        members = {place[0] for place in self.front.members}
        others = [t for t in tried if t.spot.place[0] in members and t is not best]
        others.sort(key=lambda t: t.spot.packed or 0)
        some = {t.spot.recipe.fingerprint: t for t in [best, *others]}
        return list(some.values())[:JUDGED]

    def standing(self) -> Progress:
        """How far the search is."""
        with self._lock:
            note = self._note or self._trials.note
            return Progress(self._state, self.trials, len(self._found), self._time_left(), self._judging, note)

    def forget(self) -> None:
        """Remove every trial and the journal. Raises `TemperError` while it runs."""
        with self._lock:
            if self.alive:
                raise TemperError("This search is running.", "Cancel it first.")
            self._trials.forget()
            self._found, self._verdicts, self._state, self._note = [], {}, "ready", ""

    def run(self, workers: Workers, told: Callable[[Progress], None] | None = None) -> None:
        """Try recipes until trials or time are used up, then judge the chosen ones. Raises `TemperError`."""
        with self._lock:
            if self._state == "cancelled":
                return
            self._state = "running" if self._go.is_set() else "paused"
        tell = told or (lambda _: None)
        try:
            self._trials.begin()
            self._read()
            self._began = time.monotonic()
            while self._wanted() and time.monotonic() - self._began < self.seconds:
                self._try_one(workers)
                tell(self.standing())
            self._judge(workers, tell)
            with self._lock:
                self._state = "done" if self.alive else self._state
        except BaseException as error:
            with self._lock:
                self._state = "failed"
                self._note = error.message if isinstance(error, TemperError) else "The search stopped on a fault."
            raise
        finally:
            self._trials.end()
            self._judging = False
            tell(self.standing())

    def _wanted(self) -> bool:
        """Whether to go on, after a pause perhaps, whose time does not count."""
        waited = time.monotonic()
        self._go.wait()
        self._began += time.monotonic() - waited
        return self.alive and len(self._found) < self.trials

    def _try_one(self, workers: Workers) -> None:
        number = len(self._found)
        start = self._starts[number] if number < len(self._starts) else None
        trial, recipe = self._trials.ask(self.space, start)
        again = next((t for t in self._found if t.spot.recipe == recipe), None)
        found = again or self._asked(workers, recipe, number, judge=False)
        if found is None:  # cancelled meanwhile: the next run draws the same recipe again
            return
        kept = _plain(found, number)
        values = None
        if not found.spot.error:
            values = (float(found.spot.values[self.goal.measure].value or 0.0), float(found.spot.packed or 0))
            kept["objectives"] = list(values)
        self._trials.tell(trial, kept, values, self.goal.over(found) if values else {})
        with self._lock:
            self._found.append(_tried(kept))

    def _judge(self, workers: Workers, tell: Callable[[Progress], None]) -> None:
        """Each chosen recipe is judged once, whatever is tried afterwards."""
        self._judging = True
        for one in self.chosen:
            recipe = one.spot.recipe
            self._go.wait()
            if not self.alive:
                return
            if recipe.fingerprint in self._verdicts:
                continue
            found = self._asked(workers, recipe, one.spot.place[0], judge=True)
            if found is None:
                return
            kept = _plain(found, one.spot.place[0])
            self._trials.judge(recipe, kept)
            with self._lock:
                self._verdicts[recipe.fingerprint] = _tried(kept)
            tell(self.standing())

    def _asked(self, workers: Workers, recipe: Recipe, number: int, judge: bool) -> Tried | None:
        """A worker's answer; None where the search was cancelled. One whose worker dies again and again fails."""
        prints = (self.model.id, self.model.fingerprint, self.data.fingerprint)
        task = Attempt(*prints, number, recipe, self.goal.measure, judge, self.goal.device)
        try:
            return self.ask(workers, attempt, task)
        except WorkerLost:
            words = f"The process that tried this recipe stopped {TRIES} times; there may be too little memory."
            return Tried(Spot((number,), recipe, error=words), Spot((), Recipe()))

    def _read(self) -> None:
        """What the journal keeps. One that cannot be read as ours counts as empty."""
        with self._lock:
            self._found = [_tried(kept) for kept in self._trials.kept]
            self._verdicts = {name: _tried(kept) for name, kept in self._trials.judged.items()}

    def _time_left(self) -> float | None:
        if self._state not in ("running", "paused") or not self._found:
            return None
        some = [t.seconds for t in self._found if t.seconds > 0]
        rest = (self.trials - len(self._found)) * (median(some) if some else 0.0)
        return max(0.0, min(rest, self.seconds - (time.monotonic() - self._began)))


def key_of(model: ModelHandle, data: DataHandle, space: Space, goal: Goal, seed: int, sampler: SamplerName) -> str:
    """Names a search by everything that decides what it tries and finds."""
    named = [model.fingerprint, data.fingerprint, space.fingerprint, dict(goal.to_dict()), seed, sampler]
    return fingerprint.of_json([*named, code_version()])


def _plain(one: Tried, number: int) -> dict[str, Any]:
    """A trial as JSON values."""
    q = one.change
    ends = [q.interval.low, q.interval.high] if q and q.interval else None
    return {
        "number": number,
        "spot": to_plain(one.spot),
        "original": to_plain(one.original),
        "change": [q.value, q.unit, ends, q.n] if q else None,
        "lost": one.lost,
        "spread": one.spread,
        "modelled": one.modelled,
        "seconds": one.seconds,
        "error": one.spot.error,
        "objectives": None,
    }


def _tried(kept: dict[str, Any]) -> Tried:
    change = None
    if kept["change"]:
        value, unit, ends, n = kept["change"]
        change = Quantity(value, unit, "measured", Interval(*ends) if ends else None, n)
    spot = from_plain({**kept["spot"], "place": [kept["number"]]})
    return Tried(
        spot, from_plain(kept["original"]), change, kept["lost"], kept["spread"], kept["modelled"], kept["seconds"]
    )


_SEARCHES: OrderedDict[str, Search] = OrderedDict()
_LOCK = threading.Lock()


def search_of(model: ModelHandle, data: DataHandle, space: Space, goal: Goal, seed: int = 0) -> Search:
    """The search of this process for a goal, running or at rest, with what its journal keeps."""
    key = key_of(model, data, space, goal, seed, "tpe")
    with _LOCK:
        if key not in _SEARCHES:
            _SEARCHES[key] = Search(model, data, space, goal, seed=seed)
        _SEARCHES.move_to_end(key)
        for old in list(_SEARCHES)[:-REMEMBERED]:
            if not _SEARCHES[old].alive:
                del _SEARCHES[old]
        return _SEARCHES[key]
