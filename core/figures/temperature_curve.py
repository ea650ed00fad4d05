"""Likelihood and calibration error against the temperature, with the optimum and the one that is dragged to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core.calibration.temperatures import Temperatures
from core.figures import words
from core.figures.theme import SMALL, layout, note, palette
from core.registry import register
from core.types import Chart, Floats

HEIGHT = 330  # px
GAP = 0.09
TICKS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)


@register(
    kind="chart",
    name="temperature-curve",
    title="Every temperature",
    summary="NLL and ECE against the temperature, on the split that chooses it and on the one that judges it.",
    reference="Guo et al. 2017, arXiv 1706.04599",
)
def temperature_curve_chart(found: Temperatures, chosen: float, mode: str = "light") -> Chart:
    """Left NLL, right ECE; the tried temperature nearest to `chosen` is marked, the optimum by an upright line."""
    chosen = float(found.at[np.argmin(np.abs(np.log(found.at / chosen)))])
    p, figure = palette(mode), go.Figure()
    parts = (
        ("nll", found.nll_calibration, found.nll_evaluation),
        ("ece", found.ece_calibration, found.ece_evaluation),
    )
    axes: dict[str, Any] = {}
    for column, (name, *pair) in enumerate(parts, 1):
        factor = 1 if name == "nll" else 100
        for split, values, colour, dash in (
            ("calibration", pair[0], p.purple, "5px,4px"), ("evaluation", pair[1], p.tempered, "solid"),
        ):  # fmt: skip
            figure.add_scatter(
                x=found.at, y=factor * values, mode="lines", uid=f"{name}-{split}",
                line={"color": colour, "width": 2, "dash": dash}, xaxis=f"x{column}", yaxis=f"y{column}",
                hovertemplate=f"T %{{x:.3g}}: {split} %{{y:.4g}}<extra></extra>",
            )  # fmt: skip
        both = factor * np.concatenate(pair)
        low, high = float(both.min()), float(both.max())
        figure.add_scatter(
            x=[found.optimum, found.optimum], y=[low - (high - low), high + (high - low)], mode="lines",
            hoverinfo="skip", line={"color": p.text, "width": 1.5, "dash": "2px,3px"}, uid=f"optimum-{name}",
            xaxis=f"x{column}", yaxis=f"y{column}",
        )  # fmt: skip
        for split, values, colour, symbol in (
            ("calibration", pair[0], p.purple, "diamond-open"), ("evaluation", pair[1], p.tempered, "diamond"),
        ):  # fmt: skip
            figure.add_scatter(
                x=[chosen], y=[factor * _at(found.at, values, chosen)], mode="markers", uid=f"chosen-{name}-{split}",
                marker={"symbol": symbol, "size": 11, "color": colour, "line": {"width": 2, "color": colour}},
                hovertemplate=f"T {chosen:.3g}: {split} %{{y:.4g}}<extra></extra>", xaxis=f"x{column}",
                yaxis=f"y{column}",
            )  # fmt: skip
        room = 0.06 * (high - low or 1.0)
        ticks = [t for t in TICKS if found.at[0] <= t <= found.at[-1]]
        axes[f"xaxis{column}"] = {
            "type": "log", "range": [float(np.log10(end)) for end in (found.at[0], found.at[-1])],
            "domain": ((0, (1 - GAP) / 2), ((1 + GAP) / 2, 1))[column - 1], "anchor": f"y{column}",
            "tickvals": ticks, "ticktext": [f"{t:g}" for t in ticks], "title": {"text": "temperature T"},
        }  # fmt: skip
        axes[f"yaxis{column}"] = {
            "range": [low - room, high + room], "anchor": f"x{column}", "nticks": 6,
            "title": {"text": "NLL, nats" if name == "nll" else "ECE, %"},
        }  # fmt: skip
    layout(figure, mode, HEIGHT, margin=(58, 12, 26, 44), **axes)
    legend = (
        f"<span style='color:{p.purple}'>◇ - - calibration split</span>   "
        f"<span style='color:{p.tempered}'>◆ — evaluation split</span>   ··· T* = {found.optimum:.3g}"
    )
    note(figure, legend, mode, 0, 1, shift=(0, 6), size=SMALL)
    nll = [_at(found.at, v, chosen) for v in (found.nll_evaluation, found.ece_evaluation)]
    best = [_at(found.at, v, found.optimum) for v in (found.nll_evaluation, found.ece_evaluation)]
    caption = (
        f"T* = {found.optimum:.3g}, found on the calibration split alone, gives the evaluation split an NLL of "
        f"{best[0]:.3f} nats and an ECE of {words.percent(best[1])}."
        if f"{chosen:.3g}" == f"{found.optimum:.3g}"
        else f"At T = {chosen:.3g} the evaluation split has an NLL of {nll[0]:.3f} nats and an ECE of "
        f"{words.percent(nll[1])}; T* = {found.optimum:.3g}, found on the calibration split alone, has {best[0]:.3f} "
        f"and {words.percent(best[1])}."
    )
    alt = (
        f"NLL and ECE against {len(found.at)} temperatures from {found.at[0]:.3g} to {found.at[-1]:.3g}, on "
        f"{words.count(found.n[0])} calibration and {words.count(found.n[1])} evaluation examples. {caption}"
    )
    table = pd.DataFrame(
        {
            "Temperature": found.at,
            "NLL, calibration": found.nll_calibration,
            "NLL, evaluation": found.nll_evaluation,
            "ECE, calibration, %": 100 * found.ece_calibration,
            "ECE, evaluation, %": 100 * found.ece_evaluation,
        }
    )
    return Chart(figure, alt, caption, table)


def _at(temperatures: Floats, values: Floats, chosen: float) -> float:
    return float(values[np.argmin(np.abs(np.log(temperatures / chosen)))])
