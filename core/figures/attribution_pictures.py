"""A picture, and where in it what speaks for one score lies, in both networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core.damage.why import Why
from core.figures import words
from core.figures.because import sentence, target
from core.figures.theme import SMALL, Scale, layout, note, palette, title
from core.registry import register
from core.types import Chart, Floats

MOST = 64  # places across that are drawn; finer maps are drawn as means
HEIGHT = 300  # px
GAP = 0.015
GREY: Scale = [(0.0, "#000000"), (1.0, "#FFFFFF")]
PANELS = ("picture", "original", "tempered", "change")


@register(
    kind="chart",
    name="attribution-pictures",
    title="What speaks for it, in the picture",
    summary="Where in a picture one score comes from, in the original and in the tempered network, on one scale.",
    reference="Selvaraju et al. 2017, arXiv 1610.02391; Sundararajan et al. 2017, arXiv 1703.01365",
)
def attribution_pictures_chart(found: Why, mode: str = "light") -> Chart:
    """The picture, both maps, and the tempered map less the original's, all maps on one scale."""
    p = palette(mode)
    picture = pooled(found.picture if found.picture is not None else np.zeros(found.original.values.shape))
    before, after = pooled(found.original.values), pooled(found.tempered.values)
    maps = {"original": before, "tempered": after, "change": after - before}
    top = max(float(np.abs(values).max()) for values in maps.values()) or 1.0
    figure = go.Figure()
    axes: dict[str, Any] = {}
    scale: Scale = [(0.0, p.green), (0.5, p.background), (1.0, p.purple)]
    for place, name in enumerate(PANELS, 1):
        shown = picture if name == "picture" else maps[name]
        low, high = (float(picture.min()), float(picture.max())) if name == "picture" else (-top, top)
        _panel(figure, name, place, shown, GREY if name == "picture" else scale, (low, high))
        axes |= _axes(place, shown.shape)
    layout(figure, mode, HEIGHT, margin=(4, 4, 54, 6), **axes)
    headings = ("The picture", title("original", mode), title("tempered", mode), "Tempered less original")
    for place, text in enumerate(headings):
        note(figure, text, mode, _start(place), 1, shift=(0, 6))
    unit = f" {words.name(found.unit)}" if found.unit else ""
    key = (
        f"<span style='color:{p.purple}'>■</span> speaks for {words.name(target(found))}   "
        f"<span style='color:{p.green}'>■</span> against it   the strongest {words.amount(top)}{unit}"
    )
    note(figure, key, mode, 0, 1, shift=(0, 30), colour=p.muted, size=SMALL)
    caption = sentence(found)
    alt = (
        f"Example {found.place} and three maps of {before.shape[0]} by {before.shape[1]} places, {found.title}: the "
        f"original's strongest place is {_strongest(before)}, the tempered network's {_strongest(after)}. {caption}"
    )
    return Chart(figure, alt, caption, _table(before, after))


def pooled(values: Floats) -> Floats:
    """A map `(H, W)` as means over equal parts, at most `MOST` across."""
    for axis in (0, 1):
        if values.shape[axis] > MOST:
            parts = np.array_split(values, MOST, axis)
            values = np.stack([part.mean(axis) for part in parts], axis)
    return values


def _panel(figure: go.Figure, name: str, place: int, values: Floats, scale: Scale, ends: tuple[float, float]) -> None:
    low, high = ends if ends[0] < ends[1] else (ends[0] - 0.5, ends[1] + 0.5)
    figure.add_heatmap(
        z=values, zmin=low, zmax=high, colorscale=scale, showscale=False, xaxis=f"x{place}", yaxis=f"y{place}",
        hovertemplate="row %{y}, column %{x}: %{z:.3g}<extra></extra>", uid=f"attribution-{name}-map",
    )  # fmt: skip


def _start(place: int) -> float:
    return place * (1 + GAP) / len(PANELS)


def _axes(place: int, shape: tuple[int, ...]) -> dict[str, Any]:
    start, end = _start(place - 1), _start(place) - GAP
    name = "" if place == 1 else str(place)
    plain = {"visible": False, "showgrid": False, "constrain": "domain", "constraintoward": "left"}
    return {
        f"xaxis{name}": plain | {"domain": [start, min(end, 1.0)], "range": [-0.5, shape[1] - 0.5],
                                 "anchor": f"y{name}"},
        f"yaxis{name}": plain | {"range": [shape[0] - 0.5, -0.5], "scaleanchor": f"x{name}", "anchor": f"x{name}",
                                 "constraintoward": "top"},
    }  # fmt: skip


def _strongest(values: Floats) -> str:
    row, column = np.unravel_index(int(np.abs(values).argmax()), values.shape)
    return f"row {row + 1}, column {column + 1} ({words.signed_amount(float(values[row, column]))})"


def _table(before: Floats, after: Floats) -> pd.DataFrame:
    rows, columns = np.indices(before.shape) + 1
    change = (after - before).reshape(-1)
    table = pd.DataFrame(
        {"Row": rows.reshape(-1), "Column": columns.reshape(-1), "Original": before.reshape(-1),
         "Tempered": after.reshape(-1), "Change": change}
    )  # fmt: skip
    return table.iloc[np.argsort(-np.abs(change), kind="stable")].reset_index(drop=True)
