"""Export: the model leaves as a file, and the file is held against the screen, example by example."""

from __future__ import annotations

from html import escape
from typing import Any

import pandas as pd
import streamlit as st

from core import about
from core.data.texts import Tokens
from core.deploy.check import Artifact, Checked, declaration, offered, parts_of, ship, shipped
from core.deploy.usage import usage
from core.errors import TemperError
from core.figures import said, words
from core.figures.speed import faster
from core.formats._artifact import Parts
from core.formats.packed import READER
from core.models.samples import read_card
from core.registry import Method
from core.report import Extra, file_name, report
from core.reproduce import bundle, rebuild
from core.task import Task
from ui import cards, show, speed
from ui.frame import guarded, show_error, show_notice
from ui.state import Sitting, link_parameters, mirror, sitting
from ui.work import Point, Ticker, point, speeds, status, takeaway

WANTED = "export-wanted"  # session key: formats being made, the first one now
CHOSEN = "export-chosen"  # session key: the format whose use is shown
REPORT = "export-report-ready"  # session key: what the report and script are of, and both
FAULTS = "export-faults"  # session key: what went wrong with a format, by recipe


def page() -> None:
    """Draw the page."""
    now = sitting()
    show_notice()
    slot = st.empty()
    with guarded():
        found = point(now.model, now.recipe, slot)
        slot.html(status(found))
        st.html(f"<p class='t-take'>{takeaway(found)}</p>")
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            show.small("What leaves is the Studio's recipe; change it there.")
            st.page_link(
                "pages/1_Studio.py", label="To the Studio", icon=":material/tune:", query_params=link_parameters()
            )
        parts = parts_of(found.model, found.data, found.recipe)
        _formats(now, found, parts)
    mirror()


def _formats(now: Sitting, found: Point, parts: Parts) -> None:
    choices = offered(parts)
    possible = [form.name for form, why in choices if not why]
    made = {name: shipped(found.model, found.data, found.recipe, name) for name in possible}
    show.heading("Files to take away")
    missing, busy = [name for name in possible if made[name] is None], bool(st.session_state.get(WANTED))
    with st.container(key="export-bar", horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            "Make and check all", icon=":material/done_all:", key="make-all", type="primary",
            on_click=_want, args=(missing,), disabled=busy or not missing,
        )  # fmt: skip
        st.button(
            "Cancel", icon=":material/stop:", key="export-cancel", on_click=_want, args=([],), disabled=not busy
        )
        show.small(
            "Each file is opened again as somebody else would open it, and run on every evaluation example: it is "
            "called verified only where it predicts what the screen shows."
        )
    faults: dict[str, TemperError] = st.session_state.setdefault(FAULTS, {})
    slots = {}
    for column, (form, why) in zip(st.columns(len(choices), gap="medium"), choices, strict=True):
        with column, st.container(border=True, key=f"format-{form.name}", height="stretch"):
            st.html(f"<h2 class='t-title'>{escape(form.title)}</h2><p class='t-small'>{escape(form.summary)}</p>")
            slots[form.name] = st.empty()
            _card(found, form, why, made.get(form.name), faults.get(_key(found, form.name)))
    _work(found, slots, faults)
    _report(found, [artifact for artifact in made.values() if artifact is not None])
    shown = [artifact for artifact in made.values() if artifact is not None]
    if shown:
        _table(now, shown)
        _use(parts, shown)
    speed.section(found)


def _want(names: list[str]) -> None:
    st.session_state[WANTED] = names


def _key(found: Point, name: str) -> str:
    return f"{found.model.fingerprint}-{found.data.fingerprint}-{found.recipe.fingerprint}-{name}"


