"""Exemplars that flip in most recipes around the present one: begun by a button, a gallery, the claim tested."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.damage.around import Around, around
from core.damage.exemplars import FEW
from core.damage.flipped import examples_at
from core.damage.neighbourhood import neighbourhood
from core.figures import words
from core.figures.forgotten import claim, summary
from core.recipe import Recipe
from ui import show
from ui.frame import guarded
from ui.gallery import gallery, of_examples
from ui.work import Point

BEAT = 0.7  # seconds between two looks at what computes
SHOWN, MANY = 12, 60  # examples in the gallery
ALL = "exemplars-all"


def exemplars(found: Point, visited: Sequence[Recipe]) -> None:
    """Draw the section."""
    recipes = neighbourhood(found.recipe, visited)
    known = around(found.model, found.data, recipes)
    alive = known.alive
    board = st.fragment(_board, run_every=BEAT if alive else None)
    board(found, known, alive)


def _board(found: Point, known: Around, was_alive: bool) -> None:
    if was_alive and not known.alive:
        st.rerun()
    with guarded(), st.container(key="exemplars"):
        if known.alive:
            left = known.seconds_left
            time = "" if left is None else f", about {max(1, round(left))} s left"
            st.progress(min(known.fraction, 1.0), f"Evaluating {len(known.recipes)} recipes: "
                        f"{100 * known.fraction:.0f} %{time}")  # fmt: skip
            st.button("Cancel", icon=":material/stop:", key="exemplars-cancel", on_click=known.cancel)
        elif known.found is not None:
            _found(found, known)
        else:
            _offer(known)


def _offer(known: Around) -> None:
    show.caption(
        f"Which examples does compression reach first, whatever the recipe? {len(known.recipes)} recipes "
        "around this one, those you visited among them, call the whole evaluation set; an example that most "
        "of them call otherwise than the original is an exemplar."
    )
    if known.state == "cancelled":
        show.small("Cancelled; what was evaluated is kept, and a new start goes on from there.")
    elif known.note:
        st.warning(known.note, icon=":material/info:")
    if st.button("Find the exemplars", icon=":material/play_arrow:", key="exemplars-find", type="primary"):
        known.start()
        st.rerun()


def _found(found: Point, known: Around) -> None:
    told = known.found
    assert told is not None
    show.caption(summary(told))
    show.caption(claim(told))
    few = "" if told.claim else f" With fewer than {FEW} exemplars nothing is tested."
    left = f" Left out, since they cannot run: {'; '.join(known.left_out)}." if known.left_out else ""
    show.small(
        "After Hooker et al. 2019 (arXiv 1911.05248), with recipes of one trained model for their populations of "
        "models; calls before confidence calibration. The margin is how far the original's call leads its runner-up: "
        "no recipe had a part in it, but an example that is nearly undecided flips the more easily, so that "
        "the claim says where compression bites, not why. Rank-sum test two-sided, n = "
        f"{words.count(told.n)}.{few}{left}"
    )
    if len(told.places):
        st.toggle("Show more", key=ALL, persist_state="session")
        most = MANY if st.session_state.get(ALL) else SHOWN
        gallery(of_examples(examples_at(found.result, told.places[:most]), found.data), found.data, found.network())
        show.small("Those that most recipes flip first; marked are those that flip in the present one.")
    with st.expander(f"The {len(known.recipes)} recipes", icon=":material/list:"):
        st.html("<p class='t-small'>" + "<br>".join(one.notation for one in known.recipes) + "</p>")
