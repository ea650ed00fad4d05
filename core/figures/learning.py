"""How a training goes: each measure on the fit and on the calibration examples, from the state before it on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go

from core.figures import said
from core.figures.theme import DASHES, layout, note, palette
from core.registry import register
from core.task import Task
from core.training.loop import Look
from core.types import Chart

HEIGHT = 280  # px
GAP = 0.07  # of the width, between two panels
SETS = ("fit", "calibration")
MOST = 3  # panels
LEAST = {"fraction": 0.004}  # the least range of an axis, so that noise does not fill it


@register(
    kind="chart",
    name="learning",
    title="Learning",
    summary="Loss, accuracy and ECE of the fit and calibration examples while a network learns.",
    reference="Goodfellow, Bengio and Courville 2016, Deep learning, section 7.8 (learning curves)",
)
def learning_chart(
    looks: Sequence[Look],
    original: Mapping[str, float],
    task: Task,
    done: float = 1.0,
    epochs: float = 0.0,
    mode: str = "light",
) -> Chart:
    """One panel a measure. `original` holds the original's own value of each on the calibration examples.

    `done` is the fraction done; `epochs` how many there will be, as far as known.
    """
    p = palette(mode)
    names = list(looks[0].values["calibration"])[:MOST] if looks else list(original)[:MOST]
    figure = go.Figure()
    width = (1 - GAP * (len(names) - 1)) / max(len(names), 1)
    axes = {}
    end = max(epochs, looks[-1].epoch if looks else 0, 1e-9)
    for place, name in enumerate(names):
        number = "" if place == 0 else str(place + 1)
        unit, axis = task.unit_of(said.unit_of(name)), f"axis{number}"
        factor = said.factor(unit)
        for which, colour, dash in (("fit", p.grey, "2px,3px"), ("calibration", p.tempered, "solid")):
            figure.add_scatter(
                x=[look.epoch for look in looks], y=[factor * look.values[which][name] for look in looks],
                mode="lines+markers", xaxis=f"x{number}", yaxis=f"y{number}", uid=f"learning-{place}-{which}",
                name=which, line={"color": colour, "width": 2, "dash": dash},
                marker={"size": 4 if which == "fit" else 5, "color": colour},
                hovertemplate=f"{which}: %{{y:.3g}}<br>epoch %{{x:.2f}}<extra></extra>",
            )  # fmt: skip
        level = original.get(name)
        figure.add_scatter(
            x=[0, end] if level is not None else [], y=[factor * level] * 2 if level is not None else [],
            mode="lines", xaxis=f"x{number}", yaxis=f"y{number}", uid=f"learning-{place}-original", name="original",
            line={"color": p.original, "width": 1.5, "dash": DASHES["original"]}, hoverinfo="skip",
        )  # fmt: skip
        left = place * (width + GAP)
        axes[f"x{axis}"] = {
            "domain": [left, left + width], "range": [-0.03 * end, 1.06 * end], "nticks": 5, "anchor": f"y{number}",
            "title": {"text": "epochs"},
        }  # fmt: skip
        axes[f"y{axis}"] = {
            "anchor": f"x{number}", "nticks": 5, "range": _range(looks, name, level, factor),
            "title": {"text": f"{said.title(name)}, {said.shown_unit(unit)}".removesuffix(", ")},
        }  # fmt: skip
    for place in range(len(names), MOST):  # the same marks whatever the task
        for which, colour in (("fit", p.grey), ("calibration", p.tempered), ("original", p.original)):
            figure.add_scatter(x=[], y=[], mode="lines", uid=f"learning-{place}-{which}", line={"color": colour})
    layout(figure, mode, HEIGHT, margin=(52, 10, 34, 46), **axes)
    _key(figure, mode, bool(looks), bool(original))
    return Chart(figure, _alt(looks, names, task), _caption(looks, names, original, done, task), _table(looks, names))


def _range(looks: Sequence[Look], name: str, level: float | None, factor: float) -> list[float]:
    found = [factor * look.values[which][name] for look in looks for which in SETS]
    found += [factor * level] if level is not None else []
    if not found:
        return [0.0, 1.0]
    low, high = min(found), max(found)
    least = factor * LEAST.get(said.unit_of(name), 0.0)
    span = max(high - low, least, 0.02 * abs(high), 1e-6)
    return [max(low - 0.12 * span, 0.0) if low >= 0 else low - 0.12 * span, high + 0.12 * span]


def _key(figure: go.Figure, mode: str, known: bool, against: bool) -> None:
    p = palette(mode)
    marks = [("● calibration examples", p.tempered), ("● fit examples", p.grey)] if known else []
    marks += [("- - the original", p.original)] if against else []
    text = "&nbsp;&nbsp;&nbsp;".join(f"<span style='color:{colour}'>{words}</span>" for words, colour in marks)
    note(figure, text, mode, 0.0, 1.0, shift=(0, 8))


def _caption(looks: Sequence[Look], names: list[str], original: Mapping[str, float], done: float, task: Task) -> str:
    if not looks:
        return "Nothing has been learned yet: 0 looks."
    lead = names[1] if len(names) == MOST else names[0]
    unit = task.unit_of(said.unit_of(lead))
    first, last = (look.values["calibration"][lead] for look in (looks[0], looks[-1]))
    if len(looks) == 1:
        known = f"; the original's is {said.value(original[lead], unit)}" if lead in original else ""
        return f"Before learning, {said.name(lead)} on calibration examples is {said.value(first, unit)}{known}."
    of = f" (the original {said.value(original[lead], unit)})" if lead in original else ""
    how = "have brought" if done < 1 else "brought"
    went = (
        f"{how} {said.name(lead)} on calibration examples from {said.value(first, unit)} to {said.value(last, unit)}"
    )
    return f"{looks[-1].epoch:.3g} epochs in {looks[-1].seconds:.0f} s {went}{of}."


def _alt(looks: Sequence[Look], names: list[str], task: Task) -> str:
    ends = ", ".join(
        f"{said.title(name)} {said.value(looks[-1].values['calibration'][name], task.unit_of(said.unit_of(name)))}"
        for name in names
        if looks
    )
    return f"Learning curves over {len(looks)} looks. At the last one, on calibration examples: {ends or 'nothing'}."


def _table(looks: Sequence[Look], names: list[str]) -> pd.DataFrame:
    rows = [
        {"step": look.step, "epoch": round(look.epoch, 3), "seconds": round(look.seconds, 1), "rate": look.rate}
        | {f"{said.title(name)}, {which}": look.values[which][name] for which in SETS for name in names}
        for look in looks
    ]
    columns = ["step", "epoch", "seconds", "rate", *(f"{said.title(n)}, {which}" for which in SETS for n in names)]
    return pd.DataFrame(rows, columns=columns)
