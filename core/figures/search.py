"""A search: every recipe by what the choosing half said, the budgets, and what the evaluation set said since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from core.figures import _spots, words
from core.figures._view import View, axes, view_of
from core.figures.theme import DASHES, SMALL, SYMBOLS, layout, note, palette, translucent
from core.registry import register
from core.search.goal import Goal, Tried
from core.search.search_table import search_table
from core.sweeps.front import Spot, better_high, front
from core.types import Chart

HEIGHT = 420  # px


@register(
    kind="chart",
    name="search",
    title="Search",
    summary="A measure against bytes for every recipe of a search, with the budgets and the verdict of evaluation.",
    reference="Akiba et al. 2019, Optuna (arXiv 1907.10902)",
)
def search_chart(
    tried: Sequence[Tried], goal: Goal, judged: Mapping[str, Tried], original: Spot | None, mode: str = "light"
) -> Chart:
    """`judged` by the recipe's fingerprint; `original` as the choosing half sees it. Points carry their trial."""
    p = palette(mode)
    known = [one for one in tried if not one.spot.error]
    spots = [one.spot for one in known]
    verdicts = [v for v in judged.values() if not v.spot.error]
    scale = _spots.Scale.of(goal.measure, [*spots, *([original] if original else [])])
    drawn = [spot for spot in spots if scale.shown(spot) is not None]
    best = goal.best(tried)
    view = view_of(
        [*drawn, *(v.spot for v in verdicts), *(v.original for v in verdicts[:1])],
        original,
        scale,
        "packed",
        best.spot.place if best else None,
    )
    keeps = {one.spot.place for one in known if goal.keeps(one)}
    shown = [s for s in drawn if view.inside(view.value(s))]
    found = front([s for s in drawn if s.place in keeps], goal.measure)

    figure = go.Figure()
    _stairs(figure, {s.place: s for s in drawn}, found.members, view, mode)
    _budgets(figure, goal, original, view, mode)
    grey = {"symbol": "circle", "size": 7, "color": p.grey, "opacity": 0.75, "line": {"width": 0, "color": p.grey}}
    lead = {"symbol": "circle", "size": 9, "color": p.tempered, "line": {"width": 1.5, "color": p.background}}
    _points(figure, [s for s in shown if s.place not in keeps], view, grey, "outside")
    _points(figure, [s for s in drawn if s not in shown], view, grey | {"symbol": _edge(view)}, "beyond")
    _points(figure, [s for s in shown if s.place in keeps], view, lead, "within")
    _verdicts(figure, verdicts, {one.spot.recipe.fingerprint: one for one in known}, view, mode)
    _original(figure, original, verdicts, view, mode)
    ring = {"symbol": "circle-open", "size": 19, "color": p.tempered, "line": {"width": 2, "color": p.tempered}}
    figure.add_scatter(
        x=[view.cost(best.spot)] if best else [], y=[view.height(best.spot)] if best else [], mode="markers",
        marker=ring, hoverinfo="skip", uid="best",
    )  # fmt: skip
    layout(figure, mode, HEIGHT, margin=(58, 18, 30, 46), **axes(view, bool(drawn)))
    _words(figure, drawn, verdicts, view, mode)
    caption = _caption(tried, keeps, goal, best, judged, original, scale)
    alt = (
        f"Scatter of {scale.name} on the choosing half of the calibration split against packed size: {len(drawn)} of "
        f"{len(tried)} recipes, {len(keeps)} within the budgets, {len(verdicts)} judged on evaluation. {caption}"
    )
    return Chart(figure, alt, caption, search_table(goal, tried, judged))


def _edge(view: View) -> str:
    return "triangle-down" if view.scale.up else "triangle-up"


def _points(figure: go.Figure, some: Sequence[Spot], view: View, marker: dict[str, Any], uid: str) -> None:
    seen = {"marker": {"opacity": marker.get("opacity", 1)}}
    figure.add_scatter(
        x=[view.cost(s) for s in some], y=[view.height(s) for s in some], customdata=[list(s.place) for s in some],
        text=[_said(s) for s in some], hovertemplate="%{text}<extra></extra>", mode="markers", marker=marker,
        selected=seen, unselected=seen, uid=uid,
    )  # fmt: skip


def _said(spot: Spot, by: str = "choosing") -> str:
    return f"{_spots.hover(spot)}<br>{'chosen by these examples' if by == 'choosing' else 'judged by these'}"


def _stairs(figure: go.Figure, by_place: dict[Any, Spot], members: Sequence[Any], view: View, mode: str) -> None:
    x: list[float] = []
    y: list[float] = []
    for spot in (by_place[place] for place in members):
        x += [view.cost(spot)] * 2
        y += [y[-1] if y else view.height(spot), view.height(spot)]
    figure.add_scatter(
        x=[*x, *([view.x[1]] if x else [])], y=[*y, *(y[-1:])], mode="lines", hoverinfo="skip", uid="stairs",
        line={"color": translucent(palette(mode).tempered, 0.6), "width": 1.5},
    )  # fmt: skip


def _budgets(figure: go.Figure, goal: Goal, original: Spot | None, view: View, mode: str) -> None:
    """A line at most bytes, and one at the worst value allowed."""
    worst = _worst(goal, original)
    level = [worst * (100 if view.scale.unit == "fraction" else 1)] * 2 if worst is not None else []
    inside = bool(level) and view.y[0] <= level[0] <= view.y[1]
    room = [float(goal.most_bytes)] * 2 if goal.most_bytes and view.x[0] <= goal.most_bytes <= view.x[1] else []
    line = {"color": palette(mode).muted, "width": 1.2, "dash": "2px,3px"}
    figure.add_scatter(
        x=list(view.x) if inside else [], y=level if inside else [], mode="lines", line=line, hoverinfo="skip",
        uid="budget-value",
    )  # fmt: skip
    figure.add_scatter(
        x=room, y=list(view.y) if room else [], mode="lines", line=line, hoverinfo="skip", uid="budget-bytes"
    )


