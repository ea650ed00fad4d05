"""A grid of recipes as cells: colour and number are a measure, a click is a recipe."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from core.figures import _spots, words
from core.figures._cells import PANEL, At, Box, Grid, box, frame, grid_of, path
from core.figures.theme import SMALL, at, ink, layout, note, palette, sequential, translucent
from core.registry import register
from core.sweeps.front import Front, Spot
from core.sweeps.plan import Place, Plan
from core.sweeps.table import spots_table
from core.types import Chart

PALEST = 0.2  # share of the scale at its worst value: a known cell is never the background
INSET, RING = 4, 3  # px around an estimated cell, and between a cell's edge and the ring of the front
LABELS = 66  # letters that fit along its lower axis
SIZES = ((12, 7.0, 15), (10, 5.8, 12))  # px: letters in cells, the width of one, the height of a line
MANY = 15  # columns from which lines are finer
KEY_CELLS = 24


@register(
    kind="chart",
    name="heat",
    title="Grid",
    summary="Every combination of two parameters as a cell in the colour of a measure; a click opens its recipe.",
    reference="Wilkinson and Friendly 2009, The history of the cluster heat map (doi 10.1198/tas.2009.0033)",
)
def heat_chart(
    plan: Plan,
    spots: Mapping[Place, Spot],
    measure: str,
    *,
    mode: str = "light",
    across: int = 1,
    down: int = 0,
    allowed: Collection[Place] | None = None,
    front: Front | None = None,
    here: Place | None = None,
) -> Chart:
    """`spots` by place, of more than two axes one slice; `across` and `down` are the axes drawn.

    A click selects a point whose customdata is the cell's place. Cells outside `allowed` are faded, members of
    `front` ringed, `here` is outlined.
    """
    p = palette(mode)
    grid = grid_of(plan, spots, across, down)
    scale = _spots.Scale.of(measure, grid.spots.values())
    values = {cell: value for cell, s in grid.spots.items() if (value := scale.shown(s)) is not None}
    close = scale.near(grid.spots.values())
    low, high = scale.focus(list(values.values()), close) if values else (0.0, 1.0)
    estimated = [cell for cell in values if not grid.spots[cell].exact]
    failed = [cell for cell, spot in grid.spots.items() if cell not in values and spot.error]
    waiting = [cell for cell in grid.places if cell not in values and cell not in failed]
    faded = [cell for cell, place in grid.places.items() if allowed is not None and place not in allowed]
    members = [cell for cell in grid.where(front.members if front else ()) if cell in values]
    certain = [cell for cell in members if front and grid.places[cell] in front.certain]

    figure = go.Figure()
    shares = {cell: _share(value, low, high, scale) for cell, value in values.items()}
    text = {cell: ("" if grid.spots[cell].exact else "≈") + scale.brief(v, short=True) for cell, v in values.items()}
    for colour in ("#000000", "#FFFFFF"):
        figure.add_trace(_cells(grid, shares, text, colour, mode))
    figure.add_trace(_blank(grid, [*waiting, *failed], mode))
    _fill(figure, [b for cell in estimated for b in frame(cell, *grid.inset(INSET))], p.background, "inset")
    fine = 0.6 if grid.columns > MANY else 1.0
    for part, cells, width, dash in (
        ("certain", certain, 2.5 * fine, "solid"),
        ("uncertain", [cell for cell in members if cell not in certain], 1.75 * fine, "4px,3px"),
    ):
        _rings(figure, cells, grid.inset(RING * fine), p.background, width + 3.5 * fine, "solid", f"halo-{part}")
        _rings(figure, cells, grid.inset(RING * fine), p.tempered, width, dash, f"front-{part}")
    _marks(figure, waiting, {"symbol": "circle", "size": 4 * fine, "color": p.grey}, "waiting")
    _marks(figure, failed, {"symbol": "x-thin", "size": 9, "color": p.muted,
                            "line": {"width": 1.75, "color": p.muted}}, "failed")  # fmt: skip
    _fill(figure, [box(cell, 0.5, 0.5) for cell in faded], translucent(p.background, 0.68), "veil")
    _rings(figure, grid.where([here] if here else []), (0.0, 0.0), p.text, 2.5, "solid", "here")
    _targets(figure, grid, front)
    figure.add_trace(_key(mode))

    height, margin, axes = _layout(grid, (low, high), scale, bool(values))
    layout(figure, mode, height, margin=margin, hoverdistance=-1, **axes)
    legend = _legend(bool(estimated), members, certain, bool(failed), bool(faded), here in grid.places.values(), mode)
    note(figure, legend, mode, 0, 1, shift=(0, 8), colour=p.muted, size=SMALL)
    caption = _caption(grid, values, scale, close, (low, high))
    alt = (
        f"Grid of {grid.rows} by {grid.columns} cells, "
        + (f"{grid.down.title} down and " if grid.down else "")
        + f"{grid.across.title} across, coloured by {scale.name}; {len(values)} known, "
        f"{len(estimated)} of them estimated, {len(failed)} failed. {caption}"
    )
    return Chart(figure, alt, caption, _table(plan, grid, front))


def _share(value: float, low: float, high: float, scale: _spots.Scale) -> float:
    """Where a value stands on the scale, from the worst shown to the best."""
    part = min(max((value - low) / (high - low), 0.0), 1.0)
    return PALEST + (1 - PALEST) * (part if scale.up else 1 - part)


def _cells(grid: Grid, shares: Mapping[At, float], text: Mapping[At, str], colour: str, mode: str) -> go.Heatmap:
    """The cells on which text of this colour, black or white, reads best; a text has one colour a trace."""
    scale = sequential(mode)
    mine = {cell for cell, share in shares.items() if ink(at(scale, share)) == colour}
    rows, columns = range(grid.rows), range(grid.columns)
    size = _letters(grid, text)
    return go.Heatmap(
        z=[[shares[i, j] if (i, j) in mine else None for j in columns] for i in rows],
        text=[[text[i, j] if size and (i, j) in mine else "" for j in columns] for i in rows],
        texttemplate="%{text}", textfont={"color": colour, "size": size or SMALL}, colorscale=scale, zmin=0, zmax=1,
        showscale=False, xgap=2, ygap=2, hoverinfo="skip", hoverongaps=False, uid=f"cells-{colour}",
    )  # fmt: skip


def _letters(grid: Grid, text: Mapping[At, str]) -> int:
    """The size of letters at which every number fits its cell in a narrow chart; 0 where none does."""
    longest = max((len(written) for written in text.values()), default=0)
    fitting = (
        size
        for size, letter, line in SIZES
        if letter * longest + 5 <= PANEL / grid.columns and line <= grid.height / grid.rows
    )
    return next(fitting, 0)


def _blank(grid: Grid, cells: Collection[At], mode: str) -> go.Heatmap:
    colour = palette(mode).surface
    return go.Heatmap(
        z=[[1 if (i, j) in set(cells) else None for j in range(grid.columns)] for i in range(grid.rows)],
        colorscale=[(0.0, colour), (1.0, colour)], zmin=0, zmax=1, showscale=False, xgap=2, ygap=2,
        hoverinfo="skip", hoverongaps=False, uid="cells-blank",
    )  # fmt: skip


def _fill(figure: go.Figure, boxes: Sequence[Box], colour: str, uid: str) -> None:
    figure.add_scatter(
        **path(boxes), mode="lines", fill="toself", fillcolor=colour, line={"width": 0, "color": colour},
        hoverinfo="skip", uid=uid,
    )  # fmt: skip


def _rings(
    figure: go.Figure, cells: Sequence[At], inset: tuple[float, float], colour: str, width: float, dash: str, uid: str
) -> None:
    boxes = [box(cell, 0.5 - inset[0], 0.5 - inset[1]) for cell in cells]
    figure.add_scatter(
        **path(boxes), mode="lines", line={"color": colour, "width": width, "dash": dash}, hoverinfo="skip",
        cliponaxis=False, uid=uid,
    )  # fmt: skip


def _marks(figure: go.Figure, cells: Sequence[At], marker: dict[str, Any], uid: str) -> None:
    figure.add_scatter(
        x=[column for _, column in cells], y=[row for row, _ in cells], mode="markers", marker=marker,
        hoverinfo="skip", uid=uid,
    )  # fmt: skip


def _targets(figure: go.Figure, grid: Grid, front: Front | None) -> None:
    """Invisible points on the cells: cells of a heatmap cannot be selected, points can.

    Small points with an unlimited reach: the nearest point is then always the cell under the pointer.
    """
    cells = list(grid.places)
    figure.add_scatter(
        x=[column for _, column in cells],
        y=[row for row, _ in cells],
        customdata=[list(grid.places[cell]) for cell in cells],
        text=[_hover(grid, cell, front) for cell in cells],
        mode="markers",
        marker={"symbol": "square", "size": 6, "color": "#000000", "opacity": 0, "line": {"width": 0}},
        selected={"marker": {"opacity": 0}},
        unselected={"marker": {"opacity": 0}},
        hovertemplate="%{text}<extra></extra>",
        uid="targets",
    )


def _hover(grid: Grid, cell: At, front: Front | None) -> str:
    if cell in grid.spots:
        return _spots.hover(grid.spots[cell], front)
    row, column = cell
    at_down = f"{grid.down.title} {grid.down.labels[row]}, " if grid.down else ""
    return f"{at_down}{grid.across.title} {grid.across.labels[column]}<br>not evaluated yet"


def _key(mode: str) -> go.Heatmap:
    """The scale as a thin strip beside the cells, the best value at its upper end."""
    return go.Heatmap(
        x=[0], y=[(i + 0.5) / KEY_CELLS for i in range(KEY_CELLS)],
        z=[[PALEST + (1 - PALEST) * (i + 0.5) / KEY_CELLS] for i in range(KEY_CELLS)],
        colorscale=sequential(mode), zmin=0, zmax=1, showscale=False, hoverinfo="skip", xaxis="x2", yaxis="y2",
        uid="key",
    )  # fmt: skip


def _layout(
    grid: Grid, limits: tuple[float, float], scale: _spots.Scale, known: bool
) -> tuple[int, tuple[int, int, int, int], dict[str, Any]]:
    """Height, margins, and the axes of the cells and of the key."""
    names = [words.name(label, 14) for label in grid.across.labels]
    every = max(1, -(-sum(len(name) + 2 for name in names) // LABELS))
    rows = [words.name(label, 14) for label in grid.down.labels] if grid.down else [""]
    skip = max(1, -(-len(rows) // 20))
    left = 30 + round(6.6 * max(len(name) for name in rows)) if grid.down else 10
    height = 38 + 46 + grid.height
    plain = {"showgrid": False, "showline": False}
    worst, best = limits if scale.up else limits[::-1]
    # Three values: the ends and the middle; the worst stands for all beyond it too.
    ends = [scale.brief(v) for v in (worst, (worst + best) / 2, best)]
    axes = {
        "xaxis": plain | {
            "range": [-0.5, grid.columns - 0.5], "domain": [0, 0.955], "tickangle": 0,
            "tickvals": list(range(0, grid.columns, every)), "ticktext": names[::every],
            "title": {"text": grid.across.title},
        },
        "yaxis": plain | {
            "range": [grid.rows - 0.5, -0.5], "tickvals": list(range(0, len(rows), skip)),
            "ticktext": rows[::skip], "title": {"text": grid.down.title if grid.down else ""},
        },
        "xaxis2": {"domain": [0.978, 1], "anchor": "y2", "range": [-0.5, 0.5], "visible": False},
        "yaxis2": plain | {
            "anchor": "x2", "range": [0, 1], "side": "right", "ticklabelstandoff": 4,
            "tickvals": [0, 0.5, 1] if known else [], "ticktext": ends,
        },
    }  # fmt: skip
    return height, (left, 46, 38, 46), axes


def _legend(
    estimated: bool, members: Sequence[At], certain: Sequence[At], failed: bool, faded: bool, here: bool, mode: str
) -> str:
    """What the marks mean, of those that are there."""
    ring = f"<span style='color:{palette(mode).tempered}'>"
    parts = []
    if certain:
        parts.append(f"{ring}<b>▢</b></span> on the front")
    if len(members) > len(certain):
        parts.append(f"{ring}⬚</span> {'perhaps' if certain else 'perhaps on the front'}")
    if estimated:
        parts.append("≈ estimated")
    if failed:
        parts.append("× failed")
    if faded:
        parts.append("pale: off limits")
    if here:
        parts.append(f"<span style='color:{palette(mode).text}'><b>▢</b></span> in the Studio")
    return "   ".join(parts)


def _caption(
    grid: Grid, values: Mapping[At, float], scale: _spots.Scale, close: float, limits: tuple[float, float]
) -> str:
    if not values:
        return f"0 of {len(grid.places)} points are known so far."
    sign = 1 if scale.up else -1
    top = max(values, key=lambda cell: sign * values[cell])
    label = grid.spots[top].label
    text = f"Best is {label} with {scale.said(values[top])}"
    kept = [cell for cell, value in values.items() if abs(value - values[top]) <= close + 1e-9]
    sized = [cell for cell in kept if grid.spots[cell].packed is not None]
    if len(kept) > 1:
        text += f"; {len(kept)} of {len(values)} known points stay within {scale.near_words(close)} of it"
        least = min(sized, key=lambda cell: grid.spots[cell].packed or 0, default=None)
        if least is not None:
            text += f", the smallest in {words.size(grid.spots[least].packed or 0)} ({grid.spots[least].label})"
    beyond = sum(not limits[0] - 1e-9 <= value <= limits[1] + 1e-9 for value in values.values())
    if beyond:
        edge = limits[0] if scale.up else limits[1]
        side = "below" if scale.up else "above"
        text += f"; colours end at {scale.said(edge)}, with {beyond} point{'s' * (beyond > 1)} {side}"
    return f"{text}."


def _table(plan: Plan, grid: Grid, front: Front | None) -> pd.DataFrame:
    """A row a cell, those not begun too."""
    rows = [grid.spots.get(cell) or Spot(place, plan.recipes[place]) for cell, place in grid.places.items()]
    return spots_table(plan, rows, front)
