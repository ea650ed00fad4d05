"""How trials of a training went: the calibration loss of each along its steps, the stopped ones faint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core.figures import said, words
from core.figures.theme import SMALL, layout, note, palette, translucent
from core.registry import method, register
from core.training.attempted import Attempted, Judged, best_of
from core.training.stopping import Curve
from core.training.tuning_space import TUNED
from core.types import Chart, Quantity

HEIGHT = 320  # px
ROOM = 0.08  # of the range of the losses, above and below
HIGHEST = 1.35  # times the loss before learning: what lies above is not shown


@register(
    kind="chart",
    name="tuning",
    title="Tuning",
    summary="The calibration loss of every trial while it learned; those that were stopped early are faint.",
    reference="Akiba et al. 2019, Optuna, doi 10.1145/3292500.3330701; Golovin et al. 2017, Google Vizier, "
    "doi 10.1145/3097983.3098043 (the median rule)",
)
def tuning_chart(
    tried: Sequence[Attempted], current: Curve, judged: Judged | None, loss: str, mode: str = "light"
) -> Chart:
    """`current` is the curve of the trial under way, `loss` the registered measure that chooses."""
    p = palette(mode)
    best = best_of(list(tried))
    given = tried[0] if tried and tried[0].curve else None
    figure = go.Figure()
    stopped = [one for one in tried if one.stopped and one is not best]
    others = [one for one in tried if one.loss is not None and one is not best and one is not given]
    width = {"width": 1.2}
    _curves(figure, "tuning-stopped", stopped, {"color": translucent(p.grey, 0.45), **width}, tried)
    _curves(figure, "tuning-finished", others, {"color": translucent(p.grey, 0.9), **width}, tried)
    _curves(
        figure, "tuning-given", [given] if given else [], {"color": p.original, "width": 2, "dash": "5px,4px"}, tried
    )
    _curves(figure, "tuning-best", [best] if best else [], {"color": p.tempered, "width": 2.5}, tried)
    figure.add_scatter(
        x=[100 * share for share, _ in current], y=[value for _, value in current], mode="lines+markers",
        uid="tuning-current", line={"color": p.purple, "width": 2}, marker={"size": 4, "color": p.purple},
        hovertemplate="under way: %{y:.4g}<br>%{x:.0f} % of the steps<extra></extra>",
    )  # fmt: skip
    layout(
        figure, mode, HEIGHT, margin=(58, 12, 34, 46),
        xaxis={"range": [-2, 102], "nticks": 6, "title": {"text": "steps done, %"}},
        yaxis={"range": _range(tried, current), "nticks": 6, "title": {"text": _axis(loss)}},
    )  # fmt: skip
    key = [("━", p.tempered, "best"), ("╌", p.original, "the given settings"), ("━", p.grey, "others, stopped faint")]
    key += [("●", p.purple, "under way")] if current else []
    text = "   ".join(f"<span style='color:{colour}'>{mark}</span> {name}" for mark, colour, name in key)
    note(figure, text, mode, 0, 1, shift=(0, 8), colour=p.muted, size=SMALL)
    caption = _caption(tried, best, judged, loss)
    count = f"{len(tried)} trial" + ("" if len(tried) == 1 else "s")
    return Chart(figure, f"Calibration loss of {count} over the steps. {caption}", caption, tuning_table(tried, loss))


def _axis(loss: str) -> str:
    return f"{said.title(loss)}, {said.shown_unit(said.unit_of(loss))}".removesuffix(", ") + ", on calibration"


def _curves(
    figure: go.Figure, uid: str, some: Sequence[Attempted], line: dict[str, Any], tried: Sequence[Attempted]
) -> None:
    """All curves of a kind as one trace, with a gap after each."""
    x: list[float | None] = []
    y: list[float | None] = []
    text: list[str] = []
    for one in some:
        about = f"<b>Trial {one.number + 1}</b><br>{words.lines(settings_said(one, tried))}"
        x += [*(100 * share for share, _ in one.curve), None]
        y += [*(value for _, value in one.curve), None]
        text += [*(f"{about}<br>{value:.4g}" for _, value in one.curve), ""]
    figure.add_scatter(x=x, y=y, mode="lines", uid=uid, line=line, text=text, hovertemplate="%{text}<extra></extra>")


def _range(tried: Sequence[Attempted], current: Curve) -> list[float]:
    curves = [one.curve for one in tried if one.curve] + ([current] if current else [])
    if not curves:
        return [0.0, 1.0]
    every = np.array([value for curve in curves for _, value in curve])
    before = max(curve[0][1] for curve in curves)
    low, high = float(every.min()), min(float(every.max()), HIGHEST * before)
    span = max(high - low, 0.02 * abs(high), 1e-6)
    return [max(0.0, low - ROOM * span), high + ROOM * span]


def settings_of(one: Attempted) -> dict[str, str]:
    """The tuned settings of a trial, by title and as words."""
    step = one.recipe.only("train").steps[-1]
    declared = {param.name: param for param in method("train", step.method).parameters}
    found = {}
    for name in TUNED:
        if name in declared and not (name == "temperature" and not step.values.get("mix", 1)):
            value = step.values[name]
            shown = declared[name].label(value)
            shown = "off" if value == "none" else shown
            found[declared[name].title] = shown if isinstance(value, str) else f"{value:g}"
    return found


def settings_said(one: Attempted, tried: Sequence[Attempted]) -> str:
    """What of a trial's settings differs among the trials, in words."""
    every = [settings_of(other) for other in tried]
    own = settings_of(one)
    varies = [title for title in own if len({other.get(title) for other in every}) > 1]
    return ", ".join(f"{title.lower()} {own[title].lower()}" for title in varies) or "the settings as they were given"


