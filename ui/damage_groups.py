"""Which groups pay: a metric by group, the gaps between groups before and after, thresholds per group as a repair."""

from __future__ import annotations

import streamlit as st

from core.damage.disparity import disparities
from core.damage.groups import FEW
from core.decisions.parity import GOALS, Goal, repair
from core.figures import repaired, words
from core.figures.disparity import disparity_chart
from ui import show
from ui.frame import guarded
from ui.groups import groups
from ui.work import Point, judged

GOAL = "damage-goal"


def damage_groups(found: Point, colours: str) -> None:
    """Draw the section for the column of groups that is chosen."""
    groups(found, colours)
    columns = [of.title for of in found.data.groups]
    column = st.session_state.get(f"groups-by-{found.data.id}") or columns[0]
    with guarded():
        told = disparities(found.data, found.result, column)
        show.chart(disparity_chart(told, mode=colours), f"Gaps between groups by {column}", "disparity")
        left = sorted({name for gap in told.gaps for name in gap.left})
        apart = f" Left out of a gap with fewer than {FEW} examples that count: {', '.join(left)}." if left else ""
        show.small(
            "A gap is the highest group's rate less the lowest's, as fairlearn defines it. 95 % intervals: "
            "bootstrap of 1,000 within each group, both models resampled alike, recentred on the gap seen. A "
            "gap is never below zero and chance alone makes one: groups drawn at random stay below the bar "
            "in 95 % of cases, by the tempered model. A filled diamond is a change beyond chance after Holm's "
            "correction for the gaps shown. "
            f"n = {words.count(told.n)}.{apart}"
        )
    if found.data.task.kind == "binary":
        _repair(found, column)


def _repair(found: Point, column: str) -> None:
    with st.container(key="damage-repair"), guarded():
        with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
            show.heading("Repair: a threshold a group")
            goal: Goal = st.selectbox(
                "So that every group is", list(GOALS), key=GOAL, format_func=lambda one: GOALS[one], width=420,
                persist_state="session",
            )  # fmt: skip
        made = repair(found.data, judged(found), column, goal or "tpr")
        show.caption(repaired.sentence(made))
        st.dataframe(repaired.rows(made), hide_index=True, alt="The threshold of each group")
        n = words.count(sum(cut.n for cut in made.cuts))
        show.small(
            "Tempered model. Each group's threshold is the one whose rate is nearest to "
            f"{words.percent(made.target)}, that of one threshold of 0.5 for all, on {n} calibration "
            f"examples; judged, with the price, on {words.count(found.result.tempered.n)} evaluation "
            "examples, which chose nothing (Hardt et al. 2016, without randomising). Treating groups "
            "differently may not be lawful where you are."
        )
