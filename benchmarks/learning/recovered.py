"""How much of what compression took comes back in 10, 30 and 60 seconds of learning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.learning.runs import Run, cell, over_seeds, pair, save
from core.engine.transform import transform
from core.recipe import Recipe, Step
from core.training.gain import with_training
from core.training.pace import Paced
from core.training.permit import Permit, permitted

SAMPLE = "fashion-resnet"
SECONDS = (10, 30, 60)
BATCH_NORM = Step.of("repair", "batch-norm")


def _pruned(sparsity: float) -> tuple[Step, ...]:
    return Step.of("prune", "magnitude-global", {"sparsity": sparsity}), BATCH_NORM


def _rounded(weights: int, activations: int = 32) -> tuple[Step, ...]:
    return (Step.of("quantize", "uniform", {"weight_bits": weights, "activation_bits": activations}),)


CASES = {
    "80 % sparse": _pruned(0.8),
    "90 % sparse": _pruned(0.9),
    "95 % sparse": _pruned(0.95),
    "half the channels": (Step.of("prune", "channels-magnitude", {"sparsity": 0.5}), BATCH_NORM),
    "W4A4": _rounded(4, 4),
    "W3": _rounded(3),
    "W2": _rounded(2),
    "80 % sparse, W4A8": (*_pruned(0.8), *_rounded(4, 8)),
}


def pace(found: dict[str, Any]) -> None:
    """Turn seconds into epochs, once: every seed then learns as much, whatever else the machine does."""
    for case, steps in CASES.items():
        for seconds in SECONDS:
            name = f"{case} / {seconds}"
            if name not in found["epochs"]:
                found["epochs"][name] = _epochs(steps, seconds)
                save(found)
                print(f"{name} s: {found['epochs'][name]:g} epochs", flush=True)


def _epochs(steps: tuple[Step, ...], seconds: float) -> float:
    try:
        with permitted(Permit(seconds=seconds)):
            transform(*pair(SAMPLE), with_training(Recipe(steps), "recover", {}))
    except Paced as paced:
        return paced.epochs
    raise AssertionError("a rehearsal ends with the epochs it found")


def runs(found: Mapping[str, Any], seeds: int) -> Iterator[Run]:
    """The shortest first: what is interrupted then has all seeds of those."""
    yield Run("recovered / original / 0", SAMPLE, Recipe())
    yield from (Run(f"recovered / {case} / before / 0", SAMPLE, Recipe(steps)) for case, steps in CASES.items())
    for seconds in SECONDS:
        for seed in range(seeds):
            for case, steps in CASES.items():
                learn = {"epochs": found["epochs"][f"{case} / {seconds}"]}
                recipe = with_training(Recipe(steps, seed), "recover", learn)
                yield Run(f"recovered / {case} / {seconds} / {seed}", SAMPLE, recipe)


def written(found: Mapping[str, Any]) -> str:
    """The table."""
    original = over_seeds(found, "recovered / original")
    said = (
        f"`recover` with its defaults on {SAMPLE}: the original teaches, masks and grids stay. The seconds are "
        "epochs, as many as a rehearsal on this machine, with nothing else running, found to fit in 10, 30 and 60 "
        f"seconds; every seed learns as many. The original: {100 * original[0]:.2f} %." if original else "Not run."
    )  # fmt: skip
    lines = ["## What comes back", "", said, ""]
    lines += ["| accuracy, % | before | 10 s | 30 s | 60 s | epochs |", "|---|---:|---:|---:|---:|---:|"]
    for case in CASES:
        before = over_seeds(found, f"recovered / {case} / before")
        cells = [cell(over_seeds(found, f"recovered / {case} / {seconds}")) for seconds in SECONDS]
        epochs = ", ".join(f"{found['epochs'].get(f'{case} / {seconds}', 0):g}" for seconds in SECONDS)
        first = f"{100 * before[0]:.2f}" if before else "not run"
        lines.append(f"| {case} | {first} | {' | '.join(cells)} | {epochs} |")
    return "\n".join(lines)
