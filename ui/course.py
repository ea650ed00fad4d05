"""The recipe step by step, once a person asks for it: each step is an evaluation of its own."""

from __future__ import annotations

import streamlit as st

from core.engine.lane import working
from core.figures.course import course_chart, other_order
from core.layers.course import course
from ui import show
from ui.frame import guarded
from ui.work import Point, Ticker, visitor

WANTED = "course-wanted"
LEAST = 2  # steps from which there is something to tell apart


def step_by_step(found: Point, colours: str) -> None:
    """Draw the section: a switch, then the chart; nothing for a recipe of one step."""
    if len(found.recipe.simplified().steps) < LEAST:
        return
    with st.container(key="course"):
        wanted = st.toggle(
            "Step by step", key=WANTED, persist_state="session",
            help="Evaluates the recipe after each of its steps, and with rounding before pruning.",
        )  # fmt: skip
        if not wanted:
            return
        slot = st.empty()
        with guarded():
            with working(visitor()):
                told = course(found.model, found.data, found.recipe, Ticker(slot, "Evaluating each step"))
            slot.empty()
            show.chart(course_chart(told, mode=colours), "What each step costs", "course-chart")
            if said := other_order(told):
                show.small(said)
