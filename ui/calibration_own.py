"""A person's own logits on the Calibration page: asked for, read, kept for the visit, and left again."""

from __future__ import annotations

import tempfile
from pathlib import Path

import streamlit as st

from core.arrivals import receive
from core.calibration.calibration_lab import Material
from core.errors import TemperError
from core.figures import words
from core.own_logits import ENDINGS, OwnLogits, Way, read_own, ways
from ui import show
from ui.frame import show_error

ASKED = "own-logits-asked"  # session key: whether the page is of a person's own logits
HELD = "own-logits"  # session key: what was read
PROBLEM = "own-logits-problem"  # session key: why the last file was refused
STATED = "own-logits-stated"
WAY = "own-logits-way"
FILE = "own-logits-file"
LARGEST = 500_000_000  # bytes that a file may hold, unpacked: 60,000 examples of 1,000 classes
TITLES = {"logits": "Logits", "probabilities": "Probabilities"}
WAYS: dict[Way, str] = {"halves": "Two halves", "crossed": "Cross-fitting", "given": "As given"}
EXAMPLE = """import numpy as np

np.savez("logits.npz", logits=logits, labels=labels)      # (N, C) floats and (N,) whole numbers; or, in two splits:
np.savez(
    "logits.npz",
    calibration_logits=z, calibration_labels=y,            # fit what is fitted
    evaluation_logits=w, evaluation_labels=x,              # judge it
    classes=["cat", "dog", "owl"],                         # may be left out
    calibration_groups=g, evaluation_groups=h,             # may be left out: names or whole numbers
)
"""


def asked() -> bool:
    """Whether the page is of a person's own logits."""
    return bool(st.session_state.get(ASKED))


def own_panel() -> OwnLogits | None:
    """Draw the way there, or the file's form and the way back; returns what was read, if anything."""
    if not asked():
        st.button(
            "Your own logits", icon=":material/upload_file:", key="own-logits-open", on_click=_ask, width="stretch",
            help="No model is needed: a file of logits and labels.",
        )  # fmt: skip
        return None
    st.button(
        "Back to the model", icon=":material/arrow_back:", key="own-logits-back", on_click=_back, width="stretch"
    )
    with st.container(key="panel-own", gap="small"):
        st.file_uploader("Logits and labels", type=list(ENDINGS), key=FILE)
        stated = st.segmented_control(
            "They are", list(TITLES), key=STATED, format_func=lambda one: TITLES[one], persist_state="session"
        )
        st.button(
            "Read it", key="own-logits-read", type="primary", icon=":material/download_for_offline:", on_click=_read,
            disabled=stated is None, width="stretch", help=None if stated else "Say first what the file holds.",
        )  # fmt: skip
        own: OwnLogits | None = st.session_state.get(HELD)
        if own is None:
            return None
        show.small(
            f"{own.name}: {TITLES[own.stated].lower() if own.stated else ''}, {words.count(own.n)} examples of "
            f"{len(own.classes):,} classes."
        )
        if own.one_split:
            st.segmented_control(
                "One split, used as", list(ways(own)), key=WAY, default="halves", required=True,
                format_func=lambda one: WAYS[one], persist_state="session",
            )  # fmt: skip
    return own


def way_of(own: OwnLogits) -> Way:
    """How the person wants the examples used."""
    chosen = st.session_state.get(WAY)
    return chosen if chosen in ways(own) else ways(own)[0]


def awaited() -> None:
    """What to bring, and what was wrong with the last one."""
    _problem()
    show.caption("Bring logits and labels, and the whole laboratory is yours: no model is needed.")
    show.small(
        "With one split, one half fits and the other judges, or each part is judged by a fit on the others. A CSV "
        "file has a column for each class, named by the header, a column label, and perhaps columns split "
        "(calibration or evaluation) and group. An .npz file has the same as arrays:"
    )
    st.code(EXAMPLE, language="python")
    show.small(
        "Logits are what a network gives before its softmax; probabilities are what comes out of it, rows that sum "
        "to one. Nothing tells them apart for certain, so say which; of probabilities the logarithm is taken."
    )


def remarks(own: OwnLogits, given: Material) -> None:
    """What a person must know of these figures."""
    _problem()
    if own.looks_like_probabilities:
        st.warning(
            "You said logits, and they are read as such; but no value is negative and every row sums to 1, as "
            "probabilities do.", icon=":material/info:",
        )  # fmt: skip
    if own.absent:
        named = ", ".join(own.absent[:5]) + (f" and {len(own.absent) - 5} more" if len(own.absent) > 5 else "")
        show.small(f"No example is of {named}: nothing here speaks of that.")
    if (given.evaluation.logits == given.evaluation.logits[:, :1]).all():
        st.warning(
            "Every row holds one value for all classes: the predictor says nothing, and the first class is taken.",
            icon=":material/info:",
        )  # fmt: skip


def _problem() -> None:
    problem = st.session_state.get(PROBLEM)
    if problem is not None:
        show_error(problem)


def _ask() -> None:
    st.session_state[ASKED] = True


def _back() -> None:
    st.session_state[ASKED] = False
    st.session_state.pop(PROBLEM, None)


def _read() -> None:
    """Read the file that lies in the form; a refused one leaves what was read before."""
    st.session_state.pop(PROBLEM, None)
    file, stated = st.session_state.get(FILE), st.session_state.get(STATED)
    try:
        if file is None:
            raise TemperError("Which file?", "Choose an .npz or .csv file of logits and labels.")
        with tempfile.TemporaryDirectory(prefix="temper-logits-") as folder:
            path = receive(Path(folder), "logits", file.name, file)
            try:
                st.session_state[HELD] = read_own(path, stated or "", file.name, LARGEST)
            except TemperError as error:
                raise TemperError(
                    *(text.replace(str(path), file.name) for text in (error.message, error.hint))
                ) from error
    except TemperError as error:
        st.session_state[PROBLEM] = error
    except MemoryError:
        st.session_state[PROBLEM] = TemperError("There is too little memory for this file.", "Bring a part of it.")
