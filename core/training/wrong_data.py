"""The experiment behind 'any data will do': the same training on the right data and on wrong ones, side by side.

Every arm takes about as many steps with the same settings from the same network, and is judged on the same evaluation
examples. What wrong data taught is never kept as a training; only the answers on evaluation are, in a folder of their
own.
"""

from __future__ import annotations

import shutil
import threading
from collections import OrderedDict
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core import fingerprint
from core.data.handle import DataHandle, load_split
from core.data.spoiled import RIGHT, Wrong, spoiled
from core.engine.evaluate import BACKEND, uncalibrated_outcomes
from core.engine.lane import Priority, working
from core.engine.meaning import meaning
from core.engine.statistics import mean_change
from core.engine.store import code_version
from core.errors import TemperError
from core.jobs.steered import TRIES, State, Steered, WorkerLost
from core.jobs.workers import Workers
from core.models.handle import ModelHandle
from core.recipe import Recipe
from core.registry import method
from core.trainers._settings import EPOCHS
from core.training.gain import untrained, with_training
from core.training.kept import place
from core.training.measured import MEASURED
from core.training.plan import Plan
from core.training.trial import Trial, drop, try_out
from core.types import Outcome, Provenance, Quantity

SEEDS, MOST_SEEDS = 3, 10
REMEMBERED = 8


@dataclass(frozen=True)
class Arm:
    """What training on one kind of data came to on evaluation, by measure.

    `values` holds one value a seed; `change` the mean over the seeds of the paired change from the network before it,
    `worse` that from training on the right data, None of the right data themselves.
    """

    wrong: Wrong
    title: str
    examples: int
    values: dict[str, tuple[float, ...]]
    change: dict[str, Quantity]
    worse: dict[str, Quantity] | None


@dataclass(frozen=True)
class Standing:
    """How far the experiment is: trainings done of those asked for."""

    state: State
    done: int
    total: int
    note: str

    @property
    def fraction(self) -> float:
        """Share of the trainings that are done."""
        return self.done / max(self.total, 1)


