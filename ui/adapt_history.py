"""Trainings of earlier visits on the Adapt page: what each came to, one click away."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core.data.handle import DataHandle
from core.figures.trainings import named_training, trainings_table
from core.training.training import Training
from ui import show

LISTED = 20  # earlier trainings in the table
SHOWN = "adapt-shown"  # session key: the training that the board shows
OPENED = "adapt-opened"  # session key: the training of the settings when another one was opened


def earlier(data: DataHandle, known: list[Training], shown: Training | None, current: str = "") -> None:
    """The list, the latest first, with a picker that opens one; `current` is the key of that of the settings."""
    others = [one for one in known if one.begun and (shown is None or one.key != shown.key)][:LISTED]
    if not others or (shown is not None and shown.alive):  # what runs is what is shown, whatever is picked
        return
    show.heading("Trainings so far")
    rows = [(one.recipe, one.standing(), one.seconds) for one in ([shown] if shown and shown.begun else []) + others]
    found: pd.DataFrame = trainings_table(rows, data.task)
    st.dataframe(found, hide_index=True, alt="Trainings of this model so far")
    show.small(
        "Figures are of the calibration examples at the last look: to choose by them spoils nothing, while the "
        "evaluation set judges what you open."
    )
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        names = {one.key: named_training(one.result or one.recipe) for one in others}
        picked = st.selectbox(
            "Open another", list(names), format_func=lambda key: names.get(key, key), key="adapt-open"
        )
        st.button("Show", key="adapt-show", on_click=_open, args=(picked, current))


def _open(picked: str, current: str) -> None:
    st.session_state.update({SHOWN: picked, OPENED: current})


def opened(current: str) -> bool:
    """Whether one was opened since the settings are those of the training `current`."""
    return bool(st.session_state.get(OPENED) == current)
