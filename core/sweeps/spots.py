"""One point of a sweep, computed where the worker is: a look at part of the set, or all of it.

A task is a few names and numbers. The worker reads model and data once from its own disk and checks their
fingerprints; what an earlier look saw travels with the task, so that no example is evaluated twice.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack

from core.data.handle import DataHandle, load_split
from core.deploy.graph import assemble
from core.deploy.latency import kernel
from core.engine.estimate import LOOKS, WORTH, Estimate
from core.engine.evaluate import chunk, evaluate, keep, known, size
from core.engine.lane import lane, rest
from core.engine.look import Watch
from core.engine.memory import RESULTS
from core.engine.runtime import predictor
from core.engine.statistics import SHARES, interval_of, resampled_sums, wilson
from core.engine.transform import transform
from core.errors import TemperError
from core.jobs.workers import wait_at_gate
from core.models.handle import ModelHandle
from core.models.samples import load_sample
from core.recipe import Recipe
from core.registry import method
from core.sweeps.front import FLIPS, Spot, gain
from core.sweeps.plan import Place
from core.types import Integers, Interval, Outcome, Quantity, Result

EXACT = len(LOOKS)  # the depth at which every example is seen; below it, the number of the look


@dataclass(frozen=True)
class Part:
    """What a look saw: the places `(n,)` of the examples and their logits `(n, C)` float32."""

    seen: Integers
    logits: NDArray[np.float32]


class Asked(Protocol):
    """Names a sample and the fingerprints of the model and the data that are meant."""

    @property
    def sample(self) -> str: ...  # noqa: D102
    @property
    def model(self) -> str: ...  # noqa: D102
    @property
    def data(self) -> str: ...  # noqa: D102


@dataclass(frozen=True)
class Errand:
    """One point to be taken to a depth: the number of a look, or `EXACT`.

    `bar` is the gain that a point of no more bytes is measured to have: on its way to `EXACT` the point is looked at
    once more, and left as an estimate where the top of its interval does not reach above.
    """

    sample: str
    model: str
    data: str
    place: Place
    recipe: Recipe
    depth: int
    part: Part | None = None
    measure: str = "accuracy"
    bar: float | None = None


@dataclass(frozen=True)
class Answer:
    """A point as far as the task took it, with what a deeper one goes on from and the seconds spent."""

    spot: Spot
    depth: int
    part: Part | None
    kernel: str
    seconds: float


def answer(task: Errand) -> Answer:
    """Do a task. A recipe that cannot run, or a model that gives no finite numbers, is an answer too."""
    wait_at_gate()
    started = time.perf_counter()
    try:
        model, data = handles(task)
        spot, depth, part, ran_by = _look(task, model, data)
    except TemperError as error:
        spot, depth, part, ran_by = Spot(task.place, task.recipe, error=error.message), EXACT, None, ""
    return Answer(spot, depth, part, ran_by, time.perf_counter() - started)


def handles(task: Asked) -> tuple[ModelHandle, DataHandle]:
    """The worker's own model and data. Raises `TemperError` where they are not the ones that were asked for."""
    model, data = load_sample(task.sample)
    if (model.fingerprint, data.fingerprint) != (task.model, task.data):
        raise TemperError(f"This worker's copy of '{task.sample}' differs from the one the sweep is about.")
    return model, data


