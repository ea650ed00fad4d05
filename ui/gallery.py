"""Examples behind a confusion cell: pictures or rows with what both models say of them."""

from __future__ import annotations

import base64
from html import escape

import streamlit as st

from core.data.handle import DataHandle
from core.engine.examples import Cell, Example
from core.figures.pictures import evaluation_pictures, evaluation_rows, side
from core.figures.words import cut, percent

SMALL = 64  # px: pictures up to here are shown as the squares they are, larger ones smoothed
LONG = 40  # characters of a class name beside a picture


def sharp(pixels: int) -> str:
    """The style of pictures with this many pixels on their longer side."""
    return "" if pixels <= SMALL else "smooth"


def gallery(cell: Cell, data: DataHandle) -> None:
    """Show a cell's examples; those that flipped come first and are outlined."""
    if not cell.examples:
        st.html("<p class='t-small'>No example falls into this cell, before or after.</p>")
        return
    if data.modality == "pictures":
        _pictures(cell, data)
    else:
        _rows(cell, data)


def _said(example: Example, data: DataHandle, which: str) -> str:
    predicted, confidence = (
        (example.original, example.original_confidence)
        if which == "original"
        else (example.tempered, example.tempered_confidence)
    )
    return f"{cut(data.classes[predicted], LONG)} {percent(confidence, 0)}"


def _pictures(cell: Cell, data: DataHandle) -> None:
    figures, kind = [], sharp(side(data))
    images = evaluation_pictures(data, [example.index for example in cell.examples])
    for example, image in zip(cell.examples, images, strict=True):
        before, after = _said(example, data, "original"), _said(example, data, "tempered")
        words = f"Example {example.index}, {data.classes[example.label]}; original: {before}; tempered: {after}"
        figures.append(
            f"<figure class='{'flipped' if example.flipped else ''}'>"
            f"<img class='{kind}' alt='{escape(words, quote=True)}' "
            f"src='data:image/png;base64,{base64.b64encode(image).decode()}'>"
            f"<figcaption><span class='t-dot original'></span>{escape(before)}<br>"
            f"<span class='t-dot tempered'></span>{escape(after)}</figcaption></figure>"
        )
    st.html(f"<div class='t-gallery'>{''.join(figures)}</div>")


def _rows(cell: Cell, data: DataHandle) -> None:
    rows = [
        {
            "Row": example.index,
            "Flipped": "yes" if example.flipped else "no",
            "Original says": _said(example, data, "original"),
            "Tempered says": _said(example, data, "tempered"),
            **values,
        }
        for example, values in zip(
            cell.examples, evaluation_rows(data, [example.index for example in cell.examples]), strict=True
        )
    ]
    st.dataframe(rows, hide_index=True, alt="Examples of the selected confusion cell")
