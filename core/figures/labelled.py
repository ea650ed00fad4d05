"""What a trained body is worth: the leading metric against the number of labelled examples, by way of learning."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from core.figures import said, words
from core.figures.theme import DASHES, layout, note, palette, translucent
from core.registry import register
from core.sweeps.front import better_high
from core.training.gain import Gain
from core.training.labelled import WAYS, Judged, Labelled
from core.training.loop import Look
from core.types import Chart

HEIGHT = 360  # px
STYLES = {"frozen": ("circle-open", "4px,3px"), "unfrozen": ("circle", "solid"), "scratch": ("diamond", "1px,3px")}
APART = 0.02  # decades between two ways at one number of examples, so that their intervals are seen
ROOM = 0.08  # of the range of values, above and below


def means(found: Labelled) -> dict[tuple[str, int], Judged]:
    """By way and number of examples: value and interval, the mean over seeds where there are several."""
    by: dict[tuple[str, int], list[Judged]] = {}
    for point in found.points:
        by.setdefault((point.way, point.count), []).append(point)

    def mean(some: list[Judged]) -> Judged:
        value, low, high = (sum(getattr(p, part) for p in some) / len(some) for part in ("value", "low", "high"))
        return Judged(some[0].way, some[0].count, len(some), value, low, high)

    return {key: mean(some) for key, some in by.items()}


@register(
    kind="chart",
    name="labelled",
    title="Labelled examples",
    summary="The leading metric by the number of labelled examples: body frozen, unfrozen and from scratch.",
    reference="Yosinski et al. 2014, How transferable are features in deep neural networks?, arXiv 1411.1792; "
    "He, Girshick and Dollar 2019, Rethinking ImageNet pre-training, arXiv 1811.08883 (from scratch)",
)
def labelled_chart(found: Labelled, mode: str = "light") -> Chart:
    """A line a way through its means, a bar for the interval on evaluation and a dot for every seed."""
    p, unit = palette(mode), found.unit
    colours = {"frozen": p.original, "unfrozen": p.tempered, "scratch": p.grey}
    factor, by = said.factor(unit), means(found)
    figure = go.Figure()
    for place, way in enumerate(WAYS):
        symbol, dash = STYLES[way.name]
        line = sorted((one for one in by.values() if one.way == way.name), key=lambda one: one.count)
        x = [_beside(one.count, place) for one in line]
        figure.add_scatter(
            x=x, y=[factor * one.value for one in line], mode="lines+markers", name=way.title,
            uid=f"labelled-{way.name}", line={"color": colours[way.name], "width": 2, "dash": dash},
            marker={"color": colours[way.name], "size": 9, "symbol": symbol},
            customdata=[[one.count, factor * one.low, factor * one.high] for one in line],
            error_y={
                "type": "data", "symmetric": False, "color": translucent(colours[way.name], 0.7), "width": 4,
                "array": [factor * (one.high - one.value) for one in line],
                "arrayminus": [factor * (one.value - one.low) for one in line],
            },
            hovertemplate=f"{way.title}, %{{customdata[0]:,}} examples<br>%{{y:.3g}} "
            "[%{customdata[1]:.3g}, %{customdata[2]:.3g}]<extra></extra>",
        )  # fmt: skip
        several = [one for one in found.points if one.way == way.name and by[one.way, one.count].seed > 1]
        figure.add_scatter(
            x=[_beside(one.count, place) for one in several], y=[factor * one.value for one in several],
            mode="markers", uid=f"labelled-{way.name}-seeds", hoverinfo="skip",
            marker={"color": translucent(colours[way.name], 0.55), "size": 5, "symbol": "circle"},
        )  # fmt: skip
    counts = sorted({one.count for one in found.points} | {found.fit})
    ends = [math.log10(min(*counts, found.fit / 2)) - 0.12, math.log10(max(counts)) + 0.12]
    before = found.before
    figure.add_scatter(
        x=[10 ** ends[0], 10 ** ends[1]] if before else [], y=[factor * before.value] * 2 if before else [],
        mode="lines", uid="labelled-before", hoverinfo="skip",
        line={"color": p.muted, "width": 1.2, "dash": DASHES["original"]},
    )  # fmt: skip
    layout(
        figure, mode, HEIGHT, margin=(62, 24, 40, 50),
        xaxis={
            "type": "log", "range": ends, "tickvals": counts, "ticktext": [_tick(c, found.fit) for c in counts],
            "title": {"text": "labelled examples learned from"},
        },
        yaxis={
            "range": _range(found, factor), "nticks": 6,
            "title": {"text": f"{said.title(found.measure)}, {said.shown_unit(unit)}".removesuffix(", ")},
        },
    )  # fmt: skip
    _key(figure, colours, mode)
    there = "- -  before learning" if before else ""
    note(figure, there, mode, 0.24 * len(WAYS), 1.0, anchor=("left", "bottom"), shift=(0, 10), colour=p.muted)
    return Chart(figure, _alt(found, by), labelled_caption(found), labelled_table(found))


def _beside(count: int, place: int) -> float:
    return float(count * 10 ** (APART * (place - 1)))


def _tick(count: int, fit: int) -> str:
    return f"all {words.count(count)}" if count == fit else words.count(count)


def _range(found: Labelled, factor: float) -> list[float]:
    ends = [factor * end for one in found.points for end in (one.low, one.high)]
    ends += [factor * found.before.value] if found.before else []
    if not ends:
        return [0.0, 1.0 * factor]
    span = max(max(ends) - min(ends), 0.02 * abs(max(ends)), 1e-9)
    return [min(ends) - ROOM * span, max(ends) + ROOM * span]


def _key(figure: go.Figure, colours: dict[str, str], mode: str) -> None:
    marks = {"frozen": "○", "unfrozen": "●", "scratch": "◆"}
    for place, way in enumerate(WAYS):
        note(figure, f"{marks[way.name]}  {way.title.lower()}", mode, 0.24 * place, 1.0, anchor=("left", "bottom"),
             shift=(0, 10), colour=colours[way.name])  # fmt: skip


def labelled_caption(found: Labelled) -> str:
    """One sentence of what the numbers rest on."""
    done = len(found.points)
    seeds = max((one.seed for one in means(found).values()), default=1)
    over = f", dots the {seeds} seeds and lines their means" if seeds > 1 else ", one seed"
    state = "" if done == found.wanted else f"; {done} of {found.wanted} trainings are done"
    return (
        f"About {words.count(found.steps)} steps of learning at every point, bars the 95 % intervals on "
        f"{words.count(found.n)} evaluation examples{over}{state}."
    )


def _alt(found: Labelled, by: dict[tuple[str, int], Judged]) -> str:
    listed = "; ".join(
        f"{way.title}: "
        + ", ".join(
            f"{said.value(one.value, found.unit)} with {words.count(one.count)}"
            for one in sorted(by.values(), key=lambda one: one.count)
            if one.way == way.name
        )
        for way in WAYS
        if any(one.way == way.name for one in by.values())
    )
    return (
        f"{said.title(found.measure)} by labelled examples, {len(found.points)} trainings. {listed or 'Nothing yet'}."
    )


def labelled_table(found: Labelled) -> pd.DataFrame:
    """Every training, a row each."""
    titles = {way.name: way.title for way in WAYS} | {"before": "Nothing learned"}
    shown = said.shown_unit(found.unit)
    lead = f"{said.title(found.measure)}, {shown}".removesuffix(", ")
    factor = said.factor(found.unit)
    some = [*([found.before] if found.before else []), *found.points]
    rows = [
        (titles[one.way], one.count, one.seed, *(round(factor * v, 3) for v in (one.value, one.low, one.high)))
        for one in some
    ]
    return pd.DataFrame(rows, columns=["Way", "Labelled examples", "Seed", lead, "Low", "High"])


def labelled_sentence(found: Labelled) -> str:
    """What the trained body is worth with few examples and with all, as far as the intervals tell it apart.

    Unfrozen is held against from scratch, whichever does best: the better of two would be chosen by what judges.
    """
    by = means(found)
    parts = []
    counts = sorted({count for _, count in by})
    for count in dict.fromkeys((*counts[:1], *counts[-1:])):
        frozen, unfrozen, alone = (by.get((way.name, count)) for way in WAYS)
        if frozen is None or unfrozen is None or alone is None:
            continue
        amount = f"all {words.count(count)}" if count == found.fit else words.count(count)
        values = (said.value(one.value, found.unit) for one in (frozen, unfrozen, alone))
        parts.append(
            f"With {amount} labelled examples the body frozen reaches {next(values)}, unfrozen {next(values)} and "
            f"from scratch {next(values)}: {_told_apart(unfrozen, alone, found)}."
        )
    return " ".join(parts)


def _told_apart(trained: Judged, alone: Judged, found: Labelled) -> str:
    if trained.low <= alone.high and alone.low <= trained.high:
        return "the last two intervals overlap, so this does not tell them apart"
    ahead = (trained.value > alone.value) == better_high(found.measure)
    gap = f"{said.moved(abs(trained.value - alone.value), found.unit)} {said.moved_unit(found.unit)}".strip().lstrip(
        "+"
    )
    return f"of the last two, {gap} in favour of {'what it had learned before' if ahead else 'beginning anew'}"


def moved_sentence(found: Gain, looks: Sequence[Look], drawn: bool) -> str:
    """What learning brought to a moved model; where its last layer was `drawn`, it knew nothing before."""
    lead = found.task.facts.headline
    unit, change = found.task.unit_of(said.unit_of(lead)), found.change[lead]
    time = f"{looks[-1].seconds:.0f} s and {looks[-1].epoch:.3g} epochs of learning" if looks else "Learning"
    was, now = said.value(found.before[lead], unit), said.value(found.after[lead], unit)
    if drawn:
        return (
            f"After {time} {said.name(lead)} is {now} on {words.count(found.n)} evaluation examples; with the new "
            f"last layer as it was drawn it is {was}."
        )
    moved = f"{said.moved(change.value, unit)} {said.moved_unit(unit)}".strip()
    ends = change.interval
    between = f" [{said.moved(ends.low, unit)}, {said.moved(ends.high, unit)}]" if ends is not None else ""
    sure = ends is not None and not ends.low <= 0 <= ends.high
    chance = "" if sure else ", which chance alone could have done"
    return (
        f"{time} brought {said.name(lead)} from {was} to {now}: {moved}{between}{chance}, on "
        f"{words.count(found.n)} evaluation examples of the new data."
    )
