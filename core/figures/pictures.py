"""Examples of a split as people see them and as the network reads them: pictures as PNG, rows by name."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.damage.unusual import feature_names, said
from core.data.handle import DataHandle, SplitName, load_split
from core.figures import words

LARGEST = 224  # px of a shown picture's longer side: sharp at twice the gallery's width, small enough to send
BYTE = 255.0


@dataclass(frozen=True)
class Seen:
    """A picture as stored and as the network reads it, both PNG, with the range of its numbers in both."""

    place: int
    label: int | float
    stored: bytes
    read: bytes
    held: tuple[float, float]
    low: float
    high: float


def png(picture: NDArray[Any], low: float = 0.0, high: float = BYTE) -> bytes:
    """One picture `(H, W)` or `(H, W, C)` as PNG bytes; numbers other than uint8 are drawn from `low` to `high`.

    Of two channels the mean is drawn, of more than three the first three. Large pictures are made smaller.
    """
    values = np.asarray(picture)
    if values.dtype != np.uint8:
        span = high - low if high > low else 1.0
        values = np.clip((values.astype(np.float32) - low) / span * BYTE, 0, BYTE).round().astype(np.uint8)
    if values.ndim == 3 and values.shape[-1] != 3:
        values = values.mean(-1).astype(np.uint8) if values.shape[-1] < 3 else values[..., :3]
    image = Image.fromarray(np.ascontiguousarray(values))
    if max(image.size) > LARGEST:
        image.thumbnail((LARGEST, LARGEST))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def side(data: DataHandle) -> int:
    """Pixels of the longer side of the evaluation split's pictures."""
    return int(max(load_split(data, "evaluation").x.shape[1:3]))


def _range(x: NDArray[Any]) -> tuple[float, float]:
    """Where stored numbers are drawn from and to: whole bytes as they are, others over their own range."""
    if x.dtype == np.uint8 or not x.size:
        return 0.0, BYTE
    low, high = float(x.min()), float(x.max())
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    return (0.0, BYTE) if low >= 0 and 1 < high <= BYTE else (low, high)


def evaluation_pictures(data: DataHandle, indices: list[int]) -> list[bytes]:
    """The stored pictures at these places of the evaluation split, as PNG bytes."""
    chosen = load_split(data, "evaluation").x[indices]
    return [png(picture, *_range(chosen)) for picture in chosen]


def evaluation_rows(data: DataHandle, indices: list[int]) -> list[dict[str, Any]]:
    """The stored rows at these places of the evaluation split, by feature name."""
    x, columns = load_split(data, "evaluation").x, feature_names(data)

    def value(column: int, held: float) -> Any:
        return said(data, column, held) if data.categories.get(columns[column]) else round(held, 4)

    return [{name: value(k, float(x[i, k])) for k, name in enumerate(columns)} for i in indices]


def seen_pictures(data: DataHandle, indices: list[int], split: SplitName = "evaluation") -> list[Seen]:
    """Pictures of a split as stored and as the network reads them, each drawn over its own range of numbers."""
    loaded = load_split(data, split)
    bounds = _range(loaded.x[indices])
    found = []
    for i in indices:
        inputs = np.moveaxis(loaded.inputs[i], 0, -1)
        picture = inputs[..., 0] if inputs.shape[-1] == 1 else inputs
        low, high = float(inputs.min()), float(inputs.max())
        held = float(loaded.x[i].min()), float(loaded.x[i].max())
        found.append(Seen(i, loaded.y[i].item(), png(loaded.x[i], *bounds), png(picture, low, high), held, low, high))
    return found


def said_label(data: DataHandle, label: Any) -> str:
    """A label for people: the class, or the number with its unit."""
    return data.classes[int(label)] if data.task.decides else words.amount(float(label), data.task.unit)


def seen_rows(data: DataHandle, indices: list[int], split: SplitName = "evaluation") -> dict[str, list[Any]]:
    """A table of columns: each feature's name, and for each row the stored value and the one the network reads."""
    loaded = load_split(data, split)
    table: dict[str, list[Any]] = {"Column": list(feature_names(data))}
    for turn, i in enumerate(indices, 1):
        said = f"Row {turn}, {said_label(data, loaded.y[i])}"
        table[f"{said}: stored"] = [round(float(v), 4) for v in loaded.x[i]]
        table[f"{said}: read"] = [round(float(v), 3) for v in loaded.inputs[i]]
    return table
