"""Show a chart as the house does: the finding above it, its words for screen readers, its table behind it."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import streamlit as st

from core.types import Chart

CONFIG = {"displayModeBar": False, "displaylogo": False, "scrollZoom": False, "doubleClick": False}


def heading(text: str, level: int = 2) -> None:
    """A section's heading."""
    st.html(f"<h{level} class='t-title'>{escape(text)}</h{level}>")


def caption(text: str) -> None:
    """A sentence that says the finding."""
    st.html(f"<p class='t-caption'>{escape(text)}</p>")


def small(text: str) -> None:
    """A quiet line: method, sample size, units."""
    st.html(f"<p class='t-small'>{escape(text)}</p>")


def chart(
    shown: Chart,
    title: str,
    key: str,
    on_pick: Callable[[Any], None] | None = None,
    beside: Callable[[], None] | None = None,
    tallest: int | None = None,
) -> None:
    """A titled chart, `beside` drawing a control into its head; one of more than `tallest` px scrolls.

    `on_pick` is called with the customdata of a point that a person clicks. After a click the chart is made
    anew: a browser reports no second click on a point that is still selected.
    """
    turn_key = f"{key}-turn"
    turn = st.session_state.get(turn_key, 0)
    chart_key = f"{key}-{turn}"

    def selected() -> None:
        points = st.session_state[chart_key].selection.points
        if points and on_pick is not None and points[0].get("customdata") is not None:
            st.session_state[turn_key] = turn + 1
            on_pick(points[0]["customdata"])

    with st.container(key=f"chart-{key}"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            heading(title)
            if beside is not None:
                beside()
            with st.popover("Table", icon=":material/table_rows:", type="tertiary", key=f"{key}-table"):
                st.dataframe(shown.table, hide_index=True, alt=f"Table of: {title}")
                st.download_button(
                    "Download CSV",
                    shown.table.to_csv(index=False),
                    f"{key}.csv",
                    "text/csv",
                    key=f"{key}-csv",
                    on_click="ignore",
                )
        caption(shown.caption)
        height = int(shown.figure.layout.height or 360)
        with st.container(height=tallest if tallest is not None and height > tallest else "content", border=False):
            st.plotly_chart(
                shown.figure,
                key=chart_key,
                theme=None,
                config=CONFIG,
                alt=shown.alt,
                on_select=selected if on_pick is not None else "ignore",
                selection_mode="points",
                height=height,
            )
