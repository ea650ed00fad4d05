"""A metric's value and its change as people read them, by the unit that its `Quantity` carries.

Rates are fractions in the engine and per cent on screen; their changes are percentage points.
"""

from __future__ import annotations

from core.figures import words
from core.registry import method

COUNTS = ("predictions",)
PROPER = ("Brier",)  # names of people keep their capital


def plain(unit: str) -> bool:
    """Whether a unit says nothing to people beyond the metric's name, such as `area, 0 to 1`."""
    return not unit or " 0 to " in unit


def factor(unit: str) -> int:
    """What a value is multiplied by before it is shown."""
    return 100 if unit == "fraction" else 1


def shown_unit(unit: str) -> str:
    """The unit beside a big number: `%`, `nats`, `US dollars` or nothing."""
    return "%" if unit == "fraction" else "" if plain(unit) else unit


def number(value: float | None, unit: str) -> str:
    """A value without its unit."""
    if value is None:
        return words.NOTHING
    if unit == "fraction":
        return words.percent(value).removesuffix("%").strip()
    if unit in COUNTS:
        return words.count(value)
    if plain(unit) or unit == "nats":
        return f"{value:.3f}".replace("-", words.MINUS)
    return words.amount(value)


def value(given: float | None, unit: str) -> str:
    """A value with its unit, for a sentence."""
    after = shown_unit(unit)
    return f"{number(given, unit)}{words.SPACE}{after}" if after and given is not None else number(given, unit)


def moved(change: float | None, unit: str) -> str:
    """A signed difference without its unit: rates in percentage points."""
    if change is None:
        return words.NOTHING
    if unit == "fraction":
        return words.points(change)
    if unit in COUNTS or plain(unit) or unit == "nats":
        text = f"{change:+,.0f}" if unit in COUNTS else f"{change:+.3f}"
    else:
        text = words.signed_amount(change)
    return text.replace("-", words.MINUS)


def moved_unit(unit: str) -> str:
    """The unit of a difference: `points`, `nats`, `US dollars` or nothing."""
    return "points" if unit == "fraction" else shown_unit(unit)


def title(measure: str) -> str:
    """A metric's name as a heading; `flips` are no metric of one model."""
    return "Flips" if measure == "flips" else method("metric", measure).title


def name(measure: str) -> str:
    """A metric's name inside a sentence."""
    text = title(measure)
    kept = text[:2].isupper() or text[1:2].isdigit() or text.startswith(PROPER)
    return text if kept else text[:1].lower() + text[1:]


def unit_of(measure: str) -> str:
    """A metric's registered unit; `target` in it stands for the unit of the numbers predicted."""
    return "predictions" if measure == "flips" else str(method("metric", measure).function.unit)