def _card(found: Point, form: Method, why: str, made: Artifact | None, fault: TemperError | None) -> None:
    if why:
        show.small(f"Not for this recipe: {why}")
        return
    if made is None:
        if fault is not None:
            show_error(fault)
        busy = bool(st.session_state.get(WANTED))
        st.button(
            "Make and check", icon=":material/play_arrow:", key=f"make-{form.name}", on_click=_want,
            args=([form.name],), disabled=busy, width="stretch",
        )  # fmt: skip
        return
    checked = made.checked
    size = words.size(checked.size).split(" ")
    verdict = "Verified" if checked.verified else "Not verified"
    equal = f"{words.count(checked.agree)} of {words.count(checked.n)} predictions equal"
    apart = f"{_compared(found.data.task)} at most {_apart(checked, found.data.task)} apart"
    own = ", ".join(f"{said.title(one.name)} {said.value(one.file, one.unit)}" for one in checked.figures)
    runs = f"Runs in {declaration(form).runs}{_speed(found, form.name)}."
    mark = "✓" if checked.verified else "✕"
    st.html(
        f"<p class='t-big'>{escape(size[0])}<small>{escape(' '.join(size[1:]))}</small></p>"
        f"<p class='t-small' title='{escape(checked.stated, quote=True)}'><b>{mark} {verdict}</b>: {equal}, {apart}"
        f"</p><p class='t-small'>{escape(own)}: the file's own. {escape(runs)}</p>"
    )
    if not checked.verified:
        where = f"starts at {checked.starts.name}" if checked.starts else "cannot be traced inside this format"
        show_error(TemperError(f"The file does not predict what the screen shows; the difference {where}."))
    st.download_button(
        "Download", made.content, made.file, "application/octet-stream", key=f"download-{form.name}",
        icon=":material/download:", on_click="ignore", width="stretch",
        type="primary" if checked.verified else "secondary",
    )  # fmt: skip
    tokens = found.data.preprocessing
    if isinstance(tokens, Tokens):
        st.download_button(
            "Its tokenizer", tokens.content(), tokens.path.name, "application/json", key=f"tokenizer-{form.name}",
            icon=":material/text_fields:", on_click="ignore", width="stretch",
        )  # fmt: skip
    if form.name == "packed":
        st.download_button(
            "Its reader", READER.read_bytes(), READER.name, "text/x-python", key="download-reader",
            icon=":material/code:", on_click="ignore", width="stretch",
        )  # fmt: skip


def _speed(found: Point, name: str) -> str:
    """Whether the file runs faster here, where that was measured; the ONNX file is what is timed below."""
    if name != "onnx":
        return ""
    timed = speed.latest(found)
    if timed is None:
        return "; its speed is measured below"
    return f"; here {faster(timed.ratio(timed.batches[0]))} than the original"


def _compared(task: Task) -> str:
    return "probabilities" if task.decides else "numbers"


def _apart(checked: Checked, task: Task) -> str:
    """The largest difference with two digits: percentage points of a probability, or deviations of the truths."""
    factor, unit = (100, "points") if task.decides else (1, "standard deviations")
    value = float(f"{factor * max(checked.largest, 1e-6):.2g}")
    return f"{value:.7f}".rstrip("0").rstrip(".") + f" {unit}"


def _work(found: Point, slots: dict[str, Any], faults: dict[str, TemperError]) -> None:
    """Make what is wanted, one after the other; a click elsewhere or Cancel ends it at the next progress call."""
    wanted: list[str] = list(st.session_state.get(WANTED) or [])
    if not wanted:
        return
    name = wanted[0]
    slot = slots.get(name)
    if slot is not None:
        try:
            slot.progress(0.0, "Making the file")
            ship(found.model, found.data, found.recipe, name, Ticker(slot, "Checking"))
            faults.pop(_key(found, name), None)
        except TemperError as error:
            faults[_key(found, name)] = error
    st.session_state[WANTED] = wanted[1:]
    st.rerun()


