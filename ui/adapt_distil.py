"""Distilling on the Adapt page: teacher and student side by side, what the teacher brought, and whether by chance."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import streamlit as st

from core.data.handle import DataHandle
from core.figures import said, words
from core.figures.seeds import several_seeds_chart
from core.figures.taught import (
    agreement_title,
    agreement_unit,
    brought_sentence,
    seeds_sentence,
    sides_table,
)
from core.jobs.background import Named, named
from core.models.handle import ModelHandle
from core.training.boosted import boosted
from core.training.gain import untrained
from core.training.seeds import repeats, seeds_of
from core.training.taught import Taught, alone_of, taught, teacher_of
from core.training.teachers import BOOSTING, ORIGINAL, Known, teachers
from core.training.training import Training, training_of, trainings
from ui import adapt_method, adapt_soft, show
from ui.adapt_history import SHOWN, earlier, opened
from ui.adapt_method import BEAT, Asked
from ui.cards import card, difference
from ui.frame import guarded, mode
from ui.state import Sitting
from ui.work import Ticker, point, visitor, working

NAME = "distil"
COUNT = "distil-seeds"  # widget key
COUNTS = (3, 5)


def controls(now: Sitting, model: ModelHandle, data: DataHandle) -> Asked | None:
    """Draw the settings; what they say, or None where there is nothing to learn."""

    steps = untrained(now.recipe).without("calibrate").simplified().steps
    found, changed = teachers(model, data), bool(steps)
    first = ORIGINAL if changed else next(iter(found))
    st.session_state.setdefault(f"adapt:{NAME}:teacher", first)

    def refused(values: Mapping[str, Any]) -> str:
        if values["start"] == "scratch" and any(step.kind == "quantize" for step in steps):
            return (
                "Weights that are drawn anew do not fit the grids of the quantize step. Start from the trained "
                "weights, or quantize after learning."
            )
        itself = values["teacher"] == ORIGINAL and values["start"] == "trained" and values["mix"]
        if not changed and itself:
            return (
                "The student is still the original, which has nothing to teach it. Compress it in the Studio, start "
                "from scratch, or take another teacher."
            )
        if values["teacher"] == BOOSTING and values["augment"] != "none" and values["mix"]:
            return "Boosting speaks of rows as they are, so it cannot teach augmented ones. Turn augmentation off."
        return ""

    return adapt_method.controls(now, model, data, NAME, {"teacher": found}, refused)


def board(now: Sitting, model: ModelHandle, data: DataHandle, asked: Asked | None) -> None:
    """The right side: who teaches whom, how it goes, what it brought, and what the teacher says."""
    shown = _shown(model, data, asked)
    show.heading("Teach it by another model's answers", 1)
    recipe = asked.recipe if shown is None and asked is not None else shown.recipe if shown is not None else None
    known = teacher_of(recipe, model, data) if recipe is not None else None
    if known is None:
        show.small("With a weight of 0 there is no teacher: it is the same student, taught by the labels alone.")
        adapt_method.board(now, model, data, NAME, asked)
        return
    if known.model is None and not _grown(data):
        return
    if shown is not None:
        adapt_method.going(now, shown)
    with guarded():
        _sides(now, model, data, known, shown)
    if shown is not None and shown.result is not None:
        with guarded():
            _seeds(model, data, shown)
    with guarded():
        adapt_soft.section(known, data)
    current = training_of(model, data, asked.recipe, asked.seconds).key if asked is not None else ""
    earlier(data, [one for one in trainings(model, data) if _teaches(one)], shown, current)


def _shown(model: ModelHandle, data: DataHandle, asked: Asked | None) -> Training | None:
    """The training with a teacher that is looked at: that of the settings, the one begun last, or one that runs."""
    if asked is not None:
        current = training_of(model, data, asked.recipe, asked.seconds)
        if current.alive or (current.begun and not opened(current.key)):
            return current
    known = [one for one in trainings(model, data) if _teaches(one)]
    chosen = next((one for one in known if one.key == st.session_state.get(SHOWN)), None)
    return chosen or next((one for one in known if one.alive), None)


def _teaches(one: Training) -> bool:
    last = one.recipe.only("train").steps[-1]
    return last.method == NAME and bool(last.values["mix"])


def _grown(data: DataHandle) -> bool:
    """Whether the trees are there; else they grow in the background, and it is said how long."""
    work = named(("boosted", data.fingerprint), lambda _: boosted(data))
    if work.found() is not None:
        return True
    if work.state == "ready":
        work.start()
    st.fragment(_waiting, run_every=BEAT)(work, "Growing the trees that teach, on the fit split alone")
    return False


def _waiting(work: Named, text: str) -> None:
    if work.found() is not None:
        st.rerun()
    elif work.state == "failed":
        st.warning(work.note, icon=":material/info:")
    else:
        st.progress(work.fraction, text)


def _sides(now: Sitting, model: ModelHandle, data: DataHandle, known: Known, shown: Training | None) -> None:
    show.heading("Teacher and student")
    slot = st.empty()
    recipe = shown.result if shown is not None else None
    alone = training_of(model, data, alone_of(recipe)) if recipe is not None else None
    before = point(now.model, untrained(recipe or now.recipe), slot, kept=False).result
    after = point(now.model, recipe, slot, kept=False).result if recipe is not None else None
    by_itself = None
    if alone is not None and alone.result is not None:
        by_itself = point(now.model, alone.result, slot, kept=False).result
    with working(visitor()):
        found = taught(known, data, before, after, by_itself, Ticker(slot, "Asking the teacher"))
    slot.empty()
    heads, rows = sides_table(found, data)
    stands = untrained(recipe or now.recipe).without("calibrate").notation
    label = f"Teacher: {known.title}. Student: {model.title}, {stands}."
    st.html(_table(heads, rows, label))
    if alone is None:
        show.small(
            f"All on the {words.count(found.n)} evaluation examples. The student learns from the "
            f"{words.count(data.split('fit').n)} examples of the fit split and from what the teacher says of them"
            + (", of each row what trees say that were grown without it." if known.model is None else ".")
        )
    elif by_itself is None:
        _alone(alone)
    else:
        st.html(f"<p class='t-take'>{escape(brought_sentence(found, data))}</p>")
        st.html(f"<div class='t-cards'>{''.join(_card(found, data, name) for name in found.over_alone)}</div>")
        show.small(
            "Both students began alike, met the same examples in the same order and took as many steps. Brackets: "
            f"95 % intervals of the paired difference on all {words.count(found.n)} evaluation examples, for this "
            "one seed."
        )


def _table(heads: list[str], rows: list[list[str]], label: str) -> str:
    top = "".join(f"<th scope='col'>{escape(text)}</th>" for text in heads)
    body = "".join(
        f"<tr><th scope='row'>{escape(row[0])}</th>{''.join(f'<td>{escape(text)}</td>' for text in row[1:])}</tr>"
        for row in rows
    )
    return f"<table class='t-pair' aria-label='{escape(label, quote=True)}'><caption>{escape(label)}</caption>" + (
        f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    )


def _card(found: Taught, data: DataHandle, name: str) -> str:
    known = name != "agreement"
    unit = said.unit_of(name) if known else agreement_unit(data)
    now, then = (
        side.values[name] if known else side.agreement for side in (found.sides[who] for who in ("taught", "alone"))
    )
    title = said.title(name) if known else agreement_title(data)
    was = f"{said.value(then, unit)} without the teacher"
    return card(
        title, said.number(now, unit), said.shown_unit(unit), was, difference(found.over_alone[name]), marked=False
    )


def _alone(alone: Training) -> None:
    """Train the same student without its teacher, for as many steps."""
    show.small("Was it the teacher, or the learning? The same student, taught by the labels alone, tells.")
    if alone.alive:
        st.fragment(_progress, run_every=BEAT)(alone)
        st.button("Pause", icon=":material/pause:", key="distil-alone-pause", on_click=alone.cancel)
    else:
        if (note := alone.standing().note) and alone.standing().state == "failed":
            st.warning(note, icon=":material/info:")
        st.button(
            "Go on alone" if alone.begun else "Train the same student alone", icon=":material/person:",
            key="distil-alone", on_click=alone.start,
        )  # fmt: skip


def _progress(one: Training) -> None:
    if not one.alive:
        st.rerun()
    standing = one.standing()
    left = "" if standing.seconds_left is None else f", about {max(1, round(standing.seconds_left))} s left"
    doing = "Waiting for other work" if standing.state == "queued" else "The same student alone"
    st.progress(standing.fraction, f"{doing}: {100 * standing.fraction:.0f} % done{left}")


def _seeds(model: ModelHandle, data: DataHandle, shown: Training) -> None:
    assert shown.result is not None
    show.heading("Several seeds")
    st.session_state.setdefault(COUNT, COUNTS[0])
    count = st.segmented_control(
        "Seeds", COUNTS, key=COUNT, required=True, label_visibility="collapsed",
        format_func=lambda value: f"{value} seeds, with and without",
    )  # fmt: skip
    pairs = repeats(model, data, shown.result, int(count or COUNTS[0]))
    if pairs.done:
        work = named(
            ("seeds", model.fingerprint, data.fingerprint, *(one.key for one in pairs.every)),
            lambda told: seeds_of(model, data, pairs, told),
        )
        if (found := work.found()) is None:
            if work.state == "ready":
                work.start()
            st.fragment(_waiting, run_every=BEAT)(work, "Judging them on the evaluation examples")
            return
        st.html(f"<p class='t-take'>{escape(seeds_sentence(found, data))}</p>")
        show.chart(several_seeds_chart(found, mode()), "A dot a seed", "several-seeds")
        show.small(
            "Lines join what came of the same seed. Diamonds: means with Student's 95 % intervals over the seeds; "
            "the test is the paired t test over seeds. The evaluation examples are the same for all."
        )
        return
    show.small(
        f"One seed is one draw. This trains {2 * len(pairs.pairs)} times, one after the other in the background; "
        "what is done already is not done again."
    )
    if pairs.alive:
        st.fragment(_seeds_going, run_every=BEAT)(model, data, shown, len(pairs.pairs))
        st.button("Pause", icon=":material/pause:", key="distil-seeds-pause", on_click=pairs.cancel)
    else:
        if pairs.note:
            st.warning(pairs.note, icon=":material/info:")
        st.button("Start", icon=":material/play_arrow:", key="distil-seeds-start", on_click=pairs.start)


def _seeds_going(model: ModelHandle, data: DataHandle, shown: Training, count: int) -> None:
    assert shown.result is not None
    pairs = repeats(model, data, shown.result, count)
    if not pairs.alive:
        st.rerun()
    ended = sum(one.result is not None for one in pairs.every)
    st.progress(pairs.fraction, f"{ended} of {len(pairs.every)} done, {100 * pairs.fraction:.0f} %")
