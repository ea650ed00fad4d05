"""One recipe of a search, in a worker: tried on the halves of the calibration split, or judged on evaluation."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from core.data.handle import DataHandle
from core.deploy.devices import device, estimate, work
from core.engine.evaluate import evaluate
from core.engine.lane import rest
from core.engine.statistics import difference
from core.engine.transform import transform
from core.errors import TemperError
from core.jobs.workers import wait_at_gate
from core.models.handle import ModelHandle
from core.recipe import Recipe
from core.search.goal import Tried
from core.search.rehearse import rehearsal
from core.sweeps.front import Spot, better_high
from core.sweeps.spots import handles, measured, original_spot


@dataclass(frozen=True)
class Attempt:
    """What a worker is asked: the recipe at `index`, tried, or judged where `judge` says so."""

    sample: str
    model: str
    data: str
    index: int
    recipe: Recipe
    measure: str
    judge: bool = False
    device: str = ""


def attempt(task: Attempt) -> Tried:
    """Try a recipe or judge it. One that cannot run, or gives no finite numbers, is an answer too."""
    wait_at_gate()
    started = time.perf_counter()
    try:
        model, data = handles(task)
        found = _on(task, model, data if task.judge else rehearsal(data))
    except TemperError as error:
        failed = Spot((task.index,), task.recipe, error=error.message)
        found = Tried(failed, Spot((), Recipe()))
    except MemoryError:
        failed = Spot((task.index,), task.recipe, error="There was too little memory for this recipe.")
        found = Tried(failed, Spot((), Recipe()))
    return replace(found, seconds=time.perf_counter() - started)


def _on(task: Attempt, model: ModelHandle, data: DataHandle) -> Tried:
    result = evaluate(model, data, task.recipe, _pause)
    spot, before = measured((task.index,), task.recipe, result), original_spot(model, result)
    change = difference(task.measure, result.original, result.tempered)
    sign = -1 if better_high(task.measure) else 1
    drawn = spot.resampled[task.measure].astype(np.float64) - before.resampled[task.measure]
    value, spread = change.value, float(drawn.std())
    if value is None or not np.isfinite([value, spread]).all():
        raise TemperError("The tempered model gives no finite value of the measure.")
    modelled = None
    if task.device:
        modelled = estimate(work(transform(model, data, task.recipe)[0]), device(task.device)).value
    return Tried(
        replace(spot, resampled={}), replace(before, resampled={}), change, sign * value + 0.0, spread, modelled
    )


def _pause(_: float) -> None:
    rest()
    wait_at_gate()