def _caption(tried: Sequence[Attempted], best: Attempted | None, judged: Judged | None, loss: str) -> str:
    stopped, failed = sum(one.stopped for one in tried), sum(bool(one.error) for one in tried)
    text = f"{len(tried)} trial{'' if len(tried) == 1 else 's'}"
    text += f", {stopped} stopped early" if stopped else ""
    text += f", {failed} failed" if failed else ""
    if best is None or best.loss is None:
        return f"{text}."
    unit = said.unit_of(loss)
    text += f"; the least {said.name(loss)} on calibration is {said.value(best.loss, unit)}"
    if tried[0].loss is not None and tried[0] is not best:
        text += f", with the given settings {said.value(tried[0].loss, unit)}"
    return f"{text}."


def tuned_sentence(tried: Sequence[Attempted], judged: Judged, lead: str) -> str:
    """What tuning brought on evaluation, in one sentence."""
    best = best_of(list(tried))
    assert best is not None
    unit = said.unit_of(lead)
    if best.recipe == tried[0].recipe:
        return (
            f"None of {len(tried)} trials was better on calibration than the settings as they were given, which "
            f"reach {said.value(judged.usual[lead], unit)} {said.name(lead)} on evaluation."
        )
    change = judged.change[lead]
    moved = f"{said.moved(change.value, unit)} {said.moved_unit(unit)}".strip()
    text = (
        f"Tuned, {said.name(lead)} on evaluation is {said.value(judged.best[lead], unit)} and "
        f"{said.value(judged.usual[lead], unit)} with the given settings: {moved}"
    )
    if change.interval is not None:
        ends = (said.moved(end, unit) for end in (change.interval.low, change.interval.high))
        text += f" [{', '.join(ends)}]"
    return f"{text}{'' if sure(change) else ', which chance alone could have done'}."


def sure(change: Quantity) -> bool:
    """Whether an interval leaves zero out."""
    return change.interval is not None and not change.interval.low <= 0 <= change.interval.high


def tuning_table(tried: Sequence[Attempted], loss: str) -> pd.DataFrame:
    """A row a trial, in order: its loss, its settings, how it ended."""
    name = f"{said.title(loss)}, calibration"
    rows = []
    for one in tried:
        end = "failed" if one.error else "stopped early" if one.stopped else "finished"
        last = one.curve[-1][1] if one.curve else None
        rows.append(
            {"Trial": one.number + 1, name: one.loss, **settings_of(one), "End": end, "Last look": last,
             "Steps done, %": round(100 * one.curve[-1][0], 1) if one.curve else 0.0,
             "Seconds": round(one.seconds, 1), "Why": one.error}
        )  # fmt: skip
    if not rows:
        rows = [{"Trial": 0, name: None, "End": "nothing yet", "Last look": None, "Seconds": 0.0, "Why": ""}]
    table = pd.DataFrame(rows)
    words_only = [column for column in table if column not in (name, "Last look")]
    table[words_only] = table[words_only].fillna("")
    return table.astype({column: "Float64" for column in (name, "Last look")})
