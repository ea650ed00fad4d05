"""Which model and data a command works on: a name at hand, or files of one's own."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.errors import TemperError

Print = Callable[[Any], None]


FILES = ".npz, folder or zip of class folders, IDX folder, .csv, .parquet"


def add_pair(parser: argparse.ArgumentParser, data: str = FILES) -> None:
    """The options that name a model and its data; `data` says what the latter may be."""
    parser.add_argument("--model", required=True, metavar="ID|PATH",
                        help="a name that 'models' lists, a model file, or torchvision:NAME, timm:NAME")  # fmt: skip
    own = parser.add_argument_group("a model of your own")
    own.add_argument("--data", metavar="PATH", help=data)
    own.add_argument("--architecture", metavar="NAME", help="of a state dict, such as torchvision:resnet18")
    own.add_argument("--input-shape", metavar="C,H,W", help="one example as the model reads it")
    own.add_argument("--label", metavar="COLUMN", help="label column of a table")
    own.add_argument("--classes", metavar="A,B,..", help="class names in the order of the model's outputs")
    own.add_argument(
        "--normalise", metavar="NAME", help="published, as-is, unit, signed, imagenet, standard, or means;deviations"
    )
    own.add_argument("--resize", type=int, metavar="PIXELS", help="shorter side of pictures before the centre crop")
    own.add_argument("--interpolation", choices=("bilinear", "bicubic", "nearest"))
    own.add_argument("--download", action="store_true", help="allow fetching a named model's published weights")
    own.add_argument("--task", choices=("classes", "numbers"), help="what is predicted, where it is told wrongly")
    own.add_argument("--positive", metavar="NAME", help="of two classes the one that is looked for")
    own.add_argument("--unit", help="of the numbers predicted, such as 'US dollars'")
    own.add_argument(
        "--target-scale", metavar="MEAN;DEVIATION", help="what the target was scaled by in training, put back"
    )
    own.add_argument("--text", metavar="COLUMN", help="column of a table that holds the texts")
    own.add_argument("--tokenizer", metavar="PATH", help="tokenizer.json of a network that reads texts")
    own.add_argument("--groups", metavar="A,B,..", help="columns of a table that sort the examples into groups")
    own.add_argument(
        "--fit-share", type=float, metavar="SHARE",
        help="of the examples, from 0 to 0.8, to train on; default: 0.2 above 3,000 examples",
    )  # fmt: skip
    own.add_argument("--seed", type=int, default=0, help="of the splits")
    own.add_argument("--title", help="a name for people")


def chosen(options: argparse.Namespace) -> Any:
    """The handles of model and data. Raises `TemperError`."""
    from core.models.samples import load_sample

    return load_sample(brought(options))


def brought(options: argparse.Namespace) -> str:
    """The id to work on: files of one's own are brought in first, which goes quickly the second time."""
    from core.models.samples import own_ids, sample_ids

    if options.data is None:
        given = Path(options.model)
        if options.model not in (*sample_ids(), *own_ids()) and (given.exists() or ":" in options.model):
            raise TemperError(f"{options.model:.100} needs labelled examples to be measured on.", "Add --data PATH.")
        return str(options.model)
    return read_in(options, _absolute(options.model))


def read_in(options: argparse.Namespace, model: str, body: bool = False) -> str:
    """The id of the pair that the files make; with `body` they get a last layer on the body of the named `model`."""
    from core.door import Visit
    from core.models.samples import own_home
    from core.wish import Wish

    place = own_home()
    if place is None:
        raise TemperError(
            "TEMPER_HOME is empty, so there is nowhere to keep a model.", "Name a folder in TEMPER_HOME."
        )
    wish = Wish(
        model=model,
        data=_absolute(options.data),
        architecture=options.architecture,
        input_shape=_shape(options.input_shape),
        label=options.label,
        classes=tuple(options.classes.split(",")) if options.classes else None,
        normalise=options.normalise,
        resize=options.resize,
        interpolation=options.interpolation,
        download=options.download,
        seed=options.seed,
        title=options.title,
        task=options.task,
        positive=options.positive,
        unit=options.unit,
        target_scale=options.target_scale,
        text=options.text,
        tokenizer=str(Path(options.tokenizer).absolute()) if options.tokenizer else None,
        groups=tuple(options.groups.split(",")) if options.groups else None,
        fit_share=options.fit_share,
        body=body,
    )

    def told(done: float, what: str) -> None:
        if sys.stderr.isatty():
            print(f"\r{100 * done:3.0f} % {what}    ", end="", file=sys.stderr, flush=True)

    return Visit(wish, place).run(told)


def _absolute(text: str) -> str:
    return text if ":" in text and not Path(text).exists() else str(Path(text).absolute())


def _shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        shape = tuple(int(part) for part in text.split(","))
    except ValueError:
        shape = ()
    if len(shape) not in (1, 3) or min(shape) < 1:
        raise TemperError(f"An input shape is written as 3,224,224 or as a number of columns; got {text:.60}.")
    return shape


def add_load(commands: Any, show: Print) -> None:
    """The command that brings a pair in and says what was found."""
    load = commands.add_parser("load", help="bring in a model and data of your own, and say what was checked")
    add_pair(load)
    load.add_argument("--json", action="store_true", help="print the card as one JSON object")
    load.set_defaults(run=lambda options: _load(options, show))


def _load(options: argparse.Namespace, show: Print) -> None:
    from core.about import prepares, reads, said_task
    from core.models.samples import read_card

    name = brought(options)
    card = read_card(name)
    if options.json:
        show({"id": name, **card})
        return
    print(f"{name}: {card['summary']}")
    print(f"  task       {said_task(card)}")
    for line in (reads(card), *prepares(card)):
        print(f"  reads      {line}")
    print(f"  splits     {json.dumps({part: facts['n'] for part, facts in card['splits'].items()})}")
    for check in card.get("checks", []):
        mark = {True: "ok  ", False: "LOOK", None: "    "}[check["ok"]]
        print(f"  {mark} {check['title']}: {check['said']}")
    for part in card.get("skipped", []):
        print(f"  left alone {part['name']}: {part['what']}, {part['parameters']:,} values")
    for note in card.get("notes", []):
        print(f"  note       {note}")
