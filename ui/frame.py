"""The frame every page shares: page settings, style, header with navigation, and the one error shown."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from core.errors import TemperError
from ui.state import link_parameters, mirror, sitting
from ui.style import sheet

LOG = logging.getLogger("temper")
PAGES = (
    ("app.py", "Home"),
    ("pages/0_Model_and_data.py", "Model and data"),
    ("pages/1_Studio.py", "Studio"),
    ("pages/2_Trade-offs.py", "Trade-offs"),
    ("pages/3_Layers.py", "Layers"),
    ("pages/4_Calibration.py", "Calibration"),
    ("pages/5_Damage.py", "Damage"),
    ("pages/6_Adapt.py", "Adapt"),
    ("pages/9_Export.py", "Export"),
    ("pages/10_Runs.py", "Runs"),
)


def mode() -> str:
    """The colour mode the browser shows, `light` or `dark`."""
    return "dark" if st.context.theme.type == "dark" else "light"


def begin(title: str) -> None:
    """Open a page: settings, style sheet, header. Call first."""
    st.set_page_config(page_title=f"{title} · Temper", page_icon="🌡️", layout="wide", menu_items={})
    st.html(sheet(mode()))
    parameters = link_parameters()
    with st.container(key="header", horizontal=True, vertical_alignment="center", gap="medium"):
        st.html("<span class='t-brand'>Temper</span>", width="content")
        for page, name in PAGES:
            with st.container(key=f"nav-{name}{'-here' if name == title else ''}", width="content"):
                st.page_link(page, label=name, query_params=parameters)
    mirror()


def show_notice() -> None:
    """Say what was wrong with the last link or recipe file, until the next change."""
    notice = sitting().notice
    if notice is not None:
        show_error(notice)


def show_error(error: TemperError) -> None:
    """One clear sentence and what to do."""
    st.error(f"{error.message} {error.hint}".strip(), icon=":material/info:")


@contextmanager
def guarded() -> Iterator[None]:
    """Show a `TemperError`, a want of memory or our own fault as a sentence; the rest of the page stays."""
    try:
        yield
    except TemperError as error:
        show_error(error)
    except MemoryError:
        show_error(TemperError("There is too little memory for this step.", "Close other programs and try again."))
    except Exception as error:  # a fault of ours: the log gets the trace, the person a sentence
        LOG.exception("while drawing a page")
        fault = f"Temper met a fault of its own here ({type(error).__name__})."
        show_error(TemperError(fault, "Your recipe is kept; undo the last change, and please report it."))
