"""Evaluate a recipe: predictions of the original and of the tempered model, bytes and what was fitted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.calibrators._fitted import FittedCalibrator
from core.data.handle import DataHandle, SplitName, load_split, split_for_fitting
from core.deploy.graph import assemble
from core.deploy.pack import ledger
from core.engine import store
from core.engine.estimate import LOOKS, WORTH, Estimate
from core.engine.lane import lane, rest
from core.engine.look import Look, Map, Predict, Watch, check_finite, look_first
from core.engine.meaning import meaning
from core.engine.memory import RESULTS
from core.engine.network import Network
from core.engine.pace import chunk_of, run_and_learn
from core.engine.runtime import Progress, predictor, usual_chunk
from core.engine.transform import check_order, transform
from core.errors import TemperError
from core.models.handle import ModelHandle
from core.recipe import Recipe, Step
from core.registry import method, methods
from core.types import Ledger, Outcome, Provenance, Result

BACKEND = "onnxruntime"


@cache
def versions() -> Mapping[str, str]:
    """Versions of the libraries that a number depends on."""
    return MappingProxyType({name: version(name) for name in ("torch", "onnxruntime", "numpy")})


class _Passes:
    """The passes one evaluation makes: sessions opened once a network, progress over all of them together."""

    def __init__(self, data: DataHandle, progress: Progress | None) -> None:
        self.data = data
        self.progress = progress
        self.shares: dict[tuple[str, str], float] = {}  # examples done of each pass that has to be made
        self.sizes: dict[tuple[str, str], int] = {}
        self.opened: dict[str, Predict] = {}
        self.before = 0.0  # share of all the work that changing the weights was, where it took long enough to tell

    def transforming(self, fraction: float) -> None:
        """What a step that takes long calls: changing the weights counts for half of the work."""
        rest()
        self.before = 0.5
        if self.progress is not None:
            self.progress(self.before * fraction)

    def plan(self, network: Network, split: SplitName) -> None:
        """Count a pass in, unless its logits are remembered."""
        if RESULTS.get(_key(network, self.data, split)) is None:
            self.sizes[network.identity, split] = self.data.split(split).n

    def predict(self, network: Network) -> Predict:
        """The network's predictor, opened once."""
        if network.identity not in self.opened:
            self.opened[network.identity] = predictor(assemble(network))
        return self.opened[network.identity]

    def report(self, network: Network, split: SplitName) -> Progress:
        """What one pass calls between chunks: it gives way on the lane and tells how far all passes are."""
        place = (network.identity, split)

        def told(fraction: float) -> None:
            rest()
            self.shares[place] = fraction * self.sizes.get(place, 0)
            total = sum(self.sizes.values())
            if self.progress is not None and total:
                self.progress(self.before + (1 - self.before) * sum(self.shares.values()) / total)

        return told

    def logits(
        self,
        network: Network,
        split: SplitName,
        original: Outcome | None = None,
        look: Look | None = None,
        fit: Callable[[], Map] | None = None,
    ) -> tuple[NDArray[np.float32], float]:
        """Logits of a network on a split and the seconds they took, remembered by content.

        With `look` and the original's outcome, the examples are taken in the order of `estimate`, which is
        shown at its looks, from the second on calibrated by `fit`; every example is evaluated once.
        """

        def compute() -> tuple[NDArray[np.float32], float]:
            loaded = load_split(self.data, split)
            started = time.perf_counter()
            kept = store.load(_place(network, self.data, split))
            if kept is not None and len(kept) == len(loaded.y):
                kept.setflags(write=False)
                return kept, time.perf_counter() - started
            told = self.report(network, split)
            with lane():
                predict = self.predict(network)
                if look is None or original is None or original.n < WORTH * LOOKS[0]:
                    model = network.model.fingerprint
                    logits = run_and_learn(predict, loaded.inputs, model, arithmetic(network), told)
                    check_finite(logits)
                else:
                    logits = look_first(predict, loaded.inputs, original, look, told, fit, chunk(network))
            store.save(_place(network, self.data, split), logits)
            logits.setflags(write=False)
            return logits, time.perf_counter() - started

        return RESULTS.remember(_key(network, self.data, split), compute, lambda found: found[0].nbytes)


def _place(network: Network, data: DataHandle, split: SplitName) -> tuple[str, str, str]:
    return network.identity, data.fingerprint, split


def _key(network: Network, data: DataHandle, split: SplitName) -> tuple[str, ...]:
    return ("logits", *_place(network, data, split))


def arithmetic(network: Network) -> str:
    """What a network computes in while it is evaluated: `integer` or `float`."""
    return "integer" if network.activations else "float"


def chunk(network: Network) -> int:
    """How many examples a call of the network takes, as far as this is known."""
    model = network.model.fingerprint
    return chunk_of(model, arithmetic(network)) or chunk_of(model, "float") or usual_chunk(network.model.input_shape)


def known(network: Network, data: DataHandle) -> bool:
    """Whether the evaluation split's logits of a network are remembered, here or on disk."""
    place = _place(network, data, "evaluation")
    return RESULTS.get(_key(network, data, "evaluation")) is not None or store.has(place)


def keep(network: Network, data: DataHandle, logits: NDArray[np.float32], seconds: float) -> None:
    """Remember the evaluation split's logits, finished elsewhere, for `evaluate` to find."""
    store.save(_place(network, data, "evaluation"), logits)
    logits.setflags(write=False)
    RESULTS.put(_key(network, data, "evaluation"), (logits, seconds), logits.nbytes)


