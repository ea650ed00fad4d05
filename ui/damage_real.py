"""Is the difference real: the paired test, every measure's interval, and what would settle it."""

from __future__ import annotations

import streamlit as st

from core.figures import words
from core.figures.evidence import evidence_table
from core.figures.flips import flips_chart
from core.figures.plain import error
from core.figures.settle import settle_chart
from ui import show
from ui.work import Point


def real(found: Point, colours: str) -> None:
    """Draw the section."""
    compared = found.comparison
    flips, test = compared.flips, compared.test
    if flips is not None and test is not None:
        left, right = st.columns([0.46, 0.54], gap="medium")
        with left:
            drawn = flips_chart(
                flips.wrong_to_right, flips.right_to_wrong, flips.wrong_to_wrong, flips.n, mode=colours
            )
            show.chart(drawn, "Who changed sides", "flips")
            p, exact = words.probability(test.mid_p), words.probability(test.exact_p)
            verdict = "beyond chance" if compared.significant else "within chance"
            if flips.wrong_to_right + flips.right_to_wrong:
                show.caption(f"The accuracies differ {verdict}: McNemar's mid-p is {p}, the exact p {exact}.")
            else:
                show.caption("No example changed between right and wrong, so that there is nothing to test.")
            show.small(
                f"Paired on {words.count(flips.n)} evaluation examples, two-sided, 5 % level (Fagerland et "
                "al. 2013). The test holds for a recipe that these examples did not choose: where many were "
                "tried and the best kept, chance has helped it. The search on Trade-offs chooses on the "
                "calibration split instead."
            )
        with right:
            show.chart(settle_chart(flips, mode=colours), "What would settle it", "settle")
            show.small("80 % power at the 5 % level, at the share of flips seen here (Connor 1987).")
    else:
        show.caption(error(compared))
    rows = evidence_table(compared)
    show.heading("Every measure, before and after")
    st.dataframe(rows, hide_index=True, alt="Table of every measure with its paired change")
    shares = "Shares of examples have" if flips is not None else "Coverage, a share of examples, has"
    lead = f"{shares} Wilson's intervals and Agresti and Min's for changes; other measures"
    show.small(
        f"95 % intervals. {lead} a paired bootstrap of 500, both models resampled alike. Without a correction "
        f"for the {len(rows)} measures that are looked at: judge by the one you named beforehand."
    )
