"""Three confusion matrices on one pair of axes: original, tempered, and what changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from core.figures import words
from core.figures.theme import SMALL, Scale, at, diverging, ink, layout, note, palette, sequential, title
from core.metrics._confusion import confusion_matrix
from core.registry import register
from core.types import Chart, Floats, Integers, Outcome

COUNTED = 12  # classes up to which counts are printed in the cells
SHOWN = 24  # classes up to which all are drawn; beyond, those with the most errors
FULL_ERROR = 0.1  # share of a class: smaller errors never take the full colour
FULL_CHANGE = 0.05  # of a class of mean size: smaller changes never take the full colour
NO_WIDTH = "\u200b"
GAP = 0.022  # between panels, share of the width


@register(
    kind="chart",
    name="confusion",
    title="Confusion matrix",
    summary="Which class is taken for which, before and after, and every cell that changed.",
    reference="Stehman 1997, Selecting and interpreting measures of thematic classification accuracy",
)
def confusion_chart(
    original: Outcome, tempered: Outcome, mode: str = "light", selected: tuple[int, int] | None = None
) -> Chart:
    """Rows are true classes, columns predicted ones; the third panel is tempered minus original.

    A click on a cell selects a point with customdata `[true, predicted, count]`, class indices as in
    `Outcome.classes`. `selected` is such a `(true, predicted)` pair to outline.
    """
    before, after = confusion_matrix(original), confusion_matrix(tempered)
    kept = _kept(before, after)
    names = [original.classes[i] for i in kept]
    panels = [matrix[np.ix_(kept, kept)] for matrix in (before, after, after - before)]
    rows = before.sum(1)[kept]
    most = max(float(_errors(matrix / np.maximum(rows, 1)[:, None]).max()) for matrix in panels[:2])
    figure = go.Figure()
    for column, (matrix, part) in enumerate(zip(panels, ("original", "tempered", "difference"), strict=True), 1):
        z, scale = _difference(matrix, rows, mode) if part == "difference" else _rates(matrix, rows, most, mode)
        text = _printed(matrix, part == "difference")
        for colour in ("#000000", "#FFFFFF"):
            figure.add_trace(_heat(z, text, scale, colour, f"cells-{part}-{colour}", column))
        figure.add_trace(_targets(matrix, kept, names, part, column))
        if selected is not None and set(selected) <= set(kept):
            _outline(figure, kept.index(selected[0]), kept.index(selected[1]), column, mode)
    longest = max(len(words.name(name, 16)) for name in names)
    level = len(names) <= 3 and longest <= 12
    room = 8 + round(6.4 * longest)
    labelled = len(names) <= COUNTED
    bottom = 48 if level else 28 + round(6.2 * longest) if labelled else 30
    height = 60 + bottom + min(max(30 * len(names), 230), 430)
    layout(
        figure, mode, height, margin=(room + 18, 6, 34, bottom), hoverdistance=-1, **_axes(names, level, labelled)
    )  # fmt: skip
    accuracies = [words.percent(float(outcome.correct.mean())) for outcome in (original, tempered)]
    titles = [
        f"{title('original', mode)} {accuracies[0]}",
        f"{title('tempered', mode)} {accuracies[1]}",
        "<b>Difference</b>",
    ]
    for column, heading in enumerate(titles, 1):
        axis = _axis("x", column)
        note(figure, heading, mode, 0, 1, xref=f"{axis} domain", shift=(0, 6))
        note(figure, "predicted", mode, 0.5, 0, xref=f"{axis} domain", anchor=("center", "bottom"),
             shift=(0, -bottom + 2), colour=palette(mode).muted, size=SMALL)  # fmt: skip
    caption = _caption(before, after, original.classes)
    hidden = len(original.classes) - len(kept)
    if hidden:
        caption = (
            f"{caption[:-1]}; drawn are the {len(kept)} of {len(original.classes)} classes with the most errors."
        )
    alt = (
        f"Three {len(kept)} by {len(kept)} confusion matrices of {words.count(original.n)} examples: original with "
        f"{accuracies[0]} right, tempered with {accuracies[1]} right, and their difference. {caption}"
    )
    return Chart(figure, alt, caption, _table(before, after, original.classes, kept))


def _kept(before: Integers, after: Integers) -> list[int]:
    """The classes to draw, in their own order: all, or those with the most errors in either model."""
    if len(before) <= SHOWN:
        return list(range(len(before)))
    both = before + after
    errors = both.sum(0) + both.sum(1) - 2 * both.diagonal()
    return sorted(np.argsort(-errors, kind="stable")[:SHOWN].tolist())


def _printed(matrix: Integers, sign: bool) -> list[list[str]]:
    if len(matrix) > COUNTED:
        return [[""] * len(matrix) for _ in matrix]
    return [[(words.signed(int(v), 0) if sign else str(int(v))) if v else "" for v in row] for row in matrix]


def _heat(z: Floats, text: list[list[str]], scale: Scale, colour: str, uid: str, panel: int) -> go.Heatmap:
    """The cells on which text of this colour, black or white, reads best; a text has one colour a trace."""
    here = [[ink(at(scale, (value + 1) / 2)) == colour for value in row] for row in z.tolist()]
    shown = [[v if yes else None for v, yes in zip(*row, strict=True)] for row in zip(z.tolist(), here, strict=True)]
    # The browser sizes letters to the longest text of a trace: letters without width, as many as the panel's
    # longest text has, in the cells of the other trace make both traces write equally large.
    unseen = NO_WIDTH * max(len(t) for row in text for t in row)
    written = [[t if yes else unseen for t, yes in zip(*row, strict=True)] for row in zip(text, here, strict=True)]
    return go.Heatmap(
        z=shown, text=written, texttemplate="%{text}", textfont={"color": colour}, colorscale=scale, zmin=-1, zmax=1,
        showscale=False, xgap=1, ygap=1, hoverinfo="skip", hoverongaps=False, uid=uid,
        xaxis=f"x{panel}", yaxis=f"y{panel}",
    )  # fmt: skip


def _errors(matrix: NDArray[Any]) -> NDArray[Any]:
    """The matrix with a diagonal of zeros."""
    return np.where(np.eye(len(matrix), dtype=bool), 0, matrix)


def _rates(matrix: Integers, rows: Integers, most: float, mode: str) -> tuple[Floats, Scale]:
    """Shares of the true class. The square root lifts rare errors; the diagonal has its own quiet hue.

    One scale holds both: -1 to 0 for the diagonal, 0 to 1 for errors, of which `most` is the largest share.
    """
    p = palette(mode)
    rate = matrix / np.maximum(rows, 1)[:, None]
    error = np.sqrt(rate / max(most, FULL_ERROR))
    z = np.where(np.eye(len(matrix), dtype=bool), -rate, error)
    low, high = p.surface, sequential(mode)[-1][1]
    return z, [(0.0, p.line), (0.5, low), (1.0, high)]


def _difference(matrix: Integers, rows: Integers, mode: str) -> tuple[Floats, Scale]:
    """Signed counts on the square root of their share of the largest, blank where nothing changed."""
    p = palette(mode)
    largest = max(float(np.abs(matrix).max()), FULL_CHANGE * float(rows.mean()), 1.0)
    z = np.sign(matrix) * np.sqrt(np.abs(matrix) / largest)
    return z, [(place, p.surface if place == 0.5 else hue) for place, hue in diverging(mode)]


def _targets(matrix: Integers, kept: list[int], names: list[str], part: str, panel: int) -> go.Scatter:
    """Invisible points on the cells: heatmap cells cannot be selected, points can.

    Small points with an unlimited reach: the nearest point is then always the cell under the pointer.
    """
    size = range(len(kept))
    where = [(i, j) for i in size for j in size]
    shown = [words.name(name) for name in names]
    sign = part == "difference"
    return go.Scatter(
        x=[j for _, j in where],
        y=[i for i, _ in where],
        customdata=[[kept[i], kept[j], int(matrix[i, j])] for i, j in where],
        text=[
            f"<b>{words.signed(int(matrix[i, j]), 0) if sign else words.count(int(matrix[i, j]))}</b> "
            + (f"{shown[i]}, predicted right" if i == j else f"{shown[i]} taken for {shown[j]}")
            for i, j in where
        ],
        mode="markers",
        marker={"symbol": "square", "size": 6, "color": "#000000", "opacity": 0, "line": {"width": 0}},
        selected={"marker": {"opacity": 0}},
        unselected={"marker": {"opacity": 0}},
        hovertemplate="%{text}<extra></extra>",
        uid=f"targets-{part}",
        xaxis=f"x{panel}",
        yaxis=f"y{panel}",
    )


def _outline(figure: go.Figure, row: int, column: int, panel: int, mode: str) -> None:
    figure.add_shape(
        type="rect", x0=column - 0.5, x1=column + 0.5, y0=row - 0.5, y1=row + 0.5,
        line={"color": palette(mode).text, "width": 2.5}, xref=_axis("x", panel), yref=_axis("y", panel),
    )  # fmt: skip


def _axis(letter: str, panel: int) -> str:
    """The name of a panel's axis: the first has no number."""
    return letter if panel == 1 else f"{letter}{panel}"


