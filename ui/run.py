"""One run: its figures beside the original, its name and note, the way back to the Studio, what to take away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from html import escape

import streamlit as st

from core import runs
from core.errors import TemperError
from core.figures import said, words
from core.models.samples import load_sample
from core.report import file_name, report
from core.reproduce import bundle, rebuild
from core.run import Run
from ui import cards, show
from ui.state import Sitting
from ui.work import point, speeds

DELETED = "runs-deleted"  # session key: ids deleted last, which undo brings back
PREPARED = "runs-prepared"  # session key: the run whose report and script are ready, and both
PROBLEM = "runs-problem"  # session key: what was wrong with the last name or note


def tried(act: Callable[[], object]) -> None:
    """Run what a widget asked for; what goes wrong is said at the next drawing."""
    try:
        act()
    except TemperError as error:
        st.session_state[PROBLEM] = error


def undoable() -> list[str]:
    """The runs deleted last."""
    found: list[str] = st.session_state.get(DELETED, [])
    return found


def undo() -> None:
    """Bring the runs deleted last back."""
    tried(lambda: runs.restore(st.session_state.pop(DELETED, [])))


def run_panel(now: Sitting, run: Run) -> None:
    """Draw a run."""
    with st.container(border=True, key="run"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            show.heading(run.label)
            with st.container(horizontal=True, gap="small", width="content"):
                _open(now, run)
                delete([run])
        seen = datetime.fromtimestamp(run.first, UTC).strftime("%d %B %Y")
        visits = "visited once" if run.visits == 1 else f"visited {words.count(run.visits)} times"
        show.small(f"{run.title} · {run.notation} · all {words.count(run.n)} examples · first on {seen}, {visits}")
        cards.show(cards.metric_cards(run.compared()))
        left, right = st.columns([0.56, 0.44], gap="medium")
        with left:
            _facts(run)
        with right:
            _words(run)
        _take_away(run)


def _open(now: Sitting, run: Run) -> None:
    """The way to the Studio, closed where the model is no longer at hand, with the reason."""
    there = _at_hand(run)
    if st.button(
        "Open in the Studio", icon=":material/tune:", key="run-open", type="primary", disabled=not there,
        help=None if there else f"The model {run.model} is no longer at hand.",
    ):  # fmt: skip
        recipe = run.parsed()
        now.choose_model(run.model)
        now.change(recipe)
        st.switch_page("pages/1_Studio.py", query_params={"model": run.model, "recipe": recipe.to_link()})


def delete(chosen: Sequence[Run]) -> None:
    """A button that deletes runs, with a way back."""

    def act() -> None:
        ids = [run.id for run in chosen]
        tried(lambda: runs.delete(ids))
        st.session_state[DELETED] = ids

    label = "Delete" if len(chosen) == 1 else f"Delete {len(chosen)} runs"
    st.button(label, icon=":material/delete:", key="run-delete", on_click=act)


def _at_hand(run: Run) -> bool:
    try:
        load_sample(run.model)
    except TemperError:
        return False
    return True


def _facts(run: Run) -> None:
    size = f"{words.size(run.bytes())}, {words.ratio(run.bytes('packed', 'original'), run.bytes())}"
    rows = [
        ("Packed size", f"{size} (was {words.size(run.bytes('packed', 'original'))})"),
        ("File", f"{words.size(run.bytes('file'))}, compressed {words.size(run.bytes('compressed'))}"),
        ("Latency", _latency(run)),
        *((said.title(name), changed(run, name)) for name in run.measures if name not in run.task.facts.shown),
        ("Model", f"{run.model}, {run.model_fingerprint}"),
        ("Data", f"{run.data}, {run.data_fingerprint}"),
        ("Recipe", run.recipe_fingerprint),
        ("Code", ", ".join([run.code, *(f"{name} {one}" for name, one in run.versions.items())])),
    ]
    st.html(f"<dl class='t-facts'>{''.join(f'<dt>{escape(k)}</dt><dd>{escape(v)}</dd>' for k, v in rows)}</dl>")


def _latency(run: Run) -> str:
    if run.latency is None:
        return "not measured; the Studio measures it"
    if run.p50() is None:
        return str(run.latency["result"].get("note") or "no number")
    return f"{words.milliseconds(run.p50())} for one example (was {words.milliseconds(run.p50('original'))})"


def changed(run: Run, measure: str) -> str:
    """A value with its change from the original and the interval of that, in words."""
    value, change = run.quantity(measure), run.quantity(measure, "change")
    bounds = change.interval
    ends = (change.value, *((bounds.low, bounds.high) if bounds else ()))
    told = [said.moved(x, change.unit) for x in ends]
    span = f" [{told[1]}, {told[2]}]" if bounds else ""
    return f"{said.value(value.value, value.unit)}  ({told[0]}{span})"


def _words(run: Run) -> None:
    """Name and note, kept as soon as they are typed."""
    name, note = f"run-name-{run.id}", f"run-note-{run.id}"
    st.text_input(
        "Name", run.name or "", key=name, max_chars=runs.LONGEST["name"], placeholder="Unnamed",
        on_change=lambda: tried(lambda: runs.rename(run.id, st.session_state[name])),
        help="Named runs are kept for good; of the others the latest "
        f"{words.count(runs.UNNAMED)}.",
    )  # fmt: skip
    st.text_area(
        "Note", run.note, key=note, max_chars=runs.LONGEST["note"], height=90, placeholder="What you found",
        on_change=lambda: tried(lambda: runs.annotate(run.id, st.session_state[note])),
    )  # fmt: skip


def _take_away(run: Run) -> None:
    recipe = run.parsed()
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="run-take"):
        st.download_button(
            "Recipe", recipe.to_json(), file_name(run.model, recipe, "recipe.json"), "application/json",
            key="run-recipe", icon=":material/download:", on_click="ignore",
        )  # fmt: skip
        ready = st.session_state.get(PREPARED)
        if ready is None or ready[0] != run.id:
            there = _at_hand(run)
            pressed = st.button(
                "Prepare report and script", icon=":material/description:", key="run-prepare", disabled=not there,
                help="Evaluates the recipe again, which takes a moment unless it is remembered."
                if there else f"The model {run.model} is no longer at hand.",
            )  # fmt: skip
            if not pressed:
                return
            st.session_state[PREPARED] = _prepared(run)
            st.rerun()
        _, html, script, told = ready
        st.download_button(
            "Report", html, file_name(run.model, recipe), "text/html",
            key="run-report", icon=":material/download:", on_click="ignore",
        )  # fmt: skip
        st.download_button(
            "Script", script, file_name(run.model, recipe, "reproduce.zip"), "application/zip",
            key="run-script", icon=":material/download:", on_click="ignore",
        )  # fmt: skip
        show.small(told)


def _prepared(run: Run) -> tuple[str, bytes, bytes, str]:
    """The run's id, report and script, and whether evaluating it again gave the same headline."""
    slot = st.empty()
    found = point(run.model, run.parsed(), slot, kept=False)
    html = report(found.result, found.recipe, found.comparison, speeds(found), found.model, found.data)
    expected = rebuild(found.model, found.data, found.recipe)
    slot.empty()
    made = found.result.tempered.provenance
    same = (made.model, made.data) == (run.model_fingerprint, run.data_fingerprint)
    lead = found.data.task.facts.headline
    before, after = run.quantity(lead), found.comparison.tempered[lead]
    if not same:
        told = "The model or its data have changed since this run: the report is of what is there now."
    elif before.value == after.value:
        told = f"Evaluated again: the same {said.name(lead)} to the last digit."
    else:
        now, then = (said.value(one.value, one.unit) for one in (after, before))
        told = f"Evaluated again: {now} now, {then} then; the code has changed."
    return run.id, html.encode(), bundle(run.model, found.recipe, expected), told
