"""How much comes back in 10, 30 and 60 seconds of learning, five seeds: benchmarks/RECOVERED.md.

`make bench-recovered`, or `python -m benchmarks.recovered [SAMPLE] [SEEDS]`. The seconds are turned into epochs once,
by a rehearsal on the machine named in the table, and written down: every seed then learns as much. What is done is
kept in benchmarks/RECOVERED.json, so that an interrupted run goes on. Intervals over seeds are Student's, at 95 %;
they speak of the order of the examples, not of other evaluation examples.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from scipy import stats

from benchmarks.rows import processor
from core.data.handle import DataHandle
from core.engine.evaluate import evaluate
from core.engine.runtime import threads
from core.engine.transform import transform
from core.models.handle import ModelHandle
from core.models.samples import load_sample
from core.recipe import Recipe, Step
from core.registry import method
from core.training.gain import with_training
from core.training.pace import Paced
from core.training.permit import Permit, permitted
from core.types import Outcome

KEPT = Path(__file__).with_name("RECOVERED.json")
TABLE = Path(__file__).with_name("RECOVERED.md")
SECONDS = (10.0, 30.0, 60.0)
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


def main(sample: str, seeds: int) -> None:
    """Measure what is not kept yet, and write the table."""
    os.environ.setdefault("TEMPER_AHEAD", "0")
    model, data = load_sample(sample)
    kept: dict[str, Any] = json.loads(KEPT.read_text("utf-8")) if KEPT.exists() else {}
    of = kept.setdefault(sample, {"epochs": {}, "before": {}, "after": {}, "took": {}})
    of["original"] = _headline(evaluate(model, data, Recipe()).original)
    for case, steps in CASES.items():
        for seconds in SECONDS:
            name = f"{case} / {seconds:g}"
            if name not in of["epochs"]:
                of["epochs"][name] = _epochs(model, data, steps, seconds)
                _save(kept)
    for seconds in SECONDS:  # the shortest first: an interrupted run then has all seeds of those
        for seed in range(seeds):
            for case, steps in CASES.items():
                name = f"{case} / {seconds:g} / {seed}"
                if name in of["after"]:
                    continue
                recipe = with_training(
                    Recipe(steps, seed), "recover", {"epochs": of["epochs"][f"{case} / {seconds:g}"]}
                )
                began = time.perf_counter()
                with permitted():
                    result = evaluate(model, data, recipe)
                of["took"][name] = time.perf_counter() - began
                of["after"][name] = _headline(result.tempered)
                of["before"].setdefault(case, _headline(evaluate(model, data, Recipe(steps)).tempered))
                _save(kept)
                TABLE.write_text(written(kept), "utf-8")
                print(f"{name}: {100 * of['before'][case]:.2f} to {100 * of['after'][name]:.2f}", flush=True)


def _headline(outcome: Outcome) -> float:
    measure = method("metric", outcome.task.facts.headline).function
    return float(measure.value(outcome.predicted, outcome.labels))


def _epochs(model: ModelHandle, data: DataHandle, steps: tuple[Step, ...], seconds: float) -> float:
    recipe = with_training(Recipe(steps), "recover", {})
    try:
        with permitted(Permit(seconds=seconds)):
            transform(model, data, recipe)
    except Paced as found:
        return found.epochs
    raise AssertionError("a rehearsal ends with the epochs it found")


def _save(kept: dict[str, Any]) -> None:
    partial = KEPT.with_suffix(".partial")
    partial.write_text(json.dumps(kept, indent=1), "utf-8")
    partial.replace(KEPT)


def written(kept: dict[str, Any]) -> str:
    """The tables, one a sample; every number follows from what was kept."""
    day = time.strftime("%Y-%m-%d")
    text = [
        "# What comes back\n\n`python -m benchmarks.recovered`, "
        f"{day}, {processor()}, {threads()} threads, torch {torch.__version__}. Accuracy on the evaluation split, "
        "in %, before learning and after as many epochs as fit into 10, 30 and 60 seconds; the mean over seeds with "
        "its 95 % interval (Student's t). `recover` with its defaults: the original teaches, masks and grids stay.\n"
    ]
    for sample, of in kept.items():
        seeds = 1 + max(int(name.rsplit(" / ", 1)[1]) for name in of["after"])
        text.append(f"\n## {sample}\n\nThe original: {100 * of['original']:.2f} %. Seeds: {seeds} at most.\n")
        text.append("| | before | 10 s | 30 s | 60 s | epochs |\n|---|---:|---:|---:|---:|---:|")
        for case in CASES:
            if case not in of["before"]:
                continue
            cells = [
                _cell([v for n, v in of["after"].items() if n.startswith(f"{case} / {s:g} / ")]) for s in SECONDS
            ]
            epochs = ", ".join(f"{of['epochs'][f'{case} / {s:g}']:g}" for s in SECONDS)
            text.append(f"| {case} | {100 * of['before'][case]:.2f} | {' | '.join(cells)} | {epochs} |")
    return "\n".join(text) + "\n"


def _cell(values: list[float]) -> str:
    if not values:
        return "not run"
    mean = sum(values) / len(values)
    if len(values) < 2:
        return f"{100 * mean:.2f} (1 seed)"
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
    half = float(stats.t.ppf(0.975, len(values) - 1)) * spread / math.sqrt(len(values))
    return f"{100 * mean:.2f} ± {100 * half:.2f} (n = {len(values)})"


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "fashion-resnet", int(sys.argv[2]) if len(sys.argv) > 2 else 5)
