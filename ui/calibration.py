"""The Calibration page: every way to mend what a model says of its own certainty, and which one to use."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import streamlit as st

from core.calibration.calibration_lab import NONE, Entry, Material, contest, material, with_calibration
from core.calibration.chosen import Chosen
from core.calibration.cross_fit import FOLDS
from core.calibration.ranking import Ranking, Standing, judges, rank
from core.calibration.sets import Sets
from core.engine.lane import working
from core.figures import said, words
from core.figures.calibration_ranking import calibration_ranking_chart, moved
from core.models.samples import load_sample
from core.own_logits import OwnLogits, own_material
from core.task import TaskKind
from ui import show
from ui.calibration_choice import choice, choosing
from ui.calibration_examples import examples_of_sets
from ui.calibration_own import asked, awaited, own_panel, remarks, way_of
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
    """Draw the page, of the model in force or of a person's own logits."""
    now = sitting()
    left, right = st.columns([0.235, 0.765], gap="medium")
    with left, st.container(key="controls"):
        if not asked():
            model_picker(now, MODEL)
        own = own_panel()
        panel = st.container()
    with right:
        with st.container(key="calibration-bar", horizontal=True, vertical_alignment="center", gap="small"):
            with st.container(width="stretch", gap=None):
                st.html("<h1 class='t-title'>Does it know how sure it is?</h1>")
                status = st.empty()
            if not asked():
                history(now)
        show_notice()
        with guarded():
            if asked():
                if own is None:
                    awaited()
                else:
                    _of_own(panel, own, status)
            else:
                _of_model(panel, now, status)
    mirror()


def _of_model(panel: object, now: Sitting, status: object) -> None:
    measure = _measure(panel, kind_of(now.model))
    model, data = load_sample(now.model)
    with working(visitor()):
        given = material(model, data, now.recipe, Ticker(status, "Evaluating"))
    ranking = _ranked(given, measure, status)
    _status(status, now.recipe.without("calibrate").notation, given)
    own = next((step.method for step in now.recipe.only("calibrate").steps), NONE)
    _board(given, ranking, now, own)
    looked = _looked(panel, now, own, ranking)
    pictures(given, looked, measure)
    if data.task.decides:

        def examples(found: Sets) -> None:
            examples_of_sets(found, looked, model, data, now.recipe)

        sets(given, looked.name, examples)


def _of_own(panel: object, own: OwnLogits, status: object) -> None:
    with panel:  # type: ignore[attr-defined]
        given = own_material(own, way_of(own))
    measure = _measure(panel, given.evaluation.task.kind)
    ranking = _ranked(given, measure, status)
    _status(status, own.name, given)
    remarks(own, given)
    _board(given, ranking, None, NONE)
    looked = _looked(panel, None, NONE, ranking)
    pictures(given, looked, measure)
    sets(given, looked.name)
    show.small("Pictures of examples are absent: the file holds logits and labels, no inputs.")


def _measure(panel: object, kind: TaskKind) -> str:
    names = judges(kind)
    with panel, st.container(key="panel-calibration", gap="small"):  # type: ignore[attr-defined]
        chosen: str = st.selectbox(
            "Ranked by", names, key=f"{MEASURE}-{kind}", format_func=said.title, persist_state="session"
        )
    return chosen or names[0]


def _ranked(given: Material, measure: str, slot: object) -> Ranking:
    """Fit what is not yet fitted and judge it; Streamlit ends this at the next step when the person moves on."""
    with working(visitor()):
        entries = contest(given, Ticker(slot, "Fitting each calibration"))
        return rank(entries, measure, given.name, Ticker(slot, "Judging each calibration"))


def _status(place: object, what: str, given: Material) -> None:
    fitted = f"fitted on {words.count(given.calibration.n)} calibration examples"
    judged = f"judged on {words.count(given.evaluation.n)} others"
    if given.crossed:
        fitted, judged = f"{words.count(given.evaluation.n)} examples", f"cross-fitted in {FOLDS} parts"
    place.html(  # type: ignore[attr-defined]
        f"<div class='t-status' role='status'><span class='t-tag'>Measured</span>"
        f"<span>{escape(what)}</span><span>{fitted}</span><span>{judged}</span></div>"
    )


def _board(given: Material, ranking: Ranking, now: Sitting | None, own: str) -> None:
    def picked(name: object) -> None:
        st.session_state[LOOK] = str(name[0] if isinstance(name, list) else name)

    found: Chosen | None = None if given.crossed else choosing(given, ranking.measure).found()
    drawn = calibration_ranking_chart(ranking, mode=mode(), chosen=found.name if found else None)
    show.chart(drawn, "Calibrations compared", "calibration-ranking", on_pick=picked)
    how = "Each is fitted on the calibration split and judged here on the evaluation split."
    if given.crossed:
        how = f"Each of {FOLDS} parts is judged by a fit on the others; intervals leave out that fits share examples."
    show.small(
        f"{how} The first of several is a little lucky on the set that ranked it: where others are within chance of "
        "it, take the simplest. 95 % intervals, each of its own; filled diamonds are beyond chance after Holm's "
        "correction for all methods, and behind the best is beyond chance with every pair of methods counted."
    )
    choice(given, ranking, now, own)
    if ranking.measure == "sharpness":
        show.small("Sharp is good only among those that hold what they say: read it beside a calibration error.")
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


def _looked(panel: object, now: Sitting | None, own: str, ranking: Ranking) -> Entry:
    """The method looked at: at first the recipe's own, or else the best; its button puts it into the recipe."""
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
        if now is not None:
            _use(now, chosen, chosen == own)
        entry = next(row.entry for row in ranking.rows if row.entry.name == chosen)
        fitted = _fitted(entry)
        if fitted:
            show.small(fitted)
    return entry


def _use(now: Sitting, chosen: str, inside: bool) -> None:
    st.button(
        "In the recipe" if inside else "Use this one", key="calibration-use", type="primary", disabled=inside,
        icon=":material/check:", on_click=lambda: now.change(with_calibration(now.recipe, chosen)), width="stretch",
    )  # fmt: skip


def _fitted(entry: Entry) -> str:
    """Up to three numbers that a method fitted, where it fitted single ones."""
    numbers = {k: v for k, v in entry.fitted.items() if isinstance(v, float) and not isinstance(v, bool)}
    text = ", ".join(f"{k.replace('_', ' ')} = {v:.4g}" for k, v in list(numbers.items())[:3])
    return f"Fitted: {text}" if text else ""
