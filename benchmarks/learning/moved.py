"""A trained body on other data, frozen or not, against the same network from scratch, by the number of labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.learning.runs import Run, cell, gap, over_seeds, pair
from core.training.labelled import WAYS, ladder_of

STEPS = 200  # of learning, at every point
MOVES = {
    "fashion-resnet to written digits": ("fashion-resnet", "digits"),
    "fashion-small to written digits": ("fashion-small", "digits"),
    "rain-6h to JFK alone": ("rain-6h", "group airport 1"),
}


def runs(seeds: int) -> Iterator[Run]:
    """The very recipes of the page's experiment, few labels first."""
    for move, (sample, to) in MOVES.items():
        for rung in ladder_of(*pair(sample, to), STEPS, seeds).rungs:
            name = f"moved / {move} / {rung.count} / {rung.way.name} / {rung.seed}"
            yield Run(name, sample, rung.training.recipe, to)


def written(found: Mapping[str, Any]) -> str:
    """The tables."""
    lines = [
        "## On other data, by the number of labels",
        "",
        f"{STEPS} steps of `fine-tune` at every point, a new last layer in all three; the difference, in points, is "
        "that of the same seeds. rain-6h has seen JFK among the other airports: there it specialises.",
        "",
        f"| accuracy, % | labels | {' | '.join(way.title.lower() for way in WAYS)} | unfrozen less scratch |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for move in MOVES:
        start = f"moved / {move} / "
        counts = sorted({int(name.split(" / ")[2]) for name in found["value"] if name.startswith(start)})
        for count in counts:
            by = {way.name: over_seeds(found, f"{start}{count} / {way.name}") for way in WAYS}
            cells = " | ".join(cell(by[way.name]) for way in WAYS)
            lines.append(f"| {move} | {count:,} | {cells} | {gap(by['unfrozen'], by['scratch'])} |")
    return "\n".join(lines)
