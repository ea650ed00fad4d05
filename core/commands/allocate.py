"""The command `allocate`: the best model under a size, a time or a loss, layer by layer, verified."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.commands.pair import add_pair, chosen
from core.errors import TemperError

if TYPE_CHECKING:  # a command imports what it needs when it runs
    from core.search.allocate import Allocation, Side
    from core.types import Quantity

Progress = Callable[[float], None]
Print = Callable[[Any], None]


def add(commands: Any, progress: Progress, show: Print) -> None:
    """Add the command to the parsers in `commands`."""
    allocate = commands.add_parser("allocate", help="choose each layer's bits and sparsity for a size, time or loss")
    add_pair(allocate)
    allocate.add_argument("--at-most-kb", type=float, metavar="KB", help="packed size, 1 kB being 1,000 bytes")
    allocate.add_argument("--smaller", type=float, metavar="TIMES", help="than the original as it is packed")
    allocate.add_argument("--lose-at-most", type=float, metavar="X",
                          help="points of accuracy, or the unit of the numbers predicted")  # fmt: skip
    allocate.add_argument("--at-least", type=float, metavar="X", help="accuracy in per cent to hold")
    allocate.add_argument("--ms", type=float, metavar="MS", help="modelled time of one example on --device")
    allocate.add_argument("--device", default="", metavar="NAME", help="as 'latency' names them")
    allocate.add_argument("--bits", metavar="BITS", help="to choose from, such as 2,3,4,8")
    allocate.add_argument("--sparsities", metavar="SHARES", help="to choose from, such as 0,0.5,0.8")
    allocate.add_argument("--activation-bits", type=int, choices=(32, 16, 8), default=32)
    allocate.add_argument("--out", type=Path, metavar="FILE", help="write the recipe here")
    allocate.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    allocate.set_defaults(run=lambda options: _allocate(options, progress, show))


def _allocate(options: argparse.Namespace, progress: Progress, show: Print) -> None:
    from core.search.allocate import allocate
    from core.search.budget import Budget
    from core.search.layer_options import BITS, SPARSITIES, Way

    if options.out is not None and (not options.out.absolute().parent.is_dir() or options.out.is_dir()):
        raise TemperError(f"--out must be a file in a folder that is there; got {options.out}.")
    bits = tuple(int(one) for one in _numbers(options.bits, "--bits", "2,3,4,8")) if options.bits else BITS
    shares = tuple(_numbers(options.sparsities, "--sparsities", "0,0.5,0.8")) if options.sparsities else SPARSITIES
    model, data = chosen(options)
    if options.at_least is not None and not data.task.decides:
        raise TemperError("--at-least is of accuracy; this model predicts numbers.", "Give --lose-at-most.")
    unit = 100 if data.task.decides else 1
    budget = Budget(
        most_bytes=None if options.at_most_kb is None else _whole(1_000 * options.at_most_kb),
        smaller=options.smaller,
        lose=None if options.lose_at_most is None else options.lose_at_most / unit,
        reach=None if options.at_least is None else options.at_least / unit,
        ms=options.ms,
        device=options.device,
        activation_bits=options.activation_bits,
        way=Way(bits=bits, sparsities=shares, seed=options.seed),
    )
    found = allocate(model, data, budget, progress)
    if options.out is not None:
        options.out.write_text(found.mixed.recipe.to_json() + "\n", encoding="utf-8")
    show(summary(found)) if options.json else _print(found)


def _whole(value: float) -> int:
    try:
        return int(value)
    except (ValueError, OverflowError):
        raise TemperError(f"A size in kB is a number above 0; got {value:g}.") from None


def _numbers(text: str, option: str, example: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise TemperError(f"{option} takes numbers such as {example}; got {text!r:.60}.") from None


def summary(found: Allocation) -> dict[str, Any]:
    """An allocation as plain values for JSON: rates are fractions, every number has its interval and n."""
    return {
        "model": found.model,
        "chosen_on": {"split": "calibration", "n": found.chosen_on, "recipes": found.tried, "options": found.options},
        "judged_on": {"split": "evaluation", "n": found.n},
        "limits": {"bytes": found.cap, "loss": found.floor, "ms": found.budget.ms},
        "original": {"packed_bytes": found.original, **_number("value", found.first)},
        "result": {**_side(found.mixed), "foreseen_bytes": found.foreseen, "recipe": found.mixed.recipe.to_dict()},
        "layers": [
            {"layer": name, "bits": bits, "sparsity": sparsity, "packed_bytes": size}
            for name, (bits, sparsity), size in zip(
                found.names, found.mixed.candidate.settings, found.layers, strict=True
            )
        ],
        "uniform": None
        if found.uniform is None
        else {**_side(found.uniform), "recipe": found.uniform.recipe.to_dict()},
        "mixed_less_uniform": None if found.gain is None else _number("value", found.gain),
        "surely_better_than_uniform": found.better,
        "held_on_evaluation": found.held,
        "estimated_ms": None if found.ms is None else {"value": found.ms.value, "note": found.ms.note},
        "seconds": round(found.seconds, 2),
    }


def _side(side: Side) -> dict[str, Any]:
    return {"packed_bytes": side.packed, **_number("value", side.value), **_number("change", side.change),
            **_number("calibration_change", side.candidate.change)}  # fmt: skip


def _number(name: str, given: Quantity) -> dict[str, Any]:
    ends = given.interval
    return {name: given.value, f"{name}_interval": [ends.low, ends.high] if ends else None}


def _print(found: Allocation) -> None:
    from core.figures import said

    lead = found.mixed.result.tempered.task.facts.headline
    unit = found.mixed.value.unit

    def line(name: str, side: Side) -> str:
        ends = side.change.interval
        span = f"[{said.moved(ends.low, unit)}, {said.moved(ends.high, unit)}]" if ends else ""
        return (
            f"  {name:9} {side.packed:>10,} bytes  {found.original / side.packed:5.2f} x smaller  "
            f"{said.value(side.value.value, unit)}  {said.moved(side.change.value, unit)} {span} "
            f"{said.moved_unit(unit)}  {side.recipe.notation}"
        )

    print(f"{found.model}  {said.name(lead)}  n = {found.n:,}, chosen on {found.chosen_on:,} calibration examples")
    print(f"  original  {found.original:>10,} bytes  {said.value(found.first.value, unit):>24}")
    print(line("mixed", found.mixed))
    print(line("uniform", found.uniform) if found.uniform else "  uniform   no single setting is this small")
    if found.gain is not None:
        sure = "surely better" if found.better else "not surely better"
        print(f"  mixed is {sure} than uniform: {said.moved(found.gain.value, unit)} {said.moved_unit(unit)}")
    if found.held is not None:
        print(f"  what may be lost holds on the evaluation split: {'yes' if found.held else 'no'}")
    if found.ms is not None:
        print(f"  {found.ms.value:.3g} ms an example on {found.budget.device} ({found.ms.note})")
    for name, (bits, sparsity), size in zip(found.names, found.mixed.candidate.settings, found.layers, strict=True):
        print(f"  {name:28} {bits:2} bits  {100 * sparsity:3.0f} % zero  {size:>10,} bytes")
