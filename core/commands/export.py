"""The command `export`: an artifact as a file, and the proof that it predicts what the screen shows."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.commands.pair import add_pair, chosen
from core.errors import TemperError

if TYPE_CHECKING:
    from core.recipe import Recipe

Progress = Callable[[float], None]
Print = Callable[[Any], None]


def add(
    commands: Any,
    read_recipe: Callable[[str], Recipe],
    progress: Callable[[float], None],
    show: Callable[[Any], None],
) -> None:
    """Add the command to the parsers in `commands`."""
    export = commands.add_parser(
        "export", help="write an artifact and check it against the screen, example by example"
    )
    add_pair(export)
    export.add_argument("--recipe", required=True, metavar="FILE|JSON", help="a recipe file, or the JSON itself")
    export.add_argument("--format", default="onnx", metavar="NAME", help="onnx, onnx-float, pt2 or packed")
    export.add_argument("--out", required=True, type=Path, metavar="FILE")
    export.add_argument("--usage", type=Path, metavar="FILE", help="also write a few lines of Python that use it")
    export.add_argument("--json", action="store_true", help="print the check as one JSON object")
    export.set_defaults(run=lambda options: _export(options, read_recipe(options.recipe), progress, show))


def _export(options: argparse.Namespace, recipe: Recipe, progress: Progress, show: Print) -> None:
    from core.data.texts import Tokens
    from core.deploy.check import declaration, parts_of, ship
    from core.deploy.usage import usage
    from core.registry import method

    ending = declaration(method("format", options.format)).ending
    if options.out.suffix != ending or not options.out.absolute().parent.is_dir():
        raise TemperError(f"--out must end in {ending}, in a folder that is there; got {options.out}.")
    model, data = chosen(options)
    made = ship(model, data, recipe, options.format, progress)
    try:
        options.out.write_bytes(made.content)
        if options.format == "packed":
            from core.formats.packed import READER

            (options.out.absolute().parent / READER.name).write_bytes(READER.read_bytes())
        if isinstance(data.preprocessing, Tokens):
            tokens = data.preprocessing
            (options.out.absolute().parent / tokens.path.name).write_bytes(tokens.content())
        if options.usage is not None:
            options.usage.write_text(usage(options.format, options.out.name, parts_of(model, data, recipe)), "utf-8")
    except OSError as error:
        raise TemperError(f"{options.out} cannot be written: {error.strerror}.") from error
    checked = made.checked
    if options.json:
        told = asdict(checked)
        for figure in told.pop("figures"):
            told |= {figure["name"]: figure["file"], f"screen_{figure['name']}": figure["screen"]}
        show({"file": str(options.out), **told})
    else:
        verdict = "verified" if checked.verified else "NOT verified"
        equal = f"{checked.agree:,} of {checked.n:,} predictions equal"
        apart = f"at most {checked.largest:.1e} apart"
        print(f"{options.out}: {checked.size:,} bytes, {verdict}: {equal}, {apart}")
        print("  " + ", ".join(f"{one.name} {one.file:.6g} (screen {one.screen:.6g})" for one in checked.figures))
        print(f"  tolerance: {checked.stated}")
    if not checked.verified:
        where = f" It starts at {checked.starts.name}." if checked.starts else ""
        raise TemperError(f"The artifact does not predict what the screen shows.{where}", "Choose another format.")
