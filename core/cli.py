"""The command line: the same powers without a browser.

Exit codes: 0 done, 2 bad input with one sentence on standard error, 130 interrupted. Only results go to standard
output.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from core.commands import (
    adapt,
    allocate,
    calibrate,
    damage,
    export,
    runs,
    search,
    sensitivity,
    speed,
    suits,
    transfer,
    tune,
)
from core.commands.pair import add_load, add_pair, chosen
from core.errors import TemperError

RECIPE_LIMIT = 1_000_000  # bytes of a recipe file: a recipe is a page of text


class _Parser(argparse.ArgumentParser):
    """An argument parser that reports a wrong option as one sentence."""

    def error(self, message: str) -> NoReturn:
        raise TemperError(f"{message[:1].upper()}{message[1:]}.", f"See: {self.prog} --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        options = _parser().parse_args(arguments)
        options.run(options)
    except TemperError as error:
        print(f"temper: {error}", file=sys.stderr)
        return 2
    except MemoryError:
        print(
            "temper: There is too little memory for this; close other programs or use fewer examples.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print(
            "temper: Stopped. A sweep, search, tuning or training keeps what it has: "
            "the same command goes on from there.",
            file=sys.stderr,
        )
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m core", description="Temper without a browser.")
    commands = parser.add_subparsers(dest="command", required=True)

    models = commands.add_parser("models", help="list the models at hand")
    models.add_argument("--json", action="store_true", help="print one JSON array")
    models.set_defaults(run=_models)

    listed = commands.add_parser("methods", help="print every method with its parameters as JSON")
    listed.add_argument("--json", action="store_true", help="accepted for symmetry; the output is always JSON")
    listed.set_defaults(run=_methods)

    run = commands.add_parser("run", help="evaluate a recipe beside the original")
    add_pair(run)
    run.add_argument("--recipe", required=True, metavar="FILE|JSON", help="a recipe file, or the JSON itself")
    run.add_argument("--costs", metavar="FALSE_ALARM:MISS", help="of two classes: the cheapest threshold, as 1:5")
    run.add_argument("--by", action="append", default=[], metavar="GROUPS", help="also by these groups; repeatable")
    run.add_argument("--measure", metavar="METRIC", help="what --by tells, the leading metric otherwise")
    run.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    run.set_defaults(run=_run)

    estimate = commands.add_parser("estimate", help="estimate a recipe's accuracy from part of the set")
    add_pair(estimate)
    estimate.add_argument("--recipe", required=True, metavar="FILE|JSON")
    estimate.add_argument("--budget", required=True, type=int, metavar="N", help="examples to evaluate")
    estimate.add_argument("--json", action="store_true", help="print one JSON object instead of a line")
    estimate.set_defaults(run=_estimate)

    sweep = commands.add_parser("sweep", help="evaluate a grid of recipes into a table; run it again to resume")
    add_pair(sweep)
    sweep.add_argument("--grid", required=True, action="append", metavar="NAME=VALUES",
                       help="sparsity=0:0.9:0.1 or weight_bits=2,3,4; give it once a parameter")  # fmt: skip
    sweep.add_argument("--recipe", metavar="FILE|JSON", help="what the grid varies; the untouched model by default")
    sweep.add_argument("--exact", action="store_true", help="measure every point, not only what may be on the front")
    sweep.add_argument("--train", action="store_true", help="run the recipe's trainings for every point first")
    where = sweep.add_mutually_exclusive_group()
    where.add_argument("--workers", type=int, metavar="N", help="local processes; one a core by default")
    where.add_argument("--dask", metavar="ADDRESS", help="a Dask scheduler; TEMPER_DASK does the same")
    sweep.add_argument("--out", required=True, type=Path, metavar="FILE", help="ends in .csv or .parquet")
    sweep.add_argument("--json", action="store_true", help="print the front as one JSON object")
    sweep.set_defaults(run=_sweep)

    add_load(commands, _print_json)
    for part in (damage, export, speed):
        part.add(commands, _read_recipe, _progress, _print_json)
    runs.add(commands, _read_recipe, _progress)
    sensitivity.add(commands, _progress, _print_json)
    allocate.add(commands, _progress, _print_json)
    search.add(commands, _print_json)
    for each in (adapt, tune):
        each.add(commands, _read_recipe, _print_json)
    suits.add(commands, _progress, _print_json)
    transfer.add(commands, _print_json)
    calibrate.add(commands, _print_json)
    return parser


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, allow_nan=False))


def _models(options: argparse.Namespace) -> None:
    from core.figures import said
    from core.models.samples import load_sample, own_ids, read_card, sample_ids

    rows, lines = [], []
    for name in (*sample_ids(), *own_ids()):
        card, (_, data) = read_card(name), load_sample(name)
        facts = {key: card.get(key) for key in ("title", "summary", "task", "parameters", "multiply_adds", "figures")}
        rows.append({"id": name, **facts, "data": data.title, "licence": data.licence})
        lead = data.task.facts.headline
        told = said.value((facts["figures"] or {}).get(lead), data.task.unit_of(said.unit_of(lead)))
        size = f"{facts['parameters'] or 0:,}"
        lines.append(f"{name:16} {size:>9} parameters  {said.name(lead):8} {told:14} {facts['summary']}")
    if options.json:
        _print_json(rows)
        return
    for line in lines:
        print(line)


def _methods(_: argparse.Namespace) -> None:
    from core.registry import PACKAGES, methods

    _print_json(
        [
            {
                "kind": m.kind,
                "name": m.name,
                "title": m.title,
                "summary": m.summary,
                "reference": m.reference,
                "parameters": [
                    {
                        key: value
                        for key, value in {
                            "name": p.name,
                            "title": p.title,
                            "default": p.default,
                            "help": p.help,
                            "low": p.low,
                            "high": p.high,
                            "step": p.step,
                            "choices": list(p.choices) or None,
                            "longest": p.longest or None,
                            "unit": p.unit or None,
                        }.items()
                        if value is not None or key == "default"
                    }
                    for p in m.parameters
                ],
            }
            for kind in PACKAGES
            for m in methods(kind)
        ]
    )


def _read_recipe(given: str) -> Any:
    from core.recipe import from_json

    if given.lstrip().startswith("{"):
        return from_json(given)
    path = Path(given)
    try:
        if path.stat().st_size > RECIPE_LIMIT:
            raise TemperError(f"A recipe file holds at most {RECIPE_LIMIT:,} bytes; {path} is larger.")
        return from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise TemperError(
            f"The recipe must be a JSON object or a file that holds one; {given!r:.200} is neither."
        ) from error


def _run(options: argparse.Namespace) -> None:
    from core import runs
    from core.commands.decide import costs_from_text, decision_summary
    from core.damage.groups import by_group, group_rows
    from core.decisions.decide import Judged, Rule
    from core.deploy.latency import latencies
    from core.engine.compare import compare
    from core.engine.evaluate import calibration_outcomes, evaluate
    from core.sweeps.summary import summary

    recipe = _read_recipe(options.recipe)
    if options.measure and not options.by:
        raise TemperError("--measure says what --by tells; without it nothing changes.", "Name groups: --by sex.")
    model, data = chosen(options)
    started = time.perf_counter()
    network = adapt.trained(model, data, recipe)
    result = evaluate(model, data, recipe, _progress)
    pair = latencies(network, data)
    found = summary(result, recipe, pair, time.perf_counter() - started)
    if options.costs:
        judged = Judged(*calibration_outcomes(model, data, recipe), result.original, result.tempered)
        found["decision"] = decision_summary(judged, Rule(costs=costs_from_text(options.costs)))
    lead = options.measure or data.task.facts.headline
    if options.by:
        found["groups"] = {title: group_rows(by_group(data, result, title, lead)) for title in options.by}
    runs.keep(result, recipe, compare(result), pair, model.title)
    if options.json:
        _print_json(found)
        return
    print(f"{found['model']}  {recipe.notation}  n = {found['n']:,}")
    for name, change in found["difference"]["metrics"].items():
        low, high = change["interval"] or (None, None)
        print(
            f"  {name:10} {found['original'][name]:.4f} -> {found['result'][name]:.4f}  "
            f"{change['difference']:+.4f} [{low:+.4f}, {high:+.4f}]"
        )
    changed = found["difference"]
    if "flips" in changed:
        print(
            f"  flips      {changed['flips']} ({changed['wrong_to_right']} became right, "
            f"{changed['right_to_wrong']} wrong), McNemar mid-p {changed['mcnemar_p']:.3g}"
        )
    print(f"  bytes      {found['original']['bytes']['packed']:,} -> {found['result']['bytes']['packed']:,} packed")
    for side in ("original", "result"):
        speed, note = found[side]["latency_ms"], found[side]["latency_note"]
        text = f"p50 {speed['p50']:.3f} ms, p95 {speed['p95']:.3f} ms. " if speed else ""
        print(f"  latency    {side}: {text}{note}")
    for side in ("original", "result") if "decision" in found else ():
        told = found["decision"][side]
        at = "never" if told["threshold"] is None else f"from a probability of {told['threshold']:.4g} on"
        print(f"  decision   {side}: called {found['decision']['positive']} {at}, cost {told['cost']['value']:.4f}")
    for title, rows in found.get("groups", {}).items():
        for row in rows:
            told = "too few examples" if row["result"] is None else f"{row['original']:.4f} -> {row['result']:.4f}"
            print(f"  {title}: {row['group']:20} n = {row['n']:>6,}  {told}{'  beyond chance' * row['sure']}")
    for warning in found["warnings"]:
        print(f"  note       {warning}")


def _estimate(options: argparse.Namespace) -> None:
    from core.engine.evaluate import estimate_point

    recipe = _read_recipe(options.recipe)
    model, data = chosen(options)
    known, found = estimate_point(model, data, recipe, options.budget)
    lead = data.task.facts.headline
    rows = {lead: found.values[lead], "difference": found.changes[lead]} | (
        {"flips": found.flips} if found.flips else {}
    )
    bounds = {name: [q.interval.low, q.interval.high] if q.interval else [] for name, q in rows.items()}
    values = {name: {"value": q.value, "interval": bounds[name]} for name, q in rows.items()}
    n = known.original.n
    if options.json:
        seen = {"model": model.id, "data": data.id, "recipe": recipe.to_dict(), "n": n, "evaluated": found.n}
        _print_json({**seen, **values, "estimated": found.n < n})
        return
    low, high = bounds[lead]
    print(f"{lead} {found.values[lead].value:.4f} [{low:.4f}, {high:.4f}] from {found.n:,} of {n:,} examples")


def _sweep(options: argparse.Namespace) -> None:
    from core.commands.grid import prepare
    from core.figures import said
    from core.jobs.workers import DASK, workers
    from core.recipe import Recipe
    from core.sweeps.front import front
    from core.sweeps.journal import Journal
    from core.sweeps.plan import Plan, axis_from_text
    from core.sweeps.summary import front_rows
    from core.sweeps.sweep import Standing, Sweep
    from core.sweeps.table import spots_table, write_table

    base = _read_recipe(options.recipe) if options.recipe else Recipe()
    model, data = chosen(options)
    plan = Plan(base, tuple(axis_from_text(base, text) for text in options.grid))
    where = options.out.absolute()
    if where.suffix not in (".csv", ".parquet") or not where.parent.is_dir() or where.is_dir():
        raise TemperError(f"--out must be a .csv or .parquet file in a folder that is there; got {options.out}.")
    elsewhere = options.workers is None and bool(options.dask or os.environ.get(DASK))
    prepare(model, data, plan, options.train, elsewhere)
    journal = Journal.of(model, data, plan, options.out)
    sweep = Sweep(model, data, plan, options.exact, journal)
    if options.train:
        sweep.ready()  # points that were left out for want of a training are tried again

    def told(standing: Standing) -> None:
        if sys.stderr.isatty():
            left = standing.seconds_left
            rest = f", about {left:.0f} s left" if left else ""
            print(f"\r{standing.known}/{standing.points} points, {standing.exact} measured{rest}    ",
                  end="", file=sys.stderr, flush=True)  # fmt: skip

    with workers(options.workers, options.dask if options.workers is None else "") as hands:
        sweep.run(hands, told)
    spots = [spot for _, spot in sorted(sweep.spots.items())]
    lead = data.task.facts.headline
    found = front(spots, lead)
    write_table(spots_table(plan, spots, found, data.task.listed), options.out)
    journal.remove()
    standing = sweep.standing()
    members = front_rows(spots, found, lead)
    if options.json:
        counts = {"points": standing.points, "measured": standing.exact}
        _print_json({"model": model.id, "plan": plan.to_dict(), **counts, "front": members, "out": str(options.out)})
        return
    sure = f"{len(members)} on the front, {len(found.certain)} surely"
    print(f"{standing.points} points, {standing.exact} measured; {sure}")
    for row in members:
        print(
            f"  {row['packed_bytes']:>10,} bytes  {said.value(row[lead], said.unit_of(lead)):>8}  "
            f"{100 * row['share']:3.0f} % of resampled sets  {row['label']}"
        )
    print(f"written to {options.out}")


def _progress(fraction: float) -> None:
    if sys.stderr.isatty():
        print(f"\r{100 * fraction:3.0f} %", end="" if fraction < 1 else "\n", file=sys.stderr, flush=True)
