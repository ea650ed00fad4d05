"""Numbers as people read them: per cent, points, bytes, milliseconds, counts, with sensible digits."""

from __future__ import annotations

import math
from html import escape
from textwrap import wrap

SPACE = "\u00a0"  # between a number and its unit: a line never breaks there
MINUS = "\u2212"
TIMES = "\u00d7"
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
NOTHING = "\u2013"  # where there is no number to show
KILO = 1000  # bytes in a kB, as disks and networks count


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def percent(x: float | None, digits: int = 1) -> str:
    """A fraction as per cent. Never rounds something to nothing or almost all to all."""
    if x is None or not _is_number(x):
        return NOTHING
    step = 10.0**-digits
    if 0 < x < 1 and round(100 * x, digits) <= 0:
        return f"<{SPACE}{step:.{digits}f}{SPACE}%"
    if 0 < x < 1 and round(100 * x, digits) >= 100:
        return f">{SPACE}{100 - step:.{digits}f}{SPACE}%"
    return f"{100 * x:.{digits}f}{SPACE}%".replace("-", MINUS)


def signed(x: float | None, digits: int) -> str:
    """A number with its sign; what rounds to zero has none."""
    if x is None or not _is_number(x):
        return NOTHING
    rounded = round(x, digits)
    if rounded == 0:
        return f"{0:.{digits}f}"
    return f"{rounded:+,.{digits}f}".replace("-", MINUS)


def points(delta: float | None) -> str:
    """A difference of fractions in percentage points, without the word: two digits below 1, else one."""
    if delta is None or not _is_number(delta):
        return NOTHING
    if delta == 0:
        return "0"
    return signed(100 * delta, 2 if abs(100 * delta) < 0.995 else 1)


def _three(x: float) -> str:
    """At most three significant digits of a number from 0 to 1000."""
    if x < 9.995:
        return f"{x:.2f}"
    return f"{x:.1f}" if x < 99.95 else f"{x:.0f}"


def nbytes(b: float) -> tuple[str, str]:
    """Bytes as value and unit: whole B, then kB and MB with three digits."""
    if b < KILO:
        return f"{b:.0f}", "B"
    if b < 999.5 * KILO:
        return _three(b / KILO), "kB"
    return (_three(b / KILO**2) if b < 999.5 * KILO**2 else count(b / KILO**2)), "MB"


def size(b: float) -> str:
    """Bytes as one text, such as `208 kB`."""
    return SPACE.join(nbytes(b))


def tick(b: float) -> str:
    """A round number of bytes on an axis, without trailing zeros."""
    number, unit = nbytes(b)
    return f"{number.rstrip('0').rstrip('.') if '.' in number else number}{SPACE}{unit}" if b else "0"


def ratio(original: float, tempered: float) -> str:
    """How much smaller or larger tempered is, such as `7.9× smaller`."""
    if original <= 0 or tempered <= 0:
        return NOTHING
    factor = original / tempered
    larger = factor < 1
    factor = 1 / factor if larger else factor
    if factor < 1.005:
        return "same size"
    digits = 2 if factor < 1.995 else 1 if factor < 99.95 else 0
    return f"{factor:.{digits}f}{TIMES} {'larger' if larger else 'smaller'}"


def probability(p: float) -> str:
    """A p-value: two significant digits, and never nothing."""
    if not _is_number(p):
        return NOTHING
    if p < 0.0001:
        return f"below{SPACE}0.0001"
    return f"{p:.2f}" if p >= 0.0995 else f"{p:.{1 - math.floor(math.log10(p))}f}"


def milliseconds(x: float | None) -> str:
    """A time given in milliseconds, with two or three significant digits; in microseconds below 0.1 ms."""
    if x is None or not _is_number(x):
        return NOTHING
    if x < 0.1:
        return f"{1_000 * x:.{1 if x < 0.00995 else 0}f}{SPACE}µs"
    digits = 2 if x < 0.995 else 1 if x < 99.95 else 0
    return f"{x:,.{digits}f}{SPACE}ms"


def amount(value: float | None, unit: str = "") -> str:
    """A number of any size with its unit, such as `1,240 US dollars`, `5.31 m` or `0.013`.

    Three significant digits below 1,000 and whole numbers from there; without more zeros than they need below 1.
    """
    return SPACE.join(part for part in amount_parts(value, unit) if part)


def amount_parts(value: float | None, unit: str = "") -> tuple[str, str]:
    """`amount` as number and unit; the unit is left out where there is no number."""
    if value is None or not _is_number(value):
        return NOTHING, ""
    size = abs(value)
    if size == 0:
        return "0", unit
    if size < 0.9995:
        places = 2 - math.floor(math.log10(size))
        # Beyond four zeros, or from a billion, only powers of ten are read at a glance.
        text = f"{value:.{places}f}".rstrip("0") if places <= 6 else _scientific(value)
    elif size < 9.995e9:
        text = f"{value:,.{2 if size < 9.995 else 1 if size < 99.95 else 0}f}"
    else:
        text = _scientific(value)
    return text.replace("-", MINUS), unit


def signed_amount(value: float | None, unit: str = "") -> str:
    """A change with its sign and unit, such as `+1,240 US dollars`."""
    text = amount(value, unit)
    return f"+{text}" if value is not None and _is_number(value) and value > 0 else text


def _scientific(x: float) -> str:
    """Three significant digits times a power of ten."""
    digits, power = f"{x:.2e}".split("e")
    return f"{digits}{TIMES}10{str(int(power)).translate(RAISED)}"


def count(x: float) -> str:
    """A whole number with commas between thousands."""
    return f"{round(x):,}".replace("-", MINUS)


def interval(low: float, high: float, digits: int = 1) -> str:
    """An interval of fractions, such as `92.3 to 93.4 %`."""
    if not (_is_number(low) and _is_number(high)):
        return NOTHING
    start = f"{100 * low:.{digits}f}".replace("-", MINUS)
    return f"{start} to {percent(high, digits)}"


def lines(text: str, width: int = 56) -> str:
    """Words broken into lines of at most `width` letters, for an annotation."""
    return "<br>".join(wrap(text, width, break_on_hyphens=False))


def name(text: str, width: int = 100) -> str:
    """A name from someone's data, safe in a figure's marked-up text; long ones lose their middle."""
    return escape(cut(text, width), quote=False)


def cut(text: str, width: int) -> str:
    """A name from someone's data as plain text of at most `width` letters; long ones lose their middle."""
    text = " ".join(text.split()) or NOTHING
    if len(text) > width:
        half = (width - 1) // 2
        text = f"{text[: width - 1 - half]}…{text[-half:]}"
    return text
