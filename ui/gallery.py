"""Examples as what they are, a picture, a row or a text, with what both models say of each."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import streamlit as st

from core.damage.examples import Cell, Example
from core.damage.occlusion import Excerpt, excerpts
from core.damage.unusual import Value, most_unusual
from core.data.handle import DataHandle
from core.engine.network import Network
from core.engine.numbers import Moved
from core.figures.pictures import evaluation_pictures, evaluation_rows, side
from core.figures.words import amount, cut, percent

SMALL = 64  # px: pictures up to here are shown as the squares they are, larger ones smoothed
LONG = 40  # characters of a class name beside a picture
FAR = 99  # deviations beyond which their number says no more, as where a column never varied before
VALUES = 4  # values of a row that are named on its card
FAINT, STRONG = 0.3, 0.6  # weights of a word from which it is marked, and marked strongly


@dataclass(frozen=True)
class Shown:
    """One evaluation example: its place, its truth, and what each model says, in words; `marked` is outlined.

    With `alone` one model speaks, and this is what it says.
    """

    place: int
    truth: str
    before: str
    after: str
    marked: bool
    alone: str = ""


def of_cell(cell: Cell, data: DataHandle) -> list[Shown]:
    """A confusion cell's examples; those that flipped come first and are marked."""
    return of_examples(cell.examples, data)


def of_examples(examples: Sequence[Example], data: DataHandle) -> list[Shown]:
    """Examples with what both models say of them; those that flipped are marked."""

    def told(predicted: int, confidence: float) -> str:
        return f"{cut(data.classes[predicted], LONG)} {percent(confidence, 0)}"

    return [
        Shown(
            one.index, data.classes[one.label], told(one.original, one.original_confidence),
            told(one.tempered, one.tempered_confidence), one.flipped,
        )
        for one in examples
    ]  # fmt: skip


def of_numbers(moved: Sequence[Moved], data: DataHandle) -> list[Shown]:
    """Examples whose predicted number moved; those further off than before are marked."""
    return [
        Shown(one.place, amount(one.actual, data.task.unit), amount(one.before), amount(one.after), one.growth > 0)
        for one in moved
    ]


def sharp(pixels: int) -> str:
    """The style of pictures with this many pixels on their longer side."""
    return "" if pixels <= SMALL else "smooth"


def gallery(shown: Sequence[Shown], data: DataHandle, network: Network) -> None:
    """Show examples; `network` is the tempered one, whose words are weighed in texts."""
    if not shown:
        st.html("<p class='t-small'>No example falls in here, before or after.</p>")
        return
    places = [one.place for one in shown]
    if data.modality == "pictures":
        _pictures(shown, data)
    elif data.modality == "text":
        parts = [_text(found) for found in excerpts(network, data, places)]
        _cards(shown, parts, "t-texts")
        st.html(
            "<p class='t-small'>Marked are the words without which the tempered model would be less sure of its "
            "answer (solid, stronger the more) or surer (dotted), each left out in turn.</p>"
        )
    else:
        _cards(shown, [row(values) for values in most_unusual(data, places, VALUES)], "t-rows")
        st.html(
            "<p class='t-small'>Named are the values furthest from what is usual in the calibration split; unusual "
            "ones, beyond two standard deviations, in bold.</p>"
        )
        with st.expander("All values of these rows", icon=":material/table:"):
            _rows(shown, data)


def _caption(one: Shown, truth: str = "") -> str:
    if one.alone:
        return f"<figcaption>{truth}<span class='t-dot tempered'></span>{escape(one.alone)}</figcaption>"
    return (
        f"<figcaption><span class='t-dot original'></span>{escape(one.before)}<br>"
        f"<span class='t-dot tempered'></span>{escape(one.after)}</figcaption>"
    )


def _pictures(shown: Sequence[Shown], data: DataHandle) -> None:
    figures, kind = [], sharp(side(data))
    for one, image in zip(shown, evaluation_pictures(data, [one.place for one in shown]), strict=True):
        words = f"Example {one.place}, {one.truth}; original: {one.before}; tempered: {one.after}"
        if one.alone:
            words = f"Example {one.place}, {one.truth}; its set holds {one.alone}"
        figures.append(
            f"<figure class='{'flipped' if one.marked else ''}'>"
            f"<img class='{kind}' alt='{escape(words, quote=True)}' "
            f"src='data:image/png;base64,{base64.b64encode(image).decode()}'>"
            f"{_caption(one, escape(one.truth) + '<br>')}</figure>"
        )
    st.html(f"<div class='t-gallery'>{''.join(figures)}</div>")


def _cards(shown: Sequence[Shown], parts: Sequence[str], kind: str) -> None:
    figures = [
        f"<figure class='{'flipped' if one.marked else ''}'><p class='t-truth'>{escape(one.truth)}"
        f"<small>example {one.place}</small></p>{part}{_caption(one)}</figure>"
        for one, part in zip(shown, parts, strict=True)
    ]
    st.html(f"<div class='t-gallery {kind}'>{''.join(figures)}</div>")


def row(values: Sequence[Value]) -> str:
    """Values of a row with their distances from what is usual, as HTML."""
    items = []
    for value in values:
        away = f"over {FAR}" if abs(value.deviations) > FAR else f"{abs(value.deviations):.1f}"
        arrow = "▲" if value.deviations > 0 else "▼"
        text = (
            f"{value.name}: {value.text}, {away} deviations {'above' if value.deviations > 0 else 'below'} the mean"
        )
        items.append(
            f"<li class='{'notable' if value.notable else ''}' title='{escape(text, quote=True)}'>"
            f"<span>{escape(cut(value.name, LONG))}</span><b>{escape(value.text)}</b><i>{arrow} {away} σ</i></li>"
        )
    return f"<ul>{''.join(items)}</ul>"


def _text(found: Excerpt) -> str:
    parts, at = [], 0
    for word in found.words:
        if abs(word.weight) < FAINT or word.start < at:
            continue
        parts.append(escape(found.text[at : word.start]))
        kind = "for" if word.weight > 0 else "against"
        strength = "strong" if abs(word.weight) > STRONG else "some"
        parts.append(f"<mark class='{kind} {strength}'>{escape(found.text[word.start : word.end])}</mark>")
        at = word.end
    parts.append(escape(found.text[at:]))
    begin, end = "… " if found.before else "", " …" if found.after else ""
    return f"<blockquote>{begin}{''.join(parts)}{end}</blockquote>"


def _rows(shown: Sequence[Shown], data: DataHandle) -> None:
    rows = [
        {"Row": one.place, "Truth": one.truth}
        | ({"Set": one.alone} if one.alone else {"Original says": one.before, "Tempered says": one.after})
        | dict(values)
        for one, values in zip(shown, evaluation_rows(data, [one.place for one in shown]), strict=True)
    ]
    st.dataframe(rows, hide_index=True, alt="The rows behind these examples, with all their values")
