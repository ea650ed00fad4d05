"""Move the model to other classes or other data: the choice, what it learned there, and what its body is worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import streamlit as st

from core.data.handle import DataHandle
from core.errors import TemperError
from core.figures import said
from core.figures.labelled import labelled_chart, labelled_sentence, moved_sentence
from core.figures.learning import learning_chart
from core.models.handle import ModelHandle
from core.models.samples import load_sample, own_ids, read_card
from core.recipe import Recipe, Step
from core.registry import method
from core.training.gain import Gain, gain, untrained
from core.training.labelled import Ladder, ladder_of
from core.training.measured import original_figures
from core.training.training import Training, training_of
from core.transfer import FITTED, Offer, came_from, offers, own_pairs, pair_of, transfer
from core.transfer_learned import settle
from ui import adapt_own, show
from ui import controls as panel
from ui.adapt_method import BEAT, TIMES, epochs_of, standing_line, stops
from ui.cards import card, difference
from ui.frame import guarded, mode
from ui.state import Sitting, sitting
from ui.work import point

TO, LAYERS, TIME = "transfer-to", "transfer-layers", "transfer-time"
OWN = "own"
STEPS = {50: "50", 100: "100", 400: "400"}
SEEDS = {1: "1", 3: "3", 5: "5"}
WHAT = {"head": "Last layer", "all": "All", "gradual": "Gradual", "adapters": "Adapters"}
RATES = {"head": 1e-2, "all": 1e-3, "gradual": 1e-3, "adapters": 3e-3}
MORE = ("start", "rank", "examples", "augment", "keep")


@dataclass(frozen=True)
class Asked:
    """What the left side says: the offer or the pair it is about, the pair's name where it is made, the training."""

    pair: str | None
    offer: Offer | None
    recipe: Recipe
    seconds: float | None


def controls(now: Sitting, model: ModelHandle, data: DataHandle) -> Asked | None:
    """Draw the settings; what they say, None where a person's own data is still to be read."""
    moved = came_from(now.model)
    offer, pair = (None, _unlearned(now.model, moved)) if moved else _choice(model, data)
    if moved:
        show.small(f"It is the body of {moved['title']}, moved to {data.title}.")
    if offer is None and pair is None:
        adapt_own.read(model, data, TO)
        return None
    if offer is not None:
        show.small(offer.said)
        pair = pair_of(model, offer)
    recipe, seconds = _learning()
    asked = Asked(pair, offer, recipe, seconds)
    training = _training(asked)
    if training is not None and training.alive:
        stops(training, "transfer")
    else:
        done = training is not None and training.standing().state == "done"
        begun = training is not None and training.begun
        label = "Learned" if done else "Go on" if begun else "Learn" if pair else "Make it and learn"
        st.button(
            label, icon=":material/check:" if done else ":material/play_arrow:", key="transfer-start", type="primary",
            width="stretch", on_click=_begin, args=(model, data, asked), disabled=done,
            help="This very training is done. Change a setting for another one." if done else None,
        )  # fmt: skip
    return asked


def _unlearned(name: str, moved: Mapping[str, Any]) -> str:
    """The pair that a model was learned from, where it is still there: what it knows now would spoil a comparison."""
    before = str(moved.get("pair", ""))
    return before if before in own_ids() else name


def _choice(model: ModelHandle, data: DataHandle) -> tuple[Offer | None, str | None]:
    listed = {offer.key: offer for offer in offers(model, data)}
    own = own_pairs(model)
    titles = {key: offer.title for key, offer in listed.items()} | own | {OWN: "Your own data ..."}
    if (made := st.session_state.pop(f"{TO}-next", None)) in titles:
        st.session_state[TO] = made
    if st.session_state.get(TO) not in titles:
        st.session_state[TO] = next(iter(titles))
    st.selectbox(
        "Move it to", list(titles), key=TO, format_func=lambda key: titles.get(key, key), persist_state="session",
        help="Data of the same kind and size of input that is at hand; your own is read for this body.",
    )  # fmt: skip
    chosen = st.session_state[TO]
    return listed.get(chosen), chosen if chosen in own else None


