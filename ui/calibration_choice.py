"""The calibration that the calibration split itself prefers: measured on request, marked, and taken in one click."""

from __future__ import annotations

import streamlit as st

from core.calibration.calibration_lab import Material, with_calibration
from core.calibration.chosen import Chosen, choose, key_of
from core.calibration.cross_fit import FOLDS
from core.calibration.ranking import Ranking
from core.figures import said, words
from core.jobs.background import Named, named
from ui import show
from ui.frame import guarded
from ui.layer_columns import progress
from ui.state import Sitting

BEAT = 0.7  # seconds between two looks at a measurement


def choosing(given: Material, measure: str) -> Named:
    """The work that chooses, under way or at rest."""
    return named(key_of(given, measure), lambda told: choose(given, measure, told))


def choice(given: Material, ranking: Ranking, now: Sitting | None, own: str) -> None:
    """Draw what was chosen, or the button that chooses; `own` is the recipe's calibration."""
    if given.crossed:
        show.small("Chosen on calibration is here the first above: the scores are cross-fitted already.")
        return
    work = choosing(given, ranking.measure)
    alive = work.alive

    def board() -> None:
        if alive and not work.alive:
            st.rerun()
        with guarded(), st.container(key="calibration-choice"):
            found: Chosen | None = work.found()
            if found is not None:
                _told(found, ranking, now, own)
            elif work.alive:
                progress(work, "choice-cancel")
            else:
                _offered(work, given, ranking.measure)

    st.fragment(board, run_every=BEAT if alive else None)()


def _offered(work: Named, given: Material, measure: str) -> None:
    if work.note:
        st.warning(work.note, icon=":material/info:")
    pressed = st.button(
        "Choose on the calibration split", icon=":material/how_to_vote:", key="choice-measure",
        help=f"By the {said.name(measure)} of {words.count(given.calibration.n)} calibration examples, each of "
        f"{FOLDS} parts predicted by a fit on the others. The evaluation split plays no part: it still judges.",
    )  # fmt: skip
    if pressed:
        work.start()
        st.rerun()


def _told(found: Chosen, ranking: Ranking, now: Sitting | None, own: str) -> None:
    unit = ranking.best.value.unit
    row = ranking.find(found.name)
    score = said.value(found.scores[found.name], unit)
    text = f"Chosen on the calibration split: {found.title}, cross-fitted {said.name(found.measure)} {score}."
    if row is not None:
        place = ranking.rows.index(row) + 1
        tied = row is ranking.best or row in ranking.tied
        text += (
            f" On evaluation it is number {place} of {len(ranking.rows)}, {said.value(row.value.value, unit)}, "
            f"{'within chance of' if tied and place > 1 else 'behind' if place > 1 else 'and'} the best."
        )
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        show.caption(text)
        if now is not None:
            inside = found.name == own
            pressed = st.button(
                "In the recipe" if inside else f"Use {found.title}" if found.name else "Use none", disabled=inside,
                key="choice-use", icon=":material/check:",
            )  # fmt: skip
            if pressed:
                now.change(with_calibration(now.recipe, found.name))
                st.rerun()
