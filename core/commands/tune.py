"""The command `tune`: trials find the settings of a training, chosen on calibration, judged once on evaluation."""

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
    from core.training.attempted import Attempted, Judged
    from core.training.tuning import Tuning
    from core.types import Quantity

Print = Callable[[Any], None]


def add(commands: Any, read: Callable[[str], Any], show: Print) -> None:
    """Add the command to the parsers in `commands`."""
    tune = commands.add_parser(
        "tune",
        help="find a training's settings by short trials; Ctrl-C keeps them, run again to go on",
        description="Each trial learns from the fit split. The loss on the calibration split chooses between them, "
        "and the evaluation split judges the best one beside the given settings, once.",
    )
    add_pair(tune)
    add_training(tune)
    tune.add_argument("--vary", action="append", default=[], metavar="NAME",
                      help="a setting that varies, such as rate; repeatable, all of them by default")  # fmt: skip
    tune.add_argument("--epochs", type=float, metavar="N", help="of a trial, 2 by default")
    tune.add_argument("--examples", type=int, metavar="N", help="that a trial learns from, 2,000 by default")
    tune.add_argument("--trials", type=int, default=20, metavar="N", help="in all, 20 by default")
    tune.add_argument("--out", type=Path, metavar="FILE", help="the recipe with the best training in it, as JSON")
    tune.add_argument("--csv", type=Path, metavar="FILE", help="every trial as a table")
    tune.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    tune.set_defaults(run=lambda options: _tune(options, read, show))


def _tune(options: argparse.Namespace, read: Callable[[str], Any], show: Print) -> None:
    from core.figures.tuning import tuning_table
    from core.registry import method
    from core.training.trial import loss_name
    from core.training.tuning import Tuning
    from core.training.tuning_space import EPOCHS, EXAMPLES, TuningSpace, offered

    for path in (options.out, options.csv):
        checked_file(path)
    base = base_of(options, read)
    values = values_of(options, method("train", options.how).parameters)
    model, data = chosen(options)
    few = min(EXAMPLES, data.split("fit").n)
    if options.examples is not None:
        values["examples"] = options.examples
    given = {"epochs": EPOCHS, "examples": few} | values
    space = TuningSpace.of(base, options.how, given, tuple(options.vary) or offered(options.how))
    tuning = Tuning(model, data, space, options.trials)
    if tuning.standing().state != "done":
        _run(tuning)
    tried, best, loss = tuning.tried, tuning.best, loss_name(data)
    if tuning.standing().note:
        print(f"temper: {tuning.standing().note}", file=sys.stderr)
    if options.csv is not None:
        options.csv.write_text(tuning_table(tried, loss).to_csv(index=False), encoding="utf-8")
    if best is None or tuning.judged is None:
        why = next((one.error for one in tried if one.error), "")
        raise TemperError(f"None of {len(tried)} trials came to a loss that could be compared. {why}".strip())
    if options.out is not None:
        options.out.write_text(best.recipe.to_json() + "\n", encoding="utf-8")
    if options.json:
        show(_summary(tuning, best, tuning.judged, loss))
    else:
        _lines(tuning, best, tuning.judged, loss)


def _run(tuning: Tuning) -> None:
    """Try settings in a worker process and tell of each trial as it ends."""
    told = len(tuning.tried)
    if told:
        print(f"Going on after {told} trial{'s' * (told > 1)}.", file=sys.stderr)

    def ended() -> None:
        nonlocal told
        tried, standing = tuning.tried, tuning.standing()
        for one in tried[told:]:
            best = min((t for t in tried[: one.number + 1] if t.loss is not None), key=_least, default=None)
            so_far = f"; best so far {best.loss:.4g}, trial {best.number + 1}" if best else ""
            left = f"; about {standing.seconds_left:.0f} s left" if standing.seconds_left else ""
            head = f"trial {one.number + 1} of {standing.trials}: {_said(tuning, one)}"
            print(f"{head}{so_far}{left}", file=sys.stderr, flush=True)
        told = len(tried)

    followed(tuning, ended)


def _least(one: Attempted) -> tuple[float, int]:
    return one.loss or 0.0, one.number


def _settings(tuning: Tuning, one: Attempted) -> dict[str, Any]:
    """The settings of a trial that vary, without one that says nothing beside another's zero."""
    from core.training.tuning_space import NEEDS

    values = one.recipe.only("train").steps[-1].values
    return {name: values[name] for name in tuning.space.tuned if name not in NEEDS or values[NEEDS[name]]}


def _said(tuning: Tuning, one: Attempted) -> str:
    settings = ", ".join(f"{name} {value}" for name, value in _settings(tuning, one).items())
    end = _ended(one)
    told = {"failed": f"failed ({one.error})", "finished": f"loss {one.loss or 0:.4g}"}
    return f"{settings}: {told.get(end, end)}"


def _ended(one: Attempted) -> str:
    return "failed" if one.error else "stopped early" if one.loss is None else "finished"


def _ends(quantity: Quantity) -> list[float] | None:
    return [quantity.interval.low, quantity.interval.high] if quantity.interval else None


def _summary(tuning: Tuning, best: Attempted, judged: Judged, loss: str) -> dict[str, Any]:
    tried = tuning.tried
    data = tuning.data

    def row(one: Attempted) -> dict[str, Any]:
        facts = {"trial": one.number + 1, "settings": _settings(tuning, one), "end": _ended(one)}
        return {**facts, "loss": one.loss, "seconds": one.seconds}

    return {
        "model": tuning.model.id,
        "data": data.id,
        "loss": loss,
        "varied": list(tuning.space.tuned),
        "examples": {split: data.split(split).n for split in ("fit", "calibration", "evaluation")},
        "chosen_on": "calibration",
        "judged_on": "evaluation",
        "best": {**row(best), "recipe": best.recipe.to_dict()},
        "given": row(tried[0]),
        "judged": {
            "n": judged.n,
            "original": judged.original,
            "given": judged.usual,
            "best": judged.best,
            "change": {name: {"value": q.value, "interval": _ends(q)} for name, q in judged.change.items()},
        },
        "trials": [row(one) for one in tried],
    }


def _lines(tuning: Tuning, best: Attempted, judged: Judged, loss: str) -> None:
    from core.figures.tuning import tuned_sentence

    tried, data = tuning.tried, tuning.data
    counts = [f"{len(tried)} trials"]
    for count, what in (
        (sum(t.stopped for t in tried), "stopped early"),
        (sum(bool(t.error) for t in tried), "failed"),
    ):
        counts += [f"{count} {what}"] if count else []
    print(
        f"{', '.join(counts)}; chosen by {loss} on {data.split('calibration').n:,} calibration examples, judged once "
        f"on {judged.n:,} evaluation examples"
    )
    for title, one in (("given", tried[0]), ("best", best)):
        print(f"  {title:10} trial {one.number + 1}: {_said(tuning, one)}")
    for name, change in judged.change.items():
        low, high = _ends(change) or (change.value, change.value)
        print(
            f"  {name:10} original {judged.original[name]:.4f}  given {judged.usual[name]:.4f}  "
            f"best {judged.best[name]:.4f}  change {change.value:+.4f} [{low:+.4f}, {high:+.4f}]"
        )
    print(tuned_sentence(tried, judged, data.task.facts.headline))
