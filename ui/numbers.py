"""The Studio's section for models that predict numbers: what they say against what is, residuals, coverage."""

from __future__ import annotations

import streamlit as st

from core.engine.numbers import decimals, worst, worst_table
from core.figures import words
from core.figures.actual import actual_chart
from core.figures.coverage import coverage_chart
from core.figures.residuals import residuals_chart
from ui import show
from ui.gallery import gallery, of_numbers
from ui.work import Point

BY = "worst-by"
SHOWN = 12  # rows of the table of examples
LOCAL = 3  # decimals that a browser keeps where it sets the commas itself
ORDERS = {"grew": "Error grew most", "moved": "Moved most"}


def coverage(found: Point, colours: str) -> None:
    """Draw the counterpart of the reliability diagram: how many truths the intervals hold."""
    result = found.result
    drawn = coverage_chart(result.original, result.uncalibrated, result.tempered, mode=colours)
    show.chart(drawn, "Coverage of intervals", "coverage")


def numbers(found: Point, colours: str) -> None:
    """Draw what is particular to a point of a model that predicts numbers; `colours` is `light` or `dark`."""
    original, tempered = found.result.original, found.result.tempered
    show.chart(actual_chart(original, tempered, mode=colours), "Predicted against actual", "actual")
    show.chart(residuals_chart(original, tempered, mode=colours), "Residuals", "residuals")
    moved_examples(found)


def moved_examples(found: Point) -> None:
    """The examples that paid, as cards and as a table."""
    result = found.result
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
        gallery(of_numbers(worst(result, SHOWN, by), found.data), found.data, found.network())
        show.small(f"{words.count(len(rows))} of {words.count(result.original.n)} evaluation examples, worst first.")
        places = decimals(result.original.labels)
        form = "localized" if places <= LOCAL else f"%.{places}f"
        st.dataframe(
            rows,
            hide_index=True,
            column_config={name: st.column_config.NumberColumn(format=form) for name in rows.columns[1:]},
            alt="Evaluation examples whose prediction changed most",
        )
