"""The Brier score taken apart, before and after: how false the probabilities are, and how much they tell apart."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from core.decisions.brier_parts import BrierParts
from core.decisions.verdict import SIDES, Verdict
from core.figures import words
from core.figures._binary import TOP, legend
from core.figures.theme import SMALL, TITLES, bar, layout, note, palette
from core.registry import register
from core.types import Chart

HEIGHT = 330  # px
PARTS = (
    ("score", "Brier score", "lower is better"),
    ("miscalibration", "Miscalibration", "adds: probabilities that are not frequencies"),
    ("discrimination", "Discrimination", "takes off: telling the classes apart"),
    ("uncertainty", "Uncertainty", "adds: of the outcome itself"),
)


@register(
    kind="chart",
    name="brier_parts",
    title="Brier score in parts",
    summary="Miscalibration, discrimination and uncertainty, which make up the Brier score, before and after.",
    reference="Dimitriadis, Gneiting and Jordan 2021, doi 10.1073/pnas.2016191118",
    tasks=("binary",),
)
def brier_parts_chart(given: Verdict, mode: str = "light") -> Chart:
    """Score = miscalibration - discrimination + uncertainty, of the positive class, on the evaluation split."""
    p = palette(mode)
    figure = go.Figure()
    most = max(max(getattr(given.of(s).brier, key) for key, _, _ in PARTS) for s in SIDES) or 1.0
    for place, series in enumerate(SIDES):
        values = [getattr(given.of(series).brier, key) for key, _, _ in PARTS]
        figure.add_bar(
            x=values, y=[row + (0.17 if place else -0.17) for row in range(len(PARTS))], orientation="h", width=0.3,
            marker=bar(series, mode), uid=f"brier-{series}", text=[f"{v:.4f}" for v in values],
            textposition="outside", textfont={"size": SMALL, "color": p.text}, cliponaxis=False,
            hovertemplate=f"{series}: <b>%{{x:.5f}}</b><extra></extra>",
        )  # fmt: skip
    layout(
        figure, mode, HEIGHT, margin=(8, 8, TOP + 8, 8), barmode="overlay",
        xaxis={"range": [0, 1.12 * most], "visible": False},
        yaxis={"range": [len(PARTS) - 0.6, -0.75], "visible": False},
    )  # fmt: skip
    for row, (_, name, role) in enumerate(PARTS):
        text = f"{name} <span style='color:{p.muted};font-size:{SMALL}px'>{role}</span>"
        note(figure, text, mode, 0, row - 0.33, yref="y")
    legend(figure, mode, lambda series: f"skill against the base rate {_skill(given.of(series).brier)}", 0)
    fields = (*PARTS, ("climatology", "Base rate of the calibration split", ""))
    rows = [(name, *(getattr(given.of(series).brier, key) for series in SIDES)) for key, name, _ in fields]
    table = pd.DataFrame(rows, columns=["Part", *(TITLES[series] for series in SIDES)])
    return Chart(figure, _alt(given), _caption(given), table)


def _skill(parts: BrierParts) -> str:
    skill = parts.skill
    if skill.value is None or skill.interval is None:
        return words.NOTHING
    return f"{words.percent(skill.value)} ({words.interval(skill.interval.low, skill.interval.high)})"


def _caption(given: Verdict) -> str:
    before, after = given.original.brier, given.tempered.brier
    if after.skill.value is None:
        beats = "which no base rate can be held against"
    elif after.skill.interval is not None and after.skill.interval.low > 0:
        beats = f"{words.percent(after.skill.value)} better than always saying the base rate"
    elif after.skill.interval is not None and after.skill.interval.high < 0:
        beats = f"{words.percent(-after.skill.value)} worse than always saying the base rate"
    else:
        beats = "not surely better or worse than always saying the base rate"
    return (
        f"Miscalibration goes from {before.miscalibration:.4f} to {after.miscalibration:.4f} and discrimination from "
        f"{before.discrimination:.4f} to {after.discrimination:.4f}, which leaves tempered {beats}."
    )


def _alt(given: Verdict) -> str:
    parts = [
        f"{series}: "
        + ", ".join(f"{name.lower()} {getattr(given.of(series).brier, key):.4f}" for key, name, _ in PARTS)
        for series in SIDES
    ]
    name = words.cut(given.judged.positive, 40)
    n = words.count(given.n)
    return f"Bars of the Brier score of {name} and its parts over {n} examples; {'; '.join(parts)}."
