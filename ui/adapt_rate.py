"""Find a rate: a hundred steps at rising rates in the background, their chart, and a button that takes the answer."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from core.data.handle import DataHandle
from core.figures.rate_range import rate_range_chart
from core.jobs.background import Named, named
from core.models.handle import ModelHandle
from core.recipe import Recipe
from core.training.rate_range import find_rate
from core.training.worker import with_last
from ui import show
from ui.frame import guarded, mode

BEAT = 0.7  # seconds between two looks


def rate_finder(model: ModelHandle, data: DataHandle, recipe: Recipe, take: Callable[[float], None]) -> None:
    """The small button, and what came of it; `take` is given the rate that a person takes."""
    rate = float(str(recipe.only("train").steps[-1].values["rate"]))
    recipe = with_last(recipe, rate=1e-3, epochs=1.0)  # neither changes what is found
    key = ("rate-range", model.fingerprint, data.fingerprint, recipe.fingerprint)
    work = named(key, lambda told: find_rate(model, data, recipe, told))
    st.fragment(_drawn, run_every=BEAT if work.alive else None)(work, take, rate, work.alive)


def _drawn(work: Named, take: Callable[[float], None], rate: float, was_alive: bool) -> None:
    if was_alive != work.alive:  # the whole page: what polls is set there
        st.rerun()
    with guarded():
        if work.alive:
            st.progress(work.fraction, f"Trying rates: {100 * work.fraction:.0f} %")
            st.button("Stop", key="adapt-rate-stop", type="tertiary", on_click=work.cancel)
            return
        found = work.found()
        if found is None:
            st.button(
                "Find a rate", icon=":material/search:", key="adapt-rate-find", type="tertiary", on_click=work.start,
                help="A hundred steps at ever larger rates on the fit split; a tenth of that of the least loss.",
            )  # fmt: skip
            if work.note:
                show.small(work.note)
            return
        show.chart(rate_range_chart(found, mode()), "Which rate", "rate-range")
        suggestion = found.suggestion
        taken = rate == suggestion
        if st.button(
            "Taken" if taken else f"Take {suggestion:g}", icon=":material/check:", key="adapt-rate-take",
            disabled=taken, on_click=lambda: take(suggestion),
        ):  # fmt: skip
            st.rerun()  # the slider stands outside of what is drawn here
