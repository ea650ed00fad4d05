"""A network as a map: one row a layer, its bytes before and after, and a column in the colour of what is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from core.figures import words
from core.figures.theme import SMALL, Series, at, bar, ink, layout, note, palette, sequential, title
from core.layers.layerwise import LayerFacts, Layerwise
from core.registry import register
from core.types import Chart

ROW, FINE, MANY = 26, 19, 40  # px of a row; of a row where there are many; how many are that
TOP, BOTTOM = 44, 8  # px
NAME = 24  # letters of a layer's name
SPLIT = (0.8, 0.82)  # where the bars end and the column begins, as shares of the width
PALEST = 0.1  # of the scale at its quietest value
BY = {
    "sqnr": "SQNR",
    "sparsity": "Sparsity",
    "bits": "Bits",
    "saved": "Bytes saved",
    "dead": "Dead channels",
    "sensitivity": "Sensitivity",
    "lost": "Lost in this recipe",
    "foretold": "Foretold to be lost",
    "time": "Time share",
}
MEASURED = ("sensitivity", "lost", "foretold", "time")  # these come as a `Harm`, once they are known
DARKER = {
    "sparsity": "darker: more zeros",
    "bits": "darker: fewer bits",
    "sqnr": "darker: more noise",
    "saved": "darker: more saved",
    "dead": "darker: more are all zero",
    "sensitivity": "darker: more is lost",
    "lost": "darker: more is lost",
    "foretold": "darker: more is lost",
    "time": "darker: more time",
}
DARK_LOW = ("bits", "sqnr")  # darker where there is less
APART = "◆"  # marks a layer with settings of its own


@dataclass(frozen=True)
class Harm:
    """Something measured or foretold of each layer: by layer a number, larger being worse, and how it is said.

    `title` names it, such as `Accuracy at 4 bits`. In a sentence `finding` follows the name of the layer with the
    largest value, and what is said of it stands for `{}`; `after` ends the sentence.
    """

    title: str
    values: Mapping[str, float]
    said: Mapping[str, str]
    finding: str = "has the most, {}"
    after: str = ""


@register(
    kind="chart",
    name="layer_map",
    title="Layer by layer",
    summary="Each layer's packed bytes inside the original's, beside them sparsity, bits, SQNR, sensitivity, time.",
    reference="Tufte 2001, The visual display of quantitative information (small multiples, one scale)",
)
def layer_map_chart(
    found: Layerwise, by: str, *, measured: Mapping[str, Harm] | None = None, own: Mapping[str, str] | None = None,
    selected: str | None = None, mode: str = "light",
) -> Chart:  # fmt: skip
    """One row a layer in the order of the forward pass. A click gives the layer's name as customdata.

    `by` is a key of `BY`; what is `MEASURED` is in `measured` under that key once it is known. `own` says what
    single layers have of their own.
    """
    known, own = measured or {}, own or {}
    harm = known.get(by)
    p, layers = palette(mode), found.layers
    rows = list(range(len(layers)))
    row = FINE if len(layers) > MANY else ROW
    largest = max((max(one.packed, one.original_packed) for one in layers), default=1) or 1
    figure = go.Figure()
    drawn: tuple[tuple[Series, list[int], float], ...] = (
        ("original", [one.original_packed for one in layers], 0.78),
        ("tempered", [one.packed for one in layers], 0.42),
    )
    for series, sizes, thick in drawn:
        figure.add_bar(
            x=sizes, y=rows, width=thick, orientation="h", marker=bar(series, mode), hoverinfo="skip",
            uid=f"bytes-{series}",
        )  # fmt: skip
    shares, text = _column(found, by, harm)
    scale = sequential(mode)
    for colour in ("#000000", "#FFFFFF"):
        mine = [share is not None and ink(at(scale, share)) == colour for share in shares]
        figure.add_heatmap(
            x=[0], y=rows, z=[[share if own else None] for share, own in zip(shares, mine, strict=True)],
            text=[[said if own else ""] for said, own in zip(text, mine, strict=True)], texttemplate="%{text}",
            textfont={"color": colour, "size": SMALL}, colorscale=scale, zmin=0, zmax=1, showscale=False, ygap=2,
            hoverinfo="skip", hoverongaps=False, xaxis="x2", uid=f"cells-{colour}",
        )  # fmt: skip
    for axis, middle in (("x", 0.65 * largest), ("x2", 0.0)):
        figure.add_scatter(
            x=[middle] * len(rows), y=rows, xaxis=axis, mode="markers", customdata=[one.name for one in layers],
            text=[_hover(one, found) for one in layers], hovertemplate="%{text}<extra></extra>",
            marker={"size": 6, "color": "#000000", "opacity": 0, "line": {"width": 0}},
            selected={"marker": {"opacity": 0}}, unselected={"marker": {"opacity": 0}}, uid=f"targets-{axis}",
        )  # fmt: skip
    _axes(figure, found, largest, row, selected, mode, own)
    quiet = {"colour": p.muted, "size": SMALL}
    above = f"{title('original', mode)}   {title('tempered', mode)}   packed bytes"
    note(figure, above, mode, 0, 1, shift=(0, 22))
    head = harm.title if harm else BY[by]
    note(figure, f"<b>{head}</b>", mode, SPLIT[1], 1, shift=(0, 22))
    note(figure, DARKER[by], mode, SPLIT[1], 1, shift=(0, 5), **quiet)  # type: ignore[arg-type]
    for place, one in enumerate(layers):
        if one.warning:
            note(figure, f"▲ {one.warning}", mode, max(one.original_packed, one.packed), place, xref="x", yref="y",
                 anchor=("left", "middle"), shift=(6, 0), colour=p.accent, size=SMALL, backed=True)  # fmt: skip
    caption = _caption(found, by, harm, own)
    alt = (
        f"Map of {len(layers)} layers in the order they run: bars of packed bytes, original and tempered, and a "
        f"column coloured by {head}. {caption}"
    )
    return Chart(figure, alt, caption, table(found, known, own))


def _values(found: Layerwise, by: str, harm: Harm | None) -> list[float | None]:
    if by in MEASURED:
        return [harm.values.get(one.name) if harm else None for one in found.layers]
    of = {
        "dead": lambda one: float(one.dead),
        "sparsity": lambda one: one.sparsity,
        "bits": lambda one: float(one.bits),
        "sqnr": lambda one: one.sqnr_db,
        "saved": lambda one: float(one.saved),
    }[by]
    return [of(one) for one in found.layers]


def _column(found: Layerwise, by: str, harm: Harm | None) -> tuple[list[float | None], list[str]]:
    """Each layer's share of the scale, None where there is nothing to colour, and what is written there."""
    values = _values(found, by, harm)
    seen = [value for value in values if value is not None]
    low, high = (min(seen), max(seen)) if seen else (0.0, 1.0)
    if by == "sparsity":
        low, high = 0.0, 1.0
    elif by == "bits":
        low, high = 2.0, 32.0
    elif by in ("saved", "dead", *MEASURED):
        low, high = 0.0, max(high, 0.0)
    shares: list[float | None] = []
    for value in values:
        if value is None:
            shares.append(PALEST)
            continue
        part = min(max((value - low) / (high - low), 0.0), 1.0) if high > low else 0.0
        shares.append(PALEST + (1 - PALEST) * (1 - part if by in DARK_LOW and high > low else part))
    return shares, [_written(one, by, harm) for one in found.layers]


