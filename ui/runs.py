"""Runs: every recipe evaluated on this machine; one to look at again, several to compare, each to take away."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pandas as pd
import streamlit as st

from core import runs, runs_table, tracking
from core.figures import said, words
from core.figures.together import together_chart
from core.run import Run
from core.types import Quantity
from ui import show
from ui.frame import guarded, mode, show_error, show_notice
from ui.run import PROBLEM, changed, delete, run_panel, undo, undoable
from ui.state import sitting

SEARCH, MODEL = "runs-search", "runs-model"
EVERY = "All models"
SIDE_BY_SIDE = 8  # runs compared at once: more do not fit beside each other
SHOWN = 500  # rows sent to the browser; the search reaches the others
ROW, MOST = 35, 380  # px: a row of the table, and the whole before it scrolls


def page() -> None:
    """Draw the page. Selecting a row, searching and naming run all of it again, which takes a blink."""
    now = sitting()
    st.html(
        "<h1 class='t-title'>Runs</h1><p class='t-lead'>Every recipe evaluated on this machine, the latest first. "
        "Select one to look at it again, several to compare them.</p>"
    )
    show_notice()
    with guarded():
        _told()
        total = len(runs.found())
        if not total:
            _empty()
            return
        chosen = _table(_filtered(), total)
        if len(chosen) == 1:
            run_panel(now, chosen[0])
        elif chosen:
            _several(chosen)


def _told() -> None:
    """What a person should know: runs that are not kept, exports that fail, a deletion that can be undone."""
    problem = st.session_state.pop(PROBLEM, None)
    if problem is not None:
        show_error(problem)
    for text in filter(None, (runs.standing(),)):
        st.warning(text, icon=":material/warning:")
    exported = tracking.standing()
    if exported:
        show.small(exported)
    deleted = undoable()
    if deleted:
        with st.container(horizontal=True, vertical_alignment="center", gap="small", key="runs-undo"):
            number = "1 run was" if len(deleted) == 1 else f"{len(deleted)} runs were"
            show.small(f"{number} deleted.")
            st.button("Undo", icon=":material/undo:", key="undelete", type="tertiary", on_click=undo)


def _empty() -> None:
    with st.container(border=True, key="runs-empty"):
        show.heading("No run yet")
        show.small(
            "Open the Studio and move a slider: every recipe evaluated there appears here by itself, with its "
            "figures, so that you can come back to it, compare and hand it on."
        )
        st.page_link("pages/1_Studio.py", label="Open the Studio", icon=":material/tune:")


def _filtered() -> tuple[str, ...]:
    """Ids of the runs that the search and the model leave."""
    titles = runs.models()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        search = st.text_input(
            "Search", key=SEARCH, placeholder="name, recipe, model, note", width=320, persist_state="session"
        )
        model = st.selectbox(
            "Model", [EVERY, *titles], key=MODEL, width=230, format_func=lambda one: titles.get(one, one),
            persist_state="session",
        )  # fmt: skip
        found = runs.found(search, None if model == EVERY else model)
        for ending, make, kind in (
            ("csv", runs_table.to_csv, "text/csv"),
            ("json", runs_table.to_json, "application/json"),
        ):
            st.download_button(
                ending.upper(), lambda make=make: make(runs.several(found)), f"runs.{ending}", kind,
                key=f"runs-{ending}", icon=":material/download:", on_click="ignore", type="tertiary",
                disabled=not found, help=f"The {_runs(len(found))} listed below, with every figure.",
            )  # fmt: skip
    return found


def _table(found: Sequence[str], total: int) -> list[Run]:
    """The list; returns the runs selected in it, in the order of the list."""
    if not found:
        show.small(f"No run of {words.count(total)} holds these words. Search for others, or choose all models.")
        return []
    shown = runs.several(found[:SHOWN])
    hidden = f" The latest {words.count(SHOWN)} are listed; a search finds the others." if len(found) > SHOWN else ""
    counted = f"{words.count(len(found))} of {words.count(total)} runs" if len(found) < total else _runs(total)
    show.small(f"{counted}. Click the box at the start of a row; a column's head sorts.{hidden}")
    # What leads each task has a column; a run of another task has nothing to show there.
    kept = {name for run in shown for name in run.measures}
    leading = [name for name in ("accuracy", "ece", "rmse", "coverage") if name in kept]
    frame = pd.DataFrame(
        {
            "Name": [run.name or "" for run in shown],
            "Recipe": [run.notation for run in shown],
            "Model": [run.title for run in shown],
            **{said.title(name): _column(shown, name) for name in leading},
            "Change": [_change(run).value or 0.0 for run in shown],
            "Size": [run.bytes() / words.KILO for run in shown],
            "Latency": [run.p50() for run in shown],
            "Visits": [run.visits for run in shown],
            "Last": [datetime.fromtimestamp(run.time, UTC) for run in shown],
        }
    )
    number = st.column_config.NumberColumn
    zone = st.context.timezone or "UTC"
    # The table's own number format writes a hyphen for a minus; a style shows other words and sorts by the numbers.
    signed, units = frame.style, [_change(run).unit for run in shown]
    for unit in set(units):
        rows = [place for place, one in enumerate(units) if one == unit]
        signed = signed.format(lambda value, unit=unit: _changed(value, unit), subset=(rows, ["Change"]))
    event = st.dataframe(
        signed, hide_index=True, on_select="rerun", selection_mode="multi-row",
        key=f"runs-{hash(tuple(run.id for run in shown))}", height=min(ROW * (len(shown) + 1) + 3, MOST),
        alt=f"Table of {len(shown)} runs.", placeholder=words.NOTHING,
        column_config={
            "Name": st.column_config.TextColumn(width="medium"),
            "Recipe": st.column_config.TextColumn(width="medium"),
            **{
                said.title(name): number(f"{said.title(name).removesuffix(' of 90 % intervals')}, %", format="%.1f")
                for name in leading
                if said.unit_of(name) == "fraction"
            },
            "Change": number("Change", help="Of accuracy in points, or of RMSE, from the original."),
            "Size": number("Size, kB", format="%.1f", help="Packed."),
            "Latency": number("Latency, ms", format="%.3g", help="One example; a dash where this format has no "
                              "kernel here, or where the point was left before it was timed."),
            "Last": st.column_config.DatetimeColumn("Last visit", format="D MMM YYYY, HH:mm", timezone=zone),
        },
    )  # fmt: skip
    return [shown[place] for place in sorted(event.selection.rows) if place < len(shown)]


def _column(shown: Sequence[Run], name: str) -> list[float | None]:
    """A metric of each run as a table shows it: rates in per cent, nothing where a run has no such metric."""
    found = [run.quantity(name) if name in run.measures else None for run in shown]
    return [None if q is None or q.value is None else said.factor(q.unit) * q.value for q in found]


def _change(run: Run) -> Quantity:
    return run.quantity(run.task.facts.headline, "change")


def _changed(value: float, unit: str) -> str:
    after = "" if unit == "fraction" else said.moved_unit(unit)
    return f"{said.moved(value, unit)} {after}".rstrip()


def _drawn(run: Run) -> tuple[str, ...]:
    """The metrics whose changes are drawn."""
    return ("accuracy", "macro_f1", "ece") if run.task.decides else ("rmse", "mae", "coverage")


def _runs(number: int) -> str:
    return "1 run" if number == 1 else f"{words.count(number)} runs"


def _several(chosen: list[Run]) -> None:
    with st.container(border=True, key="runs-compared"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            show.heading(f"{_runs(len(chosen))} side by side")
            delete(chosen)
        if len(chosen) > SIDE_BY_SIDE:
            show.small(f"The first {SIDE_BY_SIDE} of {len(chosen)} are shown.")
            chosen = chosen[:SIDE_BY_SIDE]
        alike = runs_table.comparable(chosen)
        show.small(
            "In brackets the change from the original with its 95 % interval."
            if alike
            else "Different models or data: each change, in brackets, is from the run's own original."
        )
        names = runs_table.labels(chosen)
        st.dataframe(_side_by_side(chosen, names, alike), hide_index=True, alt="Table of the selected runs.")
        st.download_button(
            "CSV", runs_table.compare(chosen).to_csv(index=False), "runs-compared.csv", "text/csv",
            key="compared-csv", icon=":material/download:", on_click="ignore",
        )  # fmt: skip
        changes = [{name: run.quantity(name, "change") for name in _drawn(run)} for run in chosen]
        if len({tuple(one) for one in changes}) == 1:
            show.chart(together_chart(names, changes, mode=mode()), "What each changed", "together")
        else:
            show.small("These runs have different tasks: what each changed cannot share an axis.")


def _side_by_side(chosen: Sequence[Run], names: Sequence[str], alike: bool) -> pd.DataFrame:
    """The comparison as people read it, the original first where all runs share it."""
    shared = [name for name in runs_table.measures(chosen) if all(name in run.measures for run in chosen)]
    columns: dict[str, list[str]] = {"": [*(said.title(name) for name in shared), "Packed size", "Latency"]}
    if alike:
        first = chosen[0]
        shown = [first.quantity(name, "original") for name in shared]
        columns["Original"] = [
            *(said.value(one.value, one.unit) for one in shown),
            words.size(first.bytes("packed", "original")),
            words.milliseconds(first.p50("original")),
        ]
    for label, run in zip(names, chosen, strict=True):
        size = f"{words.size(run.bytes())}  ({words.ratio(run.bytes('packed', 'original'), run.bytes())})"
        columns[label] = [*(changed(run, name) for name in shared), size, words.milliseconds(run.p50())]
    if not alike:
        columns[""].append("Model")
        for label, run in zip(names, chosen, strict=True):
            columns[label].append(run.title)
    return pd.DataFrame(columns)
