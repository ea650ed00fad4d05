"""Examples of the evaluation split as they are stored and as the network sees them: pictures, rows, texts."""

from __future__ import annotations

import base64
from html import escape

import streamlit as st

from core.data.balance import some_of
from core.data.handle import DataHandle, load_split
from core.figures import words
from core.figures.pictures import said_label, seen_pictures, seen_rows, side
from core.figures.texts import seen_texts
from ui.gallery import sharp

PICTURES, ROWS, TEXTS = 6, 3, 4  # examples shown
PIECES = 40  # of a text
LONGEST = 24  # letters of a piece


def examples(data: DataHandle) -> None:
    """Some examples, of different classes or over the range of the numbers."""
    labels = load_split(data, "evaluation").y
    if data.modality == "pictures":
        _pictures(data, some_of(data, labels, PICTURES))
    elif data.modality == "text":
        _texts(data, some_of(data, labels, TEXTS))
    else:
        _rows(data, some_of(data, labels, ROWS))


def _rows(data: DataHandle, places: list[int]) -> None:
    rows = seen_rows(data, places)
    st.dataframe(
        rows, hide_index=True, height=min(35 * (len(rows["Column"]) + 1) + 3, 330),
        alt="Examples of the table: stored values and what the network reads",
        column_config={"Column": st.column_config.TextColumn(pinned=True, width="medium")},
    )  # fmt: skip


def _texts(data: DataHandle, places: list[int]) -> None:
    """Each text with its pieces and their ids; a formula or a tag in it is text like any other."""
    items = []
    for seen in seen_texts(data, places):
        pieces = " ".join(
            f"<span class='t-tag'>{escape(words.cut(piece, LONGEST))}&nbsp;{number}</span>"
            for piece, number in seen.pieces[:PIECES]
        )
        left = len(seen.pieces) - PIECES
        more = f" and {words.count(left)} more" if left > 0 else ""
        more += "; its end is not read" if seen.cut else ""
        label = escape(words.cut(seen.label, 60))
        items.append(f"<li><b>{label}</b> {pieces}<span class='t-small'>{more}</span></li>")
    st.html(f"<ul class='t-notes'>{''.join(items)}</ul>")


def _pictures(data: DataHandle, places: list[int]) -> None:
    kind = sharp(side(data))
    figures = []
    for seen in seen_pictures(data, places):
        name = said_label(data, seen.label)
        pair = "".join(
            f"<img class='{kind}' alt='{escape(f'Example {seen.place}, {name}, {what}', quote=True)}' "
            f"src='data:image/png;base64,{base64.b64encode(image).decode()}'>"
            for image, what in ((seen.stored, "as stored"), (seen.read, "as the network reads it"))
        )
        span = f"{_span(*seen.held)} stored, {_span(seen.low, seen.high)} read"
        figures.append(
            f"<figure><div class='t-pair'>{pair}</div><figcaption>{escape(name)}"
            f"<br><span class='t-small'>{span}</span></figcaption></figure>"
        )
    st.html(f"<div class='t-gallery t-pairs'>{''.join(figures)}</div>")


def _span(low: float, high: float) -> str:
    return f"{low:.3g} to {high:.3g}".replace("-", words.MINUS)
