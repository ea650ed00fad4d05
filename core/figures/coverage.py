"""The reliability diagram of numbers: how often intervals hold the actual value, against how often they should."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from scipy import special

from core.figures import words
from core.figures._numbers import missed, rounded, scale_of, target, unit, with_unit
from core.figures.theme import DASHES, SMALL, SYMBOLS, TITLES, Series, layout, note, palette, title, translucent
from core.registry import register
from core.task import LEVEL, LEVELS, NUMBERS
from core.types import Chart, Floats, Outcome

HEIGHT = 400  # px
GAP = 0.15  # between panels, share of the width
SURE = 0.95  # of evaluation sets, if the levels were exact
BEFORE = "Tempered, before calibration"


@dataclass(frozen=True)
class Held:
    """At each of `LEVELS`: the share of actual values inside the intervals, and the intervals' mean full width."""

    share: Floats
    width: Floats

    @property
    def at(self) -> float:
        """The share at the level that is shown as a number."""
        return float(self.share[LEVELS.index(LEVEL)])

    @property
    def wide(self) -> float:
        """The mean width at that level."""
        return float(self.width[LEVELS.index(LEVEL)])


@register(
    kind="chart",
    name="coverage",
    title="Coverage",
    summary="The share of actual values that intervals hold against the share they claim, and how wide they are.",
    reference="Kuleshov et al. 2018, arXiv 1807.00263; Gneiting, Balabdaoui and Raftery 2007, doi "
    "10.1111/j.1467-9868.2007.00587.x",
    tasks=NUMBERS,
)
def coverage_chart(original: Outcome, uncalibrated: Outcome, tempered: Outcome, mode: str = "light") -> Chart:
    """Left coverage by level, right mean width by level; dotted the model before its confidence calibration."""
    p = palette(mode)
    found: dict[Series, Held] = {"original": held(original), "tempered": held(tempered)}
    calibrated = not np.array_equal(uncalibrated.predicted, tempered.predicted)
    before = held(uncalibrated) if calibrated else None
    levels = np.array(LEVELS)
    low, high = chance(original.n)

    figure = go.Figure()
    figure.add_scatter(
        x=np.concatenate([levels, levels[::-1]]), y=np.concatenate([high, low[::-1]]), mode="lines", fill="toself",
        fillcolor=translucent(p.grey, 0.25), line={"width": 0, "color": p.grey}, hoverinfo="skip", uid="chance",
        xaxis="x1", yaxis="y1",
    )  # fmt: skip
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": p.grey, "width": 1}, hoverinfo="skip", uid="ideal",
        xaxis="x1", yaxis="y1",
    )  # fmt: skip
    widths = np.concatenate([h.width for h in (*found.values(), *([before] if before else []))])
    scale = scale_of(np.append(widths, 0.0 if widths.any() else [0.0, 1.0]), widths, logarithmic=False)
    dots = {"color": p.muted, "width": 1.75, "dash": "2px,3px"}
    for column, part in enumerate(("share", "width"), 1):
        values = getattr(before, part) if before else []
        figure.add_scatter(
            x=levels if before else [], y=values, mode="lines", line=dots, hoverinfo="skip",
            uid=f"{part}-uncalibrated", xaxis=f"x{column}", yaxis=f"y{column}",
        )  # fmt: skip
        for series, one in found.items():
            _line(figure, column, part, series, one, tempered, mode)

    name, of = words.name(target(original)), words.name(unit(original)) if unit(original) else ""
    ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
    rate = {"range": [-0.02, 1.02], "tickvals": ticks, "ticktext": [f"{100 * t:.0f}" for t in ticks]}
    middle = (1 - GAP) / 2
    axes: dict[str, Any] = {
        "xaxis1": rate | {"domain": (0, middle), "anchor": "y1", "title": {"text": "level of the interval, %"}},
        "yaxis1": rate | {"anchor": "x1", "title": {"text": f"intervals that hold the {name}, %"}},
        "xaxis2": rate | {"domain": (middle + GAP, 1), "anchor": "y2", "title": {"text": "level of the interval, %"}},
        "yaxis2": scale.axis("") | {"anchor": "x2"},
    }
    layout(figure, mode, HEIGHT, margin=(58, 12, 50, 46), **axes)
    both = f"{title('original', mode)}   {title('tempered', mode)}"
    if before:
        both += f"   <span style='color:{p.muted}'>··· before calibration</span>"
    note(figure, both, mode, 0, 1, shift=(0, 20))
    quiet: dict[str, Any] = {"shift": (0, 3), "colour": p.muted, "size": SMALL}
    note(figure, f"grey: chance, n = {words.count(original.n)}", mode, 0, 1, xref="x domain", **quiet)
    # To the left from the panel's end: there is more room on that side in a narrow window.
    text = ", ".join(part for part in ("mean width", of) if part)
    note(figure, text, mode, 1, 1, xref="x2 domain", anchor=("right", "bottom"), **quiet)
    caption = _caption(found, before, target(original))
    alt = _alt(found, before, original)
    return Chart(figure, alt, caption, _table(found, before, original))


