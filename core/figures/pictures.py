"""Examples of a split as people see them: pictures as PNG, table rows as names and values."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.data.handle import DataHandle, load_split


def png(picture: NDArray[np.uint8]) -> bytes:
    """One picture `(H, W)` or `(H, W, 3)` uint8 as PNG bytes."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def evaluation_pictures(data: DataHandle, indices: list[int]) -> list[bytes]:
    """The stored pictures at these places of the evaluation split, as PNG bytes."""
    x = load_split(data, "evaluation").x
    return [png(np.ascontiguousarray(x[i])) for i in indices]


def evaluation_rows(data: DataHandle, indices: list[int]) -> list[dict[str, Any]]:
    """The stored rows at these places of the evaluation split, by feature name."""
    x = load_split(data, "evaluation").x
    return [dict(zip(data.features, (round(float(v), 4) for v in x[i]), strict=True)) for i in indices]
