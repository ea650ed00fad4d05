"""The command `transfer`: a model's body with a last layer for other data, and what that body is worth there."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from core.commands.other import OTHERS, other
from core.commands.pair import add_pair
from core.commands.training import followed
from core.errors import TemperError

if TYPE_CHECKING:  # a command imports what it needs when it runs
    from core.training.labelled import Labelled, Ladder

Print = Callable[[Any], None]
STEPS, SEEDS = 100, 1
MOST_STEPS, MOST_SEEDS = 5_000, 20


def add(commands: Any, show: Print) -> None:
    """Add the command to the parsers in `commands`."""
    transfer = commands.add_parser(
        "transfer",
        help="move a model to other classes or other data: its body with a last layer for them",
        description="Keeps the pair as a model of your own, which `adapt` trains. With --worth, what the body is "
        "worth there: frozen, unfrozen and from scratch by the number of labelled examples, each judged on the "
        "evaluation split.",
    )
    add_pair(transfer, OTHERS)
    transfer.add_argument("--worth", action="store_true", help="learn it from 10, 50, 250 and all labelled examples")
    transfer.add_argument(
        "--steps", type=int, default=STEPS, metavar="N", help=f"of each training, {STEPS} by default"
    )
    transfer.add_argument(
        "--seeds", type=int, default=SEEDS, metavar="N", help=f"trainings of each kind, {SEEDS} by default"
    )
    transfer.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    transfer.set_defaults(run=lambda options: _transfer(options, show))


def _transfer(options: argparse.Namespace, show: Print) -> None:
    from core.models.samples import load_sample, own_ids, read_card, sample_ids
    from core.training.labelled import ladder_of
    from core.transfer import came_from, transfer

    for name, most in (("steps", MOST_STEPS), ("seeds", MOST_SEEDS)):
        if not 1 <= getattr(options, name) <= most:
            raise TemperError(f"--{name} must be from 1 to {most:,}; got {getattr(options, name)}.")
    if options.data is None:
        raise TemperError("--data must say what the model moves to.", f"It may be {OTHERS}.")
    if options.model not in (*sample_ids(), *own_ids()):
        raise TemperError(
            f"--model must be a name that 'models' lists; got {options.model!r:.100}.",
            "Bring it in with 'load' first.",
        )
    model, data = load_sample(options.model)
    found = other(options, model, data)
    made = found if isinstance(found, str) else transfer(model, data, found, options.seed, options.title)
    stated = came_from(made) or {}
    card = read_card(made)
    if not options.json:
        print(f"{made}: {card['title']}")
        for check in card["checks"]:
            if check["title"] in ("Last layer", "Preprocessing"):
                print(f"  {check['title']}: {check['said']}")
        for note in card["notes"]:
            print(f"  {note}")
    ladder = ladder_of(*load_sample(made), options.steps, options.seeds) if options.worth else None
    if ladder is not None:
        _climb(ladder)
    if options.json:
        worth = _summary(ladder.known()) if ladder is not None else None
        show({"model": made, "from": model.id, "drawn": stated.get("drawn", []), "kept": stated.get("kept", []),
              "notes": card["notes"], "worth": worth})  # fmt: skip
    elif ladder is not None:
        _lines(ladder.known())
    else:
        print(f"next: python -m core adapt --model {made} --set layers=head")


def _climb(ladder: Ladder) -> None:
    """Run what is not known yet, with a line on standard error for every training."""
    told = len(ladder.known().points)
    if told:
        print(f"Going on after {told} of {len(ladder.rungs)} trainings.", file=sys.stderr)

    def looked() -> None:
        nonlocal told
        points = ladder.known().points
        if len(points) > told:
            told = len(points)
            standing = ladder.standing()
            left = f", about {standing.seconds_left:.0f} s left" if standing.seconds_left else ""
            print(f"trained {told} of {len(ladder.rungs)}{left}", file=sys.stderr, flush=True)

    if told < len(ladder.rungs):
        followed(ladder, looked)
    if ladder.standing().note:
        print(f"temper: {ladder.standing().note}", file=sys.stderr)


def _lines(found: Labelled) -> None:
    from core.figures.labelled import labelled_caption, labelled_sentence, labelled_table

    print(labelled_table(found).to_string(index=False))
    print(labelled_sentence(found))
    print(labelled_caption(found))


def _summary(found: Labelled) -> dict[str, Any]:
    some = [*([found.before] if found.before is not None else []), *found.points]
    return {
        "measure": found.measure,
        "unit": found.unit,
        "steps": found.steps,
        "fit": found.fit,
        "n": found.n,
        "judged_on": "evaluation",
        "points": [
            {"way": one.way, "labelled": one.count, "seed": one.seed, "value": one.value,
             "interval": [one.low, one.high]}
            for one in some
        ],
    }  # fmt: skip