def _axes(names: list[str], level: bool, labelled: bool) -> dict[str, Any]:
    ticks = {
        "tickvals": list(range(len(names))),
        "ticktext": [words.name(name, 16) for name in names],
        "showgrid": False,
        "showline": False,
    }
    width = (1 - 2 * GAP) / 3
    axes: dict[str, Any] = {}
    for panel in (1, 2, 3):
        start = (panel - 1) * (width + GAP)
        axes[f"xaxis{panel}"] = ticks | {
            "range": [-0.5, len(names) - 0.5], "domain": [start, min(start + width, 1)], "anchor": f"y{panel}",
            "tickangle": 0 if level else -90, "showticklabels": labelled,
        }  # fmt: skip
        axes[f"yaxis{panel}"] = ticks | {
            "range": [len(names) - 0.5, -0.5], "anchor": f"x{panel}", "showticklabels": panel == 1,
        }  # fmt: skip
    axes["yaxis1"]["title"] = {"text": "true class"}
    return axes


def _caption(before: Integers, after: Integers, classes: tuple[str, ...]) -> str:
    change = after - before
    if not change.any():
        return "Both models confuse the same classes equally often: no cell changed."
    off = _errors(change)
    worse = int(off.max())
    # The largest rise is the finding; where no confusion rose, the largest fall is.
    place = int(off.argmax()) if worse > 0 else int(off.argmin())
    i, j = divmod(place, len(change))
    verb = "grows most" if worse > 0 else "falls most"
    return (
        f"The confusion that {verb}: {classes[i]} taken for {classes[j]}, from {words.count(before[i, j])} "
        f"to {words.count(after[i, j])} of {words.count(before[i].sum())}."
    )


def _table(before: Integers, after: Integers, classes: tuple[str, ...], kept: list[int]) -> pd.DataFrame:
    rows = [(classes[i], classes[j], int(before[i, j]), int(after[i, j])) for i in kept for j in kept]
    table = pd.DataFrame(rows, columns=["True class", "Predicted class", "Original, examples", "Tempered, examples"])
    table["Change, examples"] = table["Tempered, examples"] - table["Original, examples"]
    return table
