"""The command `search`: recipes under budgets, chosen on the calibration split, judged once on evaluation."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.commands.pair import add_pair, chosen
from core.errors import TemperError

if TYPE_CHECKING:  # a command imports what it needs when it runs
    from core.search.goal import Goal, Tried
    from core.search.search import Progress, Search

Print = Callable[[Any], None]


def add(commands: Any, show: Print) -> None:
    """Add the command to the parsers in `commands`."""
    search = commands.add_parser(
        "search",
        help="search recipes under budgets; run it again to go on",
        description="Without a budget: half the bytes, half a point (or 1 %% of an error) lost at most. No recipe "
        "that is tried trains: 'adapt' or 'tune' recover the best one.",
    )
    add_pair(search)
    room = search.add_mutually_exclusive_group()
    room.add_argument("--at-most-kb", type=float, metavar="N", help="packed size at most, in 1,000 bytes")
    room.add_argument("--smaller", metavar="2x", help="so many times smaller than the original")
    search.add_argument(
        "--lose-at-most", type=float, metavar="N", help="points of a rate, or per cent of another leading metric"
    )
    search.add_argument(
        "--at-least", type=float, metavar="N", help="per cent of a rate; of an error the most that is allowed"
    )
    search.add_argument("--at-most-ms", type=float, metavar="N", help="modelled for --device, not measured")
    search.add_argument("--device", default="", metavar="NAME", help="a device that 'latency --device' knows")
    search.add_argument("--trials", type=int, default=60, metavar="N", help="recipes in all, 60 by default")
    search.add_argument("--seconds", type=float, default=60.0, metavar="S", help="of this run, 60 by default")
    search.add_argument("--sampler", choices=("tpe", "nsga2"), default="tpe")
    search.add_argument("--slow", action="store_true", help="also choices that take long, such as AdaRound")
    search.add_argument("--calibrate", action="store_true", help="also confidence calibrations")
    search.add_argument("--without", action="append", default=[], metavar="NAME",
                        help="a kind of step, a method or a parameter to leave out; repeatable")  # fmt: skip
    search.add_argument("--search-seed", type=int, default=0, metavar="N", help="of what is drawn")
    search.add_argument("--journal", type=Path, metavar="FILE", help="where trials are kept; TEMPER_HOME by default")
    search.add_argument("--out", type=Path, metavar="FILE", help="every trial as a table, .csv or .parquet")
    search.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    search.set_defaults(run=lambda options: _search(options, show))


def _search(options: argparse.Namespace, show: Print) -> None:
    from core.jobs.workers import workers
    from core.registry import method
    from core.search.budgets import goal_of, original_bytes
    from core.search.search import Search
    from core.search.search_table import search_table
    from core.search.space import KINDS, Space
    from core.sweeps.table import write_table

    for path, needed in ((options.out, True), (options.journal, False)):
        if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
            raise TemperError(f"{path} must be a file in a folder that is there.")
        if needed and path is not None and path.suffix not in (".csv", ".parquet"):
            raise TemperError(f"--out must end in .csv or .parquet; got {path}.")
    model, data = chosen(options)
    room = None
    if options.at_most_kb is not None:
        room = round(1_000 * options.at_most_kb)
    elif options.smaller is not None:
        room = int(original_bytes(model) / _factor(options.smaller))
    lost, limit = options.lose_at_most, options.at_least
    if room is None and lost is None and limit is None and options.at_most_ms is None:
        rate = method("metric", data.task.facts.headline).function.unit == "fraction"
        room, lost = original_bytes(model) // 2, 0.5 if rate else 1.0
    goal = goal_of(model, data, room, lost, limit, options.at_most_ms, options.device)
    kinds = (*KINDS, "calibrate") if options.calibrate else KINDS
    space = Space.of(model, data.task.kind, kinds, options.slow, frozenset(options.without))
    search = Search(
        model, data, space, goal, options.trials, options.seconds, options.search_seed, options.sampler,
        options.journal,
    )  # fmt: skip
    with workers(1) as hands:
        search.run(hands, _told)
    standing = search.standing()
    if sys.stderr.isatty():
        print(file=sys.stderr)
    if standing.note:
        print(f"temper: {standing.note}", file=sys.stderr)
    if options.out is not None:
        write_table(search_table(goal, search.tried, search.judged, data.task.listed), options.out)
    if options.json:
        show(_summary(search))
    else:
        _lines(search)


def _factor(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*[x×]?", text.strip())
    if found is None or not 1 <= float(found[1]) <= 1_000_000:
        raise TemperError(f"--smaller is written as 2x or 3.5x, from 1 up; got {text!r:.60}.")
    return float(found[1])


def _told(standing: Progress) -> None:
    if sys.stderr.isatty():
        left = f", about {standing.seconds_left:.0f} s left" if standing.seconds_left else ""
        print(f"\r{standing.done}/{standing.trials} recipes{left}    ", end="", file=sys.stderr, flush=True)


def _summary(search: Search) -> dict[str, Any]:
    goal, judged = search.goal, search.judged
    fitting, choosing = (split.n for split in search.choosing.splits)
    best = search.best
    return {
        "model": search.model.id,
        "data": search.data.id,
        "goal": dict(goal.to_dict()),
        "seed": search.seed,
        "trials": len(search.tried),
        "within_budgets": sum(goal.keeps(one) for one in search.tried),
        "examples": {"fitting": fitting, "choosing": choosing, "judging": search.data.split("evaluation").n},
        "chosen_on": "calibration",
        "judged_on": "evaluation",
        "best": _row(goal, best, judged) if best else None,
        "nearest": _row(goal, search.chosen[0], judged) if not best and search.chosen else None,
        "front": [_row(goal, one, judged) for one in search.chosen] if best else [],
    }


def _row(goal: Goal, one: Tried, judged: dict[str, Tried]) -> dict[str, Any]:
    verdict = judged.get(one.spot.recipe.fingerprint)
    said = None
    if verdict is not None and not verdict.spot.error:
        from core.sweeps.front import better_high

        ends = verdict.lost_ends(better_high(goal.measure))
        said = {
            goal.measure: verdict.spot.values[goal.measure].value,
            "lost": verdict.lost,
            "interval": list(ends) if ends else None,
            "packed_bytes": verdict.spot.packed,
            "holds": goal.holds(verdict),
        }
    return {
        "trial": one.spot.place[0],
        "label": one.spot.label,
        "recipe": one.spot.recipe.to_dict(),
        "packed_bytes": one.spot.packed,
        "choosing": {goal.measure: one.spot.values[goal.measure].value, "lost": one.lost, "lost_error": one.spread},
        "modelled_ms": one.modelled,
        "evaluation": said,
    }


def _lines(search: Search) -> None:
    from core.figures import said
    from core.sweeps.front import better_high

    goal = search.goal
    inside = sum(goal.keeps(one) for one in search.tried)
    fitting, choosing = (split.n for split in search.choosing.splits)
    print(
        f"{len(search.tried)} recipes tried, {inside} within the budgets; fitted on {fitting:,} examples of the "
        f"calibration split, chosen on its other {choosing:,}, judged on evaluation"
    )
    if not search.best:
        print("None keeps the budgets; the nearest:")
    for place, one in enumerate(search.chosen):
        unit = one.spot.values[goal.measure].unit
        lost = f"{said.moved(one.lost, unit).removeprefix('+')} {said.moved_unit(unit)}".strip()
        line = (
            f"  {'best ' if place == 0 and search.best else '     '} {one.spot.label:44} {one.spot.packed:>11,} bytes"
        )
        line += f"  {said.value(one.spot.values[goal.measure].value, unit)} chose (lost {lost})"
        verdict = search.judged.get(one.spot.recipe.fingerprint)
        if verdict is not None and not verdict.spot.error:
            ends = verdict.lost_ends(better_high(goal.measure))
            low, high = (said.moved(end, unit).removeprefix("+") for end in ends or (0.0, 0.0))
            between = f" [{low} to {high}]" if ends else ""
            line += f", {said.value(verdict.spot.values[goal.measure].value, unit)} judged (lost "
            line += (
                f"{said.moved(verdict.lost, unit)}{between}): {'holds' if goal.holds(verdict) else 'DOES NOT HOLD'}"
            )
        print(line)
