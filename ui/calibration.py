"""The Calibration page: every way to mend what a model says of its own certainty, and which one to use."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import streamlit as st

from core.engine.calibration_lab import NONE, Entry, Material, contest, material, with_calibration
from core.engine.lane import working
from core.engine.ranking import Ranking, Standing, judges, rank
from core.figures import said, words
from core.figures.calibration_ranking import calibration_ranking_chart, moved
from core.models.samples import load_sample
from ui import show
from ui.calibration_pictures import pictures
from ui.calibration_sets import sets
from ui.frame import guarded, mode, show_notice
from ui.headline import history
from ui.picker import model_picker
from ui.state import Sitting, kind_of, mirror, sitting
from ui.work import Ticker, visitor

MODEL = "calibration-model"
MEASURE = "calibration-measure"
BINNED = ("ece", "ece_equal_mass", "mce", "classwise_ece_mean", "classwise_ece_sum")
LOOK = "calibration-look"  # session key: the method that is looked at


def page() -> None:
    """Draw the page."""
    now = sitting()
    left, right = st.columns([0.235, 0.765], gap="medium")
    with left, st.container(key="controls"):
        model_picker(now, MODEL)
        panel = st.container()
    with right:
        with st.container(key="calibration-bar", horizontal=True, vertical_alignment="center", gap="small"):
            with st.container(width="stretch", gap=None):
                st.html("<h1 class='t-title'>Does it know how sure it is?</h1>")
                status = st.empty()
            history(now)
        show_notice()
        with guarded():
            measure = _measure(panel, now)
            given, ranking = _ranked(now, measure, status)
            _status(status, now, given)
            _board(now, ranking)
            looked = _looked(panel, now, ranking)
            pictures(given, looked, measure)
            model, data = load_sample(now.model)
            if data.task.decides:
                sets(model, data, with_calibration(now.recipe, looked.name))
    mirror()


def _measure(panel: object, now: Sitting) -> str:
    kind = kind_of(now.model)
    names = judges(kind)
    with panel, st.container(key="panel-calibration", gap="small"):  # type: ignore[attr-defined]
        chosen: str = st.selectbox(
            "Ranked by", names, key=f"{MEASURE}-{kind}", format_func=said.title, persist_state="session"
        )
    return chosen or names[0]


def _ranked(now: Sitting, measure: str, slot: object) -> tuple[Material, Ranking]:
    """Fit what is not yet fitted and judge it; Streamlit ends this at the next step when the person moves on."""
    model, data = load_sample(now.model)
    with working(visitor()):
        given = material(model, data, now.recipe, Ticker(slot, "Evaluating"))
        entries = contest(given, Ticker(slot, "Fitting each calibration"))
        ranking = rank(entries, measure, given.name, Ticker(slot, "Judging each calibration"))
    return given, ranking


def _status(place: object, now: Sitting, given: Material) -> None:
    place.html(  # type: ignore[attr-defined]
        f"<div class='t-status' role='status'><span class='t-tag'>Measured</span>"
        f"<span>{escape(now.recipe.without('calibrate').notation)}</span>"
        f"<span>fitted on {words.count(given.calibration.n)} calibration examples</span>"
        f"<span>judged on {words.count(given.evaluation.n)} others</span></div>"
    )


def _board(now: Sitting, ranking: Ranking) -> None:
    def picked(name: object) -> None:
        st.session_state[LOOK] = str(name[0] if isinstance(name, list) else name)

    drawn = calibration_ranking_chart(ranking, mode=mode())
    show.chart(drawn, "Calibrations compared", "calibration-ranking", on_pick=picked)
    show.small(
        "Each is fitted on the calibration split and judged here on the evaluation split. The first of several is "
        "a little lucky on the set that ranked it: where others are within chance of it, take the simplest. 95 % "
        "intervals, each of its own; filled diamonds are beyond chance after Holm's correction for all methods, and "
        "behind the best is beyond chance with every pair of methods counted."
    )
    if ranking.measure in BINNED:
        show.small(
            "A binned error is too high on few examples, as chance puts gaps into its bins: an interval tells its "
            "noise around the value shown, not that bias, which the lesson below shows. Changes suffer little."
        )
    if changed := [row for row in ranking.rows if row.accuracy is not None]:
        st.warning(f"Predicted classes change: {_listed(changed)}.", icon=":material/warning:")
    for entry in ranking.failed:
        show.small(f"{entry.title} could not be fitted: {entry.error}")
    for row in ranking.rows:
        if row.entry.warning:
            show.small(row.entry.warning)


def _listed(changed: Sequence[Standing]) -> str:
    parts = []
    for row in changed:
        assert row.accuracy is not None and row.flips is not None
        parts.append(f"{row.entry.title} {words.count(row.flips.flips)} ({moved(row.accuracy)})")
    return "; ".join(parts)


def _looked(panel: object, now: Sitting, ranking: Ranking) -> Entry:
    """The method looked at: at first the recipe's own, or else the best; its button puts it into the recipe."""
    own = next((step.method for step in now.recipe.only("calibrate").steps), NONE)
    titles = {row.entry.name: row.entry.title for row in ranking.rows}
    chosen = st.session_state.get(LOOK)
    if chosen not in titles:
        chosen = own if own != NONE and own in titles else ranking.best.entry.name
    widget = f"{LOOK}-picker"
    st.session_state[widget] = chosen

    def typed() -> None:
        st.session_state[LOOK] = st.session_state[widget]

    with panel, st.container(key="panel-look", gap="small"):  # type: ignore[attr-defined]
        st.selectbox("Look at one, or click its row", list(titles), key=widget, format_func=titles.get,
                     on_change=typed)  # fmt: skip
        inside = chosen == own
        st.button(
            "In the recipe" if inside else "Use this one", key="calibration-use", type="primary", disabled=inside,
            icon=":material/check:", on_click=lambda: now.change(with_calibration(now.recipe, chosen)),
            width="stretch",
        )  # fmt: skip
        entry = next(row.entry for row in ranking.rows if row.entry.name == chosen)
        fitted = _fitted(entry)
        if fitted:
            show.small(fitted)
    return entry


def _fitted(entry: Entry) -> str:
    """Up to three numbers that a method fitted, where it fitted single ones."""
    numbers = {k: v for k, v in entry.fitted.items() if isinstance(v, float) and not isinstance(v, bool)}
    text = ", ".join(f"{k.replace('_', ' ')} = {v:.4g}" for k, v in list(numbers.items())[:3])
    return f"Fitted: {text}" if text else ""
