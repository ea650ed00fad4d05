"""The picker of models that pages share."""

from __future__ import annotations

import streamlit as st

from core.models.samples import titles
from ui.state import Sitting


def model_picker(now: Sitting, key: str) -> None:
    """Draw it; another model takes the recipe in force along."""
    names = titles()
    st.session_state[key] = now.model
    st.selectbox(
        "Model", list(names), key=key, format_func=lambda name: names.get(name, name), label_visibility="collapsed",
        on_change=lambda: now.choose_model(st.session_state[key]),
    )  # fmt: skip