def _report(found: Point, made: list[Artifact]) -> None:
    """What goes with the files: the report for people who were not there, the recipe, the script that repeats it."""
    key = _key(found, "-".join(one.method.name for one in made))
    show.heading("Evidence to hand out")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.download_button(
            "Recipe", found.recipe.to_json(), file_name(found.model.id, found.recipe, "recipe.json"),
            "application/json", key="export-recipe", icon=":material/download:", on_click="ignore",
        )  # fmt: skip
        ready = st.session_state.get(REPORT)
        if ready is None or ready[0] != key:
            if st.button("Write the report and the script", icon=":material/description:", key="export-report"):
                st.session_state[REPORT] = (key, *_written(found, made))
                st.rerun()
            show.small("One HTML file with charts, figures, the check of each file made here and how to repeat it.")
            return
        st.download_button(
            "Report", ready[1], file_name(found.model.id, found.recipe), "text/html", key="export-report-file",
            icon=":material/download:", on_click="ignore",
        )  # fmt: skip
        st.download_button(
            "Script", ready[2], file_name(found.model.id, found.recipe, "reproduce.zip"), "application/zip",
            key="export-script", icon=":material/download:", on_click="ignore",
        )  # fmt: skip
        show.small("The report opens offline and prints as PDF; the script rebuilds the model and checks it.")


def _written(found: Point, made: list[Artifact]) -> tuple[bytes, bytes]:
    extra = [
        Extra(
            f"The file: {one.method.title}",
            (
                ("File", one.file),
                ("Size", words.size(one.checked.size)),
                ("Verified", "yes" if one.checked.verified else "no"),
                ("Equal predictions", f"{words.count(one.checked.agree)} of {words.count(one.checked.n)}"),
                (f"Largest difference of {_compared(found.data.task)}", _apart(one.checked, found.data.task)),
                *((f"{said.title(f.name)} of the file", said.value(f.file, f.unit)) for f in one.checked.figures),
            ),
            f"Opened again and run on every evaluation example. Tolerance: {one.checked.stated}.",
        )
        for one in made
    ]
    html = report(
        found.result, found.recipe, found.comparison, speeds(found), found.model, found.data, extra=tuple(extra)
    )
    return html.encode(), bundle(found.model.id, found.recipe, rebuild(found.model, found.data, found.recipe))


def _table(now: Sitting, made: list[Artifact]) -> None:
    rows = [
        {
            "Format": one.method.title,
            "File": one.file,
            "Bytes": one.checked.size,
            "Verified": "yes" if one.checked.verified else "no",
            "Equal predictions": one.checked.agree,
            "Examples": one.checked.n,
            "Largest difference": one.checked.largest,
            "Mean difference": one.checked.mean,
            **{
                f"{said.title(f.name)}{where}": value
                for f in one.checked.figures
                for where, value in (("", f.file), (" on screen", f.screen))
            },
            "Tolerance": one.checked.stated,
        }
        for one in made
    ]
    table = pd.DataFrame(rows)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        show.heading("The check in full")
        st.download_button(
            "CSV", table.to_csv(index=False), f"{now.model}-check.csv", "text/csv", key="check-csv",
            icon=":material/download:", on_click="ignore",
        )  # fmt: skip
    st.dataframe(table, hide_index=True, alt="Table of: the check of each file")


def _use(parts: Parts, made: list[Artifact]) -> None:
    show.heading("Use it elsewhere")
    names = [one.method.name for one in made]
    titles = {one.method.name: one.method.title for one in made}
    if st.session_state.get(CHOSEN) not in names:
        st.session_state[CHOSEN] = names[0]
    chosen = st.segmented_control(
        "Format", names, key=CHOSEN, required=True, format_func=lambda n: titles[n], label_visibility="collapsed"
    )
    one = next(artifact for artifact in made if artifact.method.name == chosen)
    st.code(usage(one.method.name, one.file, parts), language="python")
    for line in about.prepares(read_card(parts.network.model.id)):
        show.small(line)
    cards.show(
        "<p class='t-small'>The preprocessing, what the outputs mean and the recipe are inside the file too. What "
        "the screen shows comes after its first, raw output.</p>"
    )
