"""The Studio: controls on the left, everything they change on the right, in one fragment."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core.damage.examples import cell, most_changed_cell
from core.decisions.stakes import costs_of_card
from core.errors import TemperError
from core.figures.confusion import confusion_chart
from core.figures.flips import flips_chart
from core.figures.latency import latency_chart
from core.figures.ledger import ledger_chart
from core.figures.reliability import reliability_chart
from core.figures.takeaway import gained, remains
from core.figures.trail import trail_chart
from core.models.samples import read_card, titles
from core.recipe import from_json
from ui import controls, layer_controls, show
from ui.course import step_by_step
from ui.decision import decision
from ui.frame import guarded, mode, show_notice
from ui.gallery import gallery, of_cell
from ui.groups import groups
from ui.headline import headline, history, stale
from ui.numbers import coverage, numbers
from ui.state import Sitting, handle_of, kind_of, link_parameters, mirror, sitting
from ui.work import Point, judged, speeds, unrepaired, visit, work_ahead

CELL = "cell"  # session key: (true, predicted) chosen in the confusion matrix, or absent
MODEL = "control:model"
BINS = "bins-by"
UPLOAD = "recipe-file"
ALL = "gallery-all"
FEW, MANY = 14, 70  # examples shown: two rows of pictures, or as many as still load at once


def page() -> None:
    """Draw the page. Only the fragment runs again when something is moved."""
    _studio()


@st.fragment
def _studio() -> None:
    now = sitting()
    _follow(now)
    left, right = st.columns([0.235, 0.765], gap="medium")
    with left, st.container(key="controls"):
        _controls(now)
    with right:
        with st.container(key="bar", horizontal=True, vertical_alignment="center", gap="small"):
            slot = st.container(width="stretch").empty()
            _actions(now)
        show_notice()
        with guarded():
            head = st.empty()
            stale(head)
            found = headline(now, slot, head)
            _results(now, found)
            work_ahead(found, now.history[now.cursor - 1] if now.cursor else None)
    mirror()


def _follow(now: Sitting) -> None:
    """Set the controls to the recipe when they are new on the page or the recipe changed elsewhere."""
    if st.session_state.get("controls-revision") != now.revision or MODEL not in st.session_state:
        st.session_state[MODEL] = now.model
        controls.write(now.recipe, kind_of(now.model))
        st.session_state["controls-revision"] = now.revision


def _changed() -> None:
    now = sitting()
    before, after = now.recipe, controls.read(now.recipe)
    now.change(after, by_control=True)
    if before.only("train").steps and not after.only("train").steps:
        words = "The training belonged to the recipe as it was before this change, and was left out."
        now.notice = TemperError(words, "Undo brings it back; the Adapt page trains the new recipe.")


def _model_changed() -> None:
    sitting().choose_model(st.session_state[MODEL])
    st.session_state.pop(CELL, None)


def _controls(now: Sitting) -> None:
    names = titles()
    st.selectbox(
        "Model",
        list(names),
        key=MODEL,
        format_func=lambda name: names.get(name, name),
        on_change=_model_changed,
        label_visibility="collapsed",
    )
    if not controls.can_show(now.recipe):
        show.small("This recipe has steps that these controls cannot show; moving one replaces it.")
    layer_controls.note(now)
    _trainings(now)
    controls.panel(_changed, kind_of(now.model), handle_of(now.model))


def _trainings(now: Sitting) -> None:
    """Say that the recipe trains, with a way to leave that out."""
    found = now.recipe.only("train")
    if not found.steps:
        return
    show.small(f"Trained on the Adapt page: {found.notation}. Changing what stands before leaves it out.")
    st.button(
        "Leave the training out", icon=":material/close:", key="untrain", type="tertiary",
        on_click=lambda: now.change(now.recipe.without("train")),
    )  # fmt: skip


def _actions(now: Sitting) -> None:
    history(now)
    _share(now)


def _share(now: Sitting) -> None:
    with st.popover("Share", icon=":material/link:", key="share", type="tertiary"):
        show.small("This link restores the model, the recipe and the page.")
        query = "&".join(f"{key}={value}" for key, value in link_parameters().items())
        st.code(f"{(st.context.url or '').rstrip('/')}?{query}", language=None, wrap_lines=True)
        st.download_button(
            "Download the recipe",
            now.recipe.to_json(),
            f"{now.model}-recipe.json",
            "application/json",
            key="recipe-download",
            icon=":material/download:",
            on_click="ignore",
        )
        st.file_uploader("Open a recipe", type="json", key=UPLOAD, on_change=_uploaded)


def _uploaded() -> None:
    given, now = st.session_state[UPLOAD], sitting()
    if given is None:
        return
    try:
        now.change(from_json(given.getvalue().decode("utf-8", "replace")))
    except TemperError as error:
        now.notice = error


def _results(now: Sitting, found: Point) -> None:
    result, colours = found.result, mode()
    for warning in result.warnings:
        st.warning(warning, icon=":material/warning:")

    mending = st.container()
    changed = found.comparison.flips
    wide, narrow = st.columns([0.56, 0.44], gap="medium")
    with wide:
        if changed:
            _reliability(found, colours)
        else:
            coverage(found, colours)
    with narrow:
        _trail(now, found, colours)
        if changed:
            drawn = flips_chart(
                changed.wrong_to_right, changed.right_to_wrong, changed.wrong_to_wrong, changed.n, mode=colours
            )
            show.chart(drawn, "Who changed sides", "flips")
    size, speed = st.columns([0.56, 0.44], gap="medium")
    with size:
        show.chart(ledger_chart(result.original_bytes, result.bytes, mode=colours), "Size", "ledger")
        if left := remains(result):
            show.small(left)
    waiting = speed.container()
    stepwise = st.container()
    if found.data.task.kind == "binary":
        decision(judged(found), colours, *costs_of_card(read_card(now.model)))
    if changed:
        _confusion(found, colours)
    else:
        numbers(found, colours)
    groups(found, colours)
    if (without := unrepaired(found)) is not None:
        with mending:
            show.caption(gained(without, result.tempered))
    with waiting:
        original, tempered = speeds(found)
        show.chart(latency_chart(original, tempered, mode=colours), "Latency", "latency")
    with stepwise:
        step_by_step(found, colours)


def _reliability(found: Point, colours: str) -> None:
    result = found.result
    by = st.session_state.get(BINS) or "width"
    drawn = reliability_chart(result.original, result.uncalibrated, result.tempered, mass=by, mode=colours)
    show.chart(drawn, "Reliability", "reliability", beside=_bins)


def _bins() -> None:
    st.segmented_control(
        "Bins of the reliability diagram",
        ["width", "mass"],
        key=BINS,
        default="width",
        required=True,
        format_func=lambda option: {"width": "Equal width", "mass": "Equal mass"}[option],
        label_visibility="collapsed",
        persist_state="session",
    )


def _trail(now: Sitting, found: Point, colours: str) -> None:
    place = visit(now, found)
    points = [seen.point for seen in now.trail]

    def picked(index: Any) -> None:
        now.change(now.trail[int(index[0] if isinstance(index, list) else index)].recipe)

    show.chart(trail_chart(points, place, mode=colours), "Where you have been", "trail", on_pick=picked)


def _confusion(found: Point, colours: str) -> None:
    result, classes = found.result, found.data.classes

    def picked(of: Any) -> None:
        st.session_state[CELL] = (int(of[0]), int(of[1]))

    def typed() -> None:
        st.session_state[CELL] = (st.session_state["cell-true"], st.session_state["cell-predicted"])

    chosen = st.session_state.get(CELL) or most_changed_cell(result)
    shown = confusion_chart(result.original, result.tempered, mode=colours, selected=chosen)
    show.chart(shown, "Confusion", "confusion", on_pick=picked)
    inside = cell(result, *chosen, limit=MANY if st.session_state.get(ALL) else FEW)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        for key, label, place in (("cell-true", "True class", 0), ("cell-predicted", "Predicted", 1)):
            st.session_state[key] = chosen[place]
            st.selectbox(
                label, range(len(classes)), key=key, format_func=lambda i: classes[i], on_change=typed, width=190
            )
        show.small(
            f"{classes[chosen[0]]} taken for {classes[chosen[1]]}: {inside.original} before, {inside.tempered} "
            f"after; {len(inside.examples)} shown, flipped ones first."
        )
        st.toggle("Show more", key=ALL, persist_state="session")
    with st.container(key="examples"):
        gallery(of_cell(inside, found.data), found.data, found.network())
