"""'Will this data do?' on the Adapt page: what is in the data, and what learning from wrong ones does."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import streamlit as st

from core.damage.unusual import most_unusual
from core.data.balance import target_values
from core.data.borrowed import by_group, written_digits
from core.data.handle import DataHandle, load_split
from core.data.spoiled import Wrong, ways
from core.errors import TemperError
from core.figures import words
from core.figures.balance import balance_chart
from core.figures.pictures import said_label, seen_pictures
from core.figures.targets import targets_chart
from core.figures.wrong_data import distance_chart, wrong_data_chart
from core.jobs.background import Named
from core.models.handle import ModelHandle
from core.models.samples import load_sample, own_ids, titles
from core.sweeps.desk import DESK
from core.training.gain import untrained, with_training
from core.training.suitability.label_noise import Doubt
from core.training.suitability.suitability import Suitability, looked_at, why_not
from core.training.wrong_data import SEEDS, WrongData, wrong_data_of
from ui import show
from ui.frame import guarded, mode
from ui.gallery import row
from ui.state import Sitting, sitting

BEAT = 0.7  # seconds between two looks
OWN = "own"
PAIRS, DOUBTS, VALUES = 6, 18, 5  # shown, and values of a row
MARKS = {"good": ("Good", ":material/check_circle:"), "look": ("Look", ":material/visibility:"),
         "bad": ("Bad", ":material/error:")}  # fmt: skip
EVIDENCE = {"classes": "Classes", "distance": "Distance", "copies": "Copies", "labels": "Labels"}


@dataclass(frozen=True)
class Asked:
    """The data to look at, and the experiment; None where it cannot be run."""

    offered: DataHandle
    look: Named
    experiment: WrongData | None


def controls(now: Sitting, model: ModelHandle, data: DataHandle) -> Asked | None:
    """Draw what is asked."""
    if not any(split.name == "fit" and split.n > 1 for split in data.splits):
        show.small(f"'{data.title}' has no fit split to look at. Load it again with a share set aside for it.")
        return None
    offered = _offered(model, data)
    if offered is None:
        return None
    look = looked_at(model, data, offered)
    if look.alive:
        st.button("Cancel", icon=":material/stop:", key="data-cancel", on_click=look.cancel, width="stretch")
    else:
        st.button(
            "Look again" if look.found() else "Look at it", icon=":material/search:", key="data-look", type="primary",
            on_click=look.start, width="stretch",
        )  # fmt: skip
    return Asked(offered, look, _experiment(now, model, data))


def _offered(model: ModelHandle, data: DataHandle) -> DataHandle | None:
    """The data set that is chosen: the pair's own, a group of it, digits, or a person's own."""
    known = titles()
    choices = {OWN: f"What '{data.title}' has to learn from"}
    if data.modality == "pictures" and model.input_shape[-2:] == (28, 28):
        choices["digits"] = "Written digits"
    choices |= {
        f"group {group.title} {code}": f"Only {name} ({group.title})"
        for group in data.groups
        for code, name in enumerate(group.names)
    }
    choices |= {f"pair {one}": f"Yours: {known.get(one, one)}" for one in own_ids() if one != model.id}
    key = f"data-offered-{model.id}"
    if st.session_state.get(key) not in choices:
        st.session_state[key] = OWN
    chosen: str = st.selectbox("Which data", list(choices), key=key, format_func=lambda one: choices[one])
    try:
        found = _handle(chosen, data)
        why = "" if chosen == OWN else why_not(model, data, found)
    except TemperError as error:
        why = error.message
    if why:
        show.small(why)
        return None
    return found


def _handle(chosen: str, data: DataHandle) -> DataHandle:
    if chosen == "digits":
        return written_digits()
    if chosen.startswith("group "):
        title, _, code = chosen.removeprefix("group ").rpartition(" ")
        return by_group(data, title, int(code))
    if chosen.startswith("pair "):
        return load_sample(chosen.removeprefix("pair "))[1]
    return data


def _experiment(now: Sitting, model: ModelHandle, data: DataHandle) -> WrongData | None:
    with st.container(key="panel-wrong", gap="small"):
        st.html("<h3 class='t-group'>Learn from the wrong data</h3>")
        every = {one.named(data): one for one in ways(data)}
        key = f"data-wrong-{model.id}"
        chosen: list[str] = st.pills(
            "Beside the right data", list(every), selection_mode="multi", default=list(every), key=key,
            persist_state="session",
        )  # fmt: skip
        first, second = st.columns(2, gap="small")
        epochs = first.number_input("Epochs", 0.1, 100.0, 2.0, 0.5, key="data-epochs", persist_state="session")
        seeds = second.number_input("Seeds", 1, 10, SEEDS, key="data-seeds", persist_state="session")
        first, second = st.columns(2, gap="small")
        most = first.number_input("Examples", 50, 1_000_000, 2_000, 500, key="data-examples", persist_state="session")
        rates: list[float] = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]
        rate = second.selectbox(
            "Highest rate", rates, 4, key="data-rate", format_func=lambda one: f"{one:g}", persist_state="session"
        )
        if not chosen:
            show.small("Choose one kind of wrong data at least.")
            return None
        values = {"epochs": round(epochs / 0.05) * 0.05, "examples": int(most) // 10 * 10, "rate": rate}
        recipe = with_training(untrained(now.recipe), "fine-tune", values)
        wrongs: tuple[Wrong, ...] = tuple(every[name] for name in every if name in chosen)
        found = wrong_data_of(model, data, recipe, wrongs, int(seeds))
        _buttons(found)
        show.small("As many steps of fine-tuning of your recipe each time. What wrong data teach is thrown away.")
        return found


def _buttons(found: WrongData) -> None:
    standing = found.standing()

    def start() -> None:
        try:
            DESK.start(found)
        except TemperError as error:
            sitting().notice = error

    if found.alive:
        st.button("Stop", icon=":material/stop:", key="wrong-stop", on_click=found.cancel, width="stretch")
    elif standing.state != "done":
        label = "Go on" if standing.done else "See what they do"
        st.button(label, icon=":material/play_arrow:", key="wrong-start", on_click=start, width="stretch")
    else:
        st.button(
            "Forget this experiment", icon=":material/delete:", key="wrong-forget", type="tertiary", width="stretch",
            on_click=found.forget,
        )  # fmt: skip


def board(now: Sitting, model: ModelHandle, data: DataHandle, asked: Asked | None) -> None:
    """The right side: verdicts with their evidence, then the experiment."""
    show.heading("Will this data do?", 1)
    if asked is None:
        return
    busy = asked.look.alive or (asked.experiment is not None and asked.experiment.alive)
    st.fragment(_board, run_every=BEAT if busy else None)(data, asked, busy)


def _board(data: DataHandle, asked: Asked, was_busy: bool) -> None:
    busy = asked.look.alive or (asked.experiment is not None and asked.experiment.alive)
    if was_busy and not busy:
        st.rerun()
    with guarded():
        found: Suitability | None = asked.look.found()
        if asked.look.alive:
            left = asked.look.seconds_left
            rest = "" if left is None else f", about {max(1, round(left))} s left"
            st.progress(min(asked.look.fraction, 1.0), f"Looking: {100 * asked.look.fraction:.0f} %{rest}")
        elif asked.look.note:
            st.warning(asked.look.note, icon=":material/info:")
        elif found is None:
            n = asked.offered.split("fit").n
            st.html(
                f"<p class='t-lead'>{n:,} examples to learn from, of '{escape(asked.offered.title)}'. Four "
                "questions: has "
                "every class its share, does the network see what it knows, is anything among them that judges, and "
                "do the labels look right?</p>"
            )
        if asked.experiment is not None:
            _learned(data, asked.experiment)
        if found is not None and not asked.look.alive:
            _found(data, found)


def _learned(data: DataHandle, experiment: WrongData) -> None:
    standing, lead = experiment.standing(), data.task.facts.headline
    if experiment.alive:
        text = "Waiting for other work" if standing.state == "queued" else "Learning from right and wrong data"
        st.progress(standing.fraction, f"{text}: {standing.done} of {standing.total} trainings")
    if standing.note:
        st.warning(standing.note, icon=":material/info:")
    arms = experiment.found()
    if arms:
        show.chart(
            wrong_data_chart(arms, experiment.before(), lead, mode()), "The same training on other data", "wrong"
        )
        show.small(
            f"Fine-tuning for about as many steps each, {experiment.seeds} seed{'s' * (experiment.seeds > 1)}. Dots: "
            "the mean over the seeds with the 95 % interval of the paired change over evaluation examples, before "
            "confidence calibration."
        )


def _found(data: DataHandle, found: Suitability) -> None:
    items = []
    for one in found.findings:
        name, _ = MARKS[one.how]
        items.append(
            f"<li class='t-{one.how}'><b>{name}.</b> {escape(one.text)} "
            f"<a href='#{EVIDENCE[one.about].lower()}'>{EVIDENCE[one.about]}</a></li>"
        )
    show.heading(f"What is in {words.cut(found.offered.title, 60)}")
    st.html(f"<ul class='t-caption'>{''.join(items)}</ul>")
    _anchor("classes")
    if found.counts:
        show.chart(balance_chart(found.counts, found.offered.classes, mode()), "Classes", "data-balance")
    else:
        values = {str(split): part for split, part in target_values(found.offered).items()}
        show.chart(targets_chart(values, mode=mode()), "The numbers", "data-targets")
    _anchor("distance")
    show.chart(distance_chart(found.distance, mode()), "Distance to the original's data", "data-distance")
    show.small(
        f"What the original's last layer reads, along {found.distance.axes} main axes of calibration examples, "
        "which hold "
        f"{100 * found.distance.explained:.0f} % of their variance. Told apart: cross-fitted logistic "
        "regression on values "
        f"and squares. Halves: {len(found.distance.chance)} ways to split calibration examples in two."
    )
    _copies(data, found)
    _labels(found)


def _anchor(name: str) -> None:
    st.html(f"<a id='{name}'></a>")


def _copies(data: DataHandle, found: Suitability) -> None:
    copies = found.copies
    _anchor("copies")
    show.heading("Copies of what judges")
    show.small(
        f"Near: a cosine of {copies.bar:.3f} along the main axes. It is no lower than what half of the "
        "examples reach with themselves after a light change, and at most one evaluation example in a "
        "thousand reaches "
        f"it with one of calibration. {100 * (copies.near.value or 0):.1f} % of {copies.n:,} evaluation "
        "examples have one among "
        f"{copies.beside:,} to learn from, {100 * (copies.chance.value or 0):.1f} % among as many of calibration."
    )
    if not copies.pairs:
        show.small("No pair is as alike as that.")
        return
    telling = copies.exact > 0 or copies.more
    with st.expander("The pairs most alike", expanded=telling):
        _pairs(data, found)


def _pairs(data: DataHandle, found: Suitability) -> None:
    for pair in found.copies.pairs[:PAIRS]:
        left, right = _seen(found.offered, "fit", [pair.fit])[0], _seen(data, "evaluation", [pair.evaluation])[0]
        tag = "read as the very same" if pair.exact else f"cosine {pair.cosine:.3f}"
        st.html(
            f"<div class='t-gallery t-rows'><figure>{left}<figcaption>to learn from, "
            f"{pair.fit:,}</figcaption></figure>"
            f"<figure>{right}<figcaption>judges, {pair.evaluation:,}; {tag}</figcaption></figure></div>"
        )


def _labels(found: Suitability) -> None:
    if found.noise is None:
        return
    _anchor("labels")
    show.heading("Labels that look wrong")
    show.small(
        f"Confident learning (Northcutt et al. 2021) on {found.noise.n:,} examples, by cross-fitted logistic "
        "regression on "
        "what the last layer reads: an estimate. Of labels made wrong on purpose it finds "
        f"{words.percent(found.noise.found, 0)}; what it doubts may be right."
    )
    some: Sequence[Doubt] = found.noise.doubtful[:DOUBTS]
    if not some:
        show.small("It doubts none of them.")
        return
    names, parts = found.offered.classes, []
    for one, seen in zip(some, _seen(found.offered, "fit", [one.place for one in some]), strict=True):
        parts.append(
            f"<figure>{seen}<figcaption>labelled {escape(names[one.given])}<br>looks like "
            f"{escape(names[one.other])}, {words.percent(one.other_share, 0)}</figcaption></figure>"
        )
    kind = {"text": "t-texts", "table": "t-rows"}.get(found.offered.modality, "")
    st.html(f"<div class='t-gallery {kind}'>{''.join(parts)}</div>")


def _seen(data: DataHandle, split: str, places: list[int]) -> list[str]:
    """Examples as HTML: pictures, rows or texts, with their labels where they are no pictures."""
    name = "fit" if split == "fit" else "evaluation"
    if data.modality == "pictures":
        return [
            f"<img alt='{escape(said_label(data, one.label), quote=True)}, example {one.place}' "
            f"src='data:image/png;base64,{base64.b64encode(one.stored).decode()}'>"
            for one in seen_pictures(data, places, name)
        ]
    loaded = load_split(data, name)
    found = []
    for place in places:
        truth = f"<p class='t-truth'>{escape(said_label(data, loaded.y[place]))}</p>"
        if data.modality == "text":
            body = f"<blockquote>{escape(words.cut(str(loaded.x[place]), 240))}</blockquote>"
        else:
            body = row(most_unusual(data, [place], VALUES, name)[0])
        found.append(f"{truth}{body}")
    return found
