"""A metric's value and its change as people read them, by the unit that its `Quantity` carries.

Rates are fractions in the engine and per cent on screen; their changes are percentage points.
"""

from __future__ import annotations

from core.figures import words
from core.registry import method

PLAIN = ("", "squared probability, 0 to 2")  # units that only repeat what the metric is
COUNTS = ("predictions",)


def factor(unit: str) -> int:
    """What a value is multiplied by before it is shown."""
    return 100 if unit == "fraction" else 1


def shown_unit(unit: str) -> str:
    """The unit beside a big number: `%`, `nats`, `US dollars` or nothing."""
    return "%" if unit == "fraction" else "" if unit in PLAIN else unit


def number(value: float | None, unit: str) -> str:
    """A value without its unit."""
    if value is None:
        return words.NOTHING
    if unit == "fraction":
        return words.percent(value).removesuffix("%").strip()
    if unit in COUNTS:
        return words.count(value)
    if unit in PLAIN or unit == "nats":
        return f"{value:.3f}".replace("-", words.MINUS)
    return amount(value)


def amount(value: float) -> str:
    """A number in somebody's own unit with three digits, all of them from a thousand on."""
    size = abs(value)
    if size and not 1e-4 <= size < 1e9:
        return f"{value:.2e}".replace("-", words.MINUS)
    digits = 0 if size >= 99.95 else 1 if size >= 9.995 else 2 if size >= 0.9995 else 3 if size >= 0.09995 else 5
    return f"{value:,.{digits}f}".replace("-", words.MINUS)


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
    if unit in COUNTS or unit in PLAIN or unit == "nats":
        text = f"{change:+,.0f}" if unit in COUNTS else f"{change:+.3f}"
    else:
        text = ("+" if change >= 0 else "-") + amount(abs(change))
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
    return text if text[:2].isupper() or text[1:2].isdigit() else text[:1].lower() + text[1:]


def unit_of(measure: str) -> str:
    """A metric's registered unit; `target` in it stands for the unit of the numbers predicted."""
    return "predictions" if measure == "flips" else str(method("metric", measure).function.unit)
