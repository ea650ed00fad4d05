"""Several seeds of a student with and without its teacher: a dot a seed, means with their intervals."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from core.figures import said
from core.figures.theme import SYMBOLS, layout, palette
from core.registry import register
from core.training.seeds import Seeds, Spread
from core.types import Chart, Quantity

HEIGHT = 250  # px
GAP = 0.09  # of the width, between two panels
ROWS = (("alone", "labels alone"), ("taught", "with the teacher"))
OFF = 0.22  # of a row, by which the mean stands beside the dots
AGREEMENT = {"fraction": "Agrees with the teacher", "": "Gap to the teacher"}


@register(
    kind="chart",
    name="several-seeds",
    title="Several seeds",
    summary="A student with and without its teacher from several seeds, with means and intervals over the seeds.",
    reference="Student 1908, The probable error of a mean, doi 10.2307/2331554",
)
def several_seeds_chart(found: Seeds, mode: str = "light") -> Chart:
    """One panel a measure, a row with and a row without the teacher; lines join what came of the same seed."""
    p, figure, axes = palette(mode), go.Figure(), {}
    names = [name for name in (found.lead, "agreement") if name in found.spreads]
    width = (1 - GAP * (len(names) - 1)) / max(len(names), 1)
    for place, name in enumerate(names):
        number = "" if place == 0 else str(place + 1)
        unit = _unit(name, found)
        factor, of = said.factor(unit), found.spreads[name]
        xs = [x for pair in zip(of.alone, of.taught, strict=True) for x in (*(factor * v for v in pair), None)]
        figure.add_scatter(  # one trace whatever the number of seeds: a gap stands between two of them
            x=xs, y=[0, 1, None] * len(found.seeds), mode="lines", xaxis=f"x{number}", yaxis=f"y{number}",
            uid=f"seeds-{place}-pairs", line={"color": p.line, "width": 1.5}, hoverinfo="skip",
        )  # fmt: skip
        for row, values in ((0, of.alone), (1, of.taught)):
            colour = p.original if row == 0 else p.tempered
            figure.add_scatter(
                x=[factor * v for v in values], y=[row] * len(values), mode="markers", xaxis=f"x{number}",
                yaxis=f"y{number}", uid=f"seeds-{place}-{row}", customdata=list(found.seeds),
                marker={"color": colour, "size": 9, "symbol": SYMBOLS["original" if row == 0 else "tempered"],
                        "line": {"width": 2, "color": colour}},
                hovertemplate="seed %{customdata}: %{x:.4g}<extra></extra>",
            )  # fmt: skip
        for row, mean, colour in ((0, of.alone_mean, p.original), (1, of.taught_mean, p.tempered)):
            ends = mean.interval
            assert ends is not None and mean.value is not None
            middle = factor * mean.value
            figure.add_scatter(
                x=[middle], y=[row - OFF if row == 0 else row + OFF], mode="markers", xaxis=f"x{number}",
                yaxis=f"y{number}", uid=f"seeds-{place}-mean-{row}", hovertemplate="mean %{x:.4g}<extra></extra>",
                marker={"color": colour, "size": 9, "symbol": "diamond"},
                error_x={"array": [factor * ends.high - middle], "arrayminus": [middle - factor * ends.low],
                         "type": "data", "symmetric": False, "color": colour, "thickness": 2, "width": 5},
            )  # fmt: skip
        left = place * (width + GAP)
        axes[f"xaxis{number}"] = {
            "domain": [left, left + width], "anchor": f"y{number}", "nticks": 5, "range": _range(of, factor),
            "title": {"text": f"{_title(name, found)}, {said.shown_unit(unit)}".removesuffix(", ")},
        }  # fmt: skip
        axes[f"yaxis{number}"] = {
            "anchor": f"x{number}", "range": [-0.6, 1.6], "tickvals": [0, 1], "showgrid": False, "zeroline": False,
            "ticktext": [text for _, text in ROWS] if place == 0 else ["", ""],
        }  # fmt: skip
    layout(figure, mode, HEIGHT, margin=(120, 10, 10, 46), **axes)
    return Chart(figure, _alt(found, names), _caption(found), _table(found, names))


def _unit(name: str, found: Seeds) -> str:
    if name != "agreement":
        return said.unit_of(name)
    return "fraction" if found.lead == "accuracy" else said.unit_of(found.lead)


def _title(name: str, found: Seeds) -> str:
    if name != "agreement":
        return said.title(name)
    return AGREEMENT["fraction" if found.lead == "accuracy" else ""]


def _range(of: Spread, factor: int) -> list[float]:
    means = [one.interval for one in (of.alone_mean, of.taught_mean) if one.interval is not None]
    found = [*of.alone, *of.taught, *(one.low for one in means), *(one.high for one in means)]
    low, high = factor * min(found), factor * max(found)
    room = 0.06 * max(high - low, 0.02 * abs(high), 1e-6)
    return [low - room, high + room]


def _means(of: Spread, unit: str) -> str:
    def text(one: Quantity) -> str:
        ends = one.interval
        assert ends is not None
        return f"{said.value(one.value, unit)} [{said.number(ends.low, unit)}, {said.number(ends.high, unit)}]"

    return f"{text(of.taught_mean)} with the teacher, {text(of.alone_mean)} with the labels alone"


def _caption(found: Seeds) -> str:
    unit = _unit(found.lead, found)
    means = _means(found.spreads[found.lead], unit)
    return (
        f"Mean {said.name(found.lead)} over {len(found.seeds)} seeds: {means}; brackets are Student's 95 % intervals."
    )


def _alt(found: Seeds, names: list[str]) -> str:
    told = "; ".join(f"{_title(n, found)}: {_means(found.spreads[n], _unit(n, found))}" for n in names)
    return f"Dots for {len(found.seeds)} seeds with and without the teacher. {told}."


def _table(found: Seeds, names: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"seed": seed}
            | {
                f"{_title(name, found)}, {text}": getattr(found.spreads[name], who)[turn]
                for name in names
                for who, text in ROWS
            }
            for turn, seed in enumerate(found.seeds)
        ]
    )
