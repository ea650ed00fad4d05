"""Who pays: a metric by the groups that the data set names."""

from __future__ import annotations

import streamlit as st

from core.damage.groups import FEW, by_group
from core.figures import said, words
from core.figures.groups import groups_chart
from ui import show
from ui.frame import guarded
from ui.work import Point


def groups(found: Point, colours: str) -> None:
    """Draw the section where the data set names groups; nothing otherwise."""
    columns, facts = [of.title for of in found.data.groups], found.data.task.facts
    if not columns:
        return
    with st.container(key="groups"):
        with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
            column = st.segmented_control(
                "Groups by", columns, key=f"groups-by-{found.data.id}", default=columns[0], required=True,
                persist_state="session",
            )  # fmt: skip
            measure = st.selectbox(
                "Metric", facts.stated, key=f"groups-metric-{found.data.task.kind}", format_func=said.title,
                width=230, persist_state="session",
            )  # fmt: skip
        with guarded():
            told = by_group(found.data, found.result, column or columns[0], measure or facts.headline)
            show.chart(groups_chart(told, mode=colours), f"By {told.title}", "groups")
            small = [group.name for group in told.groups if not group.known]
            left = f" Too few examples (under {FEW}, or of one class only): {', '.join(small)}." if small else ""
            show.small(
                "Intervals at 95 %, each of its own group; a filled diamond is a change beyond chance after Holm's "
                f"correction for {words.count(len(told.known))} groups; of all examples, by its own interval.{left}"
            )
