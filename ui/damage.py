"""Damage: the original against the tempered model, in plain words first, then the evidence for each of them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import streamlit as st

from core.damage.groups import by_group
from core.damage.payers import payers
from core.deploy.latency import known
from core.figures.latency import latency_chart
from core.figures.ledger import ledger_chart
from core.figures.plain import Statement, account
from core.types import Latency
from ui import show
from ui.damage_classes import classes
from ui.damage_flips import flips, moved
from ui.damage_groups import damage_groups
from ui.damage_real import real
from ui.damage_why import why
from ui.exemplars import exemplars
from ui.frame import guarded, mode, show_notice
from ui.picker import model_picker
from ui.sections import PREFIX, section
from ui.state import Sitting, kind_of, mirror, showcase, sitting
from ui.work import Point, point, status

MODEL = "damage-model"


def page() -> None:
    """Draw the page."""
    now = sitting()
    show_notice()
    left, right = st.columns([0.2, 0.8], gap="medium")
    with left, st.container(key="controls"):
        model_picker(now, MODEL)
        contents = st.container()
    with right, guarded():
        st.html("<h1 class='t-title'>What compression did, and to whom</h1>")
        if not now.recipe.simplified().steps:
            _untouched(now)
        else:
            slot = st.empty()
            found = point(now.model, now.recipe, slot, kept=False)
            slot.html(status(found))
            parts = _evidence(now, found)
            with contents:
                _contents(parts)
    mirror()


def _untouched(now: Sitting) -> None:
    """The recipe changes nothing: say so, and what to do."""
    with st.container(key="damage-untouched"):
        show.caption("The recipe changes nothing yet: tempered and original are one model, so there is no damage.")
        example = showcase(kind_of(now.model))
        st.button(
            f"Try {example.notation}", icon=":material/play_arrow:", key="damage-try", type="primary",
            on_click=lambda: now.change(example),
        )  # fmt: skip
        show.small("Or move a slider in the Studio; undo brings the untouched model back.")


def _evidence(now: Sitting, found: Point) -> list[tuple[str, str]]:
    """The paragraph and every section after it; returns the sections' anchors and titles."""
    colours, decides = mode(), found.data.task.decides
    speed = known(found.network(), found.data)
    for warning in found.result.warnings:
        st.warning(warning, icon=":material/warning:")
    _paragraph(_account(found, speed))
    parts = [section("real", "Is it real?")]
    with guarded():
        real(found, colours)
    if decides:
        parts.append(section("flips", "Examples that flipped"))
        with guarded():
            flips(found, colours)
        parts.append(section("classes", "Who pays: classes"))
        with guarded():
            classes(found, colours)
    else:
        parts.append(section("moved", "Predictions that moved"))
        with guarded():
            moved(found, colours)
    if found.data.groups:
        parts.append(section("groups", "Who pays: groups"))
        with guarded():
            damage_groups(found, colours)
    if decides:
        parts.append(section("exemplars", "What compression forgets first"))
        with guarded():
            exemplars(found, [seen.recipe for seen in now.trail])
    parts.append(section("why", "Why"))
    with guarded():
        why(found, colours)
    parts.append(section("size", "What it buys: size and speed"))
    _bought(found, speed, colours)
    return parts


def _account(found: Point, speed: tuple[Latency, Latency] | None) -> Sequence[Statement]:
    data, task = found.data, found.data.task
    by = by_group(data, found.result, data.groups[0].title, task.facts.headline) if data.groups else None
    return account(found.result, found.comparison, payers(found.result) if task.decides else None, by, speed)


def _paragraph(told: Sequence[Statement]) -> None:
    """Each statement is a link to its evidence."""
    said = " ".join(f"<a href='#{PREFIX}{one.anchor}'>{escape(one.text)}</a>" for one in told)
    st.html(f"<p class='t-plain'>{said}</p>")
    with st.expander("As text, to copy", icon=":material/content_copy:", key="damage-copy"):
        st.code(" ".join(one.text for one in told), language=None, wrap_lines=True)


def _contents(parts: Sequence[tuple[str, str]]) -> None:
    listed = "".join(f"<li><a href='#{PREFIX}{anchor}'>{escape(title)}</a></li>" for anchor, title in parts)
    st.html(f"<nav aria-label='On this page'><ul class='t-contents'>{listed}</ul></nav>")


def _bought(found: Point, speed: tuple[Latency, Latency] | None, colours: str) -> None:
    result = found.result
    left, right = st.columns([0.56, 0.44], gap="medium")
    with left:
        show.chart(ledger_chart(result.original_bytes, result.bytes, mode=colours), "Size", "ledger")
    with right:
        if speed is None:
            show.heading("Latency")
            show.small("Not measured yet for this format: the Studio measures it.")
        else:
            show.chart(latency_chart(*speed, mode=colours), "Latency", "latency")