def _worst(goal: Goal, original: Spot | None) -> float | None:
    """The worst value that the budgets allow on the choosing half, its error left aside."""
    up = better_high(goal.measure)
    limits = [] if goal.limit is None else [goal.limit]
    if goal.most_lost is not None and original is not None:
        before = original.values[goal.measure].value or 0.0
        limits.append(before - goal.most_lost if up else before + goal.most_lost)
    return (max if up else min)(limits, default=None)


def _verdicts(figure: go.Figure, judged: Sequence[Tried], tried: dict[str, Tried], view: View, mode: str) -> None:
    """What evaluation says, joined to what chose."""
    p = palette(mode)
    x: list[float | None] = []
    y: list[float | None] = []
    for one in judged:
        chose = tried.get(one.spot.recipe.fingerprint)
        if chose is not None:
            x += [view.cost(one.spot), view.cost(one.spot), None]
            y += [view.height(chose.spot), view.height(one.spot), None]
    figure.add_scatter(
        x=x, y=y, mode="lines", hoverinfo="skip", line={"color": translucent(p.text, 0.55), "width": 1}, uid="moved"
    )
    some = [one.spot for one in judged]
    seen = {"marker": {"opacity": 1}}
    figure.add_scatter(
        x=[view.cost(s) for s in some], y=[view.height(s) for s in some], mode="markers",
        customdata=[list(s.place) for s in some], text=[_said(s, "judging") for s in some],
        hovertemplate="%{text}<extra></extra>", selected=seen, unselected=seen, uid="judged",
        marker={"symbol": "diamond-open", "size": 10, "color": p.text, "line": {"width": 2, "color": p.text}},
    )  # fmt: skip


def _original(figure: go.Figure, original: Spot | None, judged: Sequence[Tried], view: View, mode: str) -> None:
    """The original on the choosing half and, once something was judged, on the evaluation set."""
    p = palette(mode)
    some = [original] if original is not None and view.scale.shown(original) is not None else []
    figure.add_scatter(
        x=list(view.x) if some else [], y=[view.value(s) for s in some] * 2, mode="lines", hoverinfo="skip",
        uid="level", line={"color": translucent(p.original, 0.6), "width": 1, "dash": DASHES["original"]},
    )  # fmt: skip
    figure.add_scatter(
        x=[view.cost(s) for s in some], y=[view.value(s) for s in some], mode="markers",
        text=[f"<b>Original</b><br>{_said(s).split('<br>', 1)[-1]}" for s in some],
        hovertemplate="%{text}<extra></extra>", uid="search-original",
        marker={"symbol": SYMBOLS["original"], "size": 12, "color": p.original,
                "line": {"width": 2.5, "color": p.original}},
    )  # fmt: skip
    beside = [one.original for one in judged[:1]]
    figure.add_scatter(
        x=[view.cost(s) for s in beside], y=[view.height(s) for s in beside], mode="markers",
        text=[f"<b>Original</b><br>{_said(s, 'judging').split('<br>', 1)[-1]}" for s in beside],
        hovertemplate="%{text}<extra></extra>", uid="judged-original",
        marker={"symbol": "diamond-open", "size": 10, "color": p.original,
                "line": {"width": 2, "color": p.original}},
    )  # fmt: skip


def _words(figure: go.Figure, drawn: Sequence[Spot], judged: Sequence[Tried], view: View, mode: str) -> None:
    p = palette(mode)
    if not drawn:
        note(figure, "No recipe to show yet.", mode, 0.5, 0.5, anchor=("center", "middle"), colour=p.muted)
        return
    key = [("●", p.tempered, "within the budgets"), ("●", p.grey, "outside"), ("○", p.original, "original")]
    key += [("◇", p.text, "the same on evaluation")] if judged else []
    text = "   ".join(f"<span style='color:{colour}'>{mark}</span> {name}" for mark, colour, name in key)
    note(figure, text, mode, 0, 1, shift=(0, 8), colour=p.muted, size=SMALL)
    hidden = sum(not view.inside(view.value(s)) for s in drawn)
    if hidden:
        up = view.scale.up
        text = f"{'▼' if up else '▲'} {hidden} {'lie' if hidden > 1 else 'lies'} {'below' if up else 'above'}"
        note(figure, text, mode, 1, 0 if up else 1, anchor=("right", "bottom" if up else "top"),
             shift=(-6, 14 if up else -14), backed=True, colour=p.muted, size=SMALL)  # fmt: skip


def _caption(
    tried: Sequence[Tried], keeps: set[Any], goal: Goal, best: Tried | None, judged: Mapping[str, Tried],
    original: Spot | None, scale: _spots.Scale,
) -> str:  # fmt: skip
    count = len(tried)
    text = f"{count} recipe{'' if count == 1 else 's'} tried, {len(keeps)} within the budgets"
    if best is None:
        return f"{text}."
    text += f"; best so far is {best.spot.label} with {scale.said(scale.shown(best.spot) or 0.0)}"
    text += f" in {words.size(best.spot.packed or 0)}"
    if original is not None and original.packed and best.spot.packed:
        text += f", {words.ratio(original.packed, best.spot.packed)}"
    verdict = judged.get(best.spot.recipe.fingerprint)
    if verdict is not None and not verdict.spot.error:
        text += f", and {scale.said(scale.shown(verdict.spot) or 0.0)} on evaluation, which chose nothing"
    return f"{text}."