def _learning() -> tuple[Recipe, float | None]:
    """What learns, for how long, and the rest."""
    st.session_state.setdefault(LAYERS, "head")
    layers = st.segmented_control(
        "What learns", list(WHAT), key=LAYERS, format_func=lambda name: WHAT[name], required=True,
        persist_state="session", width="stretch",
        help="The last layer alone leaves the body frozen; gradual begins there and has all learn from half-way on; "
        "adapters are a product of low rank beside each weight.",
    )  # fmt: skip
    st.session_state.setdefault(TIME, 30.0)
    seconds = st.segmented_control(
        "For how long", list(TIMES), key=TIME, format_func=lambda value: TIMES[value], required=True,
        persist_state="session", width="stretch",
    )  # fmt: skip
    given: dict[str, object] = {"layers": layers}
    parameters = {param.name: param for param in method("train", "fine-tune").parameters}
    names = [*([] if seconds else ["epochs"]), "rate"]
    for name in names:
        given[name] = _drawn(parameters[name], f"transfer:{name}:{layers}", RATES[layers] if name == "rate" else None)
    with st.expander("More settings"):
        for name in MORE:
            if name != "rank" or layers == "adapters":
                given[name] = _drawn(parameters[name], f"transfer:{name}", None)
    return Recipe((Step.of("train", "fine-tune", given),)), seconds or None


def _drawn(param: panel.Param, key: str, first: float | None) -> object:
    st.session_state.setdefault(key, panel.shown(param, param.default if first is None else first))
    panel.control(param, key, _nothing)
    return panel.stored(param, st.session_state[key])


def _nothing() -> None:
    return None


def _training(asked: Asked) -> Training | None:
    if asked.pair is None:
        return None
    model, data = load_sample(asked.pair)
    return training_of(model, data, asked.recipe, asked.seconds)


def _begin(model: ModelHandle, data: DataHandle, asked: Asked) -> None:
    try:
        pair = asked.pair or (transfer(model, data, asked.offer) if asked.offer is not None else None)
        if pair is not None:
            training_of(*load_sample(pair), asked.recipe, asked.seconds).start()
    except TemperError as error:
        sitting().notice = error


def board(now: Sitting, model: ModelHandle, data: DataHandle, asked: Asked | None) -> None:
    """The right side: what was learned, and what the body is worth by the number of labelled examples."""
    show.heading("Move what it has learned to other data", 1)
    if asked is None or asked.pair is None:
        _empty(model, data, asked)
        return
    training = _training(asked)
    assert training is not None
    if asked.offer is None:
        for note in read_card(asked.pair).get("notes", ())[1:]:
            show.caption(note)
    with st.container(key="transfer-learned"):
        if training.begun or training.alive:
            alive = training.alive
            st.fragment(_going, run_every=BEAT if alive else None)(now, training, asked.pair, alive)
        else:
            _made(asked.pair)
    with st.container(key="transfer-worth"):
        if "learned" in (came_from(asked.pair) or {}):
            show.small("What it was moved from is gone, so nothing can be said of what its body was worth.")
        else:
            _worth(training.model, training.data)


def _empty(model: ModelHandle, data: DataHandle, asked: Asked | None) -> None:
    what = asked.offer.title if asked is not None and asked.offer is not None else "data of your own"
    layer = "keeps its last layer, since the classes stay" if _same(data, asked) else "gets a new last layer"
    st.html(
        f"<p class='t-lead'>A model of your own is made: the trained body of <b>{escape(model.title)}</b>, which "
        f"{layer}, with <b>{escape(what)}</b>. It learns from the fit split there; calibration examples are looked "
        "at, evaluation examples judge. Every page then works on it as on any model.</p>"
    )


def _same(data: DataHandle, asked: Asked | None) -> bool:
    return asked is not None and asked.offer is not None and asked.offer.key.startswith("group ")


def _made(pair: str) -> None:
    stated = came_from(pair)
    if stated is not None:
        layer = "its last layer came along" if not stated["drawn"] else "its last layer is new and knows nothing yet"
        st.html(f"<p class='t-lead'>It is made: the body of {escape(str(stated['title']))}; {layer}.</p>")


def _going(now: Sitting, training: Training, pair: str, was_alive: bool) -> None:
    if was_alive and not training.alive:
        st.rerun()
    with guarded():
        standing = training.standing()
        standing_line(training, standing)
        drawn = bool((came_from(pair) or {}).get("drawn"))
        if standing.recipe is not None and not was_alive:
            _result(now, training, pair, standing.recipe, drawn)
        if standing.looks:
            known = {} if drawn else original_figures(training.model, training.data)
            chart = learning_chart(
                standing.looks, known, training.data.task, standing.fraction, epochs_of(standing), mode()
            )
            show.chart(
                chart, "How it went" if standing.state == "done" else "How it goes", f"learning-{training.key}"
            )


