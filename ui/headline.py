"""A recipe's sentence and cards: an estimate first, then the exact result, in place of what stood there before."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core.engine.estimate import Estimate
from core.engine.look import Look
from core.figures import words
from core.models.samples import load_sample
from core.task import Task
from ui import cards
from ui.state import Sitting
from ui.work import Point, point, status, takeaway

HEAD = "head"  # session key, a page's name after it: the sentence and cards last shown, as HTML made here


def stale(head: Any, page: str = "") -> None:
    """What stood here stays, dimmed, until there is something newer: nothing jumps. At first it is a line's room."""
    kept = st.session_state.get(HEAD + page)
    head.html("<p class='t-take'>&nbsp;</p>" if kept is None else f"<div class='t-stale'>{kept}</div>")


def headline(now: Sitting, slot: Any, head: Any, page: str = "", recalls: bool = True) -> Point:
    """Evaluate the recipe in force: progress and then the status into `slot`, sentence and cards into `head`.

    With `recalls`, the classes' recalls stand below the cards. Raises `TemperError`.
    """
    task = load_sample(now.model)[1].task
    found = point(now.model, now.recipe, slot, _look(head, task, recalls))
    slot.html(status(found))
    grid = cards.metric_cards(found.comparison, found.data.classes if recalls else ())
    st.session_state[HEAD + page] = _html(takeaway(found), grid)
    head.html(st.session_state[HEAD + page])
    return found


def _html(said: str, grid: str) -> str:
    return f"<p class='t-take'>{said}</p>{grid}"


def _look(head: Any, task: Task, recalls: bool) -> Look:
    """Show estimates where the exact numbers will stand."""

    def look(found: Estimate) -> None:
        seen = f"{words.count(found.n)} of {words.count(found.total)} examples"
        stage = "" if set(found.values) >= set(task.facts.shown) else ", before confidence calibration"
        said = f"Estimated from {seen}{stage}; the exact result follows."
        head.html(_html(said, cards.estimate_cards(found, task, recalls)))

    return look


def history(now: Sitting) -> None:
    """Undo, redo and reset."""
    for label, icon, act, possible, shortcut in (
        ("Undo", ":material/undo:", now.undo, now.can_undo, "Ctrl+Z"),
        ("Redo", ":material/redo:", now.redo, now.can_redo, "Ctrl+Shift+Z"),
        ("Reset", ":material/restart_alt:", now.reset, bool(now.recipe.steps), None),
    ):
        st.button(
            label, icon=icon, key=label.lower(), on_click=act, disabled=not possible, type="tertiary",
            shortcut=shortcut,
        )  # fmt: skip
