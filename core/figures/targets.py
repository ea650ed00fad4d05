"""How the numbers to predict are spread, split by split: a histogram whose bars lie one on the other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core.figures import words
from core.figures._numbers import LONG, scale_of, short
from core.figures.balance import key_of, mark_of
from core.figures.theme import SMALL, layout, note, palette
from core.registry import register
from core.task import NUMBERS
from core.types import Chart, Floats

BARS = 32
HEIGHT = 250  # px
SPLITS = ("fit", "calibration", "evaluation")


@register(
    kind="chart",
    name="targets",
    title="Numbers to predict",
    summary="How the numbers to predict are spread in each split: rare values are judged on few examples.",
    reference="Pearson 1895, Contributions to the mathematical theory of evolution, doi 10.1098/rsta.1895.0010",
    tasks=NUMBERS,
)
def targets_chart(values: Mapping[str, Floats], target: str = "", unit: str = "", mode: str = "light") -> Chart:
    """`values` holds the numbers to predict, float64 `(N,)`, by split."""
    every = np.concatenate([np.asarray(part, np.float64) for part in values.values()])
    scale = scale_of(every, every)
    edges = np.linspace(scale.low, scale.high, BARS + 1)
    ends = 10.0**edges if scale.logarithmic else edges
    figure, table = go.Figure(), {"From": ends[:-1], "To": ends[1:]}
    total = np.zeros(BARS, np.int64)
    for split in SPLITS:
        counts = np.histogram(scale.along(values.get(split, np.zeros(0))), edges)[0]
        text = [
            f"<b>{words.count(n)}</b> {split}, {short(low)} to {short(high)}"
            for n, low, high in zip(counts, ends[:-1], ends[1:], strict=True)
        ]
        figure.add_bar(
            x=(edges[:-1] + edges[1:]) / 2, y=counts, width=np.diff(edges), marker=mark_of(split, mode), text=text,
            uid=f"targets-{split}", textposition="none", hovertemplate="%{text}<extra></extra>",
        )  # fmt: skip
        total += counts
        if split in values:
            table[f"{split}, examples"] = counts
    axis = ", ".join(words.name(part, LONG) for part in (target, unit) if part)
    layout(
        figure, mode, HEIGHT, margin=(56, 12, 26, 46), barmode="stack", bargap=0, xaxis=scale.axis(axis),
        yaxis={"range": [0, 1.06 * max(1, int(total.max()))], "nticks": 5, "title": {"text": "examples"}},
    )  # fmt: skip
    key = "   ".join(key_of(split, mode) for split in SPLITS if split in values)
    note(figure, key, mode, 0, 1, shift=(0, 6), colour=palette(mode).muted, size=SMALL)
    low, middle, high = (words.amount(float(v)) for v in np.quantile(every, [0, 0.5, 1]))
    sizes = ", ".join(f"{words.count(len(part))} {split}" for split, part in values.items())
    of = f" {words.cut(unit, LONG)}" if unit else ""
    caption = f"From {low} to {high}{of}, half of them below {middle}: {sizes}."
    alt = f"Histogram of {words.count(len(every))} values of {words.cut(target, LONG) or 'the target'}. {caption}"
    return Chart(figure, alt, caption, pd.DataFrame(table))
