"""Texts of a split as people read them and as the network does: the pieces it gets, each with its id."""

from __future__ import annotations

from dataclasses import dataclass

from core.data.handle import DataHandle, SplitName, load_split
from core.data.texts import Tokens
from core.errors import TemperError
from core.figures.pictures import said_label


@dataclass(frozen=True)
class SeenText:
    """A text, its label in words, and its pieces with their ids; `cut` says whether the network misses its end."""

    place: int
    label: str
    text: str
    pieces: tuple[tuple[str, int], ...]
    cut: bool


def seen_texts(data: DataHandle, indices: list[int], split: SplitName = "evaluation") -> list[SeenText]:
    """Texts of a split by their places. Raises `TemperError` where the data set holds none."""
    tokens = data.preprocessing
    if not isinstance(tokens, Tokens):
        raise TemperError(f"'{data.id}' holds no texts.")
    loaded, found = load_split(data, split), []
    for i in indices:
        text = str(loaded.x[i])
        spans = tokens.pieces(text)
        ids = loaded.inputs[i].astype(int).tolist()
        pieces = tuple((text[a:b], n) for (a, b), n in zip(spans, ids, strict=True) if b > a)
        end = max((b for _, b in spans), default=0)
        label = said_label(data, loaded.y[i])
        found.append(SeenText(i, label, text, pieces, bool(text[end:].strip()) and spans[-1][1] > spans[-1][0]))
    return found
