"""Evaluate a recipe: predictions of the original and of the tempered model, bytes and what was fitted."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.calibrators._fitted import softmax
from core.data.handle import DataHandle, SplitName, load_split, split_for_fitting
from core.deploy.graph import assemble
from core.deploy.pack import ledger
from core.engine import store
from core.engine.estimate import LOOKS, WORTH, Estimate
from core.engine.lane import lane
from core.engine.look import Look, check_finite, look_first
from core.engine.memory import RESULTS
from core.engine.network import Network
from core.engine.runtime import Progress, predictor, run
from core.engine.transform import check_order, transform
from core.errors import TemperError
from core.models.handle import ModelHandle
from core.recipe import Recipe, Step
from core.registry import method
from core.types import Floats, Ledger, Outcome, Provenance, Result

BACKEND = "onnxruntime"


def versions() -> dict[str, str]:
    """Versions of the libraries that a number depends on."""
    return {name: version(name) for name in ("torch", "onnxruntime", "numpy")}


def _logits(
    network: Network,
    data: DataHandle,
    split: SplitName,
    progress: Progress | None,
    original: Outcome | None = None,
    look: Look | None = None,
) -> tuple[NDArray[np.float32], float]:
    """Logits of a network on a split and the seconds they took, remembered by content.

    With `look` and the original's outcome, the examples are taken in the order of `estimate`, which is
    shown at its looks; every example is evaluated once.
    """
    key = ("logits", network.identity, data.fingerprint, split)

    def compute() -> tuple[NDArray[np.float32], float]:
        loaded = load_split(data, split)
        started = time.perf_counter()
        place = (network.identity, data.fingerprint, split)
        kept = store.load(place)
        if kept is not None and len(kept) == len(loaded.y):
            kept.setflags(write=False)
            return kept, time.perf_counter() - started
        with lane():
            predict = predictor(assemble(network))
            if look is None or original is None or original.n < WORTH * LOOKS[0]:
                logits = run(predict, loaded.inputs, progress)
            else:
                logits = look_first(predict, loaded.inputs, original, look, progress)
        check_finite(logits)
        store.save(place, logits)
        logits.setflags(write=False)
        return logits, time.perf_counter() - started

    return RESULTS.remember(key, compute, lambda found: found[0].nbytes)


def _ledger(network: Network) -> Ledger:
    return RESULTS.remember(("ledger", network.identity), lambda: ledger(network), lambda _: 1_000)


def evaluate(
    model: ModelHandle,
    data: DataHandle,
    recipe: Recipe,
    progress: Progress | None = None,
    look: Look | None = None,
) -> Result:
    """Run a recipe and the untouched original on the evaluation split.

    Confidence calibration is fitted on the calibration split. `progress` receives the fraction done and
    may raise to abandon the run; what was finished by then is kept. `look` receives estimates of accuracy and
    flips, before confidence calibration, while the exact result of a new point is on its way. Raises
    `TemperError`.
    """
    recipe = recipe.simplified()
    check_order(recipe)
    calibrate = recipe.only("calibrate").steps
    network, fitted = transform(model, data, recipe)
    untouched, _ = transform(model, data, Recipe())
    runs = [(untouched, "evaluation"), (network, "evaluation")] + ([(network, "calibration")] if calibrate else [])
    wanted = {
        (n.identity, s): data.split(s).n  # type: ignore[arg-type]
        for n, s in runs
        if RESULTS.get(("logits", n.identity, data.fingerprint, s)) is None
    }
    total, done = sum(wanted.values()), 0

    def predict(which: Network, split: SplitName, beside: Outcome | None = None) -> tuple[NDArray[np.float32], float]:
        nonlocal done
        size = wanted.pop((which.identity, split), 0)

        def report(fraction: float) -> None:
            if progress is not None and total:
                progress((done + fraction * size) / total)

        found = _logits(which, data, split, report, beside, look)
        done += size
        return found

    labels = load_split(data, "evaluation").y

    def outcome(which: Network, of: Recipe, beside: Outcome | None = None) -> Outcome:
        logits, seconds = predict(which, "evaluation", beside)
        provenance = Provenance(model.fingerprint, data.fingerprint, of.fingerprint, BACKEND, seconds, versions())
        return Outcome(logits, softmax(logits), labels, data.classes, provenance)

    original = outcome(untouched, Recipe())
    uncalibrated = original if not recipe.steps else outcome(network, recipe, original)
    tempered = uncalibrated
    if calibrate:
        step = calibrate[0]
        seen, _ = predict(network, "calibration")
        probabilities, learned = _calibrated(seen, data, uncalibrated.logits, step, network.identity)
        tempered = replace(uncalibrated, probabilities=probabilities)
        fitted = (*fitted, {"kind": "calibrate", "method": step.method, **learned})
    return Result(
        model.id,
        data.id,
        original,
        uncalibrated,
        tempered,
        _ledger(untouched),
        _ledger(network),
        fitted,
        _warnings(fitted),
    )


def _calibrated(
    seen: NDArray[np.float32], data: DataHandle, logits: NDArray[np.float32], step: Step, identity: str
) -> tuple[Floats, dict[str, Any]]:
    def compute() -> tuple[Floats, dict[str, Any]]:
        calibrator = method("calibrate", step.method).function(seen, split_for_fitting(data).y, **step.values)
        return calibrator.probabilities(logits), dict(calibrator.fitted)

    key = ("calibrated", identity, data.fingerprint, step)
    return RESULTS.remember(key, compute, lambda found: found[0].nbytes)


def _warnings(fitted: tuple[Mapping[str, Any], ...]) -> tuple[str, ...]:
    """Sentences a person should read beside the result."""
    found = []
    for learned in fitted:
        dead = learned.get("dead_layers") or []
        if dead:
            found.append(f"Every weight of {', '.join(dead)} was removed: nothing passes through there.")
        if learned.get("warning"):
            found.append(str(learned["warning"]))
    return tuple(found)


def estimate_point(model: ModelHandle, data: DataHandle, recipe: Recipe, budget: int) -> tuple[Result, Estimate]:
    """Estimate a recipe's accuracy from about `budget` examples of the evaluation split, before calibration.

    The original is known whole and comes along as a result of its own. Raises `TemperError` unless the
    budget lies between 2 and the size of the split.
    """
    known = evaluate(model, data, Recipe())
    if not 2 <= budget <= known.original.n:
        raise TemperError(f"The budget must be a number from 2 to {known.original.n:,}; got {budget:,}.")
    network, _ = transform(model, data, recipe)
    shown: list[Estimate] = []
    with lane():
        inputs = load_split(data, "evaluation").inputs
        predict = predictor(assemble(network))
        look_first(predict, inputs, known.original, shown.append, looks=(max(budget // 3, 1), budget), to_end=False)
    return known, shown[-1]
