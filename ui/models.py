"""Model and data: the model in force, what it reads, what was checked, what can be changed; and the way in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import streamlit as st

from core import about
from core.data.balance import class_counts, group_sizes, target_values
from core.data.handle import DataHandle
from core.errors import TemperError
from core.figures import said, words
from core.figures.balance import balance_chart
from core.figures.targets import targets_chart
from core.models.handle import ModelHandle
from core.models.samples import DEFAULT, forget, load_sample, own_ids, read_card, rename, sample_ids, titles
from core.task import task_of_card
from ui import loading, seen, show
from ui.frame import guarded, mode, show_notice
from ui.state import Sitting, link_parameters, mirror, sitting

PICKER = "models-picker"
SAID = "models-said"  # session key: what was just done, said once
NAMES = 12  # class names shown
VERDICTS = {True: ("ok", "✓ ok"), False: ("look", "▲ look"), None: ("note", "• note")}


def page() -> None:
    """Draw the page."""
    now = sitting()
    st.html(
        "<h1 class='t-title'>Model and data</h1><p class='t-lead'>The network in force, what it reads and what was "
        "checked. One of your own, with labelled examples, is two files away.</p>"
    )
    with guarded():
        loading.bring(now)
    show_notice()
    with guarded():
        _picker(now)
        card = read_card(now.model)
        model, data = load_sample(now.model)
        with st.container(border=True, key="model", gap="xsmall"):
            _head(now, card)
            left, right = st.columns([0.4, 0.6], gap="large")
            with left, st.container(gap="small"):
                _facts(card)
                _checks(card)
            with right, st.container(gap="xsmall"):
                _reads(card, data)
        left, right = st.columns([0.5, 0.5], gap="large")
        with left, st.container(gap="xsmall"):
            _spread(data)
            _groups(card, data)
        with right, st.container(gap="xsmall"):
            _parts(model)
        with st.container(gap="xsmall"):
            _words(card)
    mirror()


def _picker(now: Sitting) -> None:
    """Every model at hand, a person's own first, and the ways on."""
    done = st.session_state.pop(SAID, None)
    if done:
        show.small(done)
    names, own = titles(), own_ids()
    order = [*own, *sample_ids()]
    if now.model not in order:  # a link to a model that is gone: the sentence below says so
        order = [now.model, *order]
    st.session_state[PICKER] = now.model
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="models-bar"):
        st.selectbox(
            "Model in force", order, key=PICKER, width=380,
            on_change=lambda: now.choose_model(st.session_state[PICKER]),
            format_func=lambda name: f"{names.get(name, name)} ({'your own' if name in own else 'sample'})",
        )  # fmt: skip
        with st.container(key="go", width="content"):
            st.page_link(
                "pages/1_Studio.py",
                label="Open in the Studio",
                icon=":material/tune:",
                query_params=link_parameters(),
            )
        st.page_link(
            "pages/2_Trade-offs.py", label="See the whole trade-off", icon=":material/grid_on:",
            query_params=link_parameters(),
        )  # fmt: skip


def _head(now: Sitting, card: Mapping[str, Any]) -> None:
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        show.heading(str(card["title"]))
        if now.model in own_ids():
            with st.container(horizontal=True, gap="small", width="content"):
                _rename(now.model, str(card["title"]))
                _remove(now, str(card["title"]))
    show.small(str(card["summary"]))


def _rename(name: str, title: str) -> None:
    def act() -> None:
        try:
            rename(name, st.session_state[f"title-{name}"])
        except TemperError as error:
            sitting().notice = error

    with st.popover("Rename", icon=":material/edit:", type="tertiary", key="models-rename"):
        st.text_input("Title", title, key=f"title-{name}", max_chars=60, on_change=act)


def _remove(now: Sitting, title: str) -> None:
    def act(name: str) -> None:
        try:
            forget(name)
        except TemperError as error:
            now.notice = error
            return
        now.trails.pop(name, None)
        now.choose_model(DEFAULT if DEFAULT in sample_ids() else next(iter((*sample_ids(), *own_ids())), DEFAULT))
        st.session_state[SAID] = f"{title} was removed from this machine; the file you loaded it from is untouched."

    with st.popover("Remove", icon=":material/delete:", type="tertiary", key="models-remove"):
        show.small("Its copy of weights and examples goes; the files it came from and the runs kept stay.")
        st.button(f"Remove {title}", key="models-remove-now", on_click=act, args=(now.model,), type="primary")


def _listed(rows: Sequence[tuple[str, str]]) -> str:
    return f"<dl class='t-facts'>{''.join(f'<dt>{escape(k)}</dt><dd>{escape(v)}</dd>' for k, v in rows)}</dl>"


def _facts(card: Mapping[str, Any]) -> None:
    splits = ", ".join(f"{words.count(part['n'])} {name}" for name, part in card["splits"].items())
    rows = [
        ("Architecture", str(card["architecture"])),
        ("Input", " × ".join(words.count(n) for n in card["input_shape"])),
        ("Classes" if card["classes"] else "Predicts", _predicted(card)),
        ("Parameters", words.count(card["parameters"])),
        ("As float32", words.size(4 * card["parameters"])),
        ("Multiply-adds an example", words.count(card["multiply_adds"])),
        ("Examples", splits),
    ]
    st.html(_listed(rows))


