"""One training of many, in a worker: a trial of tuning, or one on data that were made wrong on purpose."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.data.handle import DataHandle
from core.data.spoiled import Wrong, spoiled
from core.engine.evaluate import calibration_outcomes, uncalibrated_outcomes
from core.engine.lane import rest
from core.engine.memory import RESULTS
from core.engine.transform import transform
from core.errors import TemperError
from core.jobs.workers import wait_at_gate
from core.models.handle import ModelHandle
from core.recipe import Recipe
from core.registry import method
from core.sweeps.spots import handles
from core.training import kept
from core.training.loop import Look
from core.training.measured import MEASURED
from core.training.permit import Permit, StoppedEarly, permitted
from core.training.stopping import Curve, hopeless
from core.training.worker import with_last

LOOKS, NOW = "looks.jsonl", "now"
BEAT = 0.25  # seconds between two words on how far it is


@dataclass(frozen=True)
class Trial:
    """What a worker is asked: the recipe, whose last step before calibration trains.

    With `wrong` it learns from those data in the place of the fit split. `finished` are the curves of trials that
    ended: where this one is hopeless beside them, it stops. `folder` is where it tells how it goes, as far as this
    machine sees it. `judged` asks for the logits of the evaluation split.
    """

    sample: str
    model: str
    data: str
    recipe: Recipe
    folder: str = ""
    wrong: Wrong | None = None
    finished: tuple[Curve, ...] = ()
    judged: bool = False


@dataclass(frozen=True)
class Tried:
    """What came of it: the recipe as it was trained, `until` included, and the calibration loss along the way.

    `loss` is that of the whole calibration split at the end, None where the trial was stopped or failed. `files` hold
    what was learned, by training and name; `fresh` are the trainings that were not kept before. `logits` float32
    `(N, C)` of the evaluation split where they were asked for.
    """

    recipe: Recipe
    curve: Curve = ()
    loss: float | None = None
    stopped: bool = False
    error: str = ""
    seconds: float = 0.0
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    fresh: tuple[str, ...] = ()
    logits: NDArray[np.float32] | None = None


def try_out(task: Trial) -> Tried:
    """Train and measure. A training that cannot be run is an answer too."""
    wait_at_gate()
    started = time.perf_counter()
    try:
        model, data = handles(task)
        found = _tried(task, model, data if task.wrong is None else spoiled(data, task.wrong))
    except TemperError as error:
        found = Tried(task.recipe, error=error.message)
    except MemoryError:
        found = Tried(task.recipe, error="There was too little memory for this training.")
    return replace(found, seconds=time.perf_counter() - started)


def loss_name(data: DataHandle) -> str:
    """The registered measure that is taken for the loss: what looks measure first."""
    return MEASURED[data.task.kind][0]


def _tried(task: Trial, model: ModelHandle, data: DataHandle) -> Tried:
    name, epochs = loss_name(data), float(_last(task.recipe)["epochs"])
    looks: dict[int, Look] = {}
    kept_before, files = set[str](), dict[str, dict[str, bytes]]()

    def curve() -> Curve:
        return tuple((min(look.epoch / epochs, 1.0), look.values["calibration"][name]) for look in looks.values())

    def looked(look: Look) -> None:
        looks[look.step] = look
        if task.folder:
            with (Path(task.folder) / LOOKS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(look)) + "\n")

    def saved(place: Path) -> None:
        if not looks:
            kept_before.add(place.name)
        files[place.name] = {one: (place / one).read_bytes() for one in ("trained.safetensors", "trained.json")}
        for plain in json.loads(files[place.name]["trained.json"])["looks"]:
            look = Look(**plain)
            looks[look.step] = look

    permit = Permit(_teller(task.folder), looked, lambda: hopeless(curve(), task.finished), saved)
    recipe, stopped = task.recipe, False
    if task.folder:
        (Path(task.folder) / LOOKS).unlink(missing_ok=True)
    try:
        with permitted(permit):
            transform(model, data, recipe.without("calibrate"))
            if not files:  # this process remembers the network, and not how it came about
                RESULTS.clear()
                transform(model, data, recipe.without("calibrate"))
    except StoppedEarly as early:
        recipe, stopped = with_last(recipe, until=early.until), True
    fresh = tuple(key for key in files if key not in kept_before)
    found = Tried(recipe, curve(), stopped=stopped, files=files, fresh=fresh)
    if stopped:
        return found
    bare = recipe.without("calibrate")
    if task.judged:
        _, judged = uncalibrated_outcomes(model, data, bare, _pause)
        return replace(found, logits=judged.logits)
    _, outcome = calibration_outcomes(model, data, bare)
    loss = float(method("metric", name).function.of(outcome))
    if not np.isfinite(loss):
        raise TemperError("What was trained gives no finite loss.")
    return replace(found, loss=loss)


def _last(recipe: Recipe) -> dict[str, Any]:
    values: dict[str, Any] = dict(recipe.only("train").steps[-1].values)
    return values


def drop(keys: tuple[str, ...]) -> None:
    """Let go of what trials learned that nobody asks for any more; their settings bring it back."""
    for key in keys:
        shutil.rmtree(kept.place(key), ignore_errors=True)


def _pause(_: float) -> None:
    rest()
    wait_at_gate()


def _teller(folder: str) -> Callable[[float], None]:
    last = 0.0

    def told(fraction: float) -> None:
        nonlocal last
        _pause(fraction)
        now = time.monotonic()
        if folder and now - last > BEAT:
            last = now
            (Path(folder) / NOW).write_text(f"{fraction:.4f}", "utf-8")

    return told
