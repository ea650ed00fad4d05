"""From what a person types about a model and data of their own to a wish."""

from __future__ import annotations

from pathlib import Path

from core.errors import TemperError


def place_of(text: str) -> str:
    """A path made absolute, `~` resolved; a name such as torchvision:resnet18 stays as it is."""
    text = text.strip().strip("\"'")
    if is_name(text):
        return text
    return str(Path(text).expanduser().absolute()) if text else ""


def is_name(text: str) -> bool:
    """Whether this is a published architecture's name rather than a path."""
    return text.strip().partition(":")[0] in ("torchvision", "timm") and ":" in text


def shape_of(text: str) -> tuple[int, ...] | None:
    """One example's shape from `3,224,224`, `3 x 224 x 224` or a number of columns. Raises `TemperError`."""
    parts = text.lower().replace("×", " ").replace("x", " ").replace(",", " ").strip("()[] ").split()
    if not parts:
        return None
    try:
        shape = tuple(int(part) for part in parts)
    except ValueError:
        shape = ()
    if len(shape) not in (1, 3) or min(shape) < 1:
        raise TemperError(f"An input shape is written as 3,224,224 or as a number of columns; got {text:.60}.")
    return shape


def names_of(text: str) -> tuple[str, ...] | None:
    """Class names, one a line, or all on one line between commas."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) == 1:
        lines = [part.strip() for part in lines[0].split(",") if part.strip()]
    return tuple(lines) or None


def share_of(text: str, what: str) -> float | None:
    """A share from 0 to 1, `0.3` or `30 %`, or None where nothing was typed. Raises `TemperError`."""
    text = text.strip()
    if not text:
        return None
    number = text.removesuffix("%").strip()
    try:
        share = float(number) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise TemperError(f"{what} is written as 0.3 or as 30 %; got {text:.60}.")
    return share


def whole_of(text: str, what: str) -> int | None:
    """A whole number from zero on, or None where nothing was typed. Raises `TemperError`."""
    text = text.strip()
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise TemperError(f"{what} is a whole number; got {text:.60}.")
    return int(text)
