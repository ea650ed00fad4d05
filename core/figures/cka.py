"""How alike the two networks' layers see the same examples."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from core.damage.cka import Alike
from core.figures import words
from core.figures.theme import SMALL, SYMBOLS, layout, note, palette, title
from core.registry import register
from core.types import Chart

ROW = 24  # px a layer
LETTERS = 30
SAME = 0.9995  # what reads 1.000


@register(
    kind="chart",
    name="cka",
    title="Where the networks part",
    summary="How alike each layer of the original and of the tempered network see the same examples: linear CKA.",
    reference="Kornblith et al. 2019, Similarity of neural network representations revisited, arXiv 1905.00414",
)
def cka_chart(found: Alike, mode: str = "light") -> Chart:
    """A row a layer: 1 where both see the examples alike, 0 where they have nothing in common."""
    p, layers = palette(mode), found.layers
    figure = go.Figure()
    for name, symbol, colour in (("redrawn", "diamond-open", p.grey), ("unbiased", SYMBOLS["tempered"], p.tempered)):
        values = [layer.redrawn if name == "redrawn" else layer.unbiased for layer in layers]
        known = [(k, value) for k, value in enumerate(values) if value is not None]
        figure.add_scatter(
            x=[value for _, value in known], y=[k for k, _ in known], mode="markers", uid=f"cka-{name}",
            marker={"symbol": symbol, "size": 10, "color": colour, "line": {"width": 2, "color": colour}},
            text=[f"<b>{words.name(layers[k].name)}</b><br>{said(value)}" for k, value in known],
            hovertemplate="%{text}<extra></extra>",
        )  # fmt: skip
    names = [words.cut(layer.name, LETTERS) for layer in layers]
    least = min([0.0, *(v for layer in layers for v in (layer.unbiased, layer.redrawn) if v is not None)])
    layout(
        figure, mode, 84 + ROW * max(len(layers), 1),
        margin=(24 + round(6.6 * max((len(name) for name in names), default=4)), 14, 30, 46),
        xaxis={"range": [least - 0.03, 1.03], "nticks": 6, "title": {"text": "linear CKA, unbiased"}},
        yaxis={"range": [max(len(layers), 1) - 0.5, -0.5], "tickvals": list(range(len(layers))),
               "ticktext": [words.name(name) for name in names], "tickfont": {"size": SMALL, "color": p.text}},
    )  # fmt: skip
    legend = f"{title('tempered', mode)} with the original   <span style='color:{p.grey}'>◇</span> weights drawn anew"
    note(figure, legend, mode, 0, 1, shift=(0, 6))
    caption = sentence(found)
    listed = "; ".join(f"{name} {said(layer.unbiased)}" for name, layer in zip(names, layers, strict=True))
    return Chart(figure, f"Linear CKA of {len(layers)} layers: {listed}. {caption}", caption, _table(found))


def sentence(found: Alike) -> str:
    """Where the two networks part."""
    least, n = found.least, f"over {words.count(found.n)} calibration examples"
    if least is None or least.unbiased is None:
        return f"No layer tells the {words.count(found.n)} calibration examples apart, so that there is no CKA."
    gone = f"; {len(found.gone)} layers are gone" if found.gone else ""
    silent = [layer.name for layer in found.layers if layer.unbiased is None]
    quiet = f"; {len(silent)} tell no examples apart any more" if silent else ""
    if least.unbiased >= SAME:
        return f"All {len(found.layers)} layers see the examples alike, CKA {said(least.unbiased)} {n}{gone}{quiet}."
    anew = "" if least.redrawn is None else f", where weights drawn anew have {said(least.redrawn)}"
    return (
        f"The two networks part most at {words.cut(least.name, LETTERS)}: CKA {said(least.unbiased)}{anew}, {n}"
        f"{gone}{quiet}."
    )


def said(value: float | None) -> str:
    """A similarity with three digits; without it what stands in its place."""
    return words.NOTHING if value is None else f"{value:.3f}".replace("-", words.MINUS)


def _table(found: Alike) -> pd.DataFrame:
    rows = [
        {"Layer": layer.name, "CKA, unbiased": layer.unbiased, "CKA, plain": layer.plain,
         "Weights drawn anew, unbiased": layer.redrawn, "Examples": found.n}
        for layer in found.layers
    ]  # fmt: skip
    numbers = ["CKA, unbiased", "CKA, plain", "Weights drawn anew, unbiased"]
    return pd.DataFrame(rows).astype(dict.fromkeys(numbers, "Float64"))
