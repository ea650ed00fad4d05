"""Bring your own: one form, and what became of it. Reading goes on outside the script; the visit holds a key."""

from __future__ import annotations

from html import escape
from typing import Any

import streamlit as st

from core import about
from core.arrivals import ARRIVALS, Arrival, receive, upload_folder
from core.asked import is_name, names_of, place_of, shape_of, share_of, whole_of
from core.checks import NORMALISATIONS
from core.data.intake import INTERPOLATIONS
from core.errors import TemperError
from core.models import catalogue
from core.models.samples import forget, own_home, own_ids, read_card
from core.wish import Wish
from ui import show
from ui.frame import show_error
from ui.state import Sitting, sitting

OPEN = "bring-open"  # session key: whether the form is unfolded
ARRIVAL = "arrival"  # session key: the key of the arrival that this visit waits for or last saw
TAKEN = "arrival-taken"  # session key: the arrival whose model was put in force
PROBLEM = "arrival-problem"  # session key: what was wrong with the form
TASKS = ("find out", "classes", "numbers")
MODELS = ("safetensors", "pt", "pth", "pt2", "onnx")
DATA = ("npz", "zip", "csv", "parquet")
BEAT = 0.7  # seconds between two looks at a model on its way in
FIND_OUT = "find out"
SPOKEN = {  # what the command line's options are called in the form
    "--architecture": "More: Architecture",
    "--classes": "More: Class names",
    "--download": "tick the box",
    "--fit-share": "More: I want to train too",
    "--input-shape": "More: Input of one example,",
    "--label": "More: Label column of a table",
    "--positive": "the button below the form",
    "--target-scale": "Texts, numbers and groups: Target scaled in training by",
    "--task": "Texts, numbers and groups: What is predicted,",
    "--text": "Texts, numbers and groups: Text column",
    "--tokenizer": "Texts, numbers and groups: Tokenizer",
}


def present() -> Arrival | None:
    """The arrival that this visit began last, if it is remembered."""
    return ARRIVALS.find(st.session_state.get(ARRIVAL))


def bring(now: Sitting) -> None:
    """Draw the form, folded unless asked for, and below it what is going on."""
    arrival = present()
    if arrival is not None and arrival.state == "done" and st.session_state.get(TAKEN) != arrival.key:
        _take(now, arrival)  # before the form is drawn: it folds
    with st.expander("Bring your own model and data", icon=":material/upload_file:", key=OPEN, on_change="rerun"):
        _form(arrival)
    if st.session_state.get(PROBLEM) is not None:
        show_error(st.session_state[PROBLEM])
    if arrival is None:
        return
    board = st.fragment(_board, run_every=BEAT if arrival.alive else None)
    board(arrival, arrival.alive)


def _take(now: Sitting, arrival: Arrival) -> None:
    """Put the new model in force; a first try that it replaces goes."""
    st.session_state[TAKEN] = arrival.key
    st.session_state[OPEN] = False
    if arrival.replaces and arrival.replaces != arrival.id and arrival.replaces in own_ids():
        forget(arrival.replaces)
    now.choose_model(arrival.id)
    st.rerun()


def _form(arrival: Arrival | None) -> None:
    show.small(
        "Files are read on this machine, in a process of their own with bounded time and memory; nothing in them is "
        "run. docs/your-model.md has the three lines that write each format."
    )
    with st.form("own", border=False, enter_to_submit=False):
        left, right = st.columns(2, gap="large")
        with left:
            st.html("<h3 class='t-group'>Model</h3>")
            st.file_uploader("Model file", type=list(MODELS), key="own-model-file")
            st.text_input(
                "or a path on this machine, or a name", key="own-model-path", persist_state="session",
                placeholder="/home/me/model.pt2 or torchvision:resnet18",
            )  # fmt: skip
            st.checkbox(
                "Allow the download of a named model's published weights", key="own-download",
                persist_state="session",
                help="Only for names such as torchvision:resnet18 whose weights are not on this machine yet. Nothing "
                "else is ever fetched.",
            )  # fmt: skip
        with right:
            st.html("<h3 class='t-group'>Labelled data</h3>")
            st.file_uploader("Data file", type=list(DATA), key="own-data-file")
            st.text_input(
                "or a path on this machine, which may be a folder", key="own-data-path", persist_state="session",
                placeholder="/home/me/pictures, a folder of class folders",
            )  # fmt: skip
        with st.expander("Texts, numbers and groups", icon=":material/category:"):
            _kinds()
        with st.expander("More", icon=":material/tune:"):
            _more()
        pressed = st.form_submit_button(
            "Load", type="primary", icon=":material/download_for_offline:", key="own-load",
            disabled=arrival is not None and arrival.alive,
            help="Another model is on its way in." if arrival is not None and arrival.alive else None,
        )  # fmt: skip
    if pressed:
        _begin()


