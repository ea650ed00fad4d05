"""The commands `report` and `runs`: what leaves the dashboard as a file, and what was kept."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.commands.pair import add_pair, chosen
from core.errors import TemperError

if TYPE_CHECKING:  # a command imports what it needs when it runs
    from core.recipe import Recipe

Progress = Callable[[float], None]


def add(commands: Any, read_recipe: Callable[[str], Recipe], progress: Progress) -> None:
    """Add both commands to the parsers in `commands`."""
    report = commands.add_parser("report", help="write one HTML file with figures, charts and how to reproduce them")
    add_pair(report)
    report.add_argument("--recipe", required=True, metavar="FILE|JSON", help="a recipe file, or the JSON itself")
    report.add_argument("--out", required=True, type=Path, metavar="FILE", help="ends in .html")
    report.add_argument("--script", type=Path, metavar="FILE", help="also write a script that rebuilds the model")
    report.set_defaults(run=lambda options: _report(options, read_recipe(options.recipe), progress))

    kept = commands.add_parser("runs", help="list the recipes evaluated so far, the latest first")
    kept.add_argument("--search", default="", metavar="WORDS", help="words in name, note, recipe, model or data")
    kept.add_argument("--model", metavar="ID", help="runs of this model only")
    kept.add_argument("--json", action="store_true", help="print one JSON array instead of a table")
    kept.add_argument("--out", type=Path, metavar="FILE", help="write them to a file that ends in .csv or .json")
    kept.add_argument("--export-mlflow", action="store_true", help="send them to the server in MLFLOW_TRACKING_URI")
    kept.set_defaults(run=_runs)


def _report(options: argparse.Namespace, recipe: Recipe, progress: Progress) -> None:
    from core.deploy.latency import latencies
    from core.engine.compare import compare
    from core.engine.evaluate import evaluate
    from core.engine.transform import transform
    from core.report import report
    from core.reproduce import rebuild, script

    _check_place(options.out, (".html", ".htm"))
    if options.script is not None:
        _check_place(options.script, (".py",))
    model, data = chosen(options)
    result = evaluate(model, data, recipe, progress)
    network, _ = transform(model, data, recipe)
    text = report(result, recipe, compare(result), latencies(network, data), model, data)
    _write(options.out, text)
    if options.script is not None:
        _write(options.script, script(model.id, recipe, rebuild(model, data, recipe)))


def _check_place(path: Path, endings: tuple[str, ...]) -> None:
    where = path.absolute()
    if where.suffix not in endings or not where.parent.is_dir() or where.is_dir():
        raise TemperError(f"The file must end in {' or '.join(endings)} in a folder that is there; got {path}.")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise TemperError(f"{path} cannot be written: {error.strerror or error}.", "Name another file.") from error
    print(f"written to {path}")


def _runs(options: argparse.Namespace) -> None:
    from core import runs, runs_table, tracking
    from core.figures import said

    found = runs.listed(options.search, options.model)
    if options.out is not None:
        _check_place(options.out, (".csv", ".json"))
        _write(options.out, (runs_table.to_csv if options.out.suffix == ".csv" else runs_table.to_json)(found))
    elif options.export_mlflow:
        new = sum(tracking.send(run) for run in found)
        print(f"{new} of {len(found)} runs sent, the others were there")
    elif options.json:
        print(runs_table.to_json(found))
    elif not found:
        print("No run" + (" with these words." if options.search or options.model else " yet."))
    for run in found if not (options.out or options.export_mlflow or options.json) else ():
        lead = run.task.facts.headline
        value, change = run.quantity(lead), run.quantity(lead, "change")
        print(f"{run.id}  {runs_table.moment(run.time)}  {run.model:16} {said.value(value.value, value.unit):>16} "
              f"{said.moved(change.value, change.unit):>8}  {run.bytes():>10,} bytes  {run.label}")  # fmt: skip
