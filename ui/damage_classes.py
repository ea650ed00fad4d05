"""Which classes pay: recall and precision lost by class, and the confusion that changed."""

from __future__ import annotations

import streamlit as st

from core.damage.payers import payers
from core.figures.confusion import confusion_chart
from core.figures.payers import payers_chart
from ui import show
from ui.work import Point

TALLEST = 620  # px of a chart; taller ones scroll


def classes(found: Point, colours: str) -> None:
    """Draw the section."""
    result, told = found.result, payers(found.result)
    show.chart(payers_chart(told, mode=colours), "Recall and precision lost", "payers", tallest=TALLEST)
    show.small(
        "95 % intervals, each of its own. Recall: paired on the class's own examples (Agresti and Min 2005), "
        "tested by McNemar's mid-p. Precision: Wilson's intervals of both models' calls, joined by the "
        "overlap of the calls (Newcombe 1998). Filled is beyond chance at 5 % for all "
        f"{told.compared} changes together, by Holm's correction (1979)."
    )
    drawn = confusion_chart(result.original, result.tempered, mode=colours)
    show.chart(drawn, "Confusion, and what changed", "confusion")
    with st.container():
        show.small(
            "The third panel is tempered minus original, in examples. The Studio shows the examples of a cell."
        )
