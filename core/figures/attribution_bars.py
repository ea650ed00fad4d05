"""What each column or word has in the score, in both networks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core.damage.why import Why
from core.figures import words
from core.figures.because import sentence, target
from core.figures.theme import SMALL, Series, bar, layout, note, palette, title
from core.registry import register
from core.types import Chart, Floats

SHOWN = 12  # parts: half of them those with most in either network, half those of the others that moved most
ROW = 30  # px a part
LETTERS = 26


@register(
    kind="chart",
    name="attribution-bars",
    title="What speaks for it, by column or word",
    summary="Each column's or word's part in one score, in the original and in the tempered network.",
    reference="Sundararajan et al. 2017, arXiv 1703.01365; Zeiler and Fergus 2014, arXiv 1311.2901",
)
def attribution_bars_chart(found: Why, mode: str = "light") -> Chart:
    """A pair of bars a part, those with most first, see `drawn`: to the right what speaks for the target."""
    before, after = found.original.values, found.tempered.values
    order = ranked(found)
    shown = drawn(found)
    names = [label(found, int(i)) for i in shown]
    figure = go.Figure()
    _bars(figure, "original", before[shown], names, found.unit, mode)
    _bars(figure, "tempered", after[shown], names, found.unit, mode)
    p = palette(mode)
    room = 24 + round(6.6 * max((len(name) for name in names), default=4))
    unit = f", {words.name(found.unit, LETTERS)}" if found.unit else ""
    layout(
        figure, mode, 84 + ROW * max(len(shown), 1), margin=(room, 14, 30, 46), barmode="group", bargap=0.25,
        bargroupgap=0.05,
        xaxis={"zeroline": True, "zerolinewidth": 1.5, "zerolinecolor": p.muted, "nticks": 7,
               "title": {"text": f"part in the score of {words.name(target(found), LETTERS + 2)}{unit}"}},
        yaxis={"range": [max(len(shown), 1) - 0.5, -0.5], "tickvals": list(range(len(shown))),
               "ticktext": [words.name(name) for name in names], "tickfont": {"size": SMALL, "color": p.text}},
    )  # fmt: skip
    note(figure, f"{title('original', mode)}   {title('tempered', mode)}", mode, 0, 1, shift=(0, 6))
    caption = sentence(found)
    listed = "; ".join(
        f"{name} {words.signed_amount(float(before[i]))} before, {words.signed_amount(float(after[i]))} after"
        for name, i in zip(names, shown, strict=True)
    )
    alt = f"Bars of {len(shown)} of {len(order)} parts of example {found.place}: {listed}. {caption}"
    return Chart(figure, alt, caption, _table(found, order))


def ranked(found: Why) -> np.ndarray:
    """Places of the parts that are there, those with most in either network first."""
    there = np.flatnonzero(found.inside)
    size = np.maximum(np.abs(found.original.values), np.abs(found.tempered.values))[there]
    return there[np.argsort(-size, kind="stable")]


def drawn(found: Why) -> np.ndarray:
    """Places of up to `SHOWN` parts: those with most and, of the others, those that moved most, by `ranked`."""
    order = ranked(found)
    rest = order[SHOWN // 2 :]
    moved = np.abs(found.tempered.values - found.original.values)[rest]
    kept = rest[np.argsort(-moved, kind="stable")[: SHOWN - SHOWN // 2]]
    return order[np.isin(order, [*order[: SHOWN // 2], *kept])]


def label(found: Why, part: int) -> str:
    """A part's name; a word with its place, since it may stand in a text twice."""
    name = words.cut(found.parts[part], LETTERS)
    return f"{name} ({part + 1})" if found.words else name


def _bars(figure: go.Figure, series: Series, values: Floats, names: list[str], unit: str, mode: str) -> None:
    said = [f"{words.name(name)}<br>{series}: {words.signed_amount(float(v), words.name(unit))}"
            for name, v in zip(names, values, strict=True)]  # fmt: skip
    figure.add_bar(
        x=values, y=list(range(len(values))), orientation="h", marker=bar(series, mode), hovertext=said,
        hovertemplate="%{hovertext}<extra></extra>", uid=f"attribution-{series}",
    )  # fmt: skip


def _table(found: Why, order: np.ndarray) -> pd.DataFrame:
    before, after = found.original.values[order], found.tempered.values[order]
    rows = {
        "Word" if found.words else "Column": [words.cut(found.parts[i], 100) for i in order],
        "Place": order + 1, "Original": before, "Tempered": after, "Change": after - before,
    }  # fmt: skip
    return pd.DataFrame(rows)