def _kinds() -> None:
    """What only some models and data need."""
    first, second, third = st.columns(3, gap="medium")
    kept: dict[str, Any] = {"persist_state": "session"}
    with first:
        st.file_uploader("Tokenizer of a network that reads texts", type=["json"], key="own-tokenizer-file")
        st.text_input("or its path on this machine", key="own-tokenizer-path", placeholder="tokenizer.json", **kept)
        st.text_input("Text column", key="own-text", placeholder="the one with the longest texts", **kept)
        show.small("Texts come as .csv or .parquet, with the tokenizer.json that the network was trained with.")
    with second:
        st.selectbox("What is predicted", TASKS, key="own-task", **kept)
        st.text_input("Unit of the numbers", key="own-unit", placeholder="US dollars", max_chars=40, **kept)
        st.text_input("Target scaled in training by", key="own-scale", placeholder="mean;deviation", **kept)
        show.small(
            "Labels of many different numbers and a network of one output, or two (the value, and the log of its "
            "standard deviation), predict numbers."
        )
    with third:
        st.text_input("Group columns", key="own-groups", placeholder="sex, age band, region", **kept)
        show.small(
            "Columns of a table by which every figure can be told apart, with commas between; they are features too "
            "where the network has room for them. Of two classes, the one that is looked for can be changed "
            "afterwards."
        )


def _more() -> None:
    """What a person may say; whatever is left empty is found out."""
    first, second, third = st.columns(3, gap="medium")
    kept: dict[str, Any] = {"persist_state": "session"}
    with first:
        st.selectbox(
            "Architecture of a state dict", [FIND_OUT, *catalogue.listed()], key="own-architecture", **kept,
            help="Only .safetensors, .pt and .pth need one, and most are recognised by their tensors' names.",
        )  # fmt: skip
        st.text_input("Input of one example", key="own-shape", placeholder="3,224,224", **kept)
        st.text_input("Title", key="own-title", placeholder="the file's name", max_chars=60, **kept)
        st.text_input(
            "I want to train too: share to train on", key="own-fit",
            placeholder="20 % above 3,000 examples, else none", **kept,
            help="Up to 80 % of the examples. What is trained on is drawn by class and neither calibrates nor "
            "judges. A part of your data that is named fit or train is kept as it is.",
        )  # fmt: skip
    with second:
        st.selectbox(
            "Normalisation", [FIND_OUT, *NORMALISATIONS], key="own-normalise", accept_new_options=True, **kept,
            format_func=lambda name: f"{name}: {NORMALISATIONS[name]}" if name in NORMALISATIONS else name,
            help="Or type means;deviations by channel for values from 0 to 1, such as 0.5,0.5,0.5;0.2,0.2,0.2.",
        )  # fmt: skip
        st.text_input(
            "Resize the shorter side to", key="own-resize", placeholder="pixels", **kept,
            help="Before the middle is cut out. Left empty: as the published weights want it, else straight to size.",
        )  # fmt: skip
        st.selectbox("Interpolation", [FIND_OUT, *INTERPOLATIONS], key="own-interpolation", **kept)
    with third:
        st.text_input("Label column of a table", key="own-label", placeholder="label, target, class or y", **kept)
        st.text_area(
            "Class names in the order of the model's outputs", key="own-classes", height=100, **kept,
            placeholder="one a line, or with commas between",
        )  # fmt: skip
        st.text_input("Seed of the splits", key="own-seed", placeholder="0", **kept)


def _begin() -> None:
    """Turn the form into an arrival, or say what is missing."""
    st.session_state.pop(PROBLEM, None)
    try:
        _start()
    except TemperError as error:
        st.session_state[PROBLEM] = error
    st.rerun()