def _written(one: LayerFacts, by: str, harm: Harm | None) -> str:
    if by == "sparsity":
        return words.percent(one.sparsity)
    if by == "bits":
        return str(one.bits) if one.bits < 32 else "32, float"
    if by == "sqnr":
        return "unchanged" if one.sqnr_db is None else decibels(one.sqnr_db)
    if by == "saved":
        return words.size(one.saved) if one.saved >= 0 else f"{words.MINUS}{words.size(-one.saved)}"
    if by == "dead":
        return f"{one.dead} of {one.channels}" if one.dead else "none"
    return harm.said.get(one.name, words.NOTHING) if harm else words.NOTHING


def decibels(value: float) -> str:
    """A ratio in decibels, one digit."""
    return f"{value:.1f}{words.SPACE}dB".replace("-", words.MINUS)


def _hover(one: LayerFacts, found: Layerwise) -> str:
    share = one.original_parameters / max(sum(layer.original_parameters for layer in found.layers), 1)
    lines = [
        f"<b>{words.name(one.name, 48)}</b> {one.kind}, {shape(one.shape)}",
        f"{words.count(one.parameters)} parameters, {words.percent(share)} of the layers'",
        f"{words.size(one.original_packed)} becomes {words.size(one.packed)}",
        f"{words.percent(one.sparsity)} zero, {one.bits} bits a weight",
    ]
    if one.sqnr_db is not None:
        lines.append(f"SQNR {decibels(one.sqnr_db)}")
    if one.channels != one.original_channels:
        lines.append(f"{one.channels} of {one.original_channels} channels left")
    if one.warning:
        lines.append(one.warning)
    return "<br>".join(lines)


def shape(of: tuple[int, ...]) -> str:
    """A weight's shape, such as `64 × 32 × 3 × 3`."""
    return f" {words.TIMES} ".join(map(str, of))


