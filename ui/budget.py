"""The Layers page's section on budgets: what a person asks for, the search under way, and the verified answer."""

from __future__ import annotations

from html import escape

import streamlit as st

from core.data.handle import DataHandle
from core.deploy.devices import DEVICES
from core.errors import TemperError
from core.figures import said, words
from core.figures.allocation import allocation_chart, granted
from core.models.handle import ModelHandle
from core.search.allocate import Allocation, Side
from core.search.allocating import Allocating, allocating
from core.search.budget import Budget
from core.search.layer_options import BITS, Way
from core.types import Quantity
from ui import show
from ui.cards import card, difference
from ui.frame import guarded, mode
from ui.state import sitting

BEAT = 0.7  # seconds between two looks at a search
TALLEST = 560  # px of a chart; taller ones scroll
KB, TIMES, LOSE, MS, DEVICE, OFFERED = (
    f"budget-{name}" for name in ("kb", "times", "lose", "ms", "device", "bits")
)  # session keys of the fields
NOWHERE = "none"
OFFER = (2, 3, 4, 5, 6, 8)


def budget(model: ModelHandle, data: DataHandle) -> None:
    """Draw the section."""
    search = allocating(model, data)
    alive = search.alive  # looked at once: where it ends meanwhile, the section draws the page anew
    st.fragment(_section, run_every=BEAT if alive else None)(search, alive)


def _section(search: Allocating, was_alive: bool) -> None:
    if was_alive and not search.alive:
        st.rerun()
    with guarded(), st.container(key="budget"):
        show.heading("The best model for a budget")
        show.caption(
            "Say what the model may take or lose. Every layer then gets bits and sparsity of its own: what each "
            "option does is measured on the calibration split, the best sum solved exactly, and the winner judged "
            "once on the evaluation split."
        )
        if search.alive:
            _progress(search)
            return
        wish, why = _wish(search.data)
        if st.button(
            "Find it", icon=":material/target:", key="budget-find", type="primary", disabled=wish is None, help=why
        ):
            assert wish is not None
            search.start(wish)
            st.rerun()
        if why:
            show.small(why)
        if search.state == "cancelled":
            show.small("Cancelled. What was measured is kept: the same again takes less time.")
        elif search.note:
            st.warning(search.note, icon=":material/info:")
        elif search.latest is not None:
            _answer(search.latest)


def _wish(data: DataHandle) -> tuple[Budget | None, str]:
    """What the fields say; None and the reason where that is no budget."""
    decides = data.task.decides
    unit = "points of accuracy" if decides else f"{data.task.unit} of RMSE".strip()
    first = {} if f"{LOSE}-{data.id}" in st.session_state else {"value": 0.5 if decides else None}
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        kb = _number("At most, kB", KB, data, 0.001, "any size")
        times = _number("Times smaller", TIMES, data, 1.0, "2 is half the bytes", None if decides else 4.0)
        lose = _number(f"Lose at most, {unit}", LOSE, data, 0.0, "any loss", first.get("value"))
        with st.popover("More", icon=":material/tune:", key="budget-more"):
            offered = st.multiselect(
                "Bits to choose from", OFFER, default=list(BITS), key=f"{OFFERED}-{data.id}", persist_state="session"
            )
            titles = {NOWHERE: "no time asked", **{one.name: one.title for one in DEVICES}}
            place = st.selectbox(
                "Modelled time on", list(titles), key=f"{DEVICE}-{data.id}", format_func=lambda name: titles[name],
                persist_state="session",
            )  # fmt: skip
            ms = _number("At most, ms an example", MS, data, 0.0, "any time")
            show.small(
                "An estimate, a lower bound from the device's published peaks. Bits of eight and fewer take the same."
            )
    timed = place != NOWHERE and ms is not None
    try:
        wish = Budget(
            most_bytes=None if kb is None else round(1_000 * kb),
            smaller=times,
            lose=None if lose is None else lose / (100 if decides else 1),
            ms=ms if timed else None,
            device=place if timed else "",
            way=Way(bits=tuple(sorted(offered))),
        )
    except TemperError as error:
        return None, f"{error.message} {error.hint}".strip()
    return wish, ""


def _number(
    label: str, key: str, data: DataHandle, low: float, empty: str, value: float | None = None
) -> float | None:
    found: float | None = st.number_input(
        label, low, None, value, key=f"{key}-{data.id}", placeholder=empty, width=190, format="%g",
        persist_state="session",
    )  # fmt: skip
    return found


def _progress(search: Allocating) -> None:
    left = search.seconds_left
    time = "" if left is None else f", about {max(1, round(left))} s left"
    st.progress(min(search.fraction, 1.0), f"Searching: {100 * search.fraction:.0f} %{time}")
    st.button("Cancel", icon=":material/stop:", key="budget-cancel", on_click=search.cancel)


