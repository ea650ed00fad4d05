"""The examples that flipped, or whose number moved most, the most surprising first."""

from __future__ import annotations

import streamlit as st

from core.damage.flipped import WAYS, Way, flipped, flips_table, ways
from core.figures import words
from core.figures.error_quantiles import error_quantiles_chart
from core.figures.margins import margins_chart
from core.figures.residuals import residuals_chart
from ui import show
from ui.gallery import gallery, of_examples
from ui.numbers import moved_examples
from ui.work import Point

STATED = "damage-stated"
WAY = "damage-way"
ALL = "damage-all"
TITLES: dict[Way, str] = {"lost": "Right to wrong", "gained": "Wrong to right", "other": "Wrong to another wrong"}
FEW, MANY = 12, 60  # examples shown


def flips(found: Point, colours: str) -> None:
    """Draw the section for models that tell classes apart."""
    result = found.result
    places = ways(result)
    calibrated = result.uncalibrated is not result.tempered
    after = result.uncalibrated if calibrated and st.session_state.get(STATED) == "raw" else result.tempered
    drawn = margins_chart(result.original, after, mode=colours)
    show.chart(drawn, "How sure, before and after", "margins", beside=_stated if calibrated else None)
    apart = " The recipe's confidence calibration moves margins by itself: compare with those before it."
    show.small(
        "A margin is the probability of the true class less that of the likeliest other one: wrong below zero. "
        f"n = {words.count(result.original.n)}; the stronger the shade, the more examples, on a logarithmic scale."
        f"{apart if calibrated else ''}"
    )
    with st.container(key="damage-flips"):
        with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
            way = st.segmented_control(
                "Flipped", WAYS, key=WAY, default="lost", required=True, persist_state="session",
                format_func=lambda one: f"{TITLES[one]}: {words.count(len(places[one]))}",
            )  # fmt: skip
            st.toggle("Show more", key=ALL, persist_state="session")
        chosen: Way = way or "lost"
        most = MANY if st.session_state.get(ALL) else FEW
        examples = flipped(result, chosen, most)
        show.small(
            f"{words.count(len(examples))} of {words.count(len(places[chosen]))} shown, the most surprising first: "
            "those of which the original was surest, by how far its call led the runner-up."
        )
        if examples:
            gallery(of_examples(examples, found.data), found.data, found.network())
        else:
            show.caption(f"No example of {words.count(result.original.n)} went from {TITLES[chosen].lower()}.")
        table = flips_table(result)
        with st.expander(f"All {words.count(len(table))} flips as a table", icon=":material/table_rows:"):
            st.dataframe(
                table, hide_index=True, alt="Every example whose prediction flipped",
                column_config={
                    name: st.column_config.NumberColumn(format="%.1f")
                    for name in ("Original sure, %", "Tempered sure, %", "Lead before, points")
                },
            )  # fmt: skip


def _stated() -> None:
    st.segmented_control(
        "Which probabilities of the tempered model", ["stated", "raw"], key=STATED, default="stated", required=True,
        format_func=lambda one: {"stated": "As stated", "raw": "Before calibration"}[one],
        label_visibility="collapsed", persist_state="session",
    )  # fmt: skip


def moved(found: Point, colours: str) -> None:
    """Draw the section for models that predict numbers."""
    original, tempered = found.result.original, found.result.tempered
    show.chart(error_quantiles_chart(original, tempered, mode=colours), "How far off, best to worst", "quantiles")
    show.small(
        f"n = {words.count(original.n)}; 95 % intervals between order statistics, which assume nothing of the "
        "errors' distribution. The axis ends above the 99 % quantile."
    )
    show.chart(residuals_chart(original, tempered, mode=colours), "Residuals", "residuals")
    moved_examples(found)
