"""A training in a worker process: it tells how it goes in a folder, and brings back what was learned."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from core.engine.lane import rest
from core.engine.memory import RESULTS
from core.engine.transform import transform
from core.jobs.workers import wait_at_gate
from core.recipe import Recipe, Step, from_dict
from core.sweeps.spots import handles
from core.training import kept
from core.training.loop import Look
from core.training.pace import Paced
from core.training.permit import Permit, StoppedEarly, permitted

LOOKS, NOW, LEAVE, RECIPE = "looks.jsonl", "now", "leave", "recipe.json"
BEAT = 0.25  # seconds between two words on how far it is


@dataclass(frozen=True)
class Order:
    """What a worker is asked: a recipe whose last step before calibration trains, and for how long where `seconds`.

    `folder` is where it tells how it goes, as far as this machine sees it.
    """

    sample: str
    model: str
    data: str
    recipe: Recipe
    folder: str
    seconds: float | None = None


@dataclass(frozen=True)
class Learned:
    """What came back: the recipe as it was trained in the end, and the files that hold it, by training and name."""

    recipe: Recipe
    files: dict[str, dict[str, bytes]]


def train(order: Order) -> Learned:
    """Train what the order says, from where an earlier try stood. Raises `TemperError`."""
    wait_at_gate()
    model, data = handles(order)
    folder, files = Path(order.folder), dict[str, dict[str, bytes]]()
    telling = folder.is_dir()

    def saved(place: Path) -> None:
        names = ("trained.safetensors", "trained.json")
        files[place.name] = {name: (place / name).read_bytes() for name in names}

    def looked(look: Look) -> None:
        if telling:
            with (folder / LOOKS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(look)) + "\n")

    permit = Permit(_teller(folder if telling else None), looked, (folder / LEAVE).exists, saved)
    bare = order.recipe.without("calibrate")
    recipe, timed = order.recipe, order.seconds
    if telling and (folder / RECIPE).exists():  # the time was turned into epochs in an earlier try
        recipe, timed = from_dict(json.loads((folder / RECIPE).read_text("utf-8"))), None
    if timed is not None:
        RESULTS.clear()  # a long-lived worker may have this very training, which would answer for the rehearsal
    with permitted(replace(permit, looked=lambda _: None)):  # an earlier training is not what is watched
        transform(model, data, replace(bare, steps=bare.steps[:-1]))
    if timed is not None:
        try:
            with permitted(replace(permit, seconds=timed)):
                transform(model, data, bare)
        except Paced as found:
            recipe = with_last(recipe, epochs=found.epochs)
    if telling:
        (folder / RECIPE).write_text(json.dumps(recipe.to_dict()), "utf-8")
        (folder / LOOKS).unlink(missing_ok=True)
    try:
        with permitted(permit):
            transform(model, data, recipe.without("calibrate"))
    except StoppedEarly as early:
        recipe = with_last(recipe, until=early.until)
    return Learned(recipe, files)


def with_last(recipe: Recipe, **values: Any) -> Recipe:
    """The recipe with other values of its last training."""
    place = max(number for number, step in enumerate(recipe.steps) if step.kind == "train")
    changed: Step = recipe.steps[place].with_values(values)
    return replace(recipe, steps=(*recipe.steps[:place], changed, *recipe.steps[place + 1 :]))


def keep_files(learned: Learned) -> None:
    """Keep what another machine learned as if it had been learned here."""
    for key, files in learned.files.items():
        folder = kept.place(key)
        if (folder / "trained.json").exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)


def _teller(folder: Path | None) -> Callable[[float], None]:
    last = 0.0

    def told(fraction: float) -> None:
        nonlocal last
        rest()
        wait_at_gate()
        now = time.monotonic()
        if folder is not None and now - last > BEAT:
            last = now
            partial = folder / f".{NOW}"
            partial.write_text(f"{fraction:.6f}", "utf-8")
            partial.replace(folder / NOW)  # whoever reads it never finds it empty

    return told