def _predicted(card: Mapping[str, Any]) -> str:
    task = task_of_card(card)
    if task.kind == "binary":
        return f"2, looked for is {task.classes[task.positive]}"
    return words.count(len(task.classes)) if task.decides else about.said_target(task)


def _figure(card: Mapping[str, Any]) -> str:
    """The leading figure that a sample's card states."""
    task, figures = task_of_card(card), card.get("figures", {})
    headline = task.facts.headline
    if headline not in figures:
        return "this model's card states no checks"
    if headline == "accuracy":
        told = f"{words.percent(figures[headline], 2)} of the evaluation examples are right"
    else:
        stated = said.value(figures[headline], task.unit_of(said.unit_of(headline)))
        told = f"{said.title(headline)} is {stated} on the evaluation examples"
    return f"{told}; a test recomputes this from the files"


def _checks(card: Mapping[str, Any]) -> None:
    """What was checked at load, each with its verdict in a sign and a word."""
    checks = card.get("checks")
    if checks is None:  # a sample: its card states figures, which a test recomputes
        checks = [{"title": "Sample", "ok": True if card.get("figures") else None, "said": _figure(card)}]
    show.heading("Checks")
    items = []
    for check in checks:
        kind, word = VERDICTS[check["ok"]]
        items.append(
            f"<li class='{kind}'><span class='t-tag'>{word}</span><span><b>{escape(check['title'])}</b> "
            f"{escape(check['said'])}.</span></li>"
        )
    st.html(f"<ul class='t-checks'>{''.join(items)}</ul>")


def _reads(card: Mapping[str, Any], data: DataHandle) -> None:
    show.heading("What it reads")
    show.caption(about.reads(card))
    st.html("".join(f"<p class='t-small'>{escape(line)}</p>" for line in about.prepares(card)))
    seen.examples(data)
    show.small("From the evaluation split: as stored, and as the network sees it.")


def _spread(data: DataHandle) -> None:
    """How the labels are spread over the splits."""
    task = data.task
    if task.decides:
        drawn = balance_chart(class_counts(data), data.classes, mode=mode())
        show.chart(drawn, "Class balance", "balance")
        _classes(data.classes)
    else:
        drawn = targets_chart(target_values(data), task.target, task.unit, mode=mode())
        show.chart(drawn, "Numbers to predict", "targets")


def _groups(card: Mapping[str, Any], data: DataHandle) -> None:
    """The columns by which metrics can be told apart, with their groups' sizes."""
    if not data.groups:
        return
    show.heading("Groups")
    read = {title: bool(of.get("feature")) for title, of in card["data"].get("groups", {}).items()}
    listed = ", ".join(
        f"{words.cut(group.title, 40)} ({'also read by the network' if read.get(group.title) else 'not read'})"
        for group in data.groups
    )
    show.small(f"Every figure can be told apart by {listed}.")
    sizes = group_sizes(data)
    st.dataframe(
        sizes, hide_index=True, height=min(35 * (len(sizes["Group"]) + 1) + 3, 250),
        alt=f"Table of {len(sizes['Group'])} groups and their examples in each split",
    )  # fmt: skip


def _classes(classes: Sequence[str]) -> None:
    more = f" and {words.count(len(classes) - NAMES)} more, in the chart's table" if len(classes) > NAMES else ""
    listed = ", ".join(words.cut(name, 40) for name in classes[:NAMES])
    show.small(f"In the order of the network's outputs: {listed}{more}.")


def _parts(model: ModelHandle) -> None:
    """What can be pruned and quantized, what is left alone and why."""
    found = about.parts(model)
    show.heading("What can be made smaller")
    show.caption(found.said)
    st.dataframe(
        found.layers, hide_index=True, height=min(35 * (len(found.layers) + 1) + 3, 300),
        alt=f"Table of {len(found.layers)} layers",
        column_config={"Numbers": st.column_config.NumberColumn(format="localized")},
    )  # fmt: skip
    if len(found.left):
        show.small("Left alone, since they are no convolutions or linear layers; they stay float32:")
        st.dataframe(
            found.left, hide_index=True, height=min(35 * (len(found.left) + 1) + 3, 200),
            alt=f"Table of {len(found.left)} parts that are left alone",
            column_config={"Numbers": st.column_config.NumberColumn(format="localized")},
        )  # fmt: skip
    else:
        show.small("Nothing else holds weights of its own, except biases, which stay float32.")


def _words(card: Mapping[str, Any]) -> None:
    """Notes of the reader, and whose data these are."""
    notes = card.get("notes", ())
    if notes:
        show.heading("Notes")
        st.html(f"<ul class='t-notes'>{''.join(f'<li>{escape(str(note))}</li>' for note in notes)}</ul>")
    data, added = card["data"], card.get("added")
    came = f" Loaded from {added['model']} and {added['data']}." if added else ""
    show.small(f"Data: {data['name']}, {data['licence']}; {data['attribution']}.{came}")
