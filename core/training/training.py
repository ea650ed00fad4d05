"""A training that a person asked for: begun, watched, stopped with what it has, gone on with after a restart."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core import fingerprint
from core.data.handle import DataHandle
from core.errors import TemperError
from core.jobs.steered import TRIES, Steered, WorkerLost
from core.jobs.steered import State as Standing
from core.jobs.workers import Workers
from core.models.handle import ModelHandle
from core.recipe import Recipe, from_dict
from core.sweeps.desk import DESK
from core.training import kept
from core.training.loop import Look
from core.training.worker import LEAVE, LOOKS, NOW, RECIPE, Learned, Order, keep_files, train

ORDER, DONE = "order.json", "done.json"
REMEMBERED = 30  # trainings of this process; older ones are read from their folders again


@dataclass(frozen=True)
class Progress:
    """How far a training is, the looks so far, and of how many `epochs` (None until it has begun).

    `recipe` is what it came to, None while it has not ended; `where` is what it learned on, '' until then.
    """

    state: Standing
    fraction: float
    seconds_left: float | None
    epochs: float | None
    looks: tuple[Look, ...]
    recipe: Recipe | None
    note: str
    where: str = ""


class Training(Steered):
    """A training on its way. Thread-safe: one thread runs it, others read it and stop it.

    `recipe` is what was asked for: its last step before calibration trains, for `seconds` where these are given.
    """

    lanes = 1  # one process, on all the cores

    def __init__(
        self, model: ModelHandle, data: DataHandle, recipe: Recipe, seconds: float | None = None, when: float = 0.0
    ) -> None:
        super().__init__()
        steps = recipe.simplified().without("calibrate").steps
        if not steps or steps[-1].kind != "train":
            raise TemperError("A training needs a recipe whose last step before calibration trains.")
        self.model, self.data, self.recipe, self.seconds = model, data, recipe.simplified(), seconds
        self.when = when or time.time()
        self.key = key_of(model, data, self.recipe, seconds)
        self.folder = orders() / self.key
        self.result: Recipe | None = None
        self._where = ""
        self._read()

    def _read(self) -> None:
        done = _json(self.folder / DONE)
        with contextlib.suppress(TemperError, KeyError, TypeError):
            if done is not None:
                self.result, self._note, self._state = from_dict(done["recipe"]), str(done["note"]), "done"
                self._where = str(done.get("where", ""))

    @property
    def begun(self) -> bool:
        """Whether some of it was done, now or in an earlier visit."""
        return (self.folder / RECIPE).exists()

    @property
    def early(self) -> bool:
        """Whether it was stopped with what it had, so that it may go on to its end."""
        return self._state == "done" and self.result is not None and _until(self.result) < _until(self.recipe)

    def standing(self) -> Progress:
        """How far the training is."""
        looks, epochs = self._looks(), self._epochs()
        fraction = 1.0 if self._state == "done" else _number(self.folder / NOW) if self.begun else 0.0
        left = None
        if self._state == "running" and looks and looks[-1].step and epochs:
            done = looks[-1].epoch / epochs
            left = looks[-1].seconds / done * (1 - max(fraction, done))
        return Progress(self._state, fraction, left, epochs, looks, self.result, self._note, self._where)

    def _epochs(self) -> float | None:
        plain = _json(self.folder / RECIPE)
        with contextlib.suppress(TemperError, KeyError, TypeError, IndexError):
            return float(from_dict(plain).only("train").steps[-1].values["epochs"] or 0.0) if plain else None
        return None

    def _looks(self) -> tuple[Look, ...]:
        found = []
        with contextlib.suppress(OSError, ValueError, TypeError):
            for line in (self.folder / LOOKS).read_text("utf-8").splitlines():
                found.append(Look(**json.loads(line)))
        return tuple(found)

    def leave(self) -> None:
        """Stop at the next checkpoint and keep what was learned until then."""
        with contextlib.suppress(OSError):
            (self.folder / LEAVE).touch()

    def reopen(self) -> bool:
        """Make a training that was stopped with what it had ready to go on to its end; False where it was not."""
        if not self.early:
            return False
        with contextlib.suppress(OSError):
            (self.folder / DONE).unlink()
        self.result, self._state, self._note = None, "ready", ""
        return True

    def forget(self) -> None:
        """Drop it with what it has. Raises `TemperError` while it runs."""
        if self.alive:
            raise TemperError("This training is running.", "Stop it first.")
        shutil.rmtree(self.folder, ignore_errors=True)
        self.result, self._state, self._note = None, "ready", ""

    def start(self) -> None:
        """Begin, or go on from the last checkpoint."""
        self._write_order()
        (self.folder / LEAVE).unlink(missing_ok=True)
        DESK.start(self)

    def _write_order(self) -> None:
        plain = {"model": self.model.id, "data": self.data.id, "recipe": self.recipe.to_dict(), "when": self.when}
        plain |= {"seconds": self.seconds, "prints": [self.model.fingerprint, self.data.fingerprint]}
        _write(self.folder / ORDER, plain)

    def run(self, workers: Workers) -> None:
        """Train on a worker. Raises `TemperError` where it cannot be done."""
        with self._lock:
            if self._state == "cancelled":
                return
            self._state = "running"
        try:
            self._write_order()
            learned = self._asked(workers)
            if learned is None:
                return
            keep_files(learned)
            note, where = _said(learned, "note"), _said(learned, "where")
            _write(self.folder / DONE, {"recipe": learned.recipe.to_dict(), "note": note, "where": where})
            with self._lock:
                self.result, self._note, self._where, self._state = learned.recipe, note, where, "done"
        except BaseException as error:
            with self._lock:
                self._state = "failed"
                self._note = str(error) if isinstance(error, TemperError) else "The training stopped on a fault."
            raise

    def _asked(self, workers: Workers) -> Learned | None:
        prints = (self.model.id, self.model.fingerprint, self.data.fingerprint)
        order = Order(*prints, self.recipe, str(self.folder), self.seconds)
        try:
            return self.ask(workers, train, order)
        except WorkerLost as lost:
            raise TemperError(
                f"The process that trained stopped {TRIES} times; there may be too little memory.",
                "Take a smaller batch, or close other programs.",
            ) from lost


def _until(recipe: Recipe) -> float:
    return float(recipe.only("train").steps[-1].values["until"] or 1.0)


def orders() -> Path:
    """Where trainings tell how they go."""
    return kept.place("x").parent.parent / "trainings"


def key_of(model: ModelHandle, data: DataHandle, recipe: Recipe, seconds: float | None) -> str:
    """Names a training by what was asked for."""
    return fingerprint.of_json([model.fingerprint, data.fingerprint, recipe.fingerprint, seconds])


_TRAININGS: OrderedDict[str, Training] = OrderedDict()
_LOCK = threading.Lock()


def training_of(model: ModelHandle, data: DataHandle, recipe: Recipe, seconds: float | None = None) -> Training:
    """The training of this process for what is asked, under way or at rest, with what its folder keeps."""
    return _found(Training(model, data, recipe, seconds))


def _found(made: Training) -> Training:
    with _LOCK:
        found = _TRAININGS.setdefault(made.key, made)
        _TRAININGS.move_to_end(made.key)
        for old in list(_TRAININGS)[:-REMEMBERED]:
            if not _TRAININGS[old].alive:
                del _TRAININGS[old]
        return found


def trainings(model: ModelHandle, data: DataHandle) -> list[Training]:
    """Every training of a model on its data, the latest first: of this process and of those before it."""
    found = []
    with contextlib.suppress(OSError):
        for folder in orders().iterdir():
            plain = _json(folder / ORDER)
            with contextlib.suppress(TemperError, KeyError, TypeError, ValueError):
                if plain and plain["prints"] == [model.fingerprint, data.fingerprint]:
                    asked = (from_dict(plain["recipe"]), plain["seconds"], float(plain["when"]))
                    found.append(_found(Training(model, data, *asked)))
    return sorted(found, key=lambda one: one.when, reverse=True)


def _said(learned: Learned, name: str) -> str:
    found = [str(json.loads(files["trained.json"]).get(name, "")) for files in learned.files.values()]
    return found[-1] if found else ""


def _write(path: Path, plain: Any) -> None:
    partial = path.with_name(f".{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(plain), "utf-8")
        partial.replace(path)
    except OSError as error:
        raise TemperError(
            f"The training cannot be kept in {path.parent}: {error.strerror or error}.",
            "Make room there, or name another folder in TEMPER_HOME.",
        ) from error


def _json(path: Path) -> Any | None:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _number(path: Path) -> float:
    try:
        return min(max(float(path.read_text("utf-8")), 0.0), 1.0)
    except (OSError, ValueError):
        return 0.0
