"""Home: a finished sample result with its takeaway, then the samples as ways in."""

from __future__ import annotations

from html import escape

import streamlit as st

from core.figures import said, words
from core.figures.coverage import coverage_chart
from core.figures.reliability import reliability_chart
from core.figures.words import count, size
from core.models.samples import own_ids, read_card, sample_ids, titles
from core.task import task_of_card
from ui import cards, show
from ui.frame import guarded, mode, show_notice
from ui.loading import OPEN
from ui.state import Sitting, link_parameters, sitting
from ui.work import Point, point, status, takeaway

ACROSS = 3  # samples side by side; a fourth column would break their figures over lines
OWN = 8  # of a person's own models that are listed
PURPOSE = (
    "Load a trained model, prune it, quantize it, calibrate it, and see at once what that buys and what it costs: "
    "measured on real data, beside the original."
)


def page() -> None:
    """Draw the page."""
    now = sitting()
    st.html(f"<h1 class='t-title'>What does a smaller model cost you?</h1><p class='t-lead'>{escape(PURPOSE)}</p>")
    with st.container(horizontal=True, gap="medium", vertical_alignment="center"):
        with st.container(key="go", width="content"):
            st.page_link(
                "pages/1_Studio.py", label="Open the Studio", icon=":material/tune:", query_params=link_parameters()
            )
        st.page_link(
            "pages/2_Trade-offs.py", label="See the whole trade-off", icon=":material/grid_on:",
            query_params=link_parameters(),
        )  # fmt: skip
        if st.button("Bring your own", icon=":material/upload_file:", key="bring", type="tertiary"):
            st.session_state[OPEN] = True
            st.switch_page("pages/0_Model_and_data.py", query_params=link_parameters())
    show_notice()
    slot = st.empty()
    with guarded():
        found = point(now.model, now.recipe, slot)
        slot.html(status(found))
        with st.container(border=True, key="result"):
            st.html(f"<p class='t-take'><b>{takeaway(found)}</b></p>")
            cards.show(cards.metric_cards(found.comparison))
            _sure(found)
    show.heading("Samples, trained for real and ready")
    shown = sample_ids()
    for first in range(0, len(shown), ACROSS):
        for column, name in zip(st.columns(ACROSS, gap="medium"), shown[first : first + ACROSS], strict=False):
            with column, st.container(border=True, key=f"sample-{name}", height="stretch"), guarded():
                _sample(name, here=name == now.model)
    _own(now)


def _sure(found: Point) -> None:
    """How sure the model is and how right: the reliability diagram, or the coverage of its intervals."""
    result = found.result
    if found.data.task.decides:
        drawn = reliability_chart(result.original, result.uncalibrated, result.tempered, mode=mode())
        show.chart(drawn, "Reliability, before and after", "home-reliability")
    else:
        drawn = coverage_chart(result.original, result.uncalibrated, result.tempered, mode=mode())
        show.chart(drawn, "Coverage of intervals, before and after", "home-coverage")


def _own(now: Sitting) -> None:
    """A person's own models in a quiet line, the latest first."""
    own, names = own_ids(), titles()
    if not own:
        return
    show.heading("Your own")
    with st.container(horizontal=True, gap="small", key="own-models"):
        for name in own[:OWN]:
            st.button(
                words.cut(names[name], 40), key=f"choose-{name}", on_click=now.choose_model, args=(name,),
                disabled=name == now.model, help=name, icon=":material/deployed_code:",
            )  # fmt: skip
    if len(own) > OWN:
        show.small(f"{words.count(len(own) - OWN)} more are on the page Model and data.")


def _sample(name: str, here: bool) -> None:
    card = read_card(name)
    figures, data = card["figures"], card["data"]
    task = task_of_card(card)
    leading = ("accuracy", "auroc" if task.kind == "binary" else "ece") if task.decides else ("rmse", "coverage")
    facts = [
        *((said.title(one), said.value(figures[one], task.unit_of(said.unit_of(one)))) for one in leading),
        ("Parameters", count(card["parameters"])),
        ("As float32", size(4 * card["parameters"])),
        ("Evaluated on", f"{count(card['splits']['evaluation']['n'])} examples"),
    ]
    rows = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts)
    st.html(
        f"<h2 class='t-title'>{escape(card['title'])}</h2><p class='t-small'>{escape(card['summary'])}</p>"
        f"<dl class='t-facts'>{rows}</dl>"
        f"<p class='t-small'>{escape(data['name'])}, {escape(data['licence'])}</p>"
    )
    label = "Shown above" if here else "Show above"
    st.button(label, key=f"choose-{name}", on_click=sitting().choose_model, args=(name,), disabled=here)