def _answer(found: Allocation) -> None:
    now = sitting()
    st.html(f"<p class='t-take'>{escape(_take(found))}</p>")
    st.html(f"<div class='t-cards'>{''.join(_cards(found))}</div>")
    show.small(_how(found))
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if st.button("Take it to the Studio", icon=":material/tune:", key="budget-take"):
            now.change(found.mixed.recipe)
            st.switch_page("pages/1_Studio.py")
        if found.uniform is not None and st.button(
            "Take the one with a single setting", key="budget-take-uniform", type="tertiary"
        ):
            now.change(found.uniform.recipe)
            st.switch_page("pages/1_Studio.py")
        st.download_button(
            "Recipe", found.mixed.recipe.to_json(), "recipe.json", "application/json", key="budget-recipe",
            icon=":material/download:", on_click="ignore", type="tertiary",
        )  # fmt: skip
    show.chart(allocation_chart(granted(found), mode=mode()), "What each layer got", "allocation", tallest=TALLEST)


def _cards(found: Allocation) -> list[str]:
    lead = said.title(found.mixed.result.tempered.task.facts.headline)
    cards = [*_side(found, found.mixed, "Packed size", lead, True)]
    if found.uniform is None or found.gain is None:
        return [
            *cards,
            card("One setting for all layers", words.NOTHING, "", "none is this small", "&nbsp;", "", False),
        ]
    bits, sparsity = found.uniform.candidate.settings[0]
    setting = f"{bits} bits" + (f", {words.percent(sparsity, 0)} zeros" if sparsity else "")
    cards += _side(found, found.uniform, f"One setting: {setting}", f"{lead}, one setting", False)
    sure = "surely better" if found.better else "within chance" if _level(found) else "surely worse"
    cards.append(
        card(
            "Mixed less one setting", said.moved(found.gain.value, found.gain.unit), said.moved_unit(found.gain.unit),
            sure, _span(found.gain), "The paired difference on the same evaluation examples.", marked=False,
        )
    )  # fmt: skip
    return cards


def _side(found: Allocation, side: Side, title: str, lead: str, first: bool) -> list[str]:
    number, unit = words.nbytes(side.packed)
    value, before = side.value, found.first
    return [
        card(title, number, unit, f"was {words.size(found.original)}", words.ratio(found.original, side.packed)),
        card(
            lead, said.number(value.value, value.unit), said.shown_unit(value.unit),
            f"was {said.value(before.value, before.unit)}", difference(side.change),
        ),
    ]  # fmt: skip


def _span(gain: Quantity) -> str:
    """The interval of a paired difference, as HTML."""
    if gain.interval is None:
        return "&nbsp;"
    low, high = (said.moved(end, gain.unit) for end in (gain.interval.low, gain.interval.high))
    return f"95 %: {escape(low)} to {escape(high)}"


def _level(found: Allocation) -> bool:
    """Whether the interval of the gain holds zero."""
    ends = found.gain.interval if found.gain is not None else None
    return ends is not None and ends.low <= 0 <= ends.high


def _take(found: Allocation) -> str:
    """The finding in a sentence or two, the unwelcome ones too."""
    unit = found.mixed.value.unit
    parts = []
    if found.floor is not None:
        asked = _loss(found.floor, unit)
        lost = f"says {_loss(found.lost, unit)}" if found.lost > 0 else "sees nothing lost"
        parts.append(
            f"It holds: at most {asked} were to be lost, and the evaluation split {lost}."
            if found.held
            else f"It does not hold: at most {asked} were to be lost, and the evaluation split {lost}, though "
            "calibration had some to spare. Ask for a smaller loss."
        )
    if found.uniform is None:
        parts.append("No single setting for all layers is this small.")
    elif found.mixed.candidate.settings == found.uniform.candidate.settings:
        parts.append("Every layer ended with the same setting: here mixing gains nothing.")
    elif found.better:
        parts.append("Mixing is surely better than the best single setting that fits.")
    elif _level(found):
        parts.append(
            "Mixing is no better than the best single setting that fits: what lies between is within chance."
        )
    else:
        parts.append("Mixing is worse here than a single setting: take that one.")
    return " ".join(parts)


def _loss(value: float, unit: str) -> str:
    moved = said.moved(value, unit).lstrip("+")
    return f"{moved}{words.SPACE}{said.moved_unit(unit)}".strip()


def _how(found: Allocation) -> str:
    text = (
        f"Chosen on {words.count(found.chosen_on)} calibration examples ({words.count(found.options)} options of "
        f"layers, {found.tried} recipes tried), judged once on {words.count(found.n)} evaluation examples that took "
        f"no part; {found.seconds:.0f} s. Sizes are of the packed weights, scales, masks and all else."
    )
    if found.ms is not None and found.ms.value is not None:
        text += f" {words.milliseconds(found.ms.value)} an example ({found.ms.note})."
    return text
