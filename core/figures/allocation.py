"""What a budget gave each layer: its bits, its zeros and its share of the bytes, in three columns of bars."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from core.figures import words
from core.figures.layer_map import FINE, MANY, NAME, ROW
from core.figures.theme import SMALL, layout, note, palette, translucent
from core.registry import register
from core.search.allocate import Allocation
from core.types import Chart

TOP, BOTTOM = 44, 8  # px
WIDTHS = (2, 3, 4, 5, 6, 7, 8, 16, 32)
PALEST, DEEPEST = 0.15, 0.95  # opacity at the fewest and at eight bits
COLUMNS = ((0.0, 0.3), (0.34, 0.58), (0.62, 1.0))  # of the width: bits, zeros, bytes
ROOM = 1.7  # times the longest bar: room for what is written behind it
THICK = 0.62


@dataclass(frozen=True)
class Slice:
    """What one layer got: bits of a weight, share of zeros, packed bytes of its weight."""

    layer: str
    bits: int
    sparsity: float
    bytes: int


@dataclass(frozen=True)
class Granted:
    """All layers in the order they run."""

    slices: tuple[Slice, ...]

    @property
    def total(self) -> int:
        """Bytes of all layers' weights."""
        return sum(one.bytes for one in self.slices)


def granted(found: Allocation) -> Granted:
    """What the layers got in an allocation."""
    rows = zip(found.names, found.mixed.candidate.settings, found.layers, strict=True)
    return Granted(tuple(Slice(name, bits, sparsity, size) for name, (bits, sparsity), size in rows))


@register(
    kind="chart",
    name="allocation",
    title="What each layer got",
    summary="Bits, zeros and share of the bytes that a budget gave each layer.",
    reference="Tufte 2001, The visual display of quantitative information (small multiples, one scale)",
)
def allocation_chart(given: Granted, *, mode: str = "light") -> Chart:
    """One row a layer in the order of the forward pass; bars of bits are the deeper the more bits there are."""
    p, slices = palette(mode), given.slices
    row = FINE if len(slices) > MANY else ROW
    figure = go.Figure()
    for bits in WIDTHS:
        mine = [(at, one) for at, one in enumerate(slices) if one.bits == bits]
        share = PALEST + (DEEPEST - PALEST) * min((bits - 2) / 6, 1.0)
        _bars(figure, f"bits-{bits}", [at for at, _ in mine], [bits] * len(mine), [str(bits)] * len(mine), "x",
              {"color": translucent(p.purple, share), "line": {"color": p.purple, "width": 1}}, mode)  # fmt: skip
    places = list(range(len(slices)))
    zeros = [words.percent(one.sparsity, 0) if one.sparsity else "none" for one in slices]
    _bars(figure, "zeros", places, [one.sparsity for one in slices], zeros, "x2", {"color": p.grey}, mode)
    total = max(given.total, 1)
    sizes = [f"{words.percent(one.bytes / total, 0)}, {words.size(one.bytes)}" for one in slices]
    _bars(figure, "bytes", places, [one.bytes for one in slices], sizes, "x3", {"color": p.tempered}, mode)
    most = max((one.bits for one in slices), default=8)
    ends = (1.2 * most, 1.35, ROOM * max((one.bytes for one in slices), default=1) or 1)
    plain = {"showgrid": False, "showline": False, "fixedrange": True, "tickvals": []}
    names = [words.name(one.layer, NAME) for one in slices]
    left = 16 + round(6.7 * max((len(words.cut(one.layer, NAME)) for one in slices), default=1))
    axes = {
        f"xaxis{number or ''}": plain | {"range": [0, end], "domain": list(domain)}
        for number, end, domain in zip(("", "2", "3"), ends, COLUMNS, strict=True)
    }
    layout(
        figure, mode, TOP + BOTTOM + row * max(len(slices), 1), margin=(left, 8, TOP, BOTTOM), barmode="overlay",
        bargap=0, showlegend=False,
        yaxis=plain | {"range": [len(slices) - 0.5, -0.5], "tickvals": places, "ticktext": names,
                       "ticklabelstandoff": 6},
        **axes,
    )  # fmt: skip
    for (start, _), text in zip(COLUMNS, ("Bits of a weight", "Zeros", "Share of the bytes"), strict=True):
        note(figure, f"<b>{text}</b>", mode, start, 1, shift=(0, 14))
    caption = _caption(given)
    alt = f"Bars of {len(slices)} layers in the order they run: bits, zeros and share of the packed bytes. {caption}"
    return Chart(figure, alt, caption, _table(given))


def _bars(
    figure: go.Figure, uid: str, places: list[int], values: list[float], text: list[str], axis: str,
    marker: dict[str, object], mode: str,
) -> None:  # fmt: skip
    figure.add_bar(
        x=values, y=places, width=THICK, orientation="h", xaxis=axis, marker=marker, text=text,
        textposition="outside", textfont={"size": SMALL, "color": palette(mode).text}, cliponaxis=False,
        hoverinfo="skip", uid=uid,
    )  # fmt: skip


def _caption(given: Granted) -> str:
    slices = given.slices
    fewest, most = (f(one.bits for one in slices) for f in (min, max))
    top = max(slices, key=lambda one: one.bytes)
    sparsest = max(slices, key=lambda one: one.sparsity)
    if fewest == most:
        text = f"Every one of {len(slices)} layers got {most} bits"
    else:
        counts = {bits: sum(one.bits == bits for one in slices) for bits in (fewest, most)}
        text = f"Of {len(slices)} layers {counts[fewest]} got only {fewest} bits and {counts[most]} got {most}"
    if sparsest.sparsity:
        text += f"; the sparsest is {words.cut(sparsest.layer, 48)} with {words.percent(sparsest.sparsity, 0)} zeros"
    share = words.percent(top.bytes / max(given.total, 1), 0)
    return f"{text}; {words.cut(top.layer, 48)} takes {share} of the weights' {words.size(given.total)}."


def _table(given: Granted) -> pd.DataFrame:
    total = max(given.total, 1)
    rows = [
        {
            "Layer": one.layer,
            "Bits": one.bits,
            "Zero, %": round(100 * one.sparsity, 1),
            "Packed weight, bytes": one.bytes,
            "Share of the bytes, %": round(100 * one.bytes / total, 1),
        }
        for one in given.slices
    ]
    return pd.DataFrame(rows)
