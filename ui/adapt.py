"""Adapt: give the model of the present recipe more learning, and watch what it buys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import streamlit as st

from core.data.handle import DataHandle
from core.models.handle import ModelHandle
from core.models.samples import load_sample
from core.registry import Method, methods
from ui import adapt_data, adapt_distil, adapt_method, adapt_transfer, adapt_tune, show
from ui.frame import guarded, show_notice
from ui.picker import model_picker
from ui.state import Sitting, mirror, sitting

MODEL, WHAT = "adapt-model", "adapt-what"
TUNING = "Short trials find the settings of a training; hopeless ones end early."
LOOKING = "What is in the data, and what learning from the wrong ones does."
MOVING = "The trained body with a last layer for other classes, or on other data, as a model of your own."


@dataclass(frozen=True)
class Journey:
    """Something to do on this page: `controls` draws the left side, `board` the right one with what that returned."""

    title: str
    summary: str
    controls: Callable[[Sitting, ModelHandle, DataHandle], Any]
    board: Callable[[Sitting, ModelHandle, DataHandle, Any], None]


def journeys(data: DataHandle) -> dict[str, Journey]:
    """What there is to do with a data set, by name: every way of training, and more."""
    found = sorted(methods("train", data.task.kind), key=lambda one: one.name != "recover")
    every = {one.name: _by_method(one) for one in found}
    every["transfer"] = Journey("Move to other data", MOVING, adapt_transfer.controls, adapt_transfer.board)
    every["tune"] = Journey("Tune", TUNING, adapt_tune.controls, adapt_tune.board)
    every["data"] = Journey("Will this data do?", LOOKING, adapt_data.controls, adapt_data.board)
    return every


def _by_method(one: Method) -> Journey:
    if one.name == adapt_distil.NAME:
        return Journey(one.title, one.summary, adapt_distil.controls, adapt_distil.board)
    return Journey(
        one.title,
        one.summary,
        lambda now, model, data: adapt_method.controls(now, model, data, one.name),
        lambda now, model, data, asked: adapt_method.board(now, model, data, one.name, asked),
    )


def page() -> None:
    """Draw the page."""
    now = sitting()
    show_notice()
    left, right = st.columns([0.27, 0.73], gap="large")
    with left, guarded(), st.container(key="controls"):
        model_picker(now, MODEL)
        model, data = load_sample(now.model)
        journey = _what(journeys(data))
        asked = journey.controls(now, model, data)
        with right, guarded():
            journey.board(now, model, data, asked)
    mirror()


def _what(found: dict[str, Journey]) -> Journey:
    if st.session_state.get(WHAT) not in found:
        st.session_state[WHAT] = next(iter(found))
    st.selectbox(
        "What to do", list(found), key=WHAT, format_func=lambda name: found[name].title, persist_state="session"
    )
    chosen = found[st.session_state[WHAT]]
    show.small(chosen.summary)
    return chosen
