"""Why examples are called otherwise: explanations of both networks side by side, and where their layers part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from core.damage.why import Why, asked, asked_alike, explainers, same_network, telling
from core.figures import because, words
from core.figures.attribution_bars import SHOWN, attribution_bars_chart
from core.figures.attribution_distance import attribution_distance_chart
from core.figures.attribution_pictures import attribution_pictures_chart
from core.figures.cka import cka_chart
from core.jobs.background import Named
from core.registry import Method, method
from ui import controls, show
from ui.frame import guarded
from ui.work import Point

BEAT = 0.4  # seconds between two looks at what computes
MANY = 24  # examples to choose from
METHOD, EXAMPLE, SANITY, BEGUN = "why-method", "why-example", "why-sanity", "why-begun"
LETTERS = 28
TALLEST = 620  # px of the chart of layers


def why(found: Point, colours: str) -> None:
    """Draw the section."""
    with st.container(key="why"):
        if same_network(found.model, found.data, found.recipe):
            show.caption(
                "The recipe leaves the network as it is, so that both give every example for the same reasons."
            )
            return
        places, flipped = telling(found.result, MANY)
        if not len(places):
            show.caption(
                f"None of {words.count(found.result.original.n)} predictions moved: nothing is to be explained."
            )
            return
        if not st.session_state.get(BEGUN):
            _offer(found, flipped)
            return
        chosen = _choose(found, [int(place) for place in places], flipped)
        parameters = {p.name: controls.stored(p, st.session_state[_key(chosen, p.name)]) for p in chosen.parameters}
        sanity = bool(st.session_state.get(SANITY))
        place = int(st.session_state[_example_key(found)])
        work = asked(found.model, found.data, found.recipe, place, chosen.name, parameters, sanity)
        _board(work, "why", "Explaining", lambda told: _explained(told, sanity, colours))
        layers = asked_alike(found.model, found.data, found.recipe)
        _board(layers, "why-layers", "Comparing layers", lambda told: _layers(told, colours))


def _offer(found: Point, flipped: bool) -> None:
    what = "flipped" if flipped else "moved most"
    show.caption(
        f"Which parts of an example speak for the original's answer, and do they still? Examples that {what} are "
        "explained in both networks, and their layers compared."
    )

    def begin() -> None:
        st.session_state[BEGUN] = True

    st.button("Explain", icon=":material/play_arrow:", key="why-explain", type="primary", on_click=begin)


def _choose(found: Point, places: list[int], flipped: bool) -> Method:
    """The controls: method with its parameters, example, and the check."""
    known = explainers(found.model, found.data)
    able = [name for name, unsuited in known.items() if not unsuited]
    if st.session_state.get(METHOD) not in able:
        st.session_state[METHOD] = able[0]
    if st.session_state.get(_example_key(found)) not in places:
        st.session_state[_example_key(found)] = places[0]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        st.selectbox(
            "Method", able, key=METHOD, format_func=lambda name: method("explain", name).title, width=230,
            persist_state="session",
        )  # fmt: skip
        chosen = method("explain", st.session_state[METHOD])
        st.selectbox(
            "Example that flipped" if flipped else "Example that moved most", places, key=_example_key(found),
            format_func=lambda place: _told(found, place), width=420, persist_state="session",
        )  # fmt: skip
        _parameters(chosen)
        st.toggle(
            "Check on weights drawn anew", key=SANITY, persist_state="session",
            help="A method whose map stays the same once all weights are drawn at random explains nothing.",
        )  # fmt: skip
    unsuited = [f"{method('explain', name).title}: {reason}." for name, reason in known.items() if reason]
    show.small(" ".join([chosen.summary, f"({chosen.reference})", *(f"Not here: {one}" for one in unsuited)]))
    return chosen


def _example_key(found: Point) -> str:
    return f"{EXAMPLE}-{found.data.id}"


def _key(chosen: Method, parameter: str) -> str:
    return f"why:{chosen.name}:{parameter}"


def _parameters(chosen: Method) -> None:
    for param in chosen.parameters:
        st.session_state.setdefault(_key(chosen, param.name), controls.shown(param, param.default))
    if chosen.parameters:
        with st.popover("Settings", icon=":material/tune:", key="why-settings"):
            for param in chosen.parameters:
                controls.control(param, _key(chosen, param.name), lambda: None)


def _told(found: Point, place: int) -> str:
    before, after = found.result.original, found.result.uncalibrated
    if not before.task.decides:
        unit = before.task.unit
        moved = f"{words.amount(float(before.values[place]))} → {words.amount(float(after.values[place]), unit)}"
        return f"{place}: {moved}, truth {words.amount(float(before.labels[place]))}"
    names = before.classes
    said = " → ".join(
        f"{words.cut(names[int(one.predictions[place])], LETTERS)} {words.percent(float(one.confidence[place]), 0)}"
        for one in (before, after)
    )
    return f"{place}: {said}, truth {words.cut(names[int(before.labels[place])], LETTERS)}"


def _board(work: Named, key: str, verb: str, draw: Callable[[Any], None]) -> None:
    """Draw a result, or begin it and follow it; a work that a person ended waits to be begun again."""
    if work.state == "ready" and work.found() is None:
        work.start()
    following = st.fragment(_look, run_every=BEAT if work.alive else None)
    following(work, key, verb, draw, work.alive)


def _look(work: Named, key: str, verb: str, draw: Callable[[Any], None], was_alive: bool) -> None:
    if was_alive and not work.alive:
        st.rerun()
    with guarded(), st.container(key=f"{key}-board"):
        if work.alive:
            left = work.seconds_left
            time = "" if left is None else f", about {max(1, round(left))} s left"
            st.progress(min(work.fraction, 1.0), f"{verb}: {100 * work.fraction:.0f} %{time}")
            st.button("Cancel", icon=":material/stop:", key=f"{key}-cancel", on_click=work.cancel)
        elif (told := work.found()) is not None:
            draw(told)
        else:
            if work.note:
                st.warning(work.note, icon=":material/info:")
            elif work.state == "cancelled":
                show.small("Cancelled.")
            if st.button("Begin again", icon=":material/play_arrow:", key=f"{key}-again"):
                work.start()
                st.rerun()


def _explained(told: Why, sanity: bool, colours: str) -> None:
    if told.parts:
        show.chart(attribution_bars_chart(told, mode=colours), "What speaks for it, in both", "why-bars")
    else:
        show.chart(attribution_pictures_chart(told, mode=colours), "What speaks for it, in both", "why-pictures")
    count = int(told.inside.sum())
    few = f" Drawn are the {SHOWN // 2} of {count} parts with most, and {SHOWN // 2} more that moved most."
    show.small(because.how(told) + (few if told.parts and count > SHOWN else ""))
    show.chart(attribution_distance_chart(told, mode=colours), "Is the move more than noise?", "why-distance")
    if sanity:
        show.caption(because.sanity(told))
    show.small(because.distances(told))


def _layers(told: Any, colours: str) -> None:
    show.chart(cka_chart(told, mode=colours), "Where the networks part", "why-cka", tallest=TALLEST)
    show.small(
        "Linear centred kernel alignment of each layer's outputs (Kornblith et al. 2019), with unbiased estimates of "
        "its three terms, so that few examples of many features do not raise it; the plain form is in the table. "
        f"Both networks as they run, batch-norm folded, on {words.count(told.n)} calibration inputs, evenly drawn; "
        "labels are not read. 1 is alike up to rotation and scale."
    )
