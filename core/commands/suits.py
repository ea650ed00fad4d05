"""The command `suits`: will these data do to learn from? What is in them, beside what the model knows."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from core.commands.other import OTHERS, other
from core.commands.pair import add_pair, chosen

if TYPE_CHECKING:  # a command imports what it needs when it runs
    from core.data.handle import DataHandle
    from core.models.handle import ModelHandle
    from core.training.suitability.suitability import Suitability
    from core.types import Quantity

Print = Callable[[Any], None]
Progress = Callable[[float], None]


def add(commands: Any, progress: Progress, show: Print) -> None:
    """Add the command to the parsers in `commands`."""
    suits = commands.add_parser(
        "suits",
        help="will these data do to learn from: classes, distance, copies, doubtful labels",
        description="Looks at the examples to learn from, by default the model's own. Nothing is fitted on "
        "evaluation examples, which are only compared with.",
    )
    add_pair(suits, OTHERS)
    suits.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    suits.set_defaults(run=lambda options: _suits(options, progress, show))


def _suits(options: argparse.Namespace, progress: Progress, show: Print) -> None:
    from core.training.suitability.suitability import suitability

    model, data, offered = _asked(options)
    found = suitability(model, data, offered, progress)
    progress(1.0)
    if options.json:
        show(_summary(model, data, found))
        return
    print(f"{offered.split('fit').n:,} examples to learn from, of '{offered.title}', for {model.title}")
    for one in found.findings:
        print(f"  {one.how:5} {one.about:9} {one.text}")


def _asked(options: argparse.Namespace) -> tuple[ModelHandle, DataHandle, DataHandle]:
    """The pair, and the data to look at beside it: its own, unless `--data` names others."""
    from core.models.samples import load_sample, own_ids, sample_ids

    if options.data is None or options.model not in (*sample_ids(), *own_ids()):
        model, data = chosen(options)
        return model, data, data
    model, data = load_sample(options.model)
    found = other(options, model, data)
    return model, data, load_sample(found)[1] if isinstance(found, str) else found.data()


def _summary(model: ModelHandle, data: DataHandle, found: Suitability) -> dict[str, Any]:
    far, copies, noise, classes = found.distance, found.copies, found.noise, found.offered.classes
    labels = None
    if noise is not None:
        doubtful = [
            {"example": one.place, "label": classes[one.given], "looks_like": classes[one.other],
             "share": one.other_share}
            for one in noise.doubtful
        ]  # fmt: skip
        labels = {**_told(noise.share), "found_of_planted": noise.found, "n": noise.n, "doubtful": doubtful}
    return {
        "model": model.id,
        "data": data.id,
        "offered": found.offered.id,
        "n": found.offered.split("fit").n,
        "findings": [{"about": one.about, "how": one.how, "text": one.text} for one in found.findings],
        "classes": {
            split: dict(zip(classes, (int(count) for count in counts), strict=True))
            for split, counts in found.counts.items()
        },
        "distance": {
            "auc": _told(far.auc),
            "auc_by_chance": [min(far.chance), max(far.chance)],
            "frechet": far.frechet,
            "frechet_by_chance": [min(far.frechet_chance), max(far.frechet_chance)],
            "apart": far.apart,
            "axes": far.axes,
            "explained": far.explained,
            "n": far.n,
        },
        "copies": {
            "exact": copies.exact,
            "near": _told(copies.near),
            "near_by_chance": _told(copies.chance),
            "more_than_chance": copies.more,
            "least_cosine": copies.bar,
            "n": copies.n,
            "pairs": [
                {"fit": one.fit, "evaluation": one.evaluation, "cosine": one.cosine, "exact": one.exact}
                for one in copies.pairs
            ],
        },
        "labels": labels,
    }


def _told(quantity: Quantity) -> dict[str, Any]:
    ends = quantity.interval
    return {"value": quantity.value, "interval": [ends.low, ends.high] if ends else None}