def size(network: Network) -> Ledger:
    """The network's ledger of bytes, remembered."""
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
    _check_suits(data, calibrate)
    passes = _Passes(data, progress)
    network, fitted = transform(model, data, recipe, passes.transforming)
    untouched, _ = transform(model, data, Recipe())
    for which, split in [(untouched, "evaluation"), (network, "evaluation"), (network, "calibration")]:
        if split == "evaluation" or calibrate:
            passes.plan(which, split)  # type: ignore[arg-type]
    labels = load_split(data, "evaluation").y

    def fit() -> FittedCalibrator:
        return _fitted(passes, network, calibrate[0])

    def outcome(which: Network, of: Recipe, beside: Outcome | None = None) -> Outcome:
        mapping = (lambda: fit().probabilities) if calibrate else None
        logits, seconds = passes.logits(which, "evaluation", beside, look, mapping)
        provenance = Provenance(model.fingerprint, data.fingerprint, of.fingerprint, BACKEND, seconds, versions())
        return Outcome(logits, meaning(data.task, logits), labels, data.task, provenance)

    original = outcome(untouched, Recipe())
    uncalibrated = original if not recipe.steps else outcome(network, recipe, original)
    tempered = uncalibrated
    if calibrate:
        calibrator = fit()
        key = ("calibrated", network.identity, data.fingerprint, calibrate[0])
        predicted = RESULTS.remember(
            key, lambda: calibrator.probabilities(uncalibrated.logits), lambda found: found.nbytes
        )
        tempered = replace(uncalibrated, predicted=predicted)
        fitted = (*fitted, {"kind": "calibrate", "method": calibrate[0].method, **calibrator.fitted})
    return Result(
        model.id,
        data.id,
        original,
        uncalibrated,
        tempered,
        size(untouched),
        size(network),
        fitted,
        _warnings(fitted),
    )


def _check_suits(data: DataHandle, steps: tuple[Step, ...]) -> None:
    for step in steps:
        chosen = method("calibrate", step.method)
        if data.task.kind not in chosen.tasks:
            others = ", ".join(one.name for one in methods("calibrate", data.task.kind))
            what = "numbers"
            if data.task.decides:
                what = "more than two classes" if "binary" in chosen.tasks else "classes"
            raise TemperError(
                f"{chosen.title} does not suit a model that predicts {what}, as '{data.id}' does.", f"Take {others}."
            )


def calibration_outcomes(model: ModelHandle, data: DataHandle, recipe: Recipe) -> tuple[Outcome, Outcome]:
    """The original's and the tempered model's outcomes on the calibration split, on which choices may be made.

    The tempered model is confidence-calibrated where the recipe says so. Raises `TemperError`.
    """
    found = []
    for which in (Recipe(), recipe.simplified()):
        network, _ = transform(model, data, which)
        mapped = calibrator(model, data, which)
        logits, seconds = _Passes(data, None).logits(network, "calibration")
        predicted = mapped.probabilities(logits) if mapped else meaning(data.task, logits)
        made = Provenance(model.fingerprint, data.fingerprint, which.fingerprint, BACKEND, seconds, versions())
        found.append(Outcome(logits, predicted, split_for_fitting(data).y, data.task, made))
    return found[0], found[1]


def uncalibrated_outcomes(
    model: ModelHandle, data: DataHandle, recipe: Recipe, progress: Progress | None = None
) -> tuple[Outcome, Outcome]:
    """A recipe's outcomes before confidence calibration, on the calibration and on the evaluation split.

    `progress` receives the fraction done and may raise to abandon. Raises `TemperError`.
    """
    bare = recipe.without("calibrate").simplified()
    passes = _Passes(data, progress)
    network, _ = transform(model, data, bare, passes.transforming)
    splits: tuple[SplitName, SplitName] = ("calibration", "evaluation")
    for split in splits:
        passes.plan(network, split)
    found = []
    for split in splits:
        labels = split_for_fitting(data).y if split == "calibration" else load_split(data, split).y
        logits, seconds = passes.logits(network, split)
        made = Provenance(model.fingerprint, data.fingerprint, bare.fingerprint, BACKEND, seconds, versions())
        found.append(Outcome(logits, meaning(data.task, logits), labels, data.task, made))
    return found[0], found[1]


def _fitted(passes: _Passes, network: Network, step: Step) -> FittedCalibrator:
    """The confidence calibration of a network, fitted on the calibration split, remembered."""
    key = ("calibrator", network.identity, passes.data.fingerprint, step)
    seen, _ = passes.logits(network, "calibration")
    chosen = method("calibrate", step.method).function
    labels = split_for_fitting(passes.data).y
    return RESULTS.remember(key, lambda: chosen(seen, labels, **step.values), lambda _: seen.nbytes)


def calibrator(model: ModelHandle, data: DataHandle, recipe: Recipe) -> FittedCalibrator | None:
    """The recipe's fitted confidence calibration, or None where it has none. Raises `TemperError`."""
    steps = recipe.simplified().only("calibrate").steps
    _check_suits(data, steps)
    network, _ = transform(model, data, recipe)
    return _fitted(_Passes(data, None), network, steps[0]) if steps else None


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
    """Estimate a recipe's figures from about `budget` examples of the evaluation split, before calibration.

    The original is known whole and comes along as a result of its own. Raises `TemperError` unless the
    budget lies between 2 and the size of the split.
    """
    found = evaluate(model, data, Recipe())
    if not 2 <= budget <= found.original.n:
        raise TemperError(f"The budget must be a number from 2 to {found.original.n:,}; got {budget:,}.")
    network, _ = transform(model, data, recipe)
    watch = Watch.of(found.original)
    with lane():
        predict = predictor(assemble(network))
        for part in (max(budget // 3, 1), budget):
            watch.fill(predict, load_split(data, "evaluation").inputs, part, lambda _: rest(), chunk(network))
    return found, watch.estimate()
