"""What a teacher says of real examples: its soft labels, softened by a temperature."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

import streamlit as st

from core.damage.unusual import most_unusual
from core.data.handle import DataHandle
from core.figures.pictures import seen_pictures, side
from core.figures.words import cut, percent
from core.training.soft import Soft, softened, wavering
from core.training.teachers import Known
from ui import show
from ui.gallery import LONG, row, sharp
from ui.work import visitor, working

MOST, CLASSES, VALUES = 6, 4, 3  # examples, classes of each, values of a row
HEAT = "distil-soft-temperature"  # widget key


def section(known: Known, data: DataHandle) -> None:
    """Draw the examples of the fit split on which the teacher's second choice is strongest."""
    if not data.task.decides:
        return
    show.heading("What the teacher says")
    with st.spinner("Asking the teacher"), working(visitor()):
        found = wavering(known, data, MOST)
    st.fragment(_drawn)(found, known, data)


def _drawn(found: Sequence[Soft], known: Known, data: DataHandle) -> None:
    st.session_state.setdefault(HEAT, 1.0)
    heat = st.slider(
        "Temperature of these bars", 1.0, 20.0, step=0.5, key=HEAT, width=360,
        help="Soft labels as the student sees them at this temperature. It only shows: the one that teaches is among "
        "the settings.",
    )  # fmt: skip
    parts = _parts(found, data)
    figures = [
        f"<figure><p class='t-truth'>{escape(cut(data.classes[one.label], LONG))}<small>example {one.place}</small>"
        f"</p>{part}{_bars(one, heat, data)}</figure>"
        for one, part in zip(found, parts, strict=True)
    ]
    kind = {"table": " t-rows", "text": " t-texts"}.get(data.modality, "")
    st.html(f"<div class='t-gallery t-soft{kind}'>{''.join(figures)}</div>")
    how = ", told by trees grown without them" if known.model is None else ""
    show.small(
        f"Examples of the fit split on which the teacher's second choice is strongest{how}, above each its "
        "label. The bars are what the student is to say."
    )


def _bars(one: Soft, heat: float, data: DataHandle) -> str:
    bars = softened(one, heat, CLASSES)
    items = "".join(
        f"<li class='{'is-label' if k == one.label else ''}'><span>{escape(cut(data.classes[k], LONG))}</span>"
        f"<b>{percent(share, 0)}</b><i style='width:{100 * share:.1f}%'></i></li>"
        for k, share in bars
    )
    return f"<ul class='t-bars'>{items}</ul>"


def _parts(found: Sequence[Soft], data: DataHandle) -> list[str]:
    places = [one.place for one in found]
    if data.modality == "text":
        return [f"<blockquote>{escape(one.text)}</blockquote>" for one in found]
    if data.modality == "table":
        return [row(values) for values in most_unusual(data, places, VALUES, "fit")]
    pictures = seen_pictures(data, places, "fit")
    return [
        f"<img class='{sharp(side(data))}' alt='Example {one.place}, {escape(data.classes[one.label], quote=True)}' "
        f"src='data:image/png;base64,{base64.b64encode(seen.stored).decode()}'>"
        for one, seen in zip(found, pictures, strict=True)
    ]
