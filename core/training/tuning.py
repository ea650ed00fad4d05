"""Tune a training: short trials, the hopeless ones stopped early, chosen on calibration, judged once on evaluation.

Here the calibration split chooses between trainings, though it teaches none of them. A trial is a training like any
other, so that the best one needs no second run: it is kept, with the one of the given settings, and the rest are let
go. The same seed tries the same settings however often it was interrupted.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core import fingerprint
from core.data.handle import DataHandle
from core.engine.lane import Priority, working
from core.engine.store import code_version
from core.errors import TemperError
from core.home import home
from core.jobs.steered import TRIES, State, Steered, WorkerLost
from core.jobs.workers import Workers
from core.models.handle import ModelHandle
from core.recipe import Recipe
from core.search.trials import Trials, fixed
from core.training.attempted import (
    Attempted,
    Judged,
    best_of,
    from_plain,
    judge,
    to_plain,
    verdict_from_plain,
    verdict_to_plain,
)
from core.training.kept import place
from core.training.loop import Look
from core.training.stopping import Curve
from core.training.trial import LOOKS, NOW, Trial, Tried, drop, loss_name, try_out
from core.training.tuning_space import TuningSpace
from core.training.worker import Learned, keep_files

TRIALS, MOST = 20, 500
REMEMBERED = 8
STARTUP = 5  # trials drawn at random before the Parzen estimator has something to learn from


@dataclass(frozen=True)
class Standing:
    """How far tuning is. `current` is the curve of the trial under way."""

    state: State
    trials: int
    done: int
    fraction: float
    seconds_left: float | None
    judging: bool
    note: str
    current: Curve


class TuningTrials(Trials):
    """Trials of one objective, the loss, in Optuna's journal; those stopped early count as pruned."""

    startup = STARTUP

    def directions(self) -> list[Any]:
        """See `Trials`."""
        return ["minimize"]

    def _stopped(self, trial: Any, kept: Any) -> None:
        from optuna.trial import TrialState

        for look, (_, loss) in enumerate(kept["curve"]):
            trial.report(loss, look)
        self._study.tell(trial, state=TrialState.PRUNED)


