"""What one calibration does, in pictures: curves, temperatures, referral, examples needed, and a lesson in bins."""

from __future__ import annotations

import streamlit as st

from core.calibration.bins_lesson import bins_lesson
from core.calibration.calibration_lab import NONE, Entry, Material, calibration_of
from core.calibration.class_curves import class_curves
from core.calibration.corp import Corp, corp
from core.calibration.group_temperature import group_temperatures_of
from core.calibration.how_many import how_many
from core.calibration.quantile_intervals import quantile_intervals
from core.calibration.temperatures import at_temperature, temperatures
from core.decisions.cost_curve import cost_curve
from core.decisions.referring import referring
from core.engine.lane import working
from core.engine.memory import RESULTS
from core.figures.bins_lesson import bins_lesson_chart
from core.figures.calibration_curve import calibration_curve_chart
from core.figures.class_curves import class_curves_chart
from core.figures.cost_curve import cost_curve_chart
from core.figures.coverage import coverage_chart
from core.figures.group_temperature import group_temperature_chart
from core.figures.how_many import how_many_chart
from core.figures.quantile_intervals import quantile_intervals_chart
from core.figures.referring import referring_chart
from core.figures.temperature_curve import temperature_curve_chart
from core.jobs.background import named
from core.types import Outcome
from ui import show
from ui.frame import guarded, mode
from ui.layer_columns import progress
from ui.work import visitor

BEAT = 0.7  # seconds between two looks at a measurement
CROSSED = (
    "With cross-fitting every example both fits and is judged, in turn. Absent is what needs examples set apart: "
    "the temperature to drag, the cut-off to refer by, a temperature for each group, and how many examples it takes."
)


def pictures(given: Material, looked: Entry, measure: str) -> None:
    """Draw what suits the task; `looked` is the calibration looked at."""
    assert looked.outcome is not None
    after = looked.outcome
    if not given.evaluation.task.decides:
        drawn = coverage_chart(given.evaluation, given.evaluation, after, mode=mode())
        show.chart(drawn, "Coverage of intervals", "calibration-coverage")
        show.small("Here Original is this network before any calibration, and Tempered after the one looked at.")
        _quantiles(given)
        _needed(given, looked, measure)
        return
    with guarded():
        before, curve = (_curve(given, name, o) for name, o in ((NONE, given.evaluation), (looked.name, after)))
        title = "Uncalibrated" if looked.name == NONE else looked.title
        drawn = calibration_curve_chart(before, curve, title, mode=mode())
        show.chart(drawn, "Reliability", "calibration-curve")
    with guarded():
        drawn = class_curves_chart(class_curves(given.evaluation, after), mode=mode())
        show.chart(drawn, "Class by class", "class-curves")
    if given.evaluation.task.kind == "binary":
        with guarded():
            drawn = cost_curve_chart(cost_curve(given.evaluation, after), mode=mode())
            show.chart(drawn, "What its probabilities cost", "cost-curve")
            show.small(
                "The two costs are scaled so that an error costs 1 on average over all ratios; the mean of a curve "
                "is then the Brier score. Each acts from the share on, as a calibrated model should."
            )
    if given.crossed:
        show.small(CROSSED)
    else:
        _temperature(given)
        _by_group(given)
        left, right = st.columns(2, gap="medium")
        with left:
            _refer(given, looked)
        with right:
            _needed(given, looked, measure)
    _lesson(after)


@st.fragment
def _quantiles(given: Material) -> None:
    with guarded(), st.container(key="quantile-intervals-part"):
        head = st.container()
        level: float = st.slider(
            "Intervals that are to hold the truth", 50.0, 99.0, 90.0, 1.0, format="%g %%", key="intervals-level",
            persist_state="session", width=420,
        )  # fmt: skip
        with working(visitor()):
            found = quantile_intervals(given, level / 100)
        with head:
            drawn = quantile_intervals_chart(found, mode=mode())
            show.chart(drawn, "Small numbers and large ones", "quantile-intervals")
            one, scaled = found.of("quantile"), found.of("normalised")
            whose = "the network states" if found.states_scale else f"trees fit on {scaled.fitted:,} examples"
            show.small(
                f"Scaled is by the deviation that {whose}. Quantiles are fitted by boosted trees, on what the "
                f"network says, to {one.fitted:,} calibration examples and made conformal by {one.set:,} others; "
                "they are no step of a recipe, as a file that leaves holds the network and not the trees. Bars are "
                "Clopper and Pearson's 95 % intervals."
            )


