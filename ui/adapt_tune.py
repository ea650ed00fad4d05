"""Tune a training on the Adapt page: what varies, how the trials go, what the best one brings."""

from __future__ import annotations

from html import escape

import streamlit as st

from core.data.handle import DataHandle
from core.errors import TemperError
from core.figures import said
from core.figures.tuning import settings_said, tuned_sentence, tuning_chart, tuning_table
from core.models.handle import ModelHandle
from core.registry import method, methods
from core.sweeps.desk import DESK
from core.training.attempted import Attempted, Judged
from core.training.gain import untrained
from core.training.trial import loss_name
from core.training.tuning import TRIALS, Standing, Tuning, tuning_of
from core.training.tuning_space import EPOCHS, EXAMPLES, TuningSpace, offered, param_of
from ui import show
from ui.cards import card, difference
from ui.frame import guarded, mode
from ui.state import Sitting, sitting

BEAT = 0.7  # seconds between two looks
TAGS = {"ready": "Not begun", "queued": "Waiting for other work", "running": "Tuning", "paused": "Paused",
        "done": "Done", "cancelled": "Stopped", "failed": "Stopped"}  # fmt: skip


def controls(now: Sitting, model: ModelHandle, data: DataHandle) -> Tuning | None:
    """Draw what is asked; the tuning it names, or None where nothing can be learned."""
    if not any(split.name == "fit" and split.n > 1 for split in data.splits):
        show.small(
            f"'{data.title}' has no fit split to learn from. Load it again with a share set aside for training."
        )
        return None
    name = _way(now, data)
    known = offered(name)
    tuned = st.pills(
        "What varies", list(known), selection_mode="multi", default=list(known), key=f"tune-what-{name}",
        format_func=lambda one: param_of(method("train", name), one).title, persist_state="session",
    )  # fmt: skip
    first, second = st.columns(2, gap="small")
    epochs = first.number_input("Epochs", 0.1, 100.0, EPOCHS, 0.5, key="tune-epochs", persist_state="session")
    n = data.split("fit").n
    most = second.number_input(
        "Examples", 2, n, min(EXAMPLES, n), 100, key=f"tune-examples-{model.id}", persist_state="session"
    )
    given = {"epochs": round(epochs / 0.05) * 0.05, "examples": int(most)}
    if not tuned:
        show.small("Choose one setting at least that may vary.")
        return None
    found = tuning_of(model, data, TuningSpace.of(now.recipe, name, given, tuple(tuned)))
    trials = st.number_input("Trials", 2, 500, TRIALS, 5, key="tune-trials", persist_state="session")
    _buttons(found, int(trials))
    show.small(
        "The calibration split chooses between the trials here, though it teaches none of them. Evaluation examples "
        "judge the best one, once."
    )
    return found


def _way(now: Sitting, data: DataHandle) -> str:
    names = {one.name: one.title for one in methods("train", data.task.kind) if offered(one.name)}
    compressed = bool(untrained(now.recipe).without("calibrate").simplified().steps)
    usual = "recover" if compressed and "recover" in names else "fine-tune"
    names = {name: title for name, title in names.items() if name in ("fine-tune", usual)}
    key = "tune-way"
    if st.session_state.get(key) not in names:
        st.session_state[key] = usual
    found: str = st.segmented_control(
        "Which training", list(names), key=key, format_func=lambda name: names[name], required=True, width="stretch",
    )  # fmt: skip
    return found


def _buttons(tuning: Tuning, trials: int) -> None:
    standing = tuning.standing()

    def start() -> None:
        tuning.trials = trials if standing.done < trials else standing.done + trials
        try:
            DESK.start(tuning)
        except TemperError as error:
            sitting().notice = error

    if tuning.alive:
        st.button(
            "Stop", icon=":material/stop:", key="tune-stop", on_click=tuning.cancel, width="stretch",
            help="Trials that ended are kept, also over a restart; it goes on from there.",
        )  # fmt: skip
        return
    label = f"Try {trials} more" if standing.done >= trials else "Go on" if standing.done else "Tune"
    st.button(label, icon=":material/play_arrow:", key="tune-start", type="primary", on_click=start, width="stretch")
    if standing.done:
        st.button(
            "Forget these trials", icon=":material/delete:", key="tune-forget", type="tertiary", width="stretch",
            on_click=tuning.forget,
        )  # fmt: skip


def board(now: Sitting, model: ModelHandle, data: DataHandle, asked: Tuning | None) -> None:
    """The right side, which draws itself anew while trials run."""
    show.heading("Let trials find the settings", 1)
    if asked is None:
        return
    alive = asked.alive
    st.fragment(_board, run_every=BEAT if alive else None)(now, data, asked, alive)


