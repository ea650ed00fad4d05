"""Trade-offs: a grid of recipes that fills while one watches, its front, and what remains under constraints."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from html import escape
from typing import Any

import streamlit as st

from core.errors import TemperError
from core.figures import said, words
from core.figures.heat import heat_chart
from core.figures.tradeoff import tradeoff_chart
from core.models.samples import load_sample
from core.recipe import Recipe
from core.sweeps.desk import DESK
from core.sweeps.front import Front, Spot, front, smallest, within
from core.sweeps.plan import Axis, Place, Plan
from core.sweeps.spots import original_spot
from core.sweeps.sweep import Standing, Sweep
from core.sweeps.table import spots_table
from ui import axes as grid
from ui import show, ways
from ui.frame import guarded, mode, show_error, show_notice
from ui.picker import model_picker
from ui.state import GRID, Sitting, mirror, sitting
from ui.work import point

MODEL = "tradeoffs-model"
BEAT = 1.0  # seconds between two looks at a running sweep
WORST = 4.0  # times the original's error: the slider's end
LOSS = 0.01  # of a rate, in points, or of another leading metric, as a share of it: what may be lost at first
COSTS = {"packed": "Packed size", "file": "File size", "latency": "Latency"}
TAGS = {
    "ready": "Ready", "queued": "Waiting for another sweep", "running": "Running", "paused": "Paused",
    "done": "Done", "cancelled": "Stopped", "failed": "Stopped",
}  # fmt: skip


def page() -> None:
    """Draw the page. While a sweep runs, the board on the right draws itself anew each second."""
    now = sitting()
    show_notice()
    left, right = st.columns([0.235, 0.765], gap="medium")
    with guarded():
        model, data = load_sample(now.model)
        axes = _axes(now)
        plan = Plan(now.recipe, axes)
        sweep = DESK.find(model, data, plan)
        with left, st.container(key="controls"):
            _controls(now, plan, sweep)
        with right:
            slot = st.empty()
            original = original_spot(model, point(now.model, Recipe(), slot).result)
            slot.empty()
            board = st.fragment(_board, run_every=BEAT if sweep.alive else None)
            board(now, plan, sweep, original, sweep.alive)


def _axes(now: Sitting) -> tuple[Axis, ...]:
    """The axes in force; a link that cannot be read is said once and the usual grid shown."""
    try:
        axes = grid.read(now.recipe, now.grid)
        grid.check(axes)
        Plan(now.recipe, axes)
        return axes
    except TemperError as error:
        show_error(error)
        now.grid = GRID
        return grid.read(now.recipe, GRID)


def _controls(now: Sitting, plan: Plan, sweep: Sweep) -> None:
    ways.picker()
    model_picker(now, MODEL)
    show.small(f"Around the Studio's recipe: {now.recipe.notation}. The two parameters below replace its own.")
    if any(recipe.only("train").steps for recipe in plan.recipes.values()):
        show.small("It trains. This page trains nothing: points whose training was not run here are left out.")

    def changed(text: str) -> None:
        now.grid = text

    grid.pickers(now.recipe, plan.axes, changed)
    with st.container(key="panel-run", gap="small"):
        standing = sweep.standing()
        exact = st.toggle(
            "Measure every point",
            value=sweep.exact,
            help="Otherwise only points that could be on the front are measured; the others stay estimates.",
        )
        _actions(sweep, standing, exact)


def _actions(sweep: Sweep, standing: Standing, exact: bool) -> None:
    def start() -> None:
        sweep.exact = exact
        DESK.start(sweep)

    if standing.state == "running":
        st.button("Pause", icon=":material/pause:", key="pause", on_click=sweep.pause, width="stretch")
    elif standing.state == "queued":
        show.small("Another sweep is at work; this one follows.")
    elif (exact and standing.exact < standing.points) or sweep.wants():
        label = "Go on" if standing.known else f"Evaluate {standing.points:,} points"
        st.button(label, icon=":material/play_arrow:", key="start", type="primary", on_click=start, width="stretch")
    else:
        show.small(f"All {standing.points:,} points are known, {standing.exact:,} of them measured.")
    if sweep.alive:
        st.button("Cancel", icon=":material/stop:", key="cancel", on_click=sweep.cancel, width="stretch")


def _board(now: Sitting, plan: Plan, sweep: Sweep, original: Spot, was_alive: bool) -> None:
    """The right side. Runs again by itself while the sweep is alive."""
    if was_alive and not sweep.alive:
        st.rerun()  # the controls follow, and the beat ends
    with guarded():
        _standing(sweep.standing())
        spots = sweep.spots
        if not spots:
            _empty(plan, sweep.standing())
            lead = sweep.data.task.facts.headline
            show.chart(heat_chart(plan, {}, lead, mode=mode()), said.title(lead), "heat")
            return
        measure, by = _pickers(sweep, now.model)
        if sweep.standing().state == "done" and sweep.wants():
            _more(sweep, measure)
        original = replace(original, latency=sweep.original_latency)
        found = front(list(spots.values()), measure, by)
        allowed, best = _constraints(now, spots, original, sweep.data.task.facts.headline)
        _best(spots, best, allowed, original, sweep.data.task.facts.headline)
        here = next((place for place, recipe in plan.recipes.items() if recipe == now.recipe.simplified()), None)
        _charts(now, plan, spots, found, measure, by, allowed, best, here, original)
        _downloads(now, plan, spots, found, sweep.data.task.listed)
    mirror()


def _standing(standing: Standing) -> None:
    left = standing.seconds_left
    time = f", about {words_of(left)} left" if left is not None and standing.state == "running" else ""
    said = f"{standing.known:,} of {standing.points:,} points known, {standing.exact:,} measured{time}"
    if standing.state in ("running", "paused", "queued"):
        st.progress(min(standing.fraction, 1.0), f"{TAGS[standing.state]}: {said}")
    else:
        st.html(
            f"<div class='t-status' role='status'><span class='t-tag'>{TAGS[standing.state]}</span>"
            f"<span>{escape(said)}</span></div>"
        )
    if standing.note:
        st.warning(standing.note, icon=":material/info:")


def words_of(seconds: float) -> str:
    """A time left, in words."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min"


