"""Cost an example against the threshold, beside calling everything or nothing positive."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core.decisions.thresholds import Curve
from core.decisions.verdict import SIDES, Verdict
from core.figures import words
from core.figures._binary import (
    HEIGHT,
    PLAIN,
    POINTS,
    ROWS,
    SUPERSCRIPT,
    TOP,
    calls,
    hover,
    legend,
    line,
    mark,
    probability,
    some,
)
from core.figures.theme import SMALL, TITLES, layout, note, palette
from core.registry import register
from core.types import Chart, Floats

NEAR = 6.0  # log-odds shown at least: 0.25 % to 99.75 %
FAR = 42.0  # and at most: beyond lies what float64 cannot tell from certainty
BEYOND = 2.5  # log-odds shown past a marked threshold
TICKS = (1e-18, 1e-15, 1e-12, 1e-9, 1e-6, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)  # probabilities
HEADROOM = 1.6  # of the axis over the dearer of what was chosen and the cheaper of always and never
APART = 0.09  # share of the axis between two ticks


@register(
    kind="chart",
    name="cost",
    title="Cost",
    summary="Mean cost of the errors at every threshold, the chosen one marked, beside deciding always or never.",
    reference="Elkan 2001, The foundations of cost-sensitive learning; Drummond and Holte 2006",
    tasks=("binary",),
)
def cost_chart(given: Verdict, mode: str = "light") -> Chart:
    """Both models on the evaluation split; the thresholds marked were chosen on the calibration split.

    The axis is even in log-odds, so that thresholds near 0 and 1 can be told apart.
    """
    p, costs = palette(mode), given.rule.costs
    low, high = _range(given)
    grid = np.linspace(low, high, POINTS)
    figure = go.Figure()
    most, rows = 0.0, []
    for policy in ("always", "never"):
        worth = getattr(given.tempered.decision, policy).value
        figure.add_scatter(
            x=[low, high], y=[worth, worth], mode="lines", uid=policy, hoverinfo="skip",
            line={"color": p.grey, "width": 1, "dash": "2px,3px"},
        )  # fmt: skip
    for series in SIDES:
        side = given.of(series)
        cost = side.curve.cost(costs)[side.curve.at(_share(grid))]
        most = max(most, float(cost.max()))
        text = [f"at least {probability(float(t))}" for t in _share(grid)]
        line(figure, series, "cost", grid, cost, mode, text=text, line={"shape": "hv"},
             hovertemplate="%{text}: costs %{y:.3f} an example<extra></extra>")  # fmt: skip
        made = side.decision
        at = (float(np.clip(_log_odds(made.threshold), low, high)), made.cost.value)
        mark(figure, series, "cost-point", at, hover(given, series), mode)
        rows += _rows(TITLES[series], side.curve, side.curve.cost(costs))
    ticks = _ticks(low, high)
    always, never = (float(getattr(given.tempered.decision, policy).value) for policy in ("always", "never"))
    chosen = [given.of(series).decision.cost.value or 0.0 for series in SIDES]
    top = min(1.1 * most, HEADROOM * max(*chosen, min(always, never))) or 1.0
    layout(
        figure, mode, HEIGHT, margin=(52, 12, TOP, 44),
        xaxis={
            "range": [low, high], "tickvals": [_log_odds(t) for t in ticks],
            "ticktext": [_tick(t) for t in ticks],
            "title": {"text": f"threshold: called {words.name(given.judged.positive, 30)} from this probability on"},
        },
        yaxis={"range": [0, top], "title": {"text": "cost an example"}},
    )  # fmt: skip
    closed = _log_odds(costs.threshold)
    if low < closed < high:
        figure.add_shape(type="line", x0=closed, x1=closed, y0=0, y1=1, yref="y domain",
                         line={"color": p.muted, "width": 1, "dash": "dot"})  # fmt: skip
        note(figure, f"calibrated: {probability(costs.threshold)}", mode, closed, 1, xref="x", anchor=("left", "top"),
             shift=(4, 0), colour=p.muted, size=SMALL, backed=True)  # fmt: skip
    for policy, worth, side_of in (("always", always, "left"), ("never", never, "right")):
        if worth <= top:
            over = worth < 0.9 * top
            note(figure, policy, mode, 0 if side_of == "left" else 1, worth, yref="y", colour=p.muted, size=SMALL,
                 anchor=(side_of, "bottom" if over else "top"), backed=True,
                 shift=(4 if side_of == "left" else -4, 1 if over else -1))  # fmt: skip
    legend(figure, mode, lambda series: _legend(given, series == "tempered"))
    columns = ["Model", "Threshold", "Cost an example", "False alarms", "Misses"]
    return Chart(figure, _alt(given), _caption(given), pd.DataFrame(rows, columns=columns))


def _log_odds(p: float) -> float:
    if p <= 0 or p >= 1:
        return -FAR if p <= 0 else FAR
    return math.log(p / (1 - p))


def _share(log_odds: Floats) -> Floats:
    found: Floats = 1 / (1 + np.exp(-log_odds))
    return found


def _range(given: Verdict) -> tuple[float, float]:
    """Log-odds from well below the lowest marked threshold to well above the highest, those of no score left out."""
    marked = [given.of(series).decision.threshold for series in SIDES] + [given.rule.costs.threshold]
    at = [_log_odds(t) for t in marked if 0 < t < 1]
    return max(-FAR, min([-NEAR, *(x - BEYOND for x in at)])), min(FAR, max([NEAR, *(x + BEYOND for x in at)]))


def _tick(p: float) -> str:
    return f"{100 * p:.6g}{words.SPACE}%" if p >= PLAIN else f"10{str(round(math.log10(p))).translate(SUPERSCRIPT)}"


def _ticks(low: float, high: float) -> list[float]:
    """Probabilities that fit: one half first, then those far enough from the ones taken."""
    taken: list[float] = []
    for t in sorted(TICKS, key=lambda t: abs(_log_odds(t))):
        x = _log_odds(t)
        if low <= x <= high and all(abs(x - _log_odds(o)) >= APART * (high - low) for o in taken):
            taken.append(t)
    return sorted(taken)


def _rows(name: str, curve: Curve, cost: Floats) -> list[tuple[str, str, float, int, int]]:
    return [
        (
            name,
            "never" if k == 0 else f"{curve.thresholds[k]:.6g}",
            float(cost[k]),
            int(curve.fp[k]),
            int(curve.fn[k]),
        )
        for k in some(len(cost), ROWS)
    ]


def _legend(given: Verdict, tempered: bool) -> str:
    made = (given.tempered if tempered else given.original).decision
    asks = f"from {probability(made.threshold)} on" if made.policy == "threshold" else made.policy
    assert made.cost.value is not None and made.cost.interval is not None
    return f"{asks}: {made.cost.value:.3f} ({made.cost.interval.low:.3f} to {made.cost.interval.high:.3f})"


def _caption(given: Verdict) -> str:
    made, name = given.tempered.decision, words.cut(given.judged.positive, 40)
    trivial, worth = min((("always", made.always.value), ("never", made.never.value)), key=lambda one: one[1] or 0.0)
    change, before = given.changes["cost"], given.original.decision.cost.value
    assert made.cost.value is not None and worth is not None and before is not None and change.interval is not None
    sure = change.interval.low > 0 or change.interval.high < 0 or change.interval.low == change.interval.high
    return (
        f"Tempered costs {made.cost.value:.3f} an example and the original {before:.3f}"
        f"{'' if sure else ', not surely different'}, where {trivial} calling {name} costs {worth:.3f}."
    )


def _alt(given: Verdict) -> str:
    name = words.cut(given.judged.positive, 40)
    parts = [
        f"{series} {calls(given.of(series).decision, name)} and costs {given.of(series).decision.cost.value:.3f}"
        for series in SIDES
    ]
    return (
        f"Cost an example against the threshold over {words.count(given.n)} evaluation examples, a false alarm at "
        f"{given.rule.costs.false_alarm:g} and a miss at {given.rule.costs.miss:g}: {'; '.join(parts)}."
    )