class Tuning(Steered):
    """Tuning on its way. Thread-safe: one thread runs it, others read it, pause it and cancel it."""

    lanes = 1  # one trial at a time, on all the cores

    def __init__(
        self, model: ModelHandle, data: DataHandle, space: TuningSpace, trials: int = TRIALS, path: Path | None = None
    ) -> None:
        if not 2 <= trials <= MOST:
            raise TemperError(f"Tuning has 2 to {MOST} trials; got {trials:,}.")
        super().__init__()
        self.model, self.data, self.space, self.trials = model, data, space, trials
        self.key = key_of(model, data, space)
        where = home()
        self.folder = place("x").parent.parent / "tunings" / self.key
        journal = path or (None if where is None else where / "tunings" / f"{self.key}.journal")
        self._trials = TuningTrials(journal, self.key, False, space.base.seed, "tpe")
        self._start = fixed(space, space.start)
        self._found: list[Attempted] = []
        self._verdicts: dict[str, Judged] = {}
        self._judging = False
        self._read()

    @property
    def tried(self) -> list[Attempted]:
        """Every trial so far, in order. The first has the settings as they were given."""
        with self._lock:
            return list(self._found)

    @property
    def best(self) -> Attempted | None:
        """The least loss on the calibration split."""
        return best_of(self.tried)

    @property
    def judged(self) -> Judged | None:
        """What evaluation says of the best trial; None before it was asked."""
        best = self.best
        with self._lock:
            return self._verdicts.get(best.recipe.fingerprint) if best else None

    def standing(self) -> Standing:
        """How far it is."""
        current = self._current() if self._state in ("running", "paused") and not self._judging else ()
        with self._lock:
            done, note = len(self._found), self._note or self._trials.note
            part = self._part() if current else 0.0
            fraction = 1.0 if self._state == "done" else min((done + part) / self.trials, 1.0)
            took = [one.seconds for one in self._found if one.seconds > 0]
            left = None
            if took and self._state in ("running", "paused"):
                left = max(0.0, sum(took) / len(took) * (self.trials - done - part))
            return Standing(self._state, self.trials, done, fraction, left, self._judging, note, current)

    def forget(self) -> None:
        """Remove every trial and what they learned. Raises `TemperError` while it runs."""
        with self._lock:
            if self.alive:
                raise TemperError("This tuning is running.", "Cancel it first.")
            self._trials.forget()
            drop(tuple(key for one in self._found for key in one.keys))
            shutil.rmtree(self.folder, ignore_errors=True)
            self._found, self._verdicts, self._state, self._note = [], {}, "ready", ""

    def run(self, workers: Workers) -> None:
        """Try settings until there are enough trials, then judge the best once. Raises `TemperError`."""
        with self._lock:
            if self._state == "cancelled":
                return
            self._state = "running" if self._go.is_set() else "paused"
        try:
            self._trials.begin()
            self._read()
            while self._wanted():
                self._try_one(workers)
            self._judge()
            with self._lock:
                self._state = "done" if self.alive else self._state
        except BaseException as error:
            with self._lock:
                self._state = "failed"
                self._note = error.message if isinstance(error, TemperError) else "The tuning stopped on a fault."
            raise
        finally:
            self._trials.end()
            self._judging = False

    def _wanted(self) -> bool:
        self._go.wait()
        return self.alive and len(self._found) < self.trials

    def _try_one(self, workers: Workers) -> None:
        number = len(self._found)
        trial, recipe = self._trials.ask(self.space, self._start if number == 0 else None)
        again = next((one for one in self._found if one.recipe == recipe), None)
        found = replace(again, number=number, seconds=0.0) if again else self._asked(workers, recipe, number)
        if found is None:  # cancelled meanwhile: the next run draws the same settings again
            return
        plain = to_plain(found)
        self._trials.tell(trial, plain, (found.loss,) if found.loss is not None else None, {})
        with self._lock:
            self._found.append(from_plain(plain))
        self._tidy()

    def _asked(self, workers: Workers, recipe: Recipe, number: int) -> Attempted | None:
        """A worker's answer; None where tuning was cancelled. One whose worker dies again and again fails."""
        finished = tuple(one.curve for one in self._found if one.loss is not None)
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
        telling = str(self.folder) if self.folder.is_dir() else ""
        prints = (self.model.id, self.model.fingerprint, self.data.fingerprint)
        task = Trial(*prints, recipe, telling, None, finished if number else ())
        try:
            found = self.ask(workers, try_out, task)
        except WorkerLost:
            words = f"The process that tried these settings stopped {TRIES} times; there may be too little memory."
            return Attempted(number, recipe, (), None, False, words, 0.0, ())
        return _from_worker(found, recipe, number) if found is not None else None

    def _tidy(self) -> None:
        """Let go of what trials learned, but for the best one's and that of the given settings."""
        best = self.best
        wanted = {key for one in (best, *self._found[:1]) if one for key in one.keys}
        drop(tuple({key for one in self._found for key in one.keys} - wanted))

    def _judge(self) -> None:
        """The best trial beside the given settings on evaluation: once, and whatever comes of it."""
        best, tried = self.best, self.tried
        if best is None or not self.alive or self.judged is not None:
            return
        self._judging = True
        with working("tuning", Priority.SWEEP):
            found = judge(self.model, self.data, tried[0].recipe, best.recipe)
        self._trials.judge(best.recipe, verdict_to_plain(found))
        with self._lock:
            self._verdicts[best.recipe.fingerprint] = found

    def _read(self) -> None:
        with self._lock:
            self._found = [from_plain(kept) for kept in self._trials.kept]
            self._verdicts = {name: verdict_from_plain(kept) for name, kept in self._trials.judged.items()}
            if len(self._found) >= self.trials and self.judged is not None and not self.alive:
                self._state = "done"

    def _current(self) -> Curve:
        found: list[tuple[float, float]] = []
        epochs, name = float(str(dict(self.space.given)["epochs"])), loss_name(self.data)
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            for line in (self.folder / LOOKS).read_text("utf-8").splitlines():
                look = Look(**json.loads(line))
                found.append((min(look.epoch / epochs, 1.0), look.values["calibration"][name]))
        return tuple(found)

    def _part(self) -> float:
        try:
            return min(max(float((self.folder / NOW).read_text("utf-8")), 0.0), 1.0)
        except (OSError, ValueError):
            return 0.0


def key_of(model: ModelHandle, data: DataHandle, space: TuningSpace) -> str:
    """Names a tuning by everything that decides what it tries."""
    return fingerprint.of_json([model.fingerprint, data.fingerprint, space.fingerprint, code_version()])


_TUNINGS: OrderedDict[str, Tuning] = OrderedDict()
_LOCK = threading.Lock()


def tuning_of(model: ModelHandle, data: DataHandle, space: TuningSpace) -> Tuning:
    """The tuning of this process for a space, under way or at rest, with what its journal keeps."""
    key = key_of(model, data, space)
    with _LOCK:
        if key not in _TUNINGS:
            _TUNINGS[key] = Tuning(model, data, space)
        _TUNINGS.move_to_end(key)
        for old in list(_TUNINGS)[:-REMEMBERED]:
            if not _TUNINGS[old].alive:
                del _TUNINGS[old]
        return _TUNINGS[key]


def _from_worker(found: Tried, recipe: Recipe, number: int) -> Attempted:
    if found.loss is not None:
        keep_files(Learned(found.recipe, found.files))
    keys = found.fresh
    return Attempted(number, recipe, found.curve, found.loss, found.stopped, found.error, found.seconds, keys)