def _empty(plan: Plan, standing: Standing) -> None:
    names = " × ".join(axis.parameter.title for axis in plan.axes)
    next_step = {
        "running": "The first points appear here in a moment",
        "queued": "It starts when the other sweep ends",
    }.get(standing.state, "Press <b>Evaluate</b> to begin")
    st.html(
        "<h1 class='t-title'>How far can you go before it breaks?</h1>"
        f"<p class='t-lead'>{len(plan.recipes):,} recipes: {escape(names)}. Every point is estimated first, with its "
        f"interval; those that could be the best at their size are then measured on all examples. {next_step}; "
        "you can leave and come back, nothing is lost.</p>"
    )


def _pickers(sweep: Sweep, model: str) -> tuple[str, str]:
    facts = sweep.data.task.facts
    with st.container(horizontal=True, gap="medium"):
        measure = st.segmented_control(
            "Measure", facts.traded, default=facts.headline, required=True,
            key=f"tradeoffs-measure-{sweep.data.task.kind}", format_func=said.title, persist_state="session",
        )  # fmt: skip
        by = st.segmented_control(
            "Against", list(COSTS), default="packed", required=True, key="tradeoffs-by",
            format_func=lambda name: COSTS[name], persist_state="session",
        )  # fmt: skip
    sweep.measure = measure or facts.headline
    return sweep.measure, by or "packed"


