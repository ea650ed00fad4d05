"""Each layer alone at few bits: what the headline loses, beside what the weights' own noise foretells."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import plotly.graph_objects as go

from core.figures import said, words
from core.figures.layer_map import FINE, MANY, NAME, ROW, Harm, decibels
from core.figures.theme import SMALL, at, ink, layout, note, palette, sequential
from core.layers.sensitivity import Effect, Sensitivity
from core.registry import method, register
from core.types import Chart

TOP, BOTTOM = 44, 8  # px
SPLIT = (0.49, 0.51)  # where the measured cells end and the foretold begin, as shares of the width
PALEST = 0.06  # of the scale at its quietest value
STRONG, WEAK = -0.75, -0.4  # rank correlations from which SQNR tells the layers' order nearly, or roughly


@register(
    kind="chart",
    name="sensitivity",
    title="Each layer alone",
    summary="What rounding one layer alone costs at each bit-width, beside the SQNR that predicts it without data.",
    reference="Nagel et al. 2021, A white paper on neural network quantization, arXiv 2106.08295",
)
def sensitivity_chart(effects: Sensitivity, *, selected: str | None = None, mode: str = "light") -> Chart:
    """Layers down, bits across, twice: the measured change of the headline, and the SQNR of the rounded weights.

    A click gives the layer's name as customdata.
    """
    p, layers = palette(mode), list(dict.fromkeys(e.layer for e in effects.effects))
    of = {(e.layer, e.bits): e for e in effects.effects}
    columns, worst = list(range(len(effects.bits))), max([loss(effects, e) for e in effects.effects] + [0.0])
    ratios = [e.sqnr_db for e in effects.effects if e.sqnr_db is not None]
    low, high = (min(ratios), max(ratios)) if ratios else (0.0, 1.0)

    def harm(effect: Effect) -> float | None:
        return max(loss(effects, effect), 0.0) / worst if worst > 0 else 0.0

    def noise(effect: Effect) -> float | None:
        return None if effect.sqnr_db is None else (high - effect.sqnr_db) / (high - low) if high > low else 0.0

    figure = go.Figure()
    for part, share, write, axis in (
        ("measured", harm, lambda e: moved(effects, e), "x"),
        ("foretold", noise, lambda e: words.NOTHING if e.sqnr_db is None else decibels(e.sqnr_db), "x2"),
    ):
        _cells(figure, part, [[of[layer, b] for b in effects.bits] for layer in layers], share, write, axis, mode)
        figure.add_scatter(
            x=[c for _ in layers for c in columns], y=[r for r, _ in enumerate(layers) for _ in columns],
            xaxis=axis, mode="markers", customdata=[layer for layer in layers for _ in columns],
            text=[_hover(effects, of[layer, b]) for layer in layers for b in effects.bits],
            hovertemplate="%{text}<extra></extra>",
            marker={"size": 6, "color": "#000000", "opacity": 0, "line": {"width": 0}},
            selected={"marker": {"opacity": 0}}, unselected={"marker": {"opacity": 0}}, uid=f"targets-{part}",
        )  # fmt: skip
    row = FINE if len(layers) > MANY else ROW
    plain = {"showgrid": False, "showline": False, "fixedrange": True}
    bits = [f"{b} bits" for b in effects.bits]
    across = plain | {"range": [-0.5, len(columns) - 0.5], "side": "top", "tickvals": columns, "ticktext": bits}
    names = [words.name(layer, NAME) for layer in layers]
    left = 16 + round(6.7 * max(len(words.cut(layer, NAME)) for layer in layers))
    shapes = [
        {"type": "rect", "xref": "paper", "x0": 0, "x1": 1, "yref": "y", "y0": i - 0.5, "y1": i + 0.5,
         "line": {"width": 1.75, "color": p.text}, "fillcolor": "rgba(0,0,0,0)"}
        for i, layer in enumerate(layers) if layer == selected
    ]  # fmt: skip
    layout(
        figure, mode, TOP + BOTTOM + row * len(layers), margin=(left, 8, TOP, BOTTOM), hoverdistance=-1,
        shapes=shapes, xaxis=across | {"domain": [0, SPLIT[0]]},
        xaxis2=across | {"domain": [SPLIT[1], 1]},
        yaxis=plain | {"range": [len(layers) - 0.5, -0.5], "tickvals": list(range(len(layers))), "ticktext": names,
                       "ticklabelstandoff": 6},
    )  # fmt: skip
    unit = shown_unit(effects)
    lead = f"<b>Measured</b>: change of {said.name(leading(effects))}{f', {unit}' if unit else ''}"
    note(figure, lead, mode, 0, 1, shift=(0, 22))
    note(figure, "<b>Foretold</b>: SQNR of the weights", mode, SPLIT[1], 1, shift=(0, 22))
    caption = _caption(effects)
    alt = (
        f"Two heat maps of {len(layers)} layers by {len(effects.bits)} bit-widths: the measured change of "
        f"{said.name(leading(effects))} and the SQNR. {caption}"
    )
    return Chart(figure, alt, caption, _table(effects))


def leading(found: Sensitivity) -> str:
    """The headline that is shown: the first measure of the task, a squared error as its root."""
    first = next(iter(found.values))
    return "rmse" if first == "mse" else first


def change(found: Sensitivity, effect: Effect) -> float:
    """Of the headline, signed, in its unit; fractions for rates. Of a root, the difference of the roots."""
    first = next(iter(found.values))
    if first == "mse":
        return float(effect.values[first] ** 0.5 - found.values[first] ** 0.5)
    return float(effect.changes[first].value or 0.0)


def loss(found: Sensitivity, effect: Effect) -> float:
    """The change as harm: larger is worse."""
    better = method("metric", leading(found)).function.higher_is_better
    return -change(found, effect) if better else change(found, effect)


def harm_at(found: Sensitivity, bits: int) -> Harm:
    """What each layer alone does at one bit-width, for the map of layers."""
    chosen = [e for e in found.effects if e.bits == bits]
    unit = shown_unit(found)
    return Harm(
        f"{said.title(leading(found))} at {bits} bits",
        {e.layer: loss(found, e) for e in chosen},
        {e.layer: f"{moved(found, e)}{words.SPACE}{unit}".strip() for e in chosen},
        f"is the most sensitive, {{}} in {said.title(leading(found))} at {bits} bits",
    )


def shown_unit(found: Sensitivity) -> str:
    """The unit of the headline's change."""
    return said.moved_unit(_unit(found))