def _result(now: Sitting, training: Training, pair: str, recipe: Recipe, drawn: bool) -> None:
    slot = st.empty()
    before = point(pair, untrained(recipe), slot, kept=False)
    after = point(pair, recipe, slot, kept=False)
    slot.empty()
    found = gain(before.result, after.result)
    st.html(f"<p class='t-take'>{escape(moved_sentence(found, training.standing().looks, drawn))}</p>")
    st.html(f"<div class='t-cards'>{''.join(_card(found, name) for name in found.after)}</div>")
    with st.container(horizontal=True, gap="small"):
        used = (came_from(now.model) or {}).get("learned") == recipe.without("calibrate").to_dict()
        if st.button(
            "It is in force" if used else "Go on with it", icon=":material/check:", key="transfer-use",
            type="primary", disabled=used,
            help="Keeps what was learned as a model of your own and puts it in force on every page, so that whatever "
            "you do to it is held against what it can now.",
        ):  # fmt: skip
            now.choose_model(settle(pair, recipe))
            now.change(Recipe())
            st.rerun()  # the whole page: a click in a fragment draws only that again
        st.download_button(
            "Recipe", recipe.to_json(), f"{pair}-recipe.json", "application/json", key="transfer-recipe",
            icon=":material/download:", on_click="ignore",
        )  # fmt: skip


def _card(found: Gain, name: str) -> str:
    unit = found.task.unit_of(said.unit_of(name))
    big, small = said.number(found.after[name], unit), said.shown_unit(unit)
    was = f"{said.value(found.before[name], unit)} before"
    return card(said.title(name), big, small, was, difference(found.change[name]), marked=False)


def _worth(model: ModelHandle, data: DataHandle) -> None:
    show.heading("What is the body worth here?")
    show.small(
        "The body is all before the last layer. The new task is learned with the body frozen, with all of it "
        "learning, and from scratch, by the same network with every weight drawn anew: as many steps each, from 10, "
        "50, 250 and all labelled examples."
    )
    if any(FITTED in note for note in read_card(model.id).get("notes", ())):
        show.small("Mind that the body was fitted on these examples and others before, all of them labelled.")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium", key="transfer-ladder"):
        steps = _picked("Steps each", STEPS, "transfer-steps", 100)
        seeds = _picked("Seeds", SEEDS, "transfer-seeds", 1)
        ladder = ladder_of(model, data, steps, seeds)
        _ladder_button(ladder)
    alive = ladder.alive
    st.fragment(_climbing, run_every=BEAT if alive else None)(ladder, alive)


def _picked(title: str, listed: dict[int, str], key: str, first: int) -> int:
    st.session_state.setdefault(key, first)
    found = st.segmented_control(
        title, list(listed), key=key, format_func=lambda value: listed[value], required=True, persist_state="session"
    )
    return int(found)


def _ladder_button(ladder: Ladder) -> None:
    standing = ladder.standing()
    if ladder.alive:
        st.button("Stop", icon=":material/stop:", key="transfer-ladder-stop", on_click=ladder.cancel)
        return
    some = bool(ladder.known().points)
    label = "Done" if standing.state == "done" else "Go on" if some else f"Run {len(ladder.rungs)} trainings"
    st.button(
        label, icon=":material/science:", key="transfer-ladder-start", on_click=_acted(ladder.start),
        disabled=standing.state == "done",
    )  # fmt: skip


def _acted(act: Callable[[], None]) -> Callable[[], None]:
    def do() -> None:
        try:
            act()
        except TemperError as error:
            sitting().notice = error

    return do


def _climbing(ladder: Ladder, was_alive: bool) -> None:
    if was_alive and not ladder.alive:
        st.rerun()
    with guarded():
        standing, found = ladder.standing(), ladder.known()
        if ladder.alive:
            left = f", about {max(1, round(standing.seconds_left))} s left" if standing.seconds_left else ""
            waiting = "waiting for other work" if standing.state == "queued" else standing.now or "getting ready"
            st.progress(standing.fraction, f"{waiting}: {100 * standing.fraction:.0f} % of all{left}")
        if standing.note:
            st.warning(standing.note, icon=":material/info:")
        if not found.points:
            return
        sentence = labelled_sentence(found)
        if sentence:
            st.html(f"<p class='t-take'>{escape(sentence)}</p>")
        title = f"{said.title(found.measure)} against labelled examples"
        show.chart(labelled_chart(found, mode()), title, "labelled")