class WrongData(Steered):
    """The experiment on its way. Thread-safe: one thread runs it, others read it and cancel it.

    `recipe`'s last step before calibration trains; every arm does so with 0 to `seeds - 1` added to its seed.
    """

    lanes = 1

    def __init__(
        self, model: ModelHandle, data: DataHandle, recipe: Recipe, wrongs: tuple[Wrong, ...], seeds: int = SEEDS
    ) -> None:
        if not wrongs:
            raise TemperError("Nothing wrong was chosen to learn from.", "Choose one kind of wrong data at least.")
        if not 1 <= seeds <= MOST_SEEDS:
            raise TemperError(f"The experiment takes 1 to {MOST_SEEDS} seeds; got {seeds}.")
        super().__init__()
        self.model, self.data, self.recipe, self.seeds = model, data, recipe.without("calibrate").simplified(), seeds
        self.arms = (RIGHT, *(one for one in wrongs if one.kind != "right"))
        self.key = key_of(model, data, recipe, self.arms, seeds)
        self.folder = place("x").parent.parent / "wrong-data" / self.key
        self._logits: dict[tuple[int, int], NDArray[np.float32]] = {}  # by arm and seed; arm -1 is before training
        self._read()

    @property
    def names(self) -> tuple[str, ...]:
        """The measures that are shown."""
        task = self.data.task
        return task.facts.shown if task.decides else MEASURED[task.kind]

    def standing(self) -> Standing:
        """How far it is."""
        with self._lock:
            done = sum(arm >= 0 for arm, _ in self._logits)
            return Standing(self._state, done, len(self.arms) * self.seeds, self._note)

    def found(self) -> list[Arm]:
        """Every arm with all its seeds done, the right data first."""
        with self._lock:
            known = dict(self._logits)
        whole = [arm for arm in range(-1, len(self.arms)) if all((arm, s) in known for s in range(self.seeds))]
        if -1 not in whole:
            return []
        outcomes = {arm: [self._outcome(known[arm, seed]) for seed in range(self.seeds)] for arm in whole}
        return [self._arm(arm, outcomes) for arm in whole if arm >= 0]

    def before(self) -> dict[str, float]:
        """The measures of the network before training, the mean over the seeds; nothing before that is known."""
        with self._lock:
            known = [self._logits[-1, seed] for seed in range(self.seeds) if (-1, seed) in self._logits]
        some = [self._outcome(one) for one in known]
        return {name: float(np.mean([_value(name, one) for one in some])) for name in self.names} if some else {}

    def forget(self) -> None:
        """Remove every answer. Raises `TemperError` while it runs."""
        with self._lock:
            if self.alive:
                raise TemperError("This experiment is running.", "Stop it first.")
            shutil.rmtree(self.folder, ignore_errors=True)
            self._logits, self._state, self._note = {}, "ready", ""

    def run(self, workers: Workers) -> None:
        """Train and judge every arm, seed by seed. Raises `TemperError`."""
        with self._lock:
            if self._state == "cancelled":
                return
            self._state = "running"
        try:
            for seed in range(self.seeds):
                for arm in range(-1, len(self.arms)):
                    if (arm, seed) in self._logits:
                        continue
                    found = self._before(seed) if arm < 0 else self._asked(workers, arm, seed)
                    if found is None:
                        return
                    self._keep(arm, seed, found)
            with self._lock:
                self._state = "done" if self.alive else self._state
        except BaseException as error:
            with self._lock:
                self._state = "failed"
                self._note = error.message if isinstance(error, TemperError) else "It stopped on a fault."
            raise

    def _before(self, seed: int) -> NDArray[np.float32] | None:
        base = replace(untrained(self.recipe), seed=self.recipe.seed + seed)
        with working("wrong data", Priority.SWEEP):
            _, judged = uncalibrated_outcomes(self.model, self.data, base)
        return judged.logits if self.alive else None

    def _asked(self, workers: Workers, arm: int, seed: int) -> NDArray[np.float32] | None:
        wrong = replace(self.arms[arm], seed=seed)
        recipe = replace(self._like(wrong), seed=self.recipe.seed + seed)
        prints = (self.model.id, self.model.fingerprint, self.data.fingerprint)
        task = Trial(*prints, recipe, wrong=wrong, judged=True)
        try:
            found = self.ask(workers, try_out, task)
        except WorkerLost as lost:
            words = f"The process that trained stopped {TRIES} times; there may be too little memory."
            raise TemperError(words) from lost
        if found is None:
            return None
        if found.error:
            raise TemperError(f"Training on {wrong.named(self.data)}: {found.error}")
        drop(found.fresh)
        return found.logits

    def _like(self, wrong: Wrong) -> Recipe:
        """The recipe with as many epochs as make about the steps that the right data take."""
        step = self.recipe.steps[-1]
        values = step.values
        batches = [Plan(1.0, int(str(values["batch"])), 1.0).batches(self._examples(one)) for one in (RIGHT, wrong)]
        epochs = float(str(values["epochs"])) * batches[0] / batches[1]
        assert EPOCHS.low is not None and EPOCHS.high is not None and EPOCHS.step is not None
        whole = min(max(round(round(epochs / EPOCHS.step) * EPOCHS.step, 6), EPOCHS.low), EPOCHS.high)
        return with_training(self.recipe, step.method, values | {"epochs": whole})

    def _examples(self, wrong: Wrong) -> int:
        most = int(str(self.recipe.steps[-1].values["examples"]))
        n = spoiled(self.data, wrong).split("fit").n
        return min(most, n) if most else n

    def _arm(self, arm: int, outcomes: dict[int, list[Outcome]]) -> Arm:
        mine, before, right = outcomes[arm], outcomes[-1], outcomes.get(0)
        values = {name: tuple(_value(name, one) for one in mine) for name in self.names}
        change = {name: mean_change(name, before, mine) for name in self.names}
        worse = {name: mean_change(name, right, mine) for name in self.names} if arm and right else None
        wrong = self.arms[arm]
        return Arm(wrong, wrong.named(self.data), self._examples(wrong), values, change, worse)

    def _outcome(self, logits: NDArray[np.float32]) -> Outcome:
        made = Provenance(self.model.fingerprint, self.data.fingerprint, self.recipe.fingerprint, BACKEND, 0.0)
        labels, task = load_split(self.data, "evaluation").y, self.data.task
        return Outcome(logits, meaning(task, logits), labels, task, made)

    def _keep(self, arm: int, seed: int, logits: NDArray[np.float32]) -> None:
        path = self.folder / f"{arm}-{seed}.npy"
        partial = path.with_suffix(".partial")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                np.save(file, logits, allow_pickle=False)
            partial.replace(path)
        except OSError as error:
            raise TemperError(
                f"The experiment cannot be kept in {self.folder}: {error.strerror or error}.",
                "Make room there, or name another folder in TEMPER_HOME.",
            ) from error
        with self._lock:
            self._logits[arm, seed] = logits

    def _read(self) -> None:
        n = self.data.split("evaluation").n
        for path in self.folder.glob("*.npy") if self.folder.is_dir() else ():
            found = _logits(path)
            arm, _, seed = path.stem.rpartition("-")
            if found is not None and len(found) == n and arm.lstrip("-").isdigit() and seed.isdigit():
                self._logits[int(arm), int(seed)] = found
        if len(self._logits) == (len(self.arms) + 1) * self.seeds:
            self._state = "done"


def _value(name: str, outcome: Outcome) -> float:
    return float(method("metric", name).function.of(outcome))


def _logits(path: Path) -> NDArray[np.float32] | None:
    try:
        found: NDArray[np.float32] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.ndim == 2 and found.dtype == np.float32 else None


def key_of(model: ModelHandle, data: DataHandle, recipe: Recipe, arms: tuple[Wrong, ...], seeds: int) -> str:
    """Names an experiment by everything that decides what it finds."""
    named = [model.fingerprint, data.fingerprint, recipe.without("calibrate").fingerprint, seeds, code_version()]
    return fingerprint.of_json([*named, [asdict(one) for one in arms]])


_KNOWN: OrderedDict[str, WrongData] = OrderedDict()
_LOCK = threading.Lock()


def wrong_data_of(
    model: ModelHandle, data: DataHandle, recipe: Recipe, wrongs: tuple[Wrong, ...], seeds: int
) -> WrongData:
    """The experiment of this process for what is asked, under way or at rest, with what its folder keeps."""
    key = key_of(model, data, recipe, (RIGHT, *(one for one in wrongs if one.kind != "right")), seeds)
    with _LOCK:
        if key not in _KNOWN:
            _KNOWN[key] = WrongData(model, data, recipe, wrongs, seeds)
        _KNOWN.move_to_end(key)
        for old in list(_KNOWN)[:-REMEMBERED]:
            if not _KNOWN[old].alive:
                del _KNOWN[old]
        return _KNOWN[key]
