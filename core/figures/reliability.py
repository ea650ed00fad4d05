"""Reliability diagram: how often each model is right where it says it is this sure."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from core.figures import words
from core.figures.theme import DASHES, SMALL, SYMBOLS, TITLES, Series, bar, layout, note, palette, title, translucent
from core.metrics._bins import BINS, Mass
from core.metrics._reliability import Reliability, reliability
from core.registry import Param, register
from core.types import Chart, Outcome

HEIGHT = 440  # px
FEW = 10  # examples under which a bin's accuracy says little
ROWS = ((0.25, 1.0), (0.0, 0.2))  # diagrams and counts, shares of the height
GAP = 0.05  # between panels, share of the width
CLOSE = 0.005  # mean confidence this near the accuracy is called right on average
MARK = {False: 10, True: 6}  # px: a bin with enough examples, with few
FLOOR = 0.7  # bottom of the logarithmic axis of counts, so that one example is a visible bar


@register(
    kind="chart",
    name="reliability",
    title="Reliability",
    summary="Accuracy against confidence by bin: on the diagonal, confidence means what it says.",
    reference="Niculescu-Mizil and Caruana 2005; Guo et al. 2017 (arXiv 1706.04599)",
    parameters=(
        Param("bins", "Bins", BINS, "How many bins the confidences are sorted into.", 5, 30, 1),
        Param(
            "mass",
            "Bins of equal",
            "width",
            "Equal width compares across models; equal mass puts as many examples into each bin.",
            choices=("width", "mass"),
            labels={"width": "width", "mass": "number of examples"},
        ),
    ),
)
def reliability_chart(
    original: Outcome,
    uncalibrated: Outcome,
    tempered: Outcome,
    bins: int = BINS,
    mass: Mass = "width",
    mode: str = "light",
) -> Chart:
    """Original left, tempered right; below each, how many examples a bin holds.

    Where a confidence calibration was applied, the right panel also shows the model before it.
    """
    two_classes = len(original.classes) == 2
    start = 0.5 if two_classes else 0.0  # of two classes, the predicted one has at least one half
    found: dict[Series, Reliability] = {
        "original": reliability(original, bins, mass),
        "tempered": reliability(tempered, bins, mass),
    }
    calibrated = not np.array_equal(uncalibrated.probabilities, tempered.probabilities)
    before = reliability(uncalibrated, bins, mass) if calibrated else None
    figure = go.Figure()
    for column, (series, panel) in enumerate(found.items(), 1):
        _panel(figure, column, series, panel, start, mode)
        _counts(figure, column, series, panel, mode)
    dots = {"color": palette(mode).muted, "width": 1.75, "dash": "2px,3px"}
    _line(figure, before, 2, "line-uncalibrated", dots)
    most = max(int(panel.count.max()) for panel in found.values())
    layout(figure, mode, HEIGHT, margin=(58, 12, 50, 44), **_axes(start, most))
    p = palette(mode)
    for column, (series, panel) in enumerate(found.items(), 1):
        text = f"{title(series, mode)}, ECE {words.percent(panel.ece)}"
        axis = "x" if column == 1 else "x2"
        note(figure, text, mode, 0, 1, xref=f"{axis} domain", shift=(0, 20 if before else 6))
        if before and series == "tempered":
            text = f"··· before calibration, ECE {words.percent(before.ece)}"
            note(figure, text, mode, 0, 1, xref="x2 domain", shift=(0, 3), colour=p.muted, size=SMALL)
    if any(((panel.count > 0) & (panel.count < FEW)).any() for panel in found.values()):
        note(figure, f"small: under {FEW} examples", mode, 1, 0, xref="x domain", yref="y domain",
             anchor=("right", "bottom"), shift=(-6, 4), colour=p.muted, size=SMALL)  # fmt: skip
    outcomes: dict[Series, Outcome] = {"original": original, "tempered": tempered}
    caption = _caption(outcomes, found, before)
    alt = _alt(outcomes, found, before)
    return Chart(figure, alt, caption, _table(found, before))


def _panel(figure: go.Figure, column: int, series: Series, panel: Reliability, start: float, mode: str) -> None:
    p = palette(mode)
    colour = p.of(series)
    figure.add_scatter(
        x=[start, 1], y=[start, 1], mode="lines", hoverinfo="skip", uid=f"ideal-{series}",
        line={"color": p.grey, "width": 1}, xaxis=f"x{column}", yaxis=f"y{column}",
    )  # fmt: skip
    full = panel.count > 0
    x, low, high = panel.confidence[full], panel.band_low[full], panel.band_high[full]
    figure.add_scatter(
        x=np.concatenate([x, x[::-1]]), y=np.concatenate([high, low[::-1]]), mode="lines", fill="toself",
        fillcolor=translucent(colour, 0.16), line={"width": 0, "color": colour}, hoverinfo="skip",
        uid=f"band-{series}", xaxis=f"x{column}", yaxis=f"y{column}",
    )  # fmt: skip
    few = panel.count[full] < FEW
    _line(figure, panel, column, f"line-{series}", {"color": colour, "width": 2, "dash": DASHES[series]})
    figure.add_scatter(
        x=x,
        y=panel.accuracy[full],
        mode="markers",
        cliponaxis=False,
        marker={
            "symbol": ["circle-open" if one else SYMBOLS[series] for one in few],
            "size": [MARK[bool(one)] for one in few],
            "opacity": 1,
            "color": colour,
            "line": {"width": 2, "color": colour},
        },
        text=_hovers(panel, full),
        hovertemplate="%{text}<extra></extra>",
        uid=f"points-{series}",
        xaxis=f"x{column}",
        yaxis=f"y{column}",
    )


def _line(figure: go.Figure, panel: Reliability | None, column: int, uid: str, line: dict[str, Any]) -> None:
    """Through the bins with enough examples only: joining the others would draw noise. Empty without a panel."""
    enough = panel.count >= FEW if panel else None
    figure.add_scatter(
        x=panel.confidence[enough] if panel else [],
        y=panel.accuracy[enough] if panel else [],
        mode="lines",
        line=line,
        hoverinfo="skip",
        uid=uid,
        xaxis=f"x{column}",
        yaxis=f"y{column}",
    )


def _hovers(panel: Reliability, full: NDArray[np.bool_]) -> list[str]:
    return [
        f"says <b>{words.percent(panel.confidence[i])}</b>, right <b>{words.percent(panel.accuracy[i])}</b><br>"
        f"95 % band {words.interval(panel.band_low[i], panel.band_high[i])}<br>"
        f"{words.count(panel.count[i])} examples"
        for i in np.flatnonzero(full)
    ]


def _counts(figure: go.Figure, column: int, series: Series, panel: Reliability, mode: str) -> None:
    width = panel.high - panel.low
    figure.add_bar(
        x=(panel.low + panel.high) / 2,
        y=panel.count,
        width=np.maximum(width - 0.008, 0.5 * width),
        marker=bar(series, mode),
        text=[
            f"<b>{words.count(n)}</b> examples<br>confidence {words.interval(low, high)}"
            for n, low, high in zip(panel.count, panel.low, panel.high, strict=True)
        ],
        textposition="none",
        hovertemplate="%{text}<extra></extra>",
        uid=f"counts-{series}",
        xaxis=f"x{column + 2}",
        yaxis=f"y{column + 2}",
    )


def _axes(start: float, most: int) -> dict[str, Any]:
    """Axes 1 and 2 are the diagrams, 3 and 4 the counts below them."""
    room = 0.02 * (1 - start)
    ticks = [round(start + (0.1 if start else 0.2) * i, 2) for i in range(6)]
    every = [0, 0.2, 0.4, 0.6, 0.8, 1]
    # Most examples sit in the top bin: only a logarithmic axis shows the others at all.
    decades = [10**e for e in range(0, 9, 1 if most < 1_000 else 2) if 10**e <= most]
    rate = {"range": [-0.02, 1.02], "tickvals": every, "ticktext": [f"{100 * t:.0f}" for t in every]}
    count = {
        "type": "log",
        "range": [math.log10(FLOOR), math.log10(max(most, 2) * 1.4)],
        "tickvals": decades,
        "ticktext": [words.count(d) for d in decades],
    }
    axes: dict[str, Any] = {}
    for axis, domain in enumerate(((0, (1 - GAP) / 2), ((1 + GAP) / 2, 1)) * 2, 1):
        counts, left = axis > 2, axis % 2 == 1
        axes[f"xaxis{axis}"] = {
            "range": [start - room, 1 + room], "tickvals": ticks, "ticktext": [f"{100 * t:.0f}" for t in ticks],
            "domain": domain, "anchor": f"y{axis}", "showticklabels": counts,
            "title": {"text": "confidence, %" if counts else ""},
        }  # fmt: skip
        axes[f"yaxis{axis}"] = (count if counts else rate) | {
            "domain": ROWS[counts], "anchor": f"x{axis}", "showticklabels": left,
            "title": {"text": ("examples" if counts else "right, %") if left else ""},
        }  # fmt: skip
    return axes


def _bias(outcome: Outcome) -> float:
    """Mean confidence minus accuracy: positive where the model is over-confident."""
    return float(outcome.confidence.mean() - outcome.correct.mean())


def _caption(outcomes: dict[Series, Outcome], found: dict[Series, Reliability], before: Reliability | None) -> str:
    after = outcomes["tempered"]
    says, right = words.percent(float(after.confidence.mean())), words.percent(float(after.correct.mean()))
    gap = _bias(after)
    word = "About right on average" if abs(gap) <= CLOSE else "Over-confident" if gap > 0 else "Under-confident"
    text = f"{word}: the tempered model says {says} and is right {right} of the time"
    ece = words.percent(found["tempered"].ece)
    if before:
        was = words.percent(before.ece)
        if was == ece:
            return f"{text}; confidence calibration leaves ECE at {ece}."
        verb = "brings" if found["tempered"].ece < before.ece else "takes"
        return f"{text}; confidence calibration {verb} ECE from {was} to {ece}."
    return f"{text}, with an ECE of {ece} where the original has {words.percent(found['original'].ece)}."


def _alt(outcomes: dict[Series, Outcome], found: dict[Series, Reliability], before: Reliability | None) -> str:
    parts = [
        f"{series} says {words.percent(float(outcome.confidence.mean()))} and is right "
        f"{words.percent(float(outcome.correct.mean()))} of the time, ECE {words.percent(found[series].ece)}"
        for series, outcome in outcomes.items()
    ]
    extra = f" Before calibration the tempered model's ECE was {words.percent(before.ece)}." if before else ""
    return (
        f"Two reliability diagrams with {len(found['original'].count)} bins over "
        f"{words.count(outcomes['original'].n)} examples: {'; '.join(parts)}.{extra}"
    )


def _table(found: dict[Series, Reliability], before: Reliability | None) -> pd.DataFrame:
    """A row a bin with examples; empty bins have no accuracy to show."""
    panels = [(TITLES[series], panel) for series, panel in found.items()]
    if before:
        panels.append(("Tempered, before calibration", before))
    rows = [
        (
            name,
            100 * panel.low[i],
            100 * panel.high[i],
            int(panel.count[i]),
            100 * panel.confidence[i],
            100 * panel.accuracy[i],
            100 * panel.band_low[i],
            100 * panel.band_high[i],
        )
        for name, panel in panels
        for i in np.flatnonzero(panel.count)
    ]
    return pd.DataFrame(
        rows,
        columns=[
            "Model",
            "Bin above, %",
            "Bin up to, %",
            "Examples",
            "Mean confidence, %",
            "Accuracy, %",
            "95 % band from, %",
            "95 % band to, %",
        ],
    )
