"""What a trained body is worth: accuracy by the number of labelled examples, with it and from scratch.

Each point is a training of its own, kept like any other, so that going on costs only what is not known yet.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from core import fingerprint
from core.data.handle import DataHandle, split_for_fitting
from core.engine.evaluate import evaluate
from core.engine.lane import Priority, working
from core.engine.statistics import interval_of
from core.errors import TemperError
from core.jobs.steered import State, Steered
from core.jobs.workers import Workers
from core.models.handle import ModelHandle
from core.recipe import Recipe, Step
from core.registry import method
from core.sweeps.desk import DESK
from core.training.plan import Plan
from core.training.training import Training, training_of
from core.types import Outcome

COUNTS = (10, 50, 250, 0)  # labelled examples; 0 is all of them
BATCH = 64
FILE = "judged.json"
REMEMBERED = 8


@dataclass(frozen=True)
class Way:
    """A way of learning the new task: what it is called and the settings of its `fine-tune` step.

    The rates are the same for every model and data set, and set before any of them was judged: a new last layer
    alone bears a tenfold rate.
    """

    name: str
    title: str
    settings: tuple[tuple[str, Any], ...]


WAYS = (
    Way("frozen", "Body frozen", (("layers", "head"), ("start", "trained"), ("rate", 1e-2))),
    Way("unfrozen", "Body unfrozen", (("layers", "all"), ("start", "trained"), ("rate", 1e-3))),
    Way("scratch", "From scratch", (("layers", "all"), ("start", "scratch"), ("rate", 1e-3))),
)


@dataclass(frozen=True)
class Judged:
    """One training on the evaluation split: `value` with its 95 % interval, which knows nothing of other seeds."""

    way: str
    count: int
    seed: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Labelled:
    """What is known so far. `before` is the pair with nothing learned; `steps` were taken at every point.

    `measure` names a registered metric, `unit` its unit, `n` the evaluation examples, `fit` those there are to learn
    from. `wanted` counts the points there will be.
    """

    points: tuple[Judged, ...]
    before: Judged | None
    measure: str
    unit: str
    n: int
    fit: int
    steps: int
    wanted: int


@dataclass(frozen=True)
class Standing:
    """How far the experiment is."""

    state: State
    fraction: float
    seconds_left: float | None
    now: str
    note: str


@dataclass(frozen=True)
class Rung:
    """One training of the experiment."""

    way: Way
    count: int
    seed: int
    training: Training


class Ladder(Steered):
    """The experiment on a model and its data: `steps` of learning for each way, number of examples and seed."""

    lanes = 1

    def __init__(self, model: ModelHandle, data: DataHandle, steps: int, seeds: int) -> None:
        super().__init__()
        self.model, self.data, self.steps, self.seeds = model, data, steps, seeds
        self.fit = data.split("fit").n
        self._now: Rung | None = None
        self._spent: list[float] = []
        self._judged: dict[str, Judged] = {}
        if self.known().wanted == len(self.known().points):
            self._state = "done"

    @cached_property
    def rungs(self) -> tuple[Rung, ...]:
        """All trainings, the few examples first."""
        counts = [count for count in COUNTS if 0 < count < self.fit] + [0]
        return tuple(
            Rung(way, count or self.fit, seed, training_of(self.model, self.data, self._recipe(way, count, seed)))
            for count in counts
            for seed in range(self.seeds)
            for way in WAYS
        )

    def _recipe(self, way: Way, count: int, seed: int) -> Recipe:
        learned = count or self.fit
        epochs = self.steps / Plan(1.0, min(BATCH, learned), 1.0).batches(learned)
        param = next(one for one in method("train", "fine-tune").parameters if one.name == "epochs")
        assert param.step is not None and param.low is not None and param.high is not None
        whole = min(max(round(round(epochs / param.step) * param.step, 6), param.low), param.high)
        given = {**dict(way.settings), "epochs": whole, "batch": BATCH, "examples": count}
        return Recipe((Step.of("train", "fine-tune", given),), seed)

    def known(self) -> Labelled:
        """What was found so far, now or in an earlier visit."""
        points = [found for rung in self.rungs if (found := self._read(rung)) is not None]
        lead = self.data.task.facts.headline
        before = self._read(None)
        n = self.data.split("evaluation").n
        unit = self.data.task.unit_of(method("metric", lead).function.unit)
        return Labelled(tuple(points), before, lead, unit, n, self.fit, self.steps, len(self.rungs))

    def _path(self, rung: Rung | None) -> Any:
        if rung is not None:
            return rung.training.folder / FILE
        name = fingerprint.of_json([self.model.fingerprint, self.data.fingerprint, "before"])
        return self.rungs[0].training.folder.parent / name / FILE

    def _read(self, rung: Rung | None) -> Judged | None:
        path = self._path(rung)
        if str(path) not in self._judged:
            with contextlib.suppress(OSError, ValueError, TypeError):
                self._judged[str(path)] = Judged(**json.loads(path.read_text("utf-8")))
        return self._judged.get(str(path))

    def standing(self) -> Standing:
        """How far it is."""
        done, missing = len(self.known().points), 0
        missing = len(self.rungs) - done
        inner = self._now.training.standing().fraction if self._now is not None and self._state == "running" else 0.0
        left = float(np.mean(self._spent)) * max(missing - inner, 0.1) if self._spent and missing else None
        what = ""
        if self._now is not None:
            what = f"{self._now.way.title}, {self._now.count:,} examples"
        fraction = min(1.0, (done + (inner if missing else 0.0)) / len(self.rungs))
        return Standing(self._state, fraction, left, what, self._note)

    def cancel(self) -> None:
        """Stop; what is known is kept, and a training under way goes on from its last checkpoint another time."""
        super().cancel()
        if self._now is not None:
            self._now.training.cancel()

    def start(self) -> None:
        """Begin, or go on."""
        DESK.start(self)

    def run(self, workers: Workers) -> None:
        """Train and judge what is not known yet. Raises `TemperError`."""
        with self._lock:
            if self._state == "cancelled":
                return
            self._state = "running"
        try:
            for rung in (None, *self.rungs):
                if not self.alive:
                    return
                if self._read(rung) is None and not self._climbed(rung, workers):
                    return
            with self._lock:
                self._state = "done"
        except BaseException as error:
            with self._lock:
                self._state = "failed"
                self._note = str(error) if isinstance(error, TemperError) else "The experiment stopped on a fault."
            raise
        finally:
            self._now = None

    def _climbed(self, rung: Rung | None, workers: Workers) -> bool:
        recipe = Recipe()
        began = time.monotonic()
        if rung is not None:
            self._now = rung
            if rung.training.standing().recipe is None:
                rung.training.ready()
                rung.training.run(workers)
            found = rung.training.standing().recipe
            if found is None or not self.alive:
                return False
            recipe = found
        with working("labelled", Priority.SWEEP):
            result = evaluate(self.model, self.data, recipe)
        self._keep(rung, result.tempered if rung is not None else result.original)
        self._spent += [time.monotonic() - began] if rung is not None else []
        return True

    def _keep(self, rung: Rung | None, outcome: Outcome) -> None:
        lead = self.data.task.facts.headline
        value, interval = method("metric", lead).function.of(outcome), interval_of(lead, outcome)
        named = (rung.way.name, rung.count, rung.seed) if rung is not None else ("before", 0, 0)
        found = Judged(*named, float(value), interval.low, interval.high)
        path = self._path(rung)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{FILE}")
            partial.write_text(json.dumps(vars(found)), "utf-8")
            partial.replace(path)
        except OSError as error:
            raise TemperError(
                f"The experiment cannot be kept in {path.parent}: {error.strerror or error}.",
                "Make room there, or name another folder in TEMPER_HOME.",
            ) from error
        self._judged[str(path)] = found


_LADDERS: OrderedDict[str, Ladder] = OrderedDict()
_LOCK = threading.Lock()


def ladder_of(model: ModelHandle, data: DataHandle, steps: int, seeds: int) -> Ladder:
    """The experiment of this process, under way or at rest. Raises `TemperError` where there is nothing to fit on."""
    split_for_fitting(data, "fit")
    key = fingerprint.of_json([model.fingerprint, data.fingerprint, steps, seeds])
    with _LOCK:
        if key not in _LADDERS:
            _LADDERS[key] = Ladder(model, data, steps, seeds)
        _LADDERS.move_to_end(key)
        for old in list(_LADDERS)[:-REMEMBERED]:
            if not _LADDERS[old].alive:
                del _LADDERS[old]
        return _LADDERS[key]
