"""What a training brought on the Adapt page: the sentence, the cards, and where to go from there."""

from __future__ import annotations

from html import escape

import streamlit as st

from core.figures import said, words
from core.figures.learned import learned_sentence, next_step
from core.recipe import Recipe
from core.registry import method
from core.training.gain import Gain, gain, untrained
from core.training.training import Training
from core.types import Result
from ui import show
from ui.cards import card, difference
from ui.state import Sitting, link_parameters
from ui.work import point

NEXT = (
    ("pages/1_Studio.py", "Studio", ":material/tune:"),
    ("pages/5_Damage.py", "What it still gets wrong", ":material/troubleshoot:"),
    ("pages/9_Export.py", "Export it", ":material/ios_share:"),
)


def result(now: Sitting, training: Training, recipe: Recipe) -> None:
    """Draw what the training brought, judged on the evaluation examples."""
    slot = st.empty()
    before = point(now.model, untrained(recipe), slot, kept=False)
    after = point(now.model, recipe, slot, kept=False)
    slot.empty()
    found = gain(before.result, after.result)
    standing = training.standing()
    st.html(f"<p class='t-take'>{escape(learned_sentence(found, standing.looks))}</p>")
    st.html(f"<div class='t-cards'>{''.join(_card(found, name) for name in found.after)}</div>")
    on = f"Learned on {standing.where}. " if standing.where else ""
    show.small(
        f"{on}Measured on all {found.n:,} evaluation examples, which taught nothing and chose nothing. "
        f"Brackets: 95 % intervals of the paired change. {_size(after.result)}{_cut_short(training, recipe)}"
    )
    if hint := next_step(found, bool(recipe.only("calibrate").steps)):
        show.caption(hint)
    used = now.recipe.fingerprint == recipe.fingerprint
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.button(
            "It is in your recipe" if used else "Use it in the recipe", icon=":material/check:", key="adapt-use",
            type="primary", disabled=used, on_click=lambda: now.change(recipe),
        )  # fmt: skip
        st.download_button(
            "Recipe", recipe.to_json(), f"{now.model}-recipe.json", "application/json", key="adapt-recipe",
            icon=":material/download:", on_click="ignore",
        )  # fmt: skip
        st.button(
            "Forget it", icon=":material/delete:", key="adapt-forget", type="tertiary", on_click=training.forget
        )
        if used:
            for page, label, icon in NEXT:
                st.page_link(page, label=label, icon=icon, query_params=link_parameters())


def _size(found: Result) -> str:
    was, now = found.original_bytes.packed, found.bytes.packed
    if was == now:
        return ""
    return f"It takes {words.size(now)}, {words.ratio(was, now)} than the original."


def _cut_short(training: Training, recipe: Recipe) -> str:
    """That a training took as many epochs as one may, and so less time than was asked for."""
    step = recipe.only("train").steps[-1]
    most = next(param.high for param in method(step.kind, step.method).parameters if param.name == "epochs")
    if training.seconds is None or step.values["epochs"] != most:
        return ""
    return f" It took less than the time given: {most:g} epochs are the most."


def _card(found: Gain, name: str) -> str:
    unit = found.task.unit_of(said.unit_of(name))
    value, change = found.after[name], found.change[name]
    was = f"{said.number(found.before[name], unit)} before, {said.number(found.original[name], unit)} original"
    big, small = said.number(value, unit), said.shown_unit(unit)
    return card(said.title(name), big, small, was, difference(change), marked=False)
