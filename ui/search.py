"""Search: recipes under budgets, chosen on one half of the calibration split and judged once on evaluation."""

from __future__ import annotations

from html import escape
from typing import Any

import pandas as pd
import streamlit as st

from core.data.handle import DataHandle
from core.deploy.devices import DEVICES
from core.engine.lane import working
from core.figures import said, words
from core.figures.search import search_chart
from core.models.handle import ModelHandle
from core.models.samples import load_sample
from core.search.budgets import PERCENT, goal_of, original_bytes
from core.search.goal import Goal, Tried
from core.search.search import SECONDS, TRIALS, Progress, Search, search_of
from core.search.search_table import search_table
from core.search.space import KINDS, Space
from core.sweeps.desk import DESK
from core.sweeps.front import better_high
from ui import show, ways
from ui.frame import guarded, mode, show_notice
from ui.picker import model_picker
from ui.state import Sitting, mirror, sitting
from ui.tradeoffs import BEAT, open_recipe, words_of
from ui.work import visitor

MODEL = "search-model"
PICKED = "search-picked"  # session key: the trial that is looked at
PARTS = {
    "prune": "Pruning", "repair": "Repair", "quantize": "Quantization", "calibrate": "Confidence calibration",
}  # fmt: skip
POINTS, SHARE = 0.5, 1.0  # what may be lost at first: points of a rate, per cent of another measure
TAGS = {
    "ready": "Ready", "queued": "Waiting", "running": "Searching", "paused": "Paused", "done": "Done",
    "cancelled": "Stopped", "failed": "Stopped",
}  # fmt: skip


def page() -> None:
    """Draw the page. While a search runs, the board on the right draws itself anew each second."""
    now = sitting()
    show_notice()
    left, right = st.columns([0.235, 0.765], gap="medium")
    with left, st.container(key="controls"):
        ways.picker()
        _model(now)
        panel = st.container()
    with right, guarded():
        model, data = load_sample(now.model)
        with panel:
            search = _controls(model, data)
        alive = search.alive
        board = st.fragment(_board, run_every=BEAT if alive else None)
        board(now, search, alive)
    mirror()


def _model(now: Sitting) -> None:
    model_picker(now, MODEL)


def _controls(model: ModelHandle, data: DataHandle) -> Search:
    """The budgets, what takes part, how long; and the search that they name."""
    with st.container(key="panel-budgets", gap="small"):
        st.html("<h3 class='t-group'>Budgets</h3>")
        goal = _goal(model, data)
    with st.container(key="panel-space", gap="small"):
        st.html("<h3 class='t-group'>What may be tried</h3>")
        kinds = st.pills(
            "Steps", list(PARTS), selection_mode="multi", default=list(KINDS), key="search-kinds",
            format_func=lambda kind: PARTS[kind], label_visibility="collapsed", persist_state="session",
        )  # fmt: skip
        slow = st.toggle("Slow choices too", key="search-slow", persist_state="session",
                         help="AdaRound, for instance: each such recipe may take many seconds.")  # fmt: skip
        space = Space.of(model, data.task.kind, tuple(kinds), slow)
        for name, why in space.skipped.items():
            show.small(f"Without {name}: {why}")
    search = search_of(model, data, space, goal)
    with st.container(key="panel-run", gap="small"):
        first, second = st.columns(2, gap="small")
        trials = first.number_input("Recipes", 1, 2_000, TRIALS, 10, key="search-trials", persist_state="session")
        seconds = second.number_input(
            "Seconds at most", 5, 24 * 3600, int(SECONDS), 30, key="search-seconds", persist_state="session"
        )
        _actions(search, int(trials), float(seconds))
    return search


def _goal(model: ModelHandle, data: DataHandle) -> Goal:
    lead, before = data.task.facts.headline, original_bytes(model)
    half = round(before / 2 / words.KILO, 1)
    room = st.number_input(
        "Packed size at most (kB)", 0.1, None, max(half, 0.1), step=max(round(half / 10, 1), 0.1), format="%.1f",
        key=f"search-bytes-{model.id}", help=f"The original has {words.size(before)}.", persist_state="session",
    )  # fmt: skip
    rate = said.unit_of(lead) == "fraction"
    name, key = said.title(lead), f"search-lost-{lead}"
    unit, start, step = ("points", POINTS, 0.1) if rate else ("% of the original's", SHARE, 0.5)
    lost = st.number_input(
        f"{name} lost at most ({unit})", 0.0, 100.0, start, step, format="%.2f", key=key, persist_state="session",
        help="A recipe counts as within this when its loss plus one standard error is, since few examples chose it.",
    )  # fmt: skip
    few = data.split("calibration").n // 2
    if rate and lost < PERCENT / few:
        show.small(
            f"Only {few:,} examples choose, and one of them is {PERCENT / few:.1f} points: expect a rough choice."
        )
    with st.expander("Time on a device"):
        device = st.selectbox(
            "Device", ["", *(one.name for one in DEVICES)], key="search-device", persist_state="session",
            format_func=lambda name: next((one.title for one in DEVICES if one.name == name), "No budget of time"),
        )  # fmt: skip
        longest = st.number_input(
            "Milliseconds at most", 0.001, None, 1.0, step=0.1, format="%.3f", key="search-ms", disabled=not device,
            help="What its specification allows at best, modelled and not measured.", persist_state="session",
        )  # fmt: skip
    with working(visitor()):
        return goal_of(
            model, data, round(room * words.KILO), lost, None, float(longest) if device else None, device or ""
        )