def _more(sweep: Sweep, measure: str) -> None:
    """A sweep that is done for one measure may leave points open for another."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        show.small(f"Measured for another question: more points matter for {said.name(measure)}.")
        if st.button("Measure those too", icon=":material/play_arrow:", key="more", type="tertiary"):
            DESK.start(sweep)
            st.rerun()


def _constraints(
    now: Sitting, spots: dict[Place, Spot], original: Spot, lead: str
) -> tuple[tuple[Place, ...], Spot | None]:
    """Two sliders, at first a little worse than the original and its size; what they leave, the smallest of it."""
    first, second = st.columns(2, gap="medium")
    size = (original.packed or 1) / words.KILO
    step = 0.1 if size < 100 else 1.0
    most = math.ceil(size / step) * step
    with first:
        worst = _worst(now, spots, original, lead)
    with second:
        room = st.slider(
            "Packed size at most (kB)", 0.0, most, most, step, format="%.1f" if step < 1 else "%.0f",
            key=f"most-bytes-{now.model}",
        )  # fmt: skip
    limit = math.inf if room >= most else room * words.KILO
    allowed = within(list(spots.values()), lead, worst, limit)
    return allowed, smallest(list(spots.values()), lead, allowed)


def _worst(now: Sitting, spots: dict[Place, Spot], original: Spot, lead: str) -> float:
    """The slider of the worst value of the leading metric that is still allowed."""
    quantity = original.values[lead]
    value, key, title = quantity.value or 0.0, f"least-{lead}-{now.model}", said.title(lead)
    if quantity.unit == "fraction":
        start = round(100 * max(value - LOSS, 0.0), 1)
        return st.slider(f"{title} at least (%)", 0.0, 100.0, start, 0.1, format="%.1f", key=key) / 100
    # An error: from nothing to some times the original's, in steps of three digits.
    step = 10 ** math.floor(math.log10(max(value, 1e-9)) - 1)
    most = math.ceil(WORST * value / step) * step
    digits = max(0, -round(math.log10(step)))
    start = min(most, math.ceil((1 + LOSS) * value / step) * step)
    return st.slider(
        f"{title} at most ({said.shown_unit(quantity.unit)})", 0.0, float(most), float(start), float(step),
        format=f"%.{digits}f", key=key,
    )  # fmt: skip


def _best(spots: dict[Place, Spot], best: Spot | None, allowed: tuple[Place, ...], original: Spot, lead: str) -> None:
    known = sum(s.known for s in spots.values())
    if best is None:
        st.html("<p class='t-take'>No measured point is within these limits yet.</p>")
        return
    size = best.packed or 0
    factor = words.ratio(original.packed or 0, size)
    much = "" if factor == "same size" else f", {factor} than the original"
    st.html(
        f"<p class='t-take'><b>Best so far: {escape(best.label)}</b>, {escape(_value(best, lead))} in "
        f"{words.size(size)}{much}: the smallest of {len(allowed):,} points within the limits "
        f"({known:,} known). The evaluation set chose it; judge it on fresh data before you ship.</p>"
    )


def _charts(
    now: Sitting, plan: Plan, spots: dict[Place, Spot], found: Front, measure: str, by: str,
    allowed: tuple[Place, ...], best: Spot | None, here: Place | None, original: Spot,
) -> None:  # fmt: skip
    def picked(place: Any) -> None:
        st.session_state["tradeoffs-picked"] = tuple(int(i) for i in place)

    left, right = st.columns([0.5, 0.5], gap="medium")
    with left:
        drawn = heat_chart(plan, spots, measure, mode=mode(), allowed=allowed, front=found, here=here)
        show.chart(drawn, said.title(measure), "heat", on_pick=picked)
    with right:
        scatter = tradeoff_chart(
            list(spots.values()), found, original, measure, by, mode=mode(), allowed=allowed,
            best=best.place if best else None, here=here, plan=plan,
        )  # fmt: skip
        show.chart(scatter, f"{said.title(measure)} against {COSTS[by].lower()}", "tradeoff", on_pick=picked)
    _picked(now, spots, best)


def _picked(now: Sitting, spots: dict[Place, Spot], best: Spot | None) -> None:
    """The point that was clicked, else the best: its numbers, and the way to the Studio."""
    chosen = spots.get(st.session_state.get("tradeoffs-picked", ())) or best
    if chosen is None:
        return
    with st.container(key="picked", horizontal=True, vertical_alignment="center", border=True):
        st.html(f"<p class='t-caption'><b>{escape(chosen.label)}</b> {escape(_numbers(chosen))}</p>")
        if st.button("Open in the Studio", icon=":material/tune:", key="open", type="primary"):
            open_recipe(now, chosen.recipe)


def open_recipe(now: Sitting, recipe: Recipe) -> None:
    """Take a recipe to the Studio."""
    now.change(recipe)
    st.switch_page("pages/1_Studio.py", query_params={"model": now.model, "recipe": recipe.to_link()})


def _numbers(spot: Spot) -> str:
    if not spot.known:
        return spot.error
    lead = next(iter(spot.values))
    parts = [_value(spot, lead)]
    parts[0] += "" if spot.exact else f", estimated from {words.count(spot.seen)} of {words.count(spot.total)}"
    for more in ("ece", "coverage"):
        if more in spot.values:
            parts.append(f"{said.name(more)} {said.value(spot.values[more].value, 'fraction')}")
    if "flips" in spot.values:
        parts.append(f"{words.count(spot.values['flips'].value or 0)} flips")
    parts.append(words.size(spot.packed or 0))
    if spot.latency is not None:
        parts.append(f"{words.milliseconds(spot.latency)} for one")
    return " · ".join(parts)


def _value(spot: Spot, measure: str) -> str:
    """A value with its interval; one that is no rate with its name."""
    quantity = spot.values[measure]
    bounds, unit = quantity.interval, quantity.unit
    ends = f" [{said.number(bounds.low, unit)} to {said.value(bounds.high, unit)}]" if bounds else ""
    name = "" if unit == "fraction" else f"{said.name(measure)} "
    return f"{name}{said.value(quantity.value, unit)}{ends}"


def _downloads(now: Sitting, plan: Plan, spots: dict[Place, Spot], found: Front, measures: tuple[str, ...]) -> None:
    table = spots_table(plan, [spots[p] for p in plan.recipes if p in spots], found, measures)

    def parquet() -> bytes:
        file = io.BytesIO()
        table.to_parquet(file, index=False)
        return file.getvalue()

    with st.container(horizontal=True, gap="small"):
        st.download_button(
            "CSV", table.to_csv(index=False), f"{now.model}-tradeoffs.csv", "text/csv",
            key="tradeoffs-csv", icon=":material/download:", on_click="ignore",
        )  # fmt: skip
        st.download_button(
            "Parquet", parquet, f"{now.model}-tradeoffs.parquet", "application/vnd.apache.parquet",
            key="tradeoffs-parquet", icon=":material/download:", on_click="ignore",
        )  # fmt: skip
