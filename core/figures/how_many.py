"""A measure on the evaluation split against the number of examples that the calibration was fitted on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core.calibration.how_many import SEEDS, HowMany
from core.figures import said, words
from core.figures.theme import SMALL, layout, note, palette, translucent
from core.registry import register
from core.types import Chart

HEIGHT = 320  # px


@register(
    kind="chart",
    name="how-many",
    title="How many examples it takes",
    summary="A calibration fitted on nested parts of the calibration split, each judged on the evaluation split.",
    reference="Guo et al. 2017, arXiv 1706.04599; Kull et al. 2019, arXiv 1910.12656",
)
def how_many_chart(found: HowMany, mode: str = "light") -> Chart:
    """The median over random subsets with its band, against none."""
    p, figure, factor = palette(mode), go.Figure(), said.factor(found.unit)
    sizes, low, high = found.sizes, factor * found.low, factor * found.high
    figure.add_scatter(
        x=np.concatenate([sizes, sizes[::-1]]), y=np.concatenate([high, low[::-1]]), mode="lines", fill="toself",
        fillcolor=translucent(p.tempered, 0.2), line={"width": 0, "color": p.tempered},
        hoverinfo="skip", uid="spread",
    )  # fmt: skip
    ends = [float(sizes[0]) / 1.15, float(sizes[-1]) * 1.15]
    figure.add_scatter(
        x=ends, y=[factor * found.none] * 2, mode="lines", hoverinfo="skip", uid="none",
        line={"color": p.text, "width": 1.5, "dash": "5px,4px"},
    )  # fmt: skip
    figure.add_scatter(
        x=sizes, y=factor * found.middle, mode="lines+markers", uid="median",
        line={"color": p.tempered, "width": 2}, marker={"color": p.tempered, "size": 7},
        hovertemplate="%{x:,} examples: %{y:.4g}<extra></extra>",
    )  # fmt: skip
    after = said.shown_unit(found.unit)
    values = np.concatenate([low, high, [factor * found.none]])
    middle = factor * np.append(found.middle, found.none)
    span = float(middle.max() - middle.min()) or float(abs(middle[0])) or 1.0
    bottom = max(float(values.min()), float(middle.min()) - span) - 0.06 * span
    top = min(float(values.max()), float(middle.max()) + span) + 0.06 * span
    ticks = [m * 10**e for e in range(9) for m in (1, 2, 5) if ends[0] <= m * 10**e <= ends[1]]
    layout(
        figure, mode, HEIGHT, margin=(58, 12, 26, 44),
        xaxis={"type": "log", "range": [float(np.log10(end)) for end in ends], "tickvals": ticks,
               "ticktext": [words.count(t) for t in ticks], "title": {"text": "calibration examples"}},
        yaxis={"range": [bottom, top], "nticks": 6,
               "title": {"text": said.name(found.measure) + (f", {after}" if after else "")}},
    )  # fmt: skip
    legend = (
        f"<span style='color:{p.tempered}'>● — {words.name(found.title, 30)}, band: 8 of 10 random subsets</span>   "
        f"<span style='color:{p.text}'>- - uncalibrated</span>"
    )
    note(figure, legend, mode, 0, 1, shift=(0, 6), size=SMALL)
    caption = _caption(found)
    alt = (
        f"{said.title(found.measure)} of {found.title} on the evaluation split against {len(sizes)} sizes of the "
        f"calibration split from {words.count(sizes[0])} to {words.count(sizes[-1])}, {SEEDS} random subsets a size. "
        f"{caption}"
    )
    table = pd.DataFrame(
        {
            "Calibration examples": sizes,
            f"{said.title(found.measure)}, median": factor * found.middle,
            "10th percentile": low,
            "90th percentile": high,
            "Subsets fitted": found.fitted,
        }
    )
    return Chart(figure, alt, caption, table)


def _caption(found: HowMany) -> str:
    value = said.value(float(found.middle[-1]), found.unit)
    name = said.name(found.measure)
    if found.enough is None:
        return (
            f"Even on all {words.count(found.sizes[-1])} examples {found.title} brings {name} to {value}, no better "
            f"than {said.value(found.none, found.unit)} uncalibrated."
        )
    if found.enough >= found.n:
        return (
            f"All {words.count(found.n)} examples are still too few to tell where it levels off: {name} is at "
            f"{value}, uncalibrated {said.value(found.none, found.unit)}."
        )
    return (
        f"From about {words.count(found.enough)} examples on {found.title} has nearly all that "
        f"{words.count(found.n)} give: {name} {value}, uncalibrated {said.value(found.none, found.unit)}."
    )
