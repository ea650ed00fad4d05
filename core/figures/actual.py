"""Predicted against actual values, before and after."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core.figures import words
from core.figures._numbers import Scale, missed, rounded, scale_of, target, unit, with_unit
from core.figures.theme import SMALL, SYMBOLS, TITLES, Series, layout, note, palette, title, translucent
from core.registry import method, register
from core.task import NUMBERS
from core.types import Chart, Floats, Integers, Outcome

HEIGHT = 400  # px
GAP = 0.05  # between panels, share of the width
CELLS = 46  # cells along each axis, a few px each
FEW = 3  # examples from which a cell is coloured; fewer are points
PALEST = 0.25  # opacity of a cell with the fewest examples
GROUPS = 10  # rows a model in the table


@register(
    kind="chart",
    name="actual",
    title="Predicted against actual",
    summary="Each example's predicted value against its actual one: on the diagonal, the prediction is right.",
    reference="Carr et al. 1987, Scatterplot matrix techniques for large N, doi 10.1080/01621459.1987.10478445",
    tasks=NUMBERS,
)
def actual_chart(original: Outcome, tempered: Outcome, mode: str = "light") -> Chart:
    """Original left, tempered right, on one range; many examples in a place are a darker cell, few are points."""
    p = palette(mode)
    outcomes: dict[Series, Outcome] = {"original": original, "tempered": tempered}
    scale = scale_of(np.concatenate([original.labels, original.values]), tempered.values)
    counts = {series: _counts(scale, outcome) for series, outcome in outcomes.items()}
    most = max(int(count.max()) for count, _ in counts.values())
    name, of = words.name(target(original)), words.name(unit(original)) if unit(original) else ""
    figure = go.Figure()
    for column, (series, outcome) in enumerate(outcomes.items(), 1):
        _panel(figure, column, series, outcome, scale, *counts[series], most, mode)
    axes = {}
    for column, domain in enumerate(((0, (1 - GAP) / 2), ((1 + GAP) / 2, 1)), 1):
        across = scale.axis(", ".join(part for part in (f"actual {name}", of) if part), 3)
        up = scale.axis(f"predicted {name}" if column == 1 else "")
        axes[f"xaxis{column}"] = across | {"domain": domain, "anchor": f"y{column}"}
        axes[f"yaxis{column}"] = up | {"anchor": f"x{column}", "showticklabels": column == 1}
    layout(figure, mode, HEIGHT, margin=(62, 12, 50, 46), **axes)
    for column, (series, outcome) in enumerate(outcomes.items(), 1):
        axis = "x" if column == 1 else "x2"
        note(figure, title(series, mode), mode, 0, 1, xref=f"{axis} domain", shift=(0, 20))
        text = f"RMSE {words.amount(_measure('rmse', outcome), of)}"
        note(figure, text, mode, 0, 1, xref=f"{axis} domain", shift=(0, 3), colour=p.muted, size=SMALL)
        beyond = int((scale.beyond(outcome.values) | scale.beyond(outcome.labels)).sum())
        if beyond:
            verb = "lies" if beyond == 1 else "lie"
            note(figure, f"{words.count(beyond)} at the edge {verb} beyond", mode, 1, 0, xref=f"{axis} domain",
                 yref="y domain", anchor=("right", "bottom"), shift=(-6, 4), colour=p.muted, size=SMALL,
                 backed=True)  # fmt: skip
    caption = _caption(original, tempered)
    alt = (
        f"Two panels of predicted against actual {target(original)} for {words.count(original.n)} examples, "
        + " and ".join(
            f"{series} with R² {_measure('r2', outcome):.3f} and RMSE "
            f"{words.amount(_measure('rmse', outcome), unit(outcome))}"
            for series, outcome in outcomes.items()
        )
        + f". {caption}"
    )
    return Chart(figure, alt, caption, _table(outcomes))


def _measure(name: str, outcome: Outcome) -> float:
    return float(method("metric", name).function.of(outcome))


def _counts(scale: Scale, outcome: Outcome) -> tuple[Integers, Integers]:
    """How many examples each cell holds `(CELLS, CELLS)`, rows upwards, and the cell of each example `(N,)`."""
    span = (scale.high - scale.low) * (1 + 1e-9)
    place = [((scale.along(v) - scale.low) / span * CELLS).astype(np.int64) for v in (outcome.values, outcome.labels)]
    cell = place[0] * CELLS + place[1]
    return np.bincount(cell, minlength=CELLS * CELLS).reshape(CELLS, CELLS), cell


def _panel(
    figure: go.Figure,
    column: int,
    series: Series,
    outcome: Outcome,
    scale: Scale,
    counts: Integers,
    cell: Integers,
    most: int,
    mode: str,
) -> None:
    p = palette(mode)
    axes = {"xaxis": f"x{column}", "yaxis": f"y{column}"}
    edges = np.linspace(scale.low, scale.high, CELLS + 1)
    shown = counts >= FEW
    # Counts differ by orders of magnitude: their logarithm is what the eye can tell apart.
    depth = np.log(np.maximum(counts, 1)) / np.log(max(most, FEW + 1))
    figure.add_heatmap(
        x=edges, y=edges, z=np.where(shown, depth, np.nan), zmin=np.log(FEW) / np.log(max(most, FEW + 1)), zmax=1,
        text=np.where(shown, counts, 0), hovertemplate="<b>%{text}</b> examples here<extra></extra>",
        hoverongaps=False, showscale=False, uid=f"cells-{series}",
        colorscale=[(0.0, translucent(p.of(series), PALEST)), (1.0, p.of(series))], **axes,
    )  # fmt: skip
    alone = np.flatnonzero(counts.reshape(-1)[cell] < FEW)
    figure.add_scatter(
        x=scale.along(outcome.labels[alone]), y=scale.along(outcome.values[alone]), mode="markers",
        marker={"symbol": SYMBOLS[series], "size": 4 if outcome.n > 500 else 6, "color": p.of(series),
                "opacity": 0.7},
        text=_hovers(outcome, alone), hovertemplate="%{text}<extra></extra>", cliponaxis=False,
        uid=f"points-{series}", **axes,
    )  # fmt: skip
    ends = [scale.low, scale.high]
    figure.add_scatter(
        x=ends, y=ends, mode="lines", line={"color": p.muted, "width": 1.25}, hoverinfo="skip",
        uid=f"ideal-{series}", **axes,
    )  # fmt: skip


def _hovers(outcome: Outcome, chosen: Integers) -> list[str]:
    of = words.name(unit(outcome)) if unit(outcome) else ""
    return [
        f"actual <b>{words.amount(actual, of)}</b><br>predicted <b>{words.amount(value, of)}</b><br>example {i}"
        for i, actual, value in zip(chosen, outcome.labels[chosen], outcome.values[chosen], strict=True)
    ]


def _caption(original: Outcome, tempered: Outcome) -> str:
    before, after = (words.amount(_measure("mae", one), unit(one)) for one in (original, tempered))
    start = f"The tempered model misses the actual {target(tempered)} by {after} on average"
    return f"{start}, as does the original." if before == after else f"{start}, the original by {before}."


def _table(outcomes: dict[Series, Outcome]) -> pd.DataFrame:
    """The examples in tenths of their actual values, the same for both models."""
    rows: list[tuple[str, float, float, int, float, float, float]] = []
    for series, outcome in outcomes.items():
        order = np.argsort(outcome.labels, kind="stable")
        for part in np.array_split(order, min(GROUPS, outcome.n)):
            actual: Floats = outcome.labels[part]
            error = -missed(outcome)[part]
            mean = (float(outcome.values[part].mean()), float(error.mean()), float(np.abs(error).mean()))
            rows.append((TITLES[series], float(actual.min()), float(actual.max()), len(part), *mean))
    first = next(iter(outcomes.values()))
    names = ("Actual from", "Actual up to", "Mean predicted", "Mean predicted minus actual", "Mean absolute error")
    frame = pd.DataFrame(rows, columns=["Model", *names[:2], "Examples", *names[2:]])
    frame[list(names)] = frame[list(names)].apply(lambda column: rounded(column.to_numpy()))
    return frame.rename(columns={name: with_unit(name, first) for name in names})
