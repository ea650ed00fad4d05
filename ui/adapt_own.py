"""Data of a person's own for the body of a model at hand: the files, and how far reading them is."""

from __future__ import annotations

import streamlit as st

from core.arrivals import ARRIVALS, Arrival, receive, upload_folder
from core.asked import place_of, share_of
from core.data.handle import DataHandle
from core.errors import TemperError
from core.models.handle import ModelHandle
from core.models.samples import own_home
from core.wish import Wish
from ui import show
from ui.frame import show_error

ARRIVAL, PROBLEM = "moved-arrival", "moved-problem"
DATA = ("npz", "zip", "csv", "parquet")
READS = {
    "pictures": "pictures are brought to its size",
    "text": "texts are cut by its tokenizer",
    "table": "as many columns as its own, in its order or by its names",
}
BEAT = 0.7  # seconds between two looks at data on its way in


def read(model: ModelHandle, data: DataHandle, chosen: str) -> None:
    """Draw the form and what became of it; the pair that was made is put under the session key `chosen`."""
    arrival = ARRIVALS.find(st.session_state.get(ARRIVAL))
    if arrival is not None and arrival.state == "done":
        st.session_state.pop(ARRIVAL)
        st.session_state[f"{chosen}-next"] = arrival.id
        st.rerun()
    with st.form("moved-own", border=False, enter_to_submit=False):
        st.file_uploader("Labelled data", type=list(DATA), key="moved-file")
        st.text_input("or a path on this machine, which may be a folder", key="moved-path")
        with st.expander("More"):
            st.text_input("Label column of a table", key="moved-label", placeholder="label, target, class or y")
            if data.modality == "text":
                st.text_input("Text column", key="moved-text", placeholder="the one with the longest texts")
            st.text_input("Share to learn from", key="moved-fit", placeholder="50 %")
        busy = arrival is not None and arrival.alive
        pressed = st.form_submit_button(
            "Read it and make the model", type="primary", icon=":material/download_for_offline:", key="moved-load",
            disabled=busy, width="stretch",
        )  # fmt: skip
    show.small(
        f"Read on this machine as {model.title} reads: {READS[data.modality]}. "
        "Half is learned from, unless the data has a part of its own for that; the rest calibrates and judges."
    )
    if pressed:
        _begin(model)
    problem = st.session_state.get(PROBLEM)
    if problem is not None:
        show_error(problem)
    if arrival is not None:
        st.fragment(_going, run_every=BEAT if busy else None)(arrival, busy)


def _said(key: str) -> str | None:
    return str(st.session_state.get(f"moved-{key}") or "").strip() or None


def _begin(model: ModelHandle) -> None:
    st.session_state.pop(PROBLEM, None)
    try:
        home = own_home()
        if home is None:
            raise TemperError("TEMPER_HOME is empty, so there is nowhere to keep a model.", "Name a folder in it.")
        file, path = st.session_state.get("moved-file"), _said("path")
        if (file is None) == (path is None):
            raise TemperError("One file or one path holds the data.", "Give one of the two.")
        share = share_of(_said("fit") or "", "The share to learn from")
        uploads = upload_folder(home) if file is not None else None
        place = (
            str(receive(uploads, "data", file.name, file)) if file is not None and uploads else place_of(path or "")
        )
        wish = Wish(model.id, str(place), label=_said("label"), text=_said("text"), fit_share=share, body=True)
        ARRIVALS.forget(st.session_state.get(ARRIVAL))
        st.session_state[ARRIVAL] = ARRIVALS.begin(wish, home, uploads).key
    except TemperError as error:
        st.session_state[PROBLEM] = error
    st.rerun()


def _going(arrival: Arrival, was_alive: bool) -> None:
    if was_alive and not arrival.alive:
        st.rerun()
    if arrival.alive:
        st.progress(arrival.done, f"{arrival.what}: {arrival.seconds:.0f} s so far")
    elif arrival.error is not None:
        show_error(arrival.error)
