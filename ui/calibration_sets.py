"""Conformal sets on the Calibration page: which classes cannot be ruled out, so that the truth is among them."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from core.calibration.calibration_lab import Material
from core.calibration.sets import SCORES, Rule, Sets
from core.calibration.sets_of import sets_from
from core.engine.lane import working
from core.figures.sets import sets_chart
from ui import show
from ui.frame import guarded, mode
from ui.work import visitor

BY = {"all": "All together", "class": "Class by class"}


@st.fragment
def sets(given: Material, looked: str, examples: Callable[[Sets], None] | None = None) -> None:
    """Draw the sets after one calibration with their controls; `examples` shows some where there are any to show."""
    with guarded():
        if given.crossed:
            show.heading("Sets that hold the truth")
            show.small("Absent with cross-fitting: the examples that set a threshold must not be those judged.")
            return
        head = st.container()
        left, middle, right = st.columns([1, 1, 1], gap="medium", vertical_alignment="bottom")
        level: float = left.slider(
            "Sets that are to hold the truth", 50.0, 99.5, 90.0, 0.5, format="%g %%", key="sets-level",
            persist_state="session",
        )  # fmt: skip
        with middle:
            score = st.segmented_control(
                "Score", SCORES, key="sets-score", default="lac", required=True, format_func=str.upper,
                persist_state="session",
            )  # fmt: skip
        with right:
            by = st.segmented_control(
                "Held for", list(BY), key="sets-by", default="all", required=True, format_func=lambda one: BY[one],
                persist_state="session",
            )  # fmt: skip
        with working(visitor()):
            found = sets_from(given, looked, Rule(score=score, level=level / 100, by=by))
        with head:
            show.chart(sets_chart(found, mode=mode()), "Sets that hold the truth", "calibration-sets")
            for caveat in found.caveats:
                show.small(caveat)
        if examples is not None:
            examples(found)
