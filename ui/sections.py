"""A long page's sections: a heading that links can lead to."""

from __future__ import annotations

from html import escape

import streamlit as st

PREFIX = "part-"  # of the anchors, so that none is the name of something else on the page


def section(anchor: str, title: str) -> tuple[str, str]:
    """Begin a section and return its anchor and title."""
    st.html(f"<h2 class='t-section' id='{PREFIX}{anchor}'>{escape(title)}</h2>")
    return anchor, title
