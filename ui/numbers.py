"""The Studio's section for models that predict numbers: what they say against what is, residuals, coverage."""

from __future__ import annotations

import streamlit as st

from core.engine.numbers import decimals, worst_table
from core.figures import words
from core.figures.actual import actual_chart
from core.figures.coverage import coverage_chart
from core.figures.residuals import residuals_chart
from core.types import Result
from ui import show

BY = "worst-by"
SHOWN = 12  # rows of the table of examples
LOCAL = 3  # decimals that a browser keeps where it sets the commas itself
ORDERS = {"grew": "Error grew most", "moved": "Moved most"}


def numbers(result: Result, colours: str) -> None:
    """Draw the section for a result whose outcomes are numbers; `colours` is `light` or `dark`."""
    original, tempered = result.original, result.tempered
    wide, narrow = st.columns([0.5, 0.5], gap="medium")
    with wide:
        show.chart(actual_chart(original, tempered, mode=colours), "Predicted against actual", "actual")
    with narrow:
        drawn = coverage_chart(original, result.uncalibrated, tempered, mode=colours)
        show.chart(drawn, "Coverage", "coverage")
    show.chart(residuals_chart(original, tempered, mode=colours), "Residuals", "residuals")
    _worst(result)


def _worst(result: Result) -> None:
    """The examples that paid, as rows."""
    with st.container(key="worst"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            show.heading("Examples that changed")
            st.segmented_control(
                "Order of the examples",
                list(ORDERS),
                key=BY,
                default="grew",
                required=True,
                format_func=lambda option: ORDERS[option],
                label_visibility="collapsed",
                persist_state="session",
            )
        by = st.session_state.get(BY) or "grew"
        rows = worst_table(result, SHOWN, by)
        if rows.empty:
            none = "moved" if by == "moved" else "is further off than before"
            show.small(f"No prediction {none}.")
            return
        show.small(f"{words.count(len(rows))} of {words.count(result.original.n)} evaluation examples, worst first.")
        places = decimals(result.original.labels)
        form = "localized" if places <= LOCAL else f"%.{places}f"
        st.dataframe(
            rows,
            hide_index=True,
            column_config={name: st.column_config.NumberColumn(format=form) for name in rows.columns[1:]},
            alt="Evaluation examples whose prediction changed most",
        )