def _look(task: Errand, model: ModelHandle, data: DataHandle) -> tuple[Spot, int, Part | None, str]:
    network, _ = transform(model, data, task.recipe)
    original = evaluate(model, data, Recipe(), _pause).original
    ran_by, bytes_, depth = kernel(network), size(network), task.depth
    if original.n < WORTH * LOOKS[0] or known(network, data):
        return measured(task.place, task.recipe, evaluate(model, data, task.recipe, _pause)), EXACT, None, ran_by
    watch, started = _watch(original, task), time.perf_counter()
    predict, inputs = predictor(assemble(network)), load_split(data, "evaluation").inputs

    def see(budget: int) -> Spot:
        with lane():
            watch.fill(predict, inputs, budget, _pause, chunk(network))
        return _estimated(task, watch.estimate(), bytes_.packed, bytes_.file)

    if depth < EXACT or task.bar is not None:
        spot = see(LOOKS[min(depth, EXACT - 1)])
        out = task.bar is not None and task.measure in spot.values and gain(spot, task.measure)[2] <= task.bar
        if depth < EXACT or out:
            seen = np.flatnonzero(watch.seen)
            return spot, min(depth, EXACT - 1), Part(seen, watch.logits[seen]), ran_by
    with lane():
        watch.fill(predict, inputs, original.n, _pause, chunk(network))
    keep(network, data, watch.logits, time.perf_counter() - started)
    return measured(task.place, task.recipe, evaluate(model, data, task.recipe, _pause)), EXACT, None, ran_by


def _pause(_: float) -> None:
    rest()
    wait_at_gate()


def _watch(original: Outcome, task: Errand) -> Watch:
    watch = Watch.of(original, waits=bool(task.recipe.only("calibrate").steps))
    if task.part is not None:
        watch.seen[task.part.seen] = True
        watch.logits[task.part.seen] = task.part.logits
    return watch


def _estimated(task: Errand, found: Estimate, packed: int, file: int) -> Spot:
    values = {**found.values, **({FLIPS: found.flips} if found.flips else {})}
    return Spot(task.place, task.recipe, values, found.total, packed, file)


def measured(place: Place, recipe: Recipe, result: Result) -> Spot:
    """A point from its exact result: every measure with its interval, and on each resampled set."""
    after, before = result.tempered, result.original
    task = after.task
    values, blocks, ends = {}, [], [0]
    for name in task.facts.stated:
        measure = method("metric", name).function
        values[name] = Quantity(measure.of(after), task.unit_of(measure.unit), "measured", None, after.n)
        blocks.append(measure.cells_of(after))
        ends.append(ends[-1] + blocks[-1].shape[1])
    if task.decides:
        changed = (after.predictions != before.predictions).astype(np.float64)
        blocks.append(csr_array(changed[:, None]))
    sums, resampled = resampled_sums(hstack(blocks, format="csr")), {}
    for place_, name in enumerate(task.facts.stated):
        drawn = method("metric", name).function.total(sums[:, ends[place_] : ends[place_ + 1]])
        value = values[name].value or 0.0
        resampled[name] = (drawn - drawn.mean() + value).astype(np.float32)
    if task.decides:
        resampled[FLIPS] = sums[:, -1].astype(np.float32)
        count = float(changed.sum())
        low, high = (float(end) * after.n for end in wilson(count, float(after.n)))
        values[FLIPS] = Quantity(count, "predictions", "measured", Interval(low, high), after.n)
    values = {name: _with_interval(name, q, after, resampled) for name, q in values.items()}
    return Spot(place, recipe, values, after.n, result.bytes.packed, result.bytes.file, resampled=resampled)


def original_spot(model: ModelHandle, result: Result) -> Spot:
    """The untouched model as a point, at no place of a grid."""
    key = ("original spot", model.fingerprint, result.original.provenance.data)
    untouched = replace(result, tempered=result.original, bytes=result.original_bytes)
    return RESULTS.remember(key, lambda: measured((), Recipe(), untouched), lambda _: 20_000)


def _with_interval(
    name: str, quantity: Quantity, outcome: Outcome, resampled: Mapping[str, NDArray[Any]]
) -> Quantity:
    if quantity.interval is not None:
        return quantity
    if name in SHARES:
        interval = interval_of(name, outcome)
    else:
        measure = method("metric", name).function
        low, high = np.quantile(resampled[name], [0.025, 0.975]).tolist()
        interval = Interval(max(measure.least, low), min(measure.most, high))
    return Quantity(quantity.value, quantity.unit, "measured", interval, quantity.n)
