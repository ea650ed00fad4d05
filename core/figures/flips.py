"""One slim bar of the predictions that changed sides: losses to the left, gains to the right."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from core.figures import words
from core.figures.theme import SMALL, bar, layout, note, palette
from core.registry import register
from core.types import Chart

HEIGHT = 132  # px
ROOM = 1.08  # axis beyond the longer side


@register(
    kind="chart",
    name="flips",
    title="Flips",
    summary="Examples that only one of the two models gets right, and the net of both.",
    reference="McNemar 1947; Dutta et al. 2024, Accuracy is not all you need (arXiv 2407.09141)",
)
def flips_chart(wrong_to_right: int, right_to_wrong: int, wrong_to_wrong: int, n: int, mode: str = "light") -> Chart:
    """Counts of examples out of `n`; `wrong_to_wrong` changed from one wrong class to another."""
    p = palette(mode)
    net = wrong_to_right - right_to_wrong
    reach = ROOM * max(wrong_to_right, right_to_wrong, 1)
    figure = go.Figure()
    for series, value, words_for in (
        ("original", -right_to_wrong, "only the original is right"),
        ("tempered", wrong_to_right, "only the tempered is right"),
    ):
        figure.add_bar(
            x=[value], y=[0], orientation="h", width=0.9, marker=bar(series, mode),  # type: ignore[arg-type]
            hovertemplate=f"<b>{words.count(abs(value))}</b> {words_for}<extra></extra>", uid=f"flips-{series}",
        )  # fmt: skip
    figure.add_scatter(
        x=[net], y=[0], mode="markers", uid="flips-net",
        marker={"symbol": "diamond", "size": 13, "color": p.text, "line": {"color": p.background, "width": 2}},
        hovertemplate=f"net <b>{words.signed(net, 0)}</b><extra></extra>",
    )  # fmt: skip
    layout(
        figure, mode, HEIGHT, margin=(8, 8, 46, 48), barmode="overlay",
        xaxis={"range": [-reach, reach], "visible": False}, yaxis={"range": [-0.6, 0.6], "visible": False},
    )  # fmt: skip
    figure.add_shape(type="line", x0=0, x1=0, y0=-0.6, y1=0.6, line={"color": p.muted, "width": 1})
    note(figure, f"<b>{words.count(right_to_wrong)}</b> became wrong", mode, 0, 1, shift=(0, 20))
    note(figure, f"<b>{words.count(wrong_to_right)}</b> became right", mode, 1, 1, anchor=("right", "bottom"),
         shift=(0, 20))  # fmt: skip
    quiet = {"colour": p.muted, "size": SMALL}
    note(figure, "only the original is right", mode, 0, 1, shift=(0, 3), **quiet)  # type: ignore[arg-type]
    note(figure, "only the tempered is right", mode, 1, 1, anchor=("right", "bottom"),
         shift=(0, 3), **quiet)  # type: ignore[arg-type]  # fmt: skip
    change = words.points(net / n) if n else words.NOTHING
    note(figure, f"◆ net <b>{words.signed(net, 0)}</b> of {words.count(n)}, {change} points", mode, 0.5, 0,
         anchor=("center", "top"), shift=(0, -4))  # fmt: skip
    if wrong_to_wrong:
        text = f"{words.count(wrong_to_wrong)} more changed from one wrong class to another"
        note(figure, text, mode, 0.5, 0, anchor=("center", "top"), shift=(0, -24), **quiet)  # type: ignore[arg-type]
    caption = _caption(wrong_to_right, right_to_wrong, n)
    alt = (
        f"Diverging bar: {words.count(right_to_wrong)} examples became wrong, {words.count(wrong_to_right)} became "
        f"right, net {words.signed(net, 0)} of {words.count(n)}; {words.count(wrong_to_wrong)} changed between wrong "
        "classes."
    )
    table = pd.DataFrame(
        {
            "Change": ["Right to wrong", "Wrong to right", "Net", "Wrong to another wrong class"],
            "Examples": [right_to_wrong, wrong_to_right, net, wrong_to_wrong],
            "Share of all, %": [100 * v / max(n, 1) for v in (right_to_wrong, wrong_to_right, net, wrong_to_wrong)],
        }
    )
    return Chart(figure, alt, caption, table)


def _caption(gained: int, lost: int, n: int) -> str:
    if not gained and not lost:
        return f"No example changed between right and wrong: both models agree on all {words.count(n)} verdicts."
    net = gained - lost
    if net == 0:
        return f"Losses and gains cancel: {words.count(lost)} became wrong and as many became right."
    verb = "Gains" if net > 0 else "Loses"
    return (
        f"{verb} {words.count(abs(net))} of {words.count(n)} on balance: {words.count(lost)} became wrong, "
        f"{words.count(gained)} became right."
    )
