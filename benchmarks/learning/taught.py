"""A student with its teacher against the same student alone: same start, same order of examples, same steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.learning.runs import Run, cell, gap, over_seeds
from core.recipe import Recipe, Step
from core.training.taught import alone_of

CASES = {  # title: sample, steps before, the distillation's settings
    "fashion-small from scratch, fashion-resnet teaches": (
        "fashion-small", (), {"teacher": "fashion-resnet", "start": "scratch", "epochs": 5.0},
    ),
    "fashion-resnet with a quarter of its channels, the whole one teaches": (
        "fashion-resnet", (Step.of("prune", "channels-magnitude", {"sparsity": 0.75}),),
        {"teacher": "original", "start": "trained", "epochs": 3.0},
    ),
    "credit-default's network from scratch, boosted trees teach": (
        "credit-default", (), {"teacher": "boosting", "start": "scratch", "epochs": 10.0},
    ),
}  # fmt: skip


def runs(seeds: int) -> Iterator[Run]:
    """Pairs, seed by seed."""
    for seed in range(seeds):
        for case, (sample, steps, settings) in CASES.items():
            recipe = Recipe((*steps, Step.of("train", "distil", settings)), seed)
            yield Run(f"taught / {case} / taught / {seed}", sample, recipe)
            yield Run(f"taught / {case} / alone / {seed}", sample, alone_of(recipe))


def written(found: Mapping[str, Any]) -> str:
    """The table."""
    lines = [
        "## Student with its teacher, and alone",
        "",
        "`distil` with its defaults; alone is the same step without a teacher (mix 0). The difference, in points, is "
        "that of the same seeds.",
        "",
        "| accuracy, % | epochs | taught | alone | difference |",
        "|---|---:|---:|---:|---:|",
    ]
    for case, (_, _, settings) in CASES.items():
        both = [over_seeds(found, f"taught / {case} / {side}") for side in ("taught", "alone")]
        lines.append(f"| {case} | {settings['epochs']:g} | {cell(both[0])} | {cell(both[1])} | {gap(*both)} |")
    return "\n".join(lines)