def _board(now: Sitting, data: DataHandle, tuning: Tuning, was_alive: bool) -> None:
    if was_alive and not tuning.alive:
        st.rerun()
    with guarded():
        standing, tried = tuning.standing(), tuning.tried
        if not tried and not tuning.alive:
            _empty(tuning, data, standing)
            return
        _standing(standing)
        loss, judged = loss_name(data), tuning.judged
        if judged is not None and not was_alive:
            _verdict(tried, judged, data)
        _best(now, tuning, tried, loss, was_alive)
        drawn = tuning_chart(tried, standing.current, judged, loss, mode())
        show.chart(drawn, f"{said.title(loss)} of every trial, on calibration examples", "tuning")
        show.small(
            "Curves are measured on up to 500 calibration examples while a trial learns; what chooses is the loss on "
            "all of them at its end. From a fifth of the steps on, a trial ends whose least loss is above the median "
            "of what finished trials had reached by then."
        )
        if tried:
            _table(now, tried, loss)


def _empty(tuning: Tuning, data: DataHandle, standing: Standing) -> None:
    base = tuning.space.base.without("calibrate").notation
    st.html(
        f"<p class='t-lead'>Each trial is a short training of your recipe, <b>{escape(base)}</b>, with other "
        "settings. The first one has the settings as they are; five are drawn at random, the rest where the ones "
        f"before them showed promise. The loss on {data.split('calibration').n:,} calibration examples chooses, and "
        f"{data.split('evaluation').n:,} evaluation examples judge the best one beside the first, once.</p>"
    )
    if standing.note:
        st.warning(standing.note, icon=":material/info:")


def _standing(standing: Standing) -> None:
    tag = "Paused" if standing.state == "ready" and standing.done else TAGS[standing.state]
    if standing.state in ("running", "queued"):
        left = standing.seconds_left
        rest = f", about {max(1, round(left))} s left" if left is not None else ""
        what = (
            "judging the best on evaluation"
            if standing.judging
            else f"trial {standing.done + 1} of {standing.trials}"
        )
        st.progress(standing.fraction, f"{tag}: {what}{rest}")
    else:
        text = f"{standing.done} trials done"
        st.html(f"<div class='t-status' role='status'><span class='t-tag'>{tag}</span><span>{text}</span></div>")
    if standing.note:
        st.warning(standing.note, icon=":material/info:")


def _verdict(tried: list[Attempted], judged: Judged, data: DataHandle) -> None:
    lead = data.task.facts.headline
    st.html(f"<p class='t-take'>{escape(tuned_sentence(tried, judged, lead))}</p>")
    st.html(f"<div class='t-cards'>{''.join(_card(judged, name) for name in judged.best)}</div>")
    show.small(
        f"The best trial on all {judged.n:,} evaluation examples, which chose nothing. Brackets: 95 % intervals "
        "of the paired change from the given settings."
    )


def _card(judged: Judged, name: str) -> str:
    unit = said.unit_of(name)
    was = (
        f"{said.number(judged.usual[name], unit)} with the given settings, "
        f"{said.number(judged.original[name], unit)} original"
    )
    big, small = said.number(judged.best[name], unit), said.shown_unit(unit)
    return card(said.title(name), big, small, was, difference(judged.change[name]), marked=False)


def _best(now: Sitting, tuning: Tuning, tried: list[Attempted], loss: str, running: bool) -> None:
    best = tuning.best
    if best is None:
        return
    value = said.value(best.loss, said.unit_of(loss))
    so_far = "Best so far" if running else "The best"
    show.caption(f"{so_far}: trial {best.number + 1}, {settings_said(best, tried)}; {said.name(loss)} {value}.")
    if running:
        return
    used = now.recipe.fingerprint == best.recipe.fingerprint
    with st.container(horizontal=True, gap="small"):
        st.button(
            "It is in your recipe" if used else "Use it in the recipe", icon=":material/check:", key="tune-use",
            type="primary", disabled=used, on_click=lambda: now.change(best.recipe),
        )  # fmt: skip
        st.download_button(
            "Recipe", best.recipe.to_json(), f"{now.model}-tuned.json", "application/json", key="tune-recipe",
            icon=":material/download:", on_click="ignore",
        )  # fmt: skip


def _table(now: Sitting, tried: list[Attempted], loss: str) -> None:
    table = tuning_table(tried, loss)
    with st.expander(f"All {len(tried)} trials", icon=":material/table_rows:"):
        shown = {name: st.column_config.NumberColumn(format="%.4f") for name in table.select_dtypes("Float64")}
        st.dataframe(table, hide_index=True, column_config=shown, alt="Every trial: loss, settings and end")
        st.download_button(
            "CSV", table.to_csv(index=False), f"{now.model}-trials.csv", "text/csv", key="tune-csv",
            icon=":material/download:", on_click="ignore",
        )  # fmt: skip
