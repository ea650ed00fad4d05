"""How many examples of each class each split holds: a bar a class, its splits one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core.figures import words
from core.figures.theme import SMALL, layout, note, palette
from core.registry import register
from core.types import Chart, Integers

NAMED = 20  # classes up to which every bar has its name; beyond, bars stand in order of size without names
ROW, MOST = 21, 300  # px: a named bar, and all bars together
PATTERNS = {"fit": "/", "calibration": ".", "evaluation": ""}  # repeats what colour says


@register(
    kind="chart",
    name="balance",
    title="Class balance",
    summary="Examples of each class in each split: rare classes have wide intervals.",
    reference="He and Garcia 2009, Learning from imbalanced data, IEEE TKDE 21(9)",
)
def balance_chart(counts: Mapping[str, Integers], classes: tuple[str, ...], mode: str = "light") -> Chart:
    """`counts` holds examples of each class, int64 `(C,)`, by split."""
    total = np.sum([np.asarray(part) for part in counts.values()], axis=0)
    named = len(classes) <= NAMED
    order = list(range(len(classes))) if named else np.argsort(-total, kind="stable").tolist()
    figure, none = go.Figure(), np.zeros(len(classes), np.int64)
    for split in PATTERNS:
        part = np.asarray(counts.get(split, none))
        _bars(figure, split, part[order], [classes[i] for i in order], named, mode)
    shown = [words.name(classes[i], 24) for i in order]
    top = float(total.max(initial=1)) * 1.04
    if named:
        room = 14 + round(6.4 * max(len(name) for name in shown))
        height = 54 + min(max(ROW * len(classes), 64), ROW * NAMED)
        axes = {
            "xaxis": {"range": [0, top], "nticks": 6, "tickformat": ",d"},
            "yaxis": {
                "range": [len(classes) - 0.4, -0.6], "tickvals": list(range(len(classes))), "ticktext": shown,
                "showgrid": False,
            },
        }  # fmt: skip
        margin = (room, 12, 26, 28)
    else:
        height, margin = MOST, (56, 8, 26, 36)
        axes = {
            "xaxis": {
                "range": [-0.8, len(classes) - 0.2], "showgrid": False, "showticklabels": False,
                "title": {"text": f"{words.count(len(classes))} classes, the commonest first"},
            },
            "yaxis": {"range": [0, top], "nticks": 6, "tickformat": ",d", "title": {"text": "examples"}},
        }  # fmt: skip
    layout(figure, mode, height, margin=margin, barmode="stack", bargap=0.25 if len(classes) < 60 else 0.05, **axes)
    key = "   ".join(key_of(split, mode) for split in counts)
    note(figure, key, mode, 0, 1, shift=(0, 6), colour=palette(mode).muted, size=SMALL)
    caption = _caption(total, counts, classes)
    alt = f"Stacked bars of {words.count(total.sum())} examples in {len(classes)} classes. {caption}"
    table = pd.DataFrame({"Class": list(classes), **{f"{s}, examples": np.asarray(c) for s, c in counts.items()}})
    table["All, examples"] = total
    return Chart(figure, alt, caption, table)


def key_of(split: str, mode: str) -> str:
    """A split in a chart's key: its colour and, where it is not plain, its pattern."""
    mark = {"/": " (hatched)", ".": " (dotted)"}.get(PATTERNS.get(split, ""), "")
    return f"<span style='color:{_colour(split, mode)}'>■</span> {split}{mark}"


def _colour(split: str, mode: str) -> str:
    p = palette(mode)
    return {"fit": p.grey, "calibration": p.green}.get(split, p.purple)


def mark_of(split: str, mode: str) -> dict[str, Any]:
    """How a split's bars are filled: colour, and a pattern that repeats what it says."""
    pattern = {"shape": PATTERNS.get(split, ""), "fillmode": "overlay", "fgcolor": palette(mode).background}
    return {"color": _colour(split, mode), "line": {"width": 0}, "pattern": {**pattern, "size": 6, "solidity": 0.25}}


def _bars(figure: go.Figure, split: str, values: Integers, names: list[str], named: bool, mode: str) -> None:
    places = list(range(len(values)))
    text = [f"<b>{words.count(v)}</b> {split}, {words.name(n)}" for v, n in zip(values, names, strict=True)]
    across = {"x": values.tolist(), "y": places} if named else {"x": places, "y": values.tolist()}
    figure.add_bar(
        **across, orientation="h" if named else "v", marker=mark_of(split, mode), uid=f"balance-{split}", text=text,
        textposition="none", hovertemplate="%{text}<extra></extra>",
    )  # fmt: skip


def _caption(total: Integers, counts: Mapping[str, Integers], classes: tuple[str, ...]) -> str:
    sizes = ", ".join(f"{words.count(np.asarray(c).sum())} {s}" for s, c in counts.items())
    least, most = int(total.argmin()), int(total.argmax())
    if total[least] == total[most]:
        return f"Every class has {words.count(total[least])} examples: {sizes}."
    rare, common = (words.cut(classes[i], 40) for i in (least, most))
    return f"From {words.count(total[least])} examples of {rare} to {words.count(total[most])} of {common}: {sizes}."