@st.fragment
def _by_group(given: Material) -> None:
    if not given.columns:
        show.heading("A temperature for each group")
        show.small("Absent: the data names no groups.")
        return
    with guarded(), st.container(key="group-temperature-part"):
        titles = [one.title for one in given.columns]
        title = titles[0]
        if len(titles) > 1:
            title = st.segmented_control(
                "Groups by", titles, key=f"group-temperature-{given.key[1]}", default=title, required=True,
                persist_state="session",
            ) or title  # fmt: skip
        with working(visitor()):
            found = group_temperatures_of(given, title)
        drawn = group_temperature_chart(found, mode=mode())
        show.chart(drawn, "A temperature for each group", "group-temperature")
        show.small(
            "Fitted on the calibration split, where a group's own temperature moves to the common one the more the "
            "fewer examples it has; judged here on the evaluation split, 95 % intervals. It is no step of a recipe: "
            "a file that leaves is given inputs, not groups."
        )


def _curve(given: Material, name: str, outcome: Outcome) -> Corp:
    with working(visitor()):
        found: Corp = RESULTS.remember(("corp", *given.name, name), lambda: corp(outcome), lambda _: 20_000)
    return found


@st.fragment
def _temperature(given: Material) -> None:
    with guarded():
        found = RESULTS.remember(("temperatures", *given.key), lambda: temperatures(given), lambda _: 5_000)
        options = [float(t) for t in found.at]
        start = min(options, key=lambda t: abs(t - found.optimum))
        chosen: float = st.select_slider(
            "Drag the temperature", options, key="-".join(("temperature", *given.key)), value=start,
            format_func=lambda t: f"T* = {t:.3g}" if t == start else f"{t:.3g}",
        )  # fmt: skip
        drawn = temperature_curve_chart(found, chosen, mode=mode())
        show.chart(drawn, "Every temperature", "temperature-curve")
        by_hand = at_temperature(given.evaluation, chosen)
        one, other = _curve(given, NONE, given.evaluation), _curve(given, f"T {chosen}", by_hand)
        drawn = calibration_curve_chart(one, other, f"T = {chosen:.3g}", mode=mode())
        show.chart(drawn, "Reliability at this temperature", "temperature-reliability")


@st.fragment
def _refer(given: Material, looked: Entry) -> None:
    with guarded():
        assert looked.outcome is not None
        head = st.container()
        most = max(1.0, 100 * float(1 - given.evaluation.correct.mean()))
        start = float(f"{most / 2:.2g}")
        wish: float = st.slider(
            "Wrong at most", 0.0, float(f"{1.2 * most:.2g}"), start, float(f"{most / 40:.1g}"), format="%g %%",
            key="-".join(("refer-wish", *given.key)),
        )  # fmt: skip
        after = calibration_of(given, looked.name), looked.outcome
        found = referring((given.calibration, given.evaluation), after, wish / 100)
        with head:
            show.chart(referring_chart(found, mode=mode()), "Refer when unsure", "referring")


def _needed(given: Material, looked: Entry, measure: str) -> None:
    if looked.name == NONE:
        show.heading("How many examples it takes")
        show.small("Look at a calibration to see how many examples it needs.")
        return
    key = ("how-many", *given.name, looked.name, measure)
    measuring = named(key, lambda told: how_many(given, looked.name, measure, told))
    alive = measuring.alive

    def board() -> None:
        if alive and not measuring.alive:
            st.rerun()
        with guarded():
            found = None if measuring.alive else measuring.found()
            if found is not None:
                show.chart(how_many_chart(found, mode=mode()), "How many examples it takes", "how-many")
                return
            show.heading("How many examples it takes")
            if measuring.alive:
                progress(measuring, "how-many-cancel")
                return
            show.caption(
                f"{looked.title} is fitted on ever larger random parts of the {given.calibration.n:,} calibration "
                "examples and judged on the evaluation split."
            )
            if measuring.note:
                st.warning(measuring.note, icon=":material/info:")
            if st.button("Measure it", icon=":material/play_arrow:", key="how-many-measure", type="primary"):
                measuring.start()
                st.rerun()

    st.fragment(board, run_every=BEAT if alive else None)()


@st.fragment
def _lesson(outcome: Outcome) -> None:
    with guarded(), st.container(key="bins-lesson-part"):
        head = st.container()
        left, middle, right = st.columns([1, 1, 1], gap="medium", vertical_alignment="bottom")
        bins: int = left.slider("Bins", 1, 100, 15, key="lesson-bins", persist_state="session")
        sizes = [n for n in (50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000) if n < outcome.n]
        n: int = middle.select_slider(
            "Examples", [*sizes, outcome.n], outcome.n, key=f"lesson-n-{outcome.n}", format_func=lambda n: f"{n:,}"
        )
        with right:
            by = st.segmented_control(
                "Bins of equal", ["width", "mass"], key="lesson-by", default="width", required=True,
                format_func=lambda one: {"width": "Width", "mass": "Number"}[one], persist_state="session",
            )  # fmt: skip
        with head:
            drawn = bins_lesson_chart(bins_lesson(outcome, n, bins, by), bins, mode=mode())
            show.chart(drawn, "What the number ECE depends on", "bins-lesson")
            show.small(
                "The perfectly calibrated model states the same confidences, and is right as often as they say, by a "
                "draw. What ECE says of it is bias: it grows with the bins and falls with the examples."
            )