def _actions(search: Search, trials: int, seconds: float) -> None:
    standing = search.standing()

    def start() -> None:
        search.trials = trials if standing.done < trials else standing.done + trials
        search.seconds = seconds
        DESK.start(search)

    if standing.state == "running":
        st.button("Pause", icon=":material/pause:", key="search-pause", on_click=search.pause, width="stretch")
    elif standing.state == "queued":
        show.small("Another sweep or search is at work; this one follows.")
    else:
        more = f"Try {trials:,} more" if standing.done >= trials else "Go on" if standing.done else "Search"
        icon = ":material/play_arrow:"
        st.button(more, icon=icon, key="search-start", type="primary", on_click=start, width="stretch")
    if search.alive:
        st.button("Cancel", icon=":material/stop:", key="search-cancel", on_click=search.cancel, width="stretch")
    elif standing.done:
        st.button(
            "Forget these recipes", icon=":material/delete:", key="search-forget", on_click=search.forget,
            type="tertiary", width="stretch",
        )  # fmt: skip


def _board(now: Sitting, search: Search, was_alive: bool) -> None:
    """The right side. Runs again by itself while the search is alive."""
    if was_alive and not search.alive:
        st.rerun()  # the controls follow, and the beat ends
    with guarded():
        _standing(search.standing())
        tried, judged = search.tried, search.judged
        if not tried:
            _empty(search)
            return
        _best(search, tried, judged)
        drawn = search_chart(tried, search.goal, judged, search.original, mode=mode())
        measure = said.title(search.goal.measure)
        show.chart(drawn, f"{measure} against packed size", "search", on_pick=_point)
        _picked(now, search, tried, judged)
        _judged(search, tried, judged)
        st.download_button(
            "CSV", search_table(search.goal, tried, judged, search.data.task.listed).to_csv(index=False),
            f"{now.model}-search.csv", "text/csv", key="search-all-csv", icon=":material/download:",
            on_click="ignore",
        )  # fmt: skip
        show.small(_splits(search))


def _standing(standing: Progress) -> None:
    left = standing.seconds_left
    time = f", about {words_of(left)} left" if left is not None and standing.state == "running" else ""
    text = f"{standing.done:,} of {standing.trials:,} recipes tried{time}"
    if standing.judging and standing.state == "running":
        text = f"{standing.done:,} recipes tried; now the evaluation set judges the chosen ones"
    if standing.state in ("running", "paused", "queued"):
        st.progress(min(standing.fraction, 1.0), f"{TAGS[standing.state]}: {text}")
    else:
        st.html(
            f"<div class='t-status' role='status'><span class='t-tag'>{TAGS[standing.state]}</span>"
            f"<span>{escape(text)}</span></div>"
        )
    if standing.note:
        st.warning(standing.note, icon=":material/info:")


def _splits(search: Search) -> str:
    fit, choose = (split.n for split in search.choosing.splits)
    return (
        f"One half of the calibration split ({fit:,} examples) sets ranges, repairs and confidence while recipes are "
        f"tried, the other ({choose:,}) chooses. The evaluation set judges the chosen front once, fitted again on "
        "the whole calibration split. Evaluation chose nothing; to pick by its numbers would make it choose. "
        "No recipe that is tried trains; Adapt recovers the best one."
    )


def _empty(search: Search) -> None:
    st.html(
        "<h1 class='t-title'>Name your budgets, and let it search</h1>"
        "<p class='t-lead'>Recipes are tried one after another, each drawn from what those before it showed. Press "
        "<b>Search</b> to begin; you can leave and come back, and go on after a restart: nothing is lost.</p>"
    )
    show.small(_splits(search))