def moved(found: Sensitivity, effect: Effect) -> str:
    """The headline's signed change without its unit."""
    return said.moved(change(found, effect), _unit(found))


def _unit(found: Sensitivity) -> str:
    first = found.effects[0].changes
    return first["mae"].unit if leading(found) == "rmse" else next(iter(first.values())).unit


def _cells(
    figure: go.Figure, part: str, rows: list[list[Effect]], share: Callable[[Effect], float | None],
    write: Callable[[Effect], str], axis: str, mode: str,
) -> None:  # fmt: skip
    """The cells with black and those with white letters."""
    scale = sequential(mode)
    shares = [[PALEST + (1 - PALEST) * (share(e) or 0.0) for e in row] for row in rows]
    for colour in ("#000000", "#FFFFFF"):
        mine = [[ink(at(scale, value)) == colour for value in row] for row in shares]
        figure.add_heatmap(
            y=list(range(len(rows))), xaxis=axis,
            z=[[v if own else None for v, own in zip(*pair, strict=True)] for pair in zip(shares, mine, strict=True)],
            text=[[write(e) if own else "" for e, own in zip(*pair, strict=True)]
                  for pair in zip(rows, mine, strict=True)],
            texttemplate="%{text}", textfont={"color": colour, "size": SMALL}, colorscale=scale, zmin=0, zmax=1,
            showscale=False, xgap=2, ygap=2, hoverinfo="skip", hoverongaps=False, uid=f"cells-{part}-{colour}",
        )  # fmt: skip


def _hover(found: Sensitivity, effect: Effect) -> str:
    lines = [f"<b>{words.name(effect.layer, 48)}</b> alone at {effect.bits} bits"]
    for name, quantity in effect.changes.items():
        bounds, unit = quantity.interval, said.moved_unit(quantity.unit)
        text = f"{said.title(name)} {said.moved(quantity.value, quantity.unit)}"
        if bounds is not None:
            ends = (said.moved(end, quantity.unit) for end in (bounds.low, bounds.high))
            text += f" [{' to '.join(ends)}]"
        lines.append(f"{text} {unit}".strip())
    if effect.flips is not None:
        lines.append(f"{words.count(effect.flips.flips)} of {words.count(found.n)} predictions change")
    if effect.sqnr_db is not None:
        lines.append(f"SQNR {decibels(effect.sqnr_db)}")
    return "<br>".join(lines)


def _caption(found: Sensitivity) -> str:
    first, name = next(iter(found.values)), said.name(leading(found))
    unit = shown_unit(found)
    top = max(found.effects, key=lambda e: loss(found, e))
    if loss(found, top) > 0:
        text = (
            f"Most is lost by {words.cut(top.layer, 48)} alone at {top.bits} bits: "
            f"{f'{moved(found, top)} {unit}'.strip()} in {name} over {words.count(found.n)} examples"
        )
    else:
        text = f"No layer alone costs any {name} at {min(found.bits)} bits over {words.count(found.n)} examples"
    every, fewest = found.rank_correlation(first), found.rank_correlation(first, min(found.bits))
    rho, where = (every, "") if fewest is None else (fewest, f" at {min(found.bits)} bits")
    if rho is None:
        return f"{text}; too few values differ to say whether SQNR foretells it."
    told = "nearly" if rho <= STRONG else "only roughly" if rho <= WEAK else "not"
    over = "" if fewest is None or every is None else f", {_rho(every)} over all cells"
    return (
        f"{text}; SQNR, which needs no data, tells {told} the order of the layers{where} (rank correlation with the "
        f"loss {_rho(rho)}{over}; {words.MINUS}1 would be perfect)."
    )


def _rho(value: float) -> str:
    return f"{value:+.2f}".replace("-", words.MINUS)


def _table(found: Sensitivity) -> pd.DataFrame:
    """A row a layer and bit-width, changes with their intervals."""
    rows = []
    for e in found.effects:
        row: dict[str, object] = {"Layer": e.layer, "Bits": e.bits}
        for name, quantity in e.changes.items():
            head, factor = f"{said.title(name)}, {said.moved_unit(quantity.unit)}", said.factor(quantity.unit)
            assert quantity.value is not None and quantity.interval is not None
            row[f"Change of {head}"] = factor * quantity.value
            row[f"From, {head}"] = factor * quantity.interval.low
            row[f"To, {head}"] = factor * quantity.interval.high
        if leading(found) == "rmse":
            row[f"Change of {said.title('rmse')}, {shown_unit(found)}"] = change(found, e)
        if e.flips is not None:
            row["Predictions that change"] = e.flips.flips
        row["SQNR, dB"] = words.NOTHING if e.sqnr_db is None else f"{e.sqnr_db:.2f}"
        rows.append(row)
    return pd.DataFrame(rows)