def held(outcome: Outcome) -> Held:
    """What the stated intervals of an outcome hold, and how wide they are."""
    half = outcome.predicted[:, 1:]
    inside = np.abs(missed(outcome))[:, None] <= half
    return Held(inside.mean(0), 2 * half.mean(0))


def chance(n: int) -> tuple[Floats, Floats]:
    """Between which shares the coverage lies in 95 % of sets of `n` examples whose levels are exact: binomial."""
    levels = np.array(LEVELS)
    ends = [np.ceil(special.bdtrik(share, n, levels)) for share in ((1 - SURE) / 2, (1 + SURE) / 2)]
    low, high = (np.clip(np.nan_to_num(end), 0, n) / n for end in ends)
    return low, high


def _line(figure: go.Figure, column: int, part: str, series: Series, one: Held, outcome: Outcome, mode: str) -> None:
    colour = palette(mode).of(series)
    of = words.name(unit(outcome)) if unit(outcome) else ""
    figure.add_scatter(
        x=np.array(LEVELS), y=getattr(one, part), mode="lines+markers", cliponaxis=False,
        line={"color": colour, "width": 2, "dash": DASHES[series]},
        marker={"symbol": SYMBOLS[series], "size": 6, "color": colour, "line": {"width": 1.5, "color": colour}},
        text=[
            f"{TITLES[series]}, {words.percent(level, 0)} intervals<br>hold <b>{words.percent(share)}</b><br>"
            f"mean width <b>{words.amount(width, of)}</b>"
            for level, share, width in zip(LEVELS, one.share, one.width, strict=True)
        ],
        hovertemplate="%{text}<extra></extra>", uid=f"{part}-{series}", xaxis=f"x{column}", yaxis=f"y{column}",
    )  # fmt: skip


def _caption(found: Mapping[Series, Held], before: Held | None, name: str) -> str:
    after, level = found["tempered"], words.percent(LEVEL, 0)
    if not after.width.any():
        return (
            f"The model states no intervals: single values meet the actual {name} exactly in "
            f"{words.percent(after.at)} of cases."
        )
    if before and not before.width.any():
        return (
            f"The network states no intervals; with confidence calibration its {level} intervals hold the actual "
            f"{name} in {words.percent(after.at)} of cases."
        )
    if before:
        return (
            f"Its {level} intervals hold the actual {name} in {words.percent(before.at)} of cases; after confidence "
            f"calibration in {words.percent(after.at)}, {_wider(before.wide, after.wide)}."
        )
    return (
        f"The tempered model's {level} intervals hold the actual {name} in {words.percent(after.at)} of cases, "
        f"the original's in {words.percent(found['original'].at)}."
    )


def _wider(before: float, after: float) -> str:
    factor = after / before
    return "as wide as before" if abs(factor - 1) < 0.005 else f"{factor:.2f}{words.TIMES} as wide"


def _alt(found: Mapping[Series, Held], before: Held | None, outcome: Outcome) -> str:
    every = [(series, one) for series, one in found.items()] + ([("before calibration", before)] if before else [])
    parts = "; ".join(
        f"{name} holds {words.percent(one.at)}, mean width {words.amount(one.wide, unit(outcome))}"
        for name, one in every
    )
    return (
        f"Coverage and mean width of intervals at {len(LEVELS)} levels over {words.count(outcome.n)} examples; at "
        f"{words.percent(LEVEL, 0)}: {parts}."
    )


def _table(found: Mapping[Series, Held], before: Held | None, outcome: Outcome) -> pd.DataFrame:
    panels = [(TITLES[series], one) for series, one in found.items()] + ([(BEFORE, before)] if before else [])
    low, high = chance(outcome.n)
    parts = [
        pd.DataFrame(
            {
                "Model": name,
                "Level, %": [round(100 * level) for level in LEVELS],
                "Held, %": 100 * one.share,
                "95 % by chance from, %": 100 * low,
                "95 % by chance to, %": 100 * high,
                with_unit("Mean width", outcome): rounded(one.width),
            }
        )
        for name, one in panels
    ]
    return pd.concat(parts, ignore_index=True)