def _axes(
    figure: go.Figure, found: Layerwise, largest: int, row: int, selected: str | None, mode: str,
    own: Mapping[str, str],
) -> None:  # fmt: skip
    p, layers = palette(mode), found.layers
    names = [f"{APART} {words.name(one.name, NAME)}" if one.name in own else words.name(one.name, NAME)
             for one in layers]  # fmt: skip
    left = 30 + round(6.7 * max((len(words.cut(one.name, NAME)) for one in layers), default=1))
    plain = {"showgrid": False, "showline": False, "fixedrange": True}
    shapes = [
        {"type": "rect", "xref": "paper", "x0": 0, "x1": 1, "yref": "y", "y0": i - 0.5, "y1": i + 0.5,
         "line": {"width": 1.75, "color": p.text}, "fillcolor": "rgba(0,0,0,0)"}
        for i, one in enumerate(layers) if one.name == selected
    ]  # fmt: skip
    step = 1.0
    while largest / step > 5:
        step *= 2.5 if str(int(step))[0] == "2" else 2
    ticks = [k * step for k in range(int(largest / step) + 1)]
    layout(
        figure, mode, TOP + BOTTOM + row * max(len(layers), 1), margin=(left, 8, TOP, BOTTOM), barmode="overlay",
        bargap=0, hoverdistance=-1, shapes=shapes,
        xaxis={"range": [0, 1.3 * largest], "domain": [0, SPLIT[0]], "side": "top", "tickvals": ticks,
               "ticktext": [words.tick(t) for t in ticks]},
        xaxis2=plain | {"range": [-0.5, 0.5], "domain": [SPLIT[1], 1], "tickvals": []},
        yaxis=plain | {"range": [len(layers) - 0.5, -0.5], "tickvals": list(range(len(layers))), "ticktext": names,
               "ticklabelstandoff": 6},
    )  # fmt: skip


def _caption(found: Layerwise, by: str, harm: Harm | None, own: Mapping[str, str]) -> str:
    """Where the bytes are, and where what is coloured is worst."""
    layers = found.layers
    top = max(layers, key=lambda one: one.packed)
    text = (
        f"Of {words.size(found.packed)} packed {words.cut(top.name, 48)} holds "
        f"{words.percent(top.packed / max(found.packed, 1), 0)}"
    )
    dead = [one for one in layers if one.died]
    values = [(value, one) for value, one in zip(_values(found, by, harm), layers, strict=True) if value is not None]
    if by == "sqnr" and values:
        value, one = min(values, key=lambda pair: pair[0])
        text += f"; the lowest SQNR is {decibels(value)}, of {words.cut(one.name, 48)} at {one.bits} bits"
    elif by == "sqnr":
        text += "; no weight was changed"
    elif by == "sparsity":
        value, one = max(values, key=lambda pair: pair[0])
        name = words.cut(one.name, 48)
        text += f"; the sparsest is {name} with {words.percent(value)} zeros" if value else "; no weight is zero"
    elif by == "bits":
        fewest, most = (f(one.bits for one in layers) for f in (min, max))
        text += f"; every weight has {most} bits" if fewest == most else f"; weights have {fewest} to {most} bits"
    elif by == "saved":
        value, one = max(values, key=lambda pair: pair[0])
        total = found.original_packed - found.packed
        said = f"{words.size(value)} of the {words.size(total)} saved are" if total > 0 and value > 0 else "none is"
        text += f"; {said} in {words.cut(one.name, 48)}" if value > 0 and total > 0 else "; no bytes are saved"
    elif by == "dead":
        value, one = max(values, key=lambda pair: pair[0])
        share = f"{one.dead} of {one.channels} channels of {words.cut(one.name, 48)} are all zero, the most"
        text += f"; {share}" if value else "; no channel is all zero"
    elif harm and values:
        value, one = max(values, key=lambda pair: pair[0])
        text += f"; {words.cut(one.name, 48)} {harm.finding.replace('{}', harm.said[one.name])}{harm.after}"
    elif by in MEASURED:
        text += "; no layer's weights are changed" if harm else f"; {BY[by].lower()} is not known yet"
    if dead:
        text += f"; every weight of {words.cut(dead[0].name, 48)} is zero"
    if own:
        many = "layers have settings of their own" if len(own) > 1 else "layer has settings of its own"
        text += f"; {len(own)} {many} ({APART})"
    return f"{text}."


def table(
    found: Layerwise, measured: Mapping[str, Harm] | None = None, own: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Every layer with all that is known of it."""
    rows, own = [], own or {}
    for one in found.layers:
        row = {
            "Layer": one.name,
            "Kind": one.kind,
            "Weight": shape(one.shape),
            "Parameters": one.parameters,
            "Original parameters": one.original_parameters,
            "Multiply-adds": one.multiply_adds,
            "Original multiply-adds": one.original_multiply_adds,
            "Zero, %": round(100 * one.sparsity, 2),
            "Bits": one.bits,
            "Packed, bytes": one.packed,
            "Original packed, bytes": one.original_packed,
            "SQNR, dB": words.NOTHING if one.sqnr_db is None else f"{one.sqnr_db:.2f}",
            "Channels": one.channels,
            "Original channels": one.original_channels,
            "Dead channels": one.dead,
            "Look": one.warning,
        }
        if own:
            row["Of its own"] = own.get(one.name, "")
        for harm in (measured or {}).values():
            row[harm.title] = harm.said.get(one.name, words.NOTHING)
        rows.append(row)
    return pd.DataFrame(rows)
