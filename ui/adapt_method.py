"""One way of training on the Adapt page: its settings, how it goes, what it brought."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import streamlit as st

from core.data.handle import DataHandle
from core.errors import TemperError
from core.figures.learning import learning_chart
from core.models.handle import ModelHandle
from core.recipe import Recipe
from core.registry import Method, Param, method
from core.training.gain import untrained, with_training
from core.training.measured import original_figures
from core.training.training import Progress, Training, training_of, trainings
from ui import controls as panel
from ui import show
from ui.adapt_history import SHOWN, earlier, opened
from ui.adapt_rate import rate_finder
from ui.adapt_result import result
from ui.cards import metric_cards
from ui.frame import guarded, mode
from ui.state import Sitting, link_parameters, sitting
from ui.work import point, takeaway

BEAT = 0.7  # seconds between two looks at a training
FIRST = ("rate",)  # settings that stand beside the time; the others are behind "More"
HIDDEN = ("epochs", "until")
TIMES = {10.0: "10 s", 30.0: "30 s", 60.0: "1 min", 300.0: "5 min", 0.0: "Epochs"}
SERIES = (10.0, 30.0, 60.0)  # seconds
TIME, EPOCHS = "adapt-time", "adapt-epochs"


@dataclass(frozen=True)
class Asked:
    """What the settings say: the recipe to train and the seconds for it, None where epochs are named."""

    recipe: Recipe
    seconds: float | None


def controls(
    now: Sitting,
    model: ModelHandle,
    data: DataHandle,
    name: str,
    named: Mapping[str, Mapping[str, str]] | None = None,
    refused: Callable[[Mapping[str, Any]], str] = lambda _: "",
) -> Asked | None:
    """Draw the settings of a way of training; what they say, or None where it has nothing to do.

    `named` gives the titles of what a parameter that is a name may name; `refused` says why values would not do.
    """
    one = method("train", name)
    keys = {param.name: f"adapt:{name}:{param.name}" for param in one.parameters}
    for param in one.parameters:
        st.session_state.setdefault(keys[param.name], panel.shown(param, param.default))
    st.session_state.setdefault(TIME, 30.0)
    seconds = st.segmented_control(
        "For how long", list(TIMES), key=TIME, format_func=lambda value: TIMES[value], required=True,
        persist_state="session", width="stretch",
        help="The time is turned into epochs by a short rehearsal, so that the recipe gives the same again anywhere.",
    )  # fmt: skip
    if not seconds:
        panel.control(_param(one, "epochs"), keys["epochs"], _nothing)
    settings = [p for p in one.parameters if p.name not in HIDDEN]
    own = [p for p in settings if p in one.parameters[: _shared(one)]]
    for param in [*own, *(p for p in settings if p.name in FIRST)]:
        _draw(param, keys, named or {})
    with st.expander("More settings"):
        for param in settings:
            if param not in own and param.name not in FIRST:
                _draw(param, keys, named or {})
    given = {p.name: panel.stored(p, st.session_state[keys[p.name]]) for p in settings}
    if not seconds:
        given["epochs"] = st.session_state[keys["epochs"]]
    recipe = with_training(now.recipe, name, given)
    why = _why_not(now, data, name) or refused(given)
    if why:
        show.small(why)
        return None
    asked = Asked(recipe, seconds or None)
    rate = next((param for param in one.parameters if param.name == "rate"), None)
    if rate is not None:

        def take(found: float) -> None:
            st.session_state[keys["rate"]] = panel.shown(rate, found)

        rate_finder(model, data, recipe, take)
    _buttons(training_of(model, data, recipe, seconds or None))
    if seconds:
        _in_turn([training_of(model, data, recipe, each) for each in SERIES])
    return asked


def _shared(one: Method) -> int:
    return next(place for place, param in enumerate(one.parameters) if param.name == "epochs")


def _param(one: Method, name: str) -> Param:
    return next(param for param in one.parameters if param.name == name)


def _draw(param: Param, keys: dict[str, str], named: Mapping[str, Mapping[str, str]]) -> None:
    if (titles := named.get(param.name)) is not None:
        if st.session_state[keys[param.name]] not in titles:
            st.session_state[keys[param.name]] = next(iter(titles))
        st.selectbox(param.title, list(titles), key=keys[param.name], format_func=lambda one: titles.get(one, one),
                     help=param.help)  # fmt: skip
    elif param.shown_when is None or st.session_state.get(keys[param.shown_when[0]]) == param.shown_when[1]:
        panel.control(param, keys[param.name], _nothing)


def _nothing() -> None:
    return None


def _why_not(now: Sitting, data: DataHandle, name: str) -> str:
    if not any(split.name == "fit" and split.n > 1 for split in data.splits):
        return f"'{data.title}' has no fit split to learn from. Load it again with a share set aside for training."
    if name == "recover" and not untrained(now.recipe).without("calibrate").simplified().steps:
        return "Nothing was compressed yet, so nothing is lost. Prune or quantize in the Studio first."
    return ""


def _buttons(training: Training) -> None:
    done = training.standing().state == "done" and not training.early
    label = "Done" if done else "Go on to its end" if training.early else "Go on" if training.begun else "Start"
    if not training.alive:
        st.button(
            label, icon=":material/check:" if done else ":material/play_arrow:", key="adapt-start", type="primary",
            width="stretch", on_click=lambda: _start(training), disabled=done,
            help="This very training is done. Change a setting for another one." if done else None,
        )  # fmt: skip
    else:
        stops(training, "adapt")


def stops(training: Training, key: str) -> None:
    """The two ways to end a training that runs; `key` begins their keys."""
    st.button(
        "Stop and keep it", icon=":material/stop:", key=f"{key}-leave", width="stretch", on_click=training.leave,
        help="Ends within a twentieth of the whole, and keeps what was learned until then.",
    )  # fmt: skip
    st.button(
        "Pause", icon=":material/pause:", key=f"{key}-pause", width="stretch", on_click=training.cancel,
        help="Ends now. It can go on from its last checkpoint, a twentieth back at most, also after a restart.",
    )  # fmt: skip


def _in_turn(series: list[Training]) -> None:
    """How much comes back in how long: the same training three times, each with a schedule of its own."""
    left = [one for one in series if one.standing().state != "done"]
    st.button(
        "10, 30 and 60 s in turn", icon=":material/format_list_numbered:", key="adapt-series", type="tertiary",
        width="stretch", disabled=not left or any(one.alive for one in series), on_click=_start_all, args=(left,),
        help="Trains three times from the start, one after the other; the table below then says what each bought.",
    )  # fmt: skip


def _start_all(series: list[Training]) -> None:
    for one in series:
        _start(one)


def _start(training: Training) -> None:
    st.session_state[SHOWN] = training.key
    training.reopen()
    try:
        training.start()
    except TemperError as error:
        sitting().notice = error


def showing(model: ModelHandle, data: DataHandle, asked: Asked | None) -> Training | None:
    """The training that the board shows: one that runs, that of the settings, or the one chosen last."""
    known = {one.key: one for one in trainings(model, data)}
    shown = known.get(st.session_state.get(SHOWN, ""))
    if asked is None:
        return shown
    current = training_of(model, data, asked.recipe, asked.seconds)
    running = next((one for one in known.values() if one.alive), None)
    first, other = (shown, current) if shown is not None and opened(current.key) else (current, shown)
    return running or (first if first.begun else other)


def board(now: Sitting, model: ModelHandle, data: DataHandle, name: str, asked: Asked | None) -> None:
    """The right side: the training that was begun last, or that of the settings."""
    shown = showing(model, data, asked)
    show.heading("Give it more learning, and watch what it buys", 1)
    if shown is None:
        _empty(now, data, name)
    else:
        going(now, shown)
    current = training_of(model, data, asked.recipe, asked.seconds).key if asked is not None else ""
    earlier(data, trainings(model, data), shown, current)


def going(now: Sitting, shown: Training) -> None:
    """How a training goes, and what it brought once it ended."""
    alive = shown.alive
    if alive:
        st.fragment(_going, run_every=BEAT)(now, shown, alive)
    else:  # a click in a fragment would draw only that again
        _going(now, shown, alive)


def _empty(now: Sitting, data: DataHandle, name: str) -> None:
    base = untrained(now.recipe)
    named = base.without("calibrate").notation
    st.html(
        f"<p class='t-lead'>It starts from your recipe, <b>{escape(named)}</b>, and learns "
        f"from the {data.split('fit').n:,} examples of the fit split. Calibration examples are looked at while it "
        "learns, evaluation examples judge it once it has ended; neither teaches it anything.</p>"
        if any(split.name == "fit" for split in data.splits)
        else "<p class='t-lead'>This data set has no examples to learn from.</p>"
    )
    if base.without("calibrate").simplified().steps:
        slot = st.empty()
        found = point(now.model, base, slot, kept=False)
        slot.html(f"<p class='t-take'>{takeaway(found)}</p>")
        st.html(metric_cards(found.comparison))
    elif name == "recover":
        st.page_link(
            "pages/1_Studio.py", label="Compress it in the Studio", icon=":material/tune:",
            query_params=link_parameters(),
        )  # fmt: skip


def _going(now: Sitting, training: Training, was_alive: bool) -> None:
    if was_alive and not training.alive:
        st.rerun()
    with guarded():
        standing = training.standing()
        standing_line(training, standing)
        if standing.recipe is not None and not was_alive:
            result(now, training, standing.recipe)
        if standing.looks:
            known = original_figures(training.model, training.data)
            drawn = learning_chart(
                standing.looks, known, training.data.task, standing.fraction, epochs_of(standing), mode()
            )
            show.chart(
                drawn, "How it went" if standing.state == "done" else "How it goes", f"learning-{training.key}"
            )


def epochs_of(standing: Progress) -> float:
    """How many epochs a training takes in all, or took."""
    last = standing.looks[-1].epoch if standing.looks else 0.0
    return last if standing.state == "done" else standing.epochs or last


def standing_line(training: Training, standing: Progress) -> None:
    """One line, or a bar, on how far a training is."""
    what = (standing.recipe or training.recipe).without("calibrate").notation
    words_of = {"ready": "Not begun", "queued": "Waiting for other work", "running": "Learning", "paused": "Paused",
                "done": "Done", "cancelled": "Paused", "failed": "Stopped"}  # fmt: skip
    tag = words_of[standing.state]
    if standing.state in ("running", "queued"):
        left = standing.seconds_left
        rest = f", about {max(1, round(left))} s left" if left is not None else ""
        started = f"{100 * standing.fraction:.0f} % done{rest}" if standing.looks else "getting ready"
        st.progress(standing.fraction, f"{tag}: {started}")
    else:
        st.html(
            f"<div class='t-status' role='status'><span class='t-tag'>{tag}</span><span>{escape(what)}</span></div>"
        )
    if standing.note:
        st.warning(standing.note, icon=":material/info:")
