"""The two ways in which the Trade-offs page finds recipes: a grid one reads, or a search under budgets."""

from __future__ import annotations

import streamlit as st

from ui.state import sitting

GRID, SEARCH = "", "search"
TITLES = {GRID: "Grid", SEARCH: "Search"}
KEY = "tradeoffs-way"


def chosen() -> str:
    """The way in force."""
    return sitting().way


def picker() -> None:
    """The control that changes the way."""
    now = sitting()
    st.session_state[KEY] = now.way

    def changed() -> None:
        now.way = st.session_state[KEY]

    st.segmented_control(
        "Way", list(TITLES), key=KEY, format_func=lambda way: TITLES[way], required=True, on_change=changed,
        label_visibility="collapsed", width="stretch",
    )  # fmt: skip