def _said(key: str) -> str:
    return str(st.session_state.get(f"own-{key}") or "").strip()


def _chosen(key: str) -> str | None:
    said = _said(key)
    return said if said and said != FIND_OUT else None


def _start() -> None:
    home = own_home()
    if home is None:
        raise TemperError("TEMPER_HOME is empty, so there is nowhere to keep a model.", "Name a folder in it.")
    parts = ("model", "data", "tokenizer")
    given = {part: (st.session_state.get(f"own-{part}-file"), _said(f"{part}-path")) for part in parts}
    for part, (file, path) in given.items():
        if file is not None and path:
            raise TemperError(f"The {part} is given twice, as a file and as {path:.80}.", "Take one away.")
    if not any(given["model"]):
        raise TemperError("Which model?", "Give a file, a path or a name such as torchvision:resnet18.")
    if not any(given["data"]):
        raise TemperError("A model needs labelled examples to be measured on.", "Give a data file or a path.")
    if is_name(given["data"][1]):
        raise TemperError(f"{given['data'][1]:.80} names a model, not data.", "Give a data file or a path.")
    asked = {
        "architecture": _chosen("architecture"),
        "input_shape": shape_of(_said("shape")),
        "label": _chosen("label"),
        "classes": names_of(_said("classes")),
        "normalise": _chosen("normalise"),
        "resize": whole_of(_said("resize"), "The size to resize to"),
        "interpolation": _chosen("interpolation"),
        "download": bool(st.session_state.get("own-download")),
        "seed": whole_of(_said("seed"), "A seed") or 0,
        "title": _chosen("title"),
        "task": _chosen("task"),
        "unit": _chosen("unit"),
        "target_scale": _chosen("scale"),
        "text": _chosen("text"),
        "groups": names_of(_said("groups")),
        "fit_share": share_of(_said("fit"), "A share to train on"),
    }
    uploads = upload_folder(home) if any(file is not None for file, _ in given.values()) else None
    places: dict[str, Any] = {
        part: str(receive(uploads, part, file.name, file)) if file is not None and uploads else place_of(path) or None
        for part, (file, path) in given.items()
    }
    ARRIVALS.forget(st.session_state.get(ARRIVAL))
    st.session_state[ARRIVAL] = ARRIVALS.begin(Wish(**places, **asked), home, uploads).key


def _board(arrival: Arrival, was_alive: bool) -> None:
    """What is going on. Runs again by itself while a model is on its way in."""
    if was_alive and not arrival.alive:
        st.rerun()  # the page follows, and the beat ends
    with st.container(key="arrival"):
        if arrival.alive:
            _going(arrival)
        elif arrival.error is not None:
            if arrival.state == "cancelled":
                show.small("Loading was cancelled; nothing was kept.")
            else:
                show_error(_here(arrival.error))
        elif sitting().model == arrival.id:
            _arrived(arrival)


def _here(error: TemperError) -> TemperError:
    """The error with the command line's options by the names they bear in the form."""
    message, hint = error.message, error.hint
    for option, name in SPOKEN.items():
        message, hint = message.replace(option, name), hint.replace(option, name)
    return TemperError(message, hint)


def _going(arrival: Arrival) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        st.progress(arrival.done, f"{arrival.what}: {arrival.seconds:.0f} s so far")
        st.button(
            "Cancel", icon=":material/stop:", key="arrival-cancel", on_click=ARRIVALS.cancel, args=(arrival.key,)
        )


def _arrived(arrival: Arrival) -> None:
    """The new model is in force: say so, and what its checks ask for."""
    card = read_card(arrival.id)
    title, looks = str(card["title"]), about.warned(card)
    ask = (
        "every check passed"
        if not looks
        else "one check asks for a look"
        if looks == 1
        else f"{looks} ask for a look"
    )
    st.html(
        f"<p class='t-take' role='status'><b>{escape(title)} is in force</b>, read in {arrival.seconds:.0f} s; "
        f"{ask}.</p>"
    )
    for turn, other in enumerate((*about.alternatives(card), *about.other_class(card))):
        if st.button(
            f"{other.title}{other.said}", icon=":material/refresh:",
            key=f"arrival-use-{turn}",
        ):  # fmt: skip
            again = ARRIVALS.again(arrival, other.change)
            st.session_state[ARRIVAL] = again.key
            st.rerun()