def _best(search: Search, tried: list[Tried], judged: dict[str, Tried]) -> None:
    goal, best = search.goal, search.best
    if best is None:
        near = goal.nearest(tried)
        text = f"<b>None of {len(tried):,} recipes keeps the budgets so far.</b>"
        if near is not None:
            text += f" The nearest is {escape(near.spot.label)}: {escape(_chose(search, near))}."
        st.html(f"<p class='t-take'>{text} Search longer, or allow more.</p>")
        return
    text = f"<b>Best so far: {escape(best.spot.label)}</b>, {escape(_chose(search, best))}."
    verdict = judged.get(best.spot.recipe.fingerprint)
    if verdict is not None:
        text += f" {escape(_verdict(goal, verdict))}"
    else:
        text += " The evaluation set has not judged it yet."
    st.html(f"<p class='t-take'>{text}</p>")


def _chose(search: Search, one: Tried) -> str:
    lead, before = search.goal.measure, one.original.packed or 0
    quantity, n = one.spot.values[lead], search.choosing.split("evaluation").n
    name = "" if quantity.unit == "fraction" else f"{said.name(lead)} "
    packed = one.spot.packed or 0
    factor = words.ratio(before, packed)
    much = f"{factor} as the original" if factor == "same size" else f"{factor} than the original"
    return (
        f"{name}{said.value(quantity.value, quantity.unit)} and {_lost(one, quantity.unit)} on the {n:,} examples "
        f"that chose, in {words.size(packed)}, {much}"
    )


def _lost(one: Tried, unit: str) -> str:
    amount = said.moved(abs(one.lost), unit).lstrip("+")
    what = f"{amount} {said.moved_unit(unit)}".strip()
    return f"{what} {'lost' if one.lost >= 0 else 'gained'}" if one.lost else "nothing lost"


def _verdict(goal: Goal, verdict: Tried) -> str:
    if verdict.spot.error:
        return f"The evaluation set could not judge it: {verdict.spot.error}"
    quantity, ends = verdict.spot.values[goal.measure], verdict.lost_ends(better_high(goal.measure))
    between = ""
    if ends is not None:
        low, high = (said.moved(end, quantity.unit).removeprefix("+") for end in ends)
        between = f" [{low} to {high}]"
    held = "within your budgets" if goal.holds(verdict) else "more than you allowed, so the choice did not hold up"
    return (
        f"The evaluation set, which chose nothing, says {said.value(quantity.value, quantity.unit)}, "
        f"{_lost(verdict, quantity.unit)}{between}: {held}."
    )


def _point(place: Any) -> None:
    st.session_state[PICKED] = int(place[0])


def _picked(now: Sitting, search: Search, tried: list[Tried], judged: dict[str, Tried]) -> None:
    """The recipe that was clicked, else the best or nearest: its numbers, and the way to the Studio."""
    place = st.session_state.get(PICKED)
    clicked = next((t for t in tried if t.spot.place[0] == place), None)
    chosen = clicked or search.best or search.goal.nearest(tried)
    if chosen is None:
        return
    with st.container(key="picked", horizontal=True, vertical_alignment="center", border=True):
        text = chosen.spot.error or f"{_chose(search, chosen)}."
        verdict = judged.get(chosen.spot.recipe.fingerprint)
        text += f" {_verdict(search.goal, verdict)}" if verdict else ""
        if clicked is None:  # its numbers stand above
            text = "Click a point to look at another recipe."
        st.html(f"<p class='t-caption'><b>{escape(chosen.spot.label)}</b> {escape(text)}</p>")
        if st.button("Open in the Studio", icon=":material/tune:", key="search-open", type="primary"):
            open_recipe(now, chosen.spot.recipe)


def _judged(search: Search, tried: list[Tried], judged: dict[str, Tried]) -> None:
    """The chosen front: what chose beside what judges."""
    by_recipe = {one.spot.recipe.fingerprint: one for one in tried}
    rows = [(by_recipe[name], one) for name, one in judged.items() if name in by_recipe and not one.spot.error]
    if not rows:
        return
    lead = search.goal.measure
    unit = rows[0][0].spot.values[lead].unit
    head = said.title(lead)
    show.heading("Chosen, then judged")
    table = pd.DataFrame(
        {
            "Recipe": [chose.spot.label for chose, _ in rows],
            "Packed": [words.size(chose.spot.packed or 0) for chose, _ in rows],
            f"{head}, chose": [said.value(chose.spot.values[lead].value, unit) for chose, _ in rows],
            f"{head}, judged": [said.value(one.spot.values[lead].value, unit) for _, one in rows],
            "Judged": [_lost(one, unit) for _, one in rows],
            "Holds": ["yes" if search.goal.holds(one) else "no" for _, one in rows],
        }
    )
    st.dataframe(table, hide_index=True, alt="Table of the chosen recipes with what chose and what judges them")
