"""The command `adapt`: give a model more learning, and say what it brought. And how a training tells of itself."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.commands.pair import add_pair, chosen
from core.commands.training import add_training, base_of, checked_file, followed, values_of
from core.errors import TemperError

if TYPE_CHECKING:  # a command imports what it needs when it runs
    from core.data.handle import DataHandle
    from core.engine.network import Network
    from core.models.handle import ModelHandle
    from core.recipe import Recipe
    from core.training.gain import Gain
    from core.training.loop import Look
    from core.training.training import Progress, Training

Print = Callable[[Any], None]
Read = Callable[[str], Any]
SECONDS = 30.0


def add(commands: Any, read: Read, show: Print) -> None:
    """Add the command to the parsers in `commands`."""
    adapt = commands.add_parser(
        "adapt",
        help="train a recipe's network further; Ctrl-C stops and keeps it, run again to go on",
        description="Learns from the fit split alone, and is judged on the evaluation split.",
    )
    add_pair(adapt)
    add_training(adapt)
    length = adapt.add_mutually_exclusive_group()
    length.add_argument("--seconds", type=float, metavar="S", help="30 by default; turned into epochs by a rehearsal")
    length.add_argument("--epochs", type=float, metavar="N", help="how often each example is learned from")
    length.add_argument("--find-rate", action="store_true",
                        help="try a hundred rising rates, say which to take, and train nothing")  # fmt: skip
    adapt.add_argument("--out", type=Path, metavar="FILE", help="the recipe with the training in it, as JSON")
    adapt.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    adapt.set_defaults(run=lambda options: _adapt(options, read, show))


def trained(
    model: ModelHandle, data: DataHandle, recipe: Recipe, looked: Callable[[Look], None] | None = None
) -> Network:
    """The network of a recipe whose trainings may run here. Raises `TemperError`.

    `looked` hears of every look; without it standard error does.
    """
    from core.engine.transform import transform
    from core.training.permit import Permit, StoppedEarly, permitted

    try:
        with permitted(Permit(looked=looked or _told)):
            return transform(model, data, recipe)[0]
    except StoppedEarly as early:
        hint = f"Take a lower rate, or what was kept: the same recipe with until = {early.until:g}."
        raise TemperError(early.note or "The training was stopped.", hint) from early


def _adapt(options: argparse.Namespace, read: Read, show: Print) -> None:
    from core.engine.evaluate import evaluate
    from core.registry import method
    from core.training.gain import gain, untrained, with_training
    from core.training.training import training_of

    checked_file(options.out)
    if options.seconds is not None and not 1 <= options.seconds <= 86_400:
        raise TemperError(f"--seconds must be from 1 to 86400; got {options.seconds:g}.")
    base = base_of(options, read)
    model, data = chosen(options)
    data.split("fit")
    recipe = with_training(base, options.how, values_of(options, method("train", options.how).parameters))
    if options.find_rate:
        if options.out is not None:
            raise TemperError("--out keeps a recipe that was trained, and --find-rate trains none.", "Leave one out.")
        _find_rate(model, data, recipe, options.json, show)
        return
    seconds = None if options.epochs is not None else options.seconds or SECONDS
    training = training_of(model, data, recipe, seconds)
    again = training.reopen()
    if again:
        print("Going on from where it was stopped.", file=sys.stderr)
    if training.standing().state != "done":
        _run(training)
    standing = training.standing()
    assert standing.recipe is not None
    if standing.note:
        print(f"temper: {standing.note}", file=sys.stderr)
    done = standing.recipe
    if options.out is not None:
        options.out.write_text(done.to_json() + "\n", encoding="utf-8")
    before, after = evaluate(model, data, untrained(done)), evaluate(model, data, done)
    found = gain(before, after)
    if options.json:
        show(_summary(model.id, done, found, standing))
    else:
        _lines(done, found, standing)


def _find_rate(model: ModelHandle, data: DataHandle, recipe: Recipe, as_json: bool, show: Print) -> None:
    from core.figures.rate_range import rate_caption
    from core.training.rate_range import find_rate
    from core.training.worker import with_last

    found = find_rate(model, data, with_last(recipe, rate=1e-3, epochs=1.0))  # neither changes what is found
    if as_json:
        tried = zip(found.rates, found.losses, found.smooth, strict=True)
        listed = [{"rate": rate, "loss": loss, "running_mean": mean} for rate, loss, mean in tried]
        show({"model": model.id, "rate": found.suggestion, "by": found.by, "looked_at": "fit", "tried": listed})
        return
    print(rate_caption(found))


def _run(training: Training) -> None:
    """Train in a worker process and tell of it; one Ctrl-C stops it at the next checkpoint, a second at once."""
    told, left = 0, False

    def looked() -> None:
        nonlocal told
        looks = training.standing().looks
        for look in looks[told:]:
            _told(look)
        told = len(looks)

    def leave() -> bool:
        nonlocal left
        if left or not told:
            return False
        left = True
        training.leave()
        words = "Stopping at the next checkpoint and keeping what was learned; Ctrl-C again ends it at once."
        print(f"\n{words}", file=sys.stderr)
        return True

    followed(training, looked, leave)


def _told(look: Look) -> None:
    lead = "calibration" if "calibration" in look.values else next(iter(look.values))
    figures = ", ".join(f"{name} {value:.4g}" for name, value in look.values[lead].items())
    print(f"epoch {look.epoch:6.2f}  {look.seconds:6.1f} s  {lead}: {figures}", file=sys.stderr, flush=True)


def _summary(model: str, recipe: Recipe, found: Gain, standing: Progress) -> dict[str, Any]:
    looks = standing.looks

    def ends(quantity: Any) -> list[float] | None:
        return [quantity.interval.low, quantity.interval.high] if quantity.interval else None

    return {
        "model": model,
        "recipe": recipe.to_dict(),
        "n": found.n,
        "original": dict(found.original),
        "before": dict(found.before),
        "after": dict(found.after),
        "change": {name: {"value": q.value, "interval": ends(q)} for name, q in found.change.items()},
        "to_the_original": {name: {"value": q.value, "interval": ends(q)} for name, q in found.left.items()},
        "steps": looks[-1].step if looks else 0,
        "epochs": looks[-1].epoch if looks else 0.0,
        "seconds": looks[-1].seconds if looks else 0.0,
        "where": standing.where,
        "judged_on": "evaluation",
    }


def _lines(recipe: Recipe, found: Gain, standing: Progress) -> None:
    looks, on = standing.looks, f" on {standing.where}" if standing.where else ""
    for_time = f"{looks[-1].epoch:.3g} epochs in {looks[-1].seconds:.0f} s{on}, " if looks else ""
    print(f"{recipe.notation}: {for_time}judged on {found.n:,} evaluation examples")
    for name, change in found.change.items():
        low, high = (change.interval.low, change.interval.high) if change.interval else (change.value, change.value)
        print(
            f"  {name:10} original {found.original[name]:.4f}  before {found.before[name]:.4f}  "
            f"after {found.after[name]:.4f}  change {change.value:+.4f} [{low:+.4f}, {high:+.4f}]"
        )
