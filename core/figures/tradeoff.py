"""What a measure costs: every point of a grid against its bytes or its time, and the front of the best."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import plotly.graph_objects as go

from core.figures import _spots, words
from core.figures._view import View, axes, view_of
from core.figures.theme import DASHES, SMALL, SYMBOLS, layout, note, palette, translucent
from core.registry import register
from core.sweeps.front import Front, Spot
from core.sweeps.plan import Place, Plan
from core.sweeps.table import spots_table
from core.types import Chart

HEIGHT = 420  # px
NARROW = 440  # px: the panel of a narrow chart
LETTER = 7.2  # px: a bold letter of a name
FAINT = 0.32  # opacity of points outside the limits


@register(
    kind="chart",
    name="tradeoff",
    title="Trade-off",
    summary="A measure against bytes or time for every recipe of a grid, with the front and how sure it is.",
    reference="Blalock et al. 2020, What is the state of neural network pruning? (arXiv 2003.03033)",
)
def tradeoff_chart(
    spots: Sequence[Spot],
    front: Front,
    original: Spot | None,
    measure: str,
    by: str,
    *,
    mode: str = "light",
    allowed: Collection[Place] | None = None,
    best: Place | None = None,
    here: Place | None = None,
    plan: Plan | None = None,
) -> Chart:
    """`by` is `packed`, `file` (bytes) or `latency` (ms). Points carry their place as customdata.

    Points outside `allowed` are faint; `best` is named, `here` ringed. `plan` names the table's parameters.
    """
    p = palette(mode)
    scale = _spots.Scale.of(measure, [*spots, *([original] if original else [])])
    drawn = [s for s in spots if scale.shown(s) is not None and s.size(by) is not None]
    view = view_of(drawn, original, scale, by, best)
    inside = [s for s in drawn if view.inside(view.value(s))]
    bright = [s for s in inside if allowed is None or s.place in allowed]
    faint = [s for s in inside if allowed is not None and s.place not in allowed]
    members, certain = set(front.members), set(front.certain)

    figure = go.Figure()
    _stairs(figure, drawn, front, view, mode)
    hollow = {"symbol": "circle-open", "size": 7, "color": p.grey, "line": {"width": 1.5, "color": p.grey}}
    solid = {"symbol": "circle", "size": 7, "color": p.grey, "line": {"width": 0, "color": p.grey}}
    lead = {"size": 11, "color": p.tempered}
    perhaps = lead | {"symbol": "circle-open", "line": {"width": 2, "color": p.tempered}}
    sure = lead | {"symbol": "circle", "line": {"width": 1.5, "color": p.background}}
    marks: list[tuple[str, list[Spot], dict[str, Any]]] = [
        ("faint-estimated", [s for s in faint if not s.exact], hollow | {"opacity": FAINT}),
        ("faint-measured", [s for s in faint if s.exact and s.place not in members], solid | {"opacity": FAINT}),
        ("faint-front", [s for s in faint if s.place in members], perhaps | {"opacity": FAINT + 0.13}),
        ("estimated", [s for s in bright if not s.exact], hollow),
        ("measured", [s for s in bright if s.exact and s.place not in members], solid),
        ("beyond", [s for s in drawn if not view.inside(view.value(s))], {}),
        ("front-uncertain", [s for s in bright if s.place in members - certain], perhaps),
        ("front-certain", [s for s in bright if s.place in certain], sure),
    ]
    for uid, some, marker in marks:
        if uid == "beyond":
            _beyond(figure, some, front, view, mode)
        else:
            _points(figure, some, front, view, marker, uid, bars=uid == "estimated", mode=mode)
    _original(figure, original, view, mode)
    by_place = {s.place: s for s in drawn}
    chosen, current = by_place.get(best) if best else None, by_place.get(here) if here else None
    _ring(figure, current, view, {"size": 25, "color": p.text}, "here")
    _ring(figure, chosen, view, {"size": 19, "color": p.tempered}, "best")
    layout(figure, mode, HEIGHT, margin=(58, 18, 30, 46), **axes(view, bool(drawn)))
    _words(figure, view, drawn, chosen, current, original, mode)
    caption = _caption(spots, drawn, front, original, view, chosen, allowed)
    alt = (
        f"Scatter of {scale.name} against {_spots.COSTS[by]}: {len(drawn)} of {len(spots)} points, "
        f"{sum(not s.exact for s in drawn)} of them estimated, {len(members)} on the front. {caption}"
    )
    return Chart(figure, alt, caption, spots_table(plan, spots, front))


def _stairs(figure: go.Figure, drawn: Sequence[Spot], front: Front, view: View, mode: str) -> None:
    """What is attainable at each cost: level from a member to the next, where the value steps up to its."""
    by_place = {s.place: s for s in drawn}
    members = [by_place[place] for place in front.members if place in by_place]
    worst = view.y[0] if view.scale.up else view.y[1]
    x: list[float] = []
    y: list[float] = []
    for spot in members:
        x += [view.cost(spot)] * 2
        y += [y[-1] if y else worst, view.value(spot)]
    if members:
        x.append(view.x[1])
        y.append(y[-1])
    p = palette(mode)
    area = {"x": [*x, *([x[-1]] if x else [])], "y": [*y, *([worst] if y else [])]}
    figure.add_scatter(
        **area, mode="lines", fill="toself", fillcolor=translucent(p.tempered, 0.045), hoverinfo="skip",
        line={"width": 0, "color": p.tempered}, uid="attainable",
    )  # fmt: skip
    figure.add_scatter(
        x=x, y=y, mode="lines", line={"color": translucent(p.tempered, 0.6), "width": 1.5}, hoverinfo="skip",
        uid="stairs",
    )  # fmt: skip


def _points(
    figure: go.Figure,
    some: Sequence[Spot],
    front: Front,
    view: View,
    marker: dict[str, Any],
    uid: str,
    *,
    bars: bool,
    mode: str,
) -> None:
    """Points that a click selects, with their intervals where `bars`."""
    values = [view.value(s) for s in some]
    ends = [view.scale.ends(s) if bars else (v, v) for s, v in zip(some, values, strict=True)]
    seen = {"marker": {"opacity": marker.get("opacity", 1)}}
    figure.add_scatter(
        x=[view.cost(s) for s in some],
        y=values,
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [high - v for (_, high), v in zip(ends, values, strict=True)],
            "arrayminus": [v - low for (low, _), v in zip(ends, values, strict=True)],
            "color": translucent(palette(mode).grey, 0.55),
            "thickness": 1,
            "width": 0,
        },
        customdata=[list(s.place) for s in some],
        text=[_spots.hover(s, front) for s in some],
        hovertemplate="%{text}<extra></extra>",
        mode="markers",
        marker=marker,
        selected=seen,
        unselected=seen,
        uid=uid,
    )


def _beyond(figure: go.Figure, some: Sequence[Spot], front: Front, view: View, mode: str) -> None:
    """Points outside the range, as arrows at its edge."""
    p = palette(mode)
    symbol = "triangle-down" if view.scale.up else "triangle-up"
    figure.add_scatter(
        x=[view.cost(s) for s in some], y=[view.edge] * len(some), customdata=[list(s.place) for s in some],
        text=[_spots.hover(s, front) for s in some], hovertemplate="%{text}<extra></extra>", mode="markers",
        marker={"symbol": symbol, "size": 7, "color": p.grey, "opacity": 1},
        selected={"marker": {"opacity": 1}}, unselected={"marker": {"opacity": 1}}, uid="beyond",
    )  # fmt: skip


def _original(figure: go.Figure, original: Spot | None, view: View, mode: str) -> None:
    p = palette(mode)
    known = original is not None and view.scale.shown(original) is not None
    some = [original] if original is not None and known and original.size(view.by) is not None else []
    figure.add_scatter(
        x=[view.cost(s) for s in some], y=[view.value(s) for s in some], mode="markers",
        text=[f"<b>Original</b><br>{_spots.hover(s).split('<br>', 1)[-1]}" for s in some],
        hovertemplate="%{text}<extra></extra>",
        marker={"symbol": SYMBOLS["original"], "size": 12, "color": p.original,
                "line": {"width": 2.5, "color": p.original}},
        selected={"marker": {"opacity": 1}}, unselected={"marker": {"opacity": 1}}, uid="tradeoff-original",
    )  # fmt: skip
    level = [view.value(original)] * 2 if original is not None and known else []
    figure.add_scatter(
        x=list(view.x) if level else [], y=level, mode="lines", hoverinfo="skip", uid="level",
        line={"color": translucent(p.original, 0.6), "width": 1, "dash": DASHES["original"]},
    )  # fmt: skip


def _ring(figure: go.Figure, spot: Spot | None, view: View, marker: dict[str, Any], uid: str) -> None:
    some = [spot] if spot else []
    figure.add_scatter(
        x=[view.cost(s) for s in some], y=[view.height(s) for s in some], mode="markers", hoverinfo="skip",
        marker=marker | {"symbol": "circle-open", "line": {"width": 2, "color": marker["color"]}, "opacity": 1},
        unselected={"marker": {"opacity": 1}}, uid=uid,
    )  # fmt: skip


def _words(
    figure: go.Figure,
    view: View,
    drawn: Sequence[Spot],
    chosen: Spot | None,
    current: Spot | None,
    original: Spot | None,
    mode: str,
) -> None:
    p = palette(mode)
    up = view.scale.up
    quiet: dict[str, Any] = {"colour": p.muted, "size": SMALL}
    if not drawn:
        note(figure, "No points to show yet.", mode, 0.5, 0.5, anchor=("center", "middle"), colour=p.muted)
        return
    key = [("●", p.tempered, "on the front"), ("○", p.tempered, "perhaps"), ("●", p.grey, "others")]
    key += [("○", p.grey, "estimated")] if any(not s.exact for s in drawn) else []
    key += [("○", p.original, "original")] if original is not None else []
    key += [("◯", p.text, "in the Studio")] if current is not None else []
    text = "   ".join(f"<span style='color:{colour}'>{mark}</span> {name}" for mark, colour, name in key)
    note(figure, text, mode, 0, 1, shift=(0, 8), **quiet)
    hidden = sum(not view.inside(view.value(s)) for s in drawn)
    if hidden:
        text = f"{'▼' if up else '▲'} {hidden} point{'s lie' if hidden > 1 else ' lies'} {'below' if up else 'above'}"
        note(figure, text, mode, 1, 0 if up else 1, anchor=("right", "bottom" if up else "top"),
             shift=(-6, 14 if up else -14), backed=True, **quiet)  # fmt: skip
    if chosen is not None:
        _name(figure, chosen, view, mode)


def _name(figure: go.Figure, spot: Spot, view: View, mode: str) -> None:
    """The name of the best point: before it, where nothing is attainable, or beyond all with a line to it."""
    p = palette(mode)
    up = view.scale.up
    label, x = words.name(spot.label, 40), view.along(view.cost(spot))
    text = f"<b>{label}</b><br>{view.scale.said(view.value(spot))}, {_spots.cost(view.cost(spot), view.by)}"
    fits = view.share(view.cost(spot)) * NARROW > LETTER * max(len(label), 16) + 12
    if not fits:
        end = view.y[1] if up else view.y[0]
        figure.add_shape(
            type="line", x0=view.cost(spot), x1=view.cost(spot), y0=view.height(spot), y1=end, layer="below",
            line={"color": translucent(p.tempered, 0.6), "width": 1, "dash": "2px,3px"},
        )  # fmt: skip
    height, shift = (view.height(spot), 9) if fits else (end, -4)
    anchor = ("right", "bottom" if up else "top") if fits else ("left", "top" if up else "bottom")
    note(figure, text, mode, x, height, xref="x", yref="y", anchor=anchor,
         shift=(-9 if fits else 6, shift if up else -shift), size=SMALL, backed=fits)  # fmt: skip


def _caption(
    spots: Sequence[Spot],
    drawn: Sequence[Spot],
    front: Front,
    original: Spot | None,
    view: View,
    chosen: Spot | None,
    allowed: Collection[Place] | None,
) -> str:
    known = [s for s in spots if view.scale.shown(s) is not None]
    without = _left_out([s for s in known if s.size(view.by) is None], view.by)
    if not drawn:
        text = f"0 of {len(spots)} points can be shown so far" if spots else "There are 0 points so far"
        return text + (f": {without}." if without else ".")
    exact = [s for s in drawn if s.exact]
    if not exact:
        text = f"{len(drawn)} points are estimated and none measured so far, so there is no front yet"
        return text + (f"; {without}." if without else ".")
    count = len(front.members)
    text = f"{count} of {len(exact)} measured points {'is' if count == 1 else 'are'} on the front"
    if all(view.scale.measure in s.resampled for s in exact):
        sure = len(front.certain)
        number = (
            f"{sure} of them " if count > 1 and sure else "" if sure else "not one of them " if count > 1 else "not "
        )
        text += f", {number}surely (in 95 % of resampled test sets)"
    if front.open:
        text += f", and {len(front.open)} estimated could still join"
    finding = chosen or _finding(drawn, front, view, allowed)
    if finding is not None:
        value = view.scale.said(view.value(finding))
        if chosen and allowed is not None:
            text += f"; the best within the limits is {finding.label} with {value}"
        else:
            text += f": {finding.label} {'keeps' if view.scale.up else 'has'} {value}"
        text += f" in {_spots.cost(view.cost(finding), view.by)}"
        before = float(original.size(view.by) or 0) if original else 0.0
        if before and view.cost(finding):
            factor = words.ratio(before, view.cost(finding))
            if view.by == "latency":
                factor = factor.replace("smaller", "faster").replace("larger", "slower").replace("size", "speed")
            text += f", {factor}"
    return text + (f"; {without}." if without else ".")


def _left_out(some: Sequence[Spot], by: str) -> str:
    """Why known points are not drawn, with their numbers."""
    silent = [s for s in some if by == "latency" and not s.kernel]
    parts = []
    if silent:
        parts.append(f"{len(silent)} point{'s have' if len(silent) > 1 else ' has'} no kernel here, so no latency")
    if rest := len(some) - len(silent):
        what = "latency" if by == "latency" else "size"
        parts.append(f"{rest} point{'s have' if rest > 1 else ' has'} no {what} yet")
    return ", and ".join(parts)


def _finding(drawn: Sequence[Spot], front: Front, view: View, allowed: Collection[Place] | None) -> Spot | None:
    """The cheapest member of the front that stays close to the best measured value."""
    by_place = {s.place: s for s in drawn}
    members = [by_place[m] for m in front.members if m in by_place and (allowed is None or m in allowed)]
    if not members:
        return None
    top = view.value(members[-1])
    close = view.scale.near(drawn)
    return next(s for s in members if abs(view.value(s) - top) <= close + 1e-9)
