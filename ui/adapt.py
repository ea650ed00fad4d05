"""Adapt: give the model of the present recipe more learning, and watch what it buys."""

from __future__ import annotations

import streamlit as st

from core.data.handle import DataHandle
from core.models.samples import load_sample, titles
from core.registry import method, methods
from ui import adapt_method, show
from ui.frame import guarded, show_notice
from ui.state import Sitting, mirror, sitting

MODEL, WHAT = "adapt-model", "adapt-what"


def page() -> None:
    """Draw the page."""
    now = sitting()
    show_notice()
    left, right = st.columns([0.27, 0.73], gap="large")
    with left, guarded(), st.container(key="controls"):
        _model(now)
        model, data = load_sample(now.model)
        what = _what(data)
        asked = adapt_method.controls(now, model, data, what)
    with right, guarded():
        model, data = load_sample(now.model)
        adapt_method.board(now, model, data, what, asked)
    mirror()


def _model(now: Sitting) -> None:
    names = titles()
    st.session_state[MODEL] = now.model
    st.selectbox(
        "Model", list(names), key=MODEL, format_func=lambda name: names.get(name, name), label_visibility="collapsed",
        on_change=lambda: now.choose_model(st.session_state[MODEL]),
    )  # fmt: skip


def _what(data: DataHandle) -> str:
    found = methods("train", data.task.kind)
    names = [one.name for one in found]
    if st.session_state.get(WHAT) not in names:
        st.session_state[WHAT] = "recover" if "recover" in names else names[0]
    st.selectbox(
        "What to do", names, key=WHAT, format_func=lambda name: method("train", name).title, persist_state="session"
    )
    show.small(method("train", st.session_state[WHAT]).summary)
    return str(st.session_state[WHAT])
