"""Layer sensitivity as text: bit-widths read from it, a result written as a table."""

from __future__ import annotations

from core.errors import TemperError
from core.layers.sensitivity import FEWEST, MOST, Sensitivity, checked
from core.registry import brief, method
from core.types import Quantity


def bits_from_text(text: str) -> tuple[int, ...]:
    """Read bit-widths written as `2,3,4`. Raises `TemperError`."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) <= len(str(MOST)) for part in parts):
        raise TemperError(
            f"Bits are written as whole numbers from {FEWEST} to {MOST}, as in 2,3,4; got {brief(text)}."
        )
    return checked([int(part) for part in parts])


def table(found: Sensitivity) -> str:
    """One line a setting: differences to the original with their intervals, flips of classes, SQNR."""
    some, flips = found.effects[0], any(e.flips for e in found.effects)
    units = {name: change.unit.replace("fraction", "points") for name, change in some.changes.items()}
    heads = [f"{name}, {unit}".removesuffix(", ") for name, unit in units.items()]
    values = "  ".join(f"{name} {_number(value, some.changes[name].unit)}" for name, value in found.values.items())
    counted = f"{'flips':>6}  " if flips else ""
    lines = [
        f"{found.model}  n = {found.n:,}  {values}",
        f"{'layer':24} bits  {counted}{''.join(f'{head:36}' for head in heads)}SQNR, dB",
    ]
    for e in found.effects:
        ratio = "" if e.sqnr_db is None else f"{e.sqnr_db:8.2f}"
        counted = f"{e.flips.flips:6}  " if e.flips else ""
        moved = "".join(f"{_spanned(change):36}" for change in e.changes.values())
        lines.append(f"{e.layer:24} {e.bits:4}  {counted}{moved}{ratio}".rstrip())
    for name in found.values:
        worse = "lost" if method("metric", name).function.higher_is_better else "added"
        rho = found.rank_correlation(name)
        lines.append(f"rank correlation of SQNR and {name} {worse}: " + ("none" if rho is None else f"{rho:+.2f}"))
    return "\n".join(lines)


def _number(value: float, unit: str, sign: str = "") -> str:
    return format(value, f"{sign}.4f" if unit in ("fraction", "nats") else f"{sign},.4g")


def _spanned(change: Quantity) -> str:
    assert change.value is not None and change.interval is not None
    ends = (change.value, change.interval.low, change.interval.high)
    points = change.unit == "fraction"
    value, low, high = (f"{100 * end:+.2f}" if points else _number(end, change.unit, "+") for end in ends)
    return f"{value} [{low}, {high}]"
