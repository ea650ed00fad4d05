"""One training judged on the evaluation split, and many of them over seeds: kept as they come, so that they go on."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy import stats

from core.data.handle import DataHandle
from core.engine.evaluate import evaluate
from core.engine.runtime import threads
from core.models.handle import ModelHandle
from core.models.samples import load_sample
from core.recipe import Recipe
from core.registry import method
from core.training.permit import permitted
from core.transfer import offers, transfer

KEPT = Path(__file__).parents[1] / "LEARNING.json"
LEVEL = 0.95
USUAL = 5  # seeds; fewer are said


@dataclass(frozen=True)
class Run:
    """A recipe on a sample, moved to the data of the offer `to` where one is named; it is kept by its `name`."""

    name: str
    sample: str
    recipe: Recipe
    to: str = ""


def pair(sample: str, to: str = "") -> tuple[ModelHandle, DataHandle]:
    """A sample, or what came of moving it."""
    model, data = load_sample(sample)
    if not to:
        return model, data
    offer = next(one for one in offers(model, data) if one.key == to)
    return load_sample(transfer(model, data, offer))


def judged(run: Run) -> tuple[float, float]:
    """The task's headline measure on the evaluation split, and the seconds that it took to get there."""
    began = time.perf_counter()
    model, data = pair(run.sample, run.to)
    with permitted():
        outcome = evaluate(model, data, run.recipe).tempered
    measure = method("metric", outcome.task.facts.headline).function
    return float(measure.value(outcome.predicted, outcome.labels)), time.perf_counter() - began


def kept() -> dict[str, Any]:
    """What was measured so far: `epochs` by the seconds they fit into, `value` and `took` by the run's name."""
    found: dict[str, Any] = json.loads(KEPT.read_text("utf-8")) if KEPT.exists() else {}
    return {"epochs": {}, "value": {}, "took": {}} | found


def save(found: Mapping[str, Any]) -> None:
    """Keep it, all or nothing."""
    partial = KEPT.with_suffix(".partial")
    partial.write_text(json.dumps(found, indent=1, sort_keys=True), "utf-8")
    partial.replace(KEPT)


def measure(runs: Iterable[Run], found: dict[str, Any], then: Callable[[], None]) -> None:
    """Judge what is not known yet, one run a core in an order that has every case of a seed before the next seed."""
    missing = [run for run in runs if run.name not in found["value"]]
    cores = threads()
    os.environ["TEMPER_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(cores, multiprocessing.get_context("spawn")) as pool:
        asked = {pool.submit(judged, run): run.name for run in missing}
        for done in as_completed(asked):
            name = asked[done]
            if (error := done.exception()) is not None:
                print(f"{name}: {error!r}", flush=True)  # left out of the table, tried again next time
                continue
            found["value"][name], found["took"][name] = done.result()
            save(found)
            then()
            print(f"{name}: {found['value'][name]:.4f} in {found['took'][name]:.0f} s", flush=True)


def over_seeds(found: Mapping[str, Any], name: str) -> list[float]:
    """The values of a run from each seed, in order of the seeds; the run's name ends in the seed."""
    named = {key: value for key, value in found["value"].items() if key.rsplit(" / ", 1)[0] == name}
    return [named[key] for key in sorted(named, key=lambda key: int(key.rsplit(" / ", 1)[1]))]


def cell(values: Sequence[float], by: float = 100, digits: int = 2) -> str:
    """Their mean with its 95 % interval over seeds (Student's t)."""
    if not values:
        return "not run"
    middle = by * sum(values) / len(values)
    if len(values) < 2:
        return f"{middle:.{digits}f} (1 seed)"
    few = "" if len(values) == USUAL else f" (n = {len(values)})"
    return f"{middle:.{digits}f} ± {by * half(values):.{digits}f}{few}"


def half(values: Sequence[float]) -> float:
    """Half the width of the interval around their mean."""
    middle, n = sum(values) / len(values), len(values)
    spread = math.sqrt(sum((value - middle) ** 2 for value in values) / (n - 1))
    return float(stats.t.ppf(0.5 + LEVEL / 2, n - 1)) * spread / math.sqrt(n)


def gap(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """The mean of the differences from the same seeds, with its interval and sign, in points."""
    n = min(len(ours), len(theirs))
    if n < 2:
        return ""
    apart = [100 * (a - b) for a, b in zip(ours, theirs, strict=False)]
    middle, wide = sum(apart) / n, half(apart)
    sign = "\N{MINUS SIGN}" if middle < 0 else "+"
    return f"{sign}{abs(middle):.2f} ± {wide:.2f}"
