"""Coverage and width of three kinds of conformal interval, by bands of the predicted number."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from core.calibration.quantile_intervals import WAYS, Intervals, QuantileIntervals, Way
from core.figures import words
from core.figures.theme import SMALL, layout, note, palette
from core.registry import register
from core.task import NUMBERS
from core.types import Chart, Quantity

HEIGHT = 400  # px
SPLIT, GAP = 0.54, 0.08
APART = 0.2  # of a band, between two ways
TITLES: dict[Way, str] = {"plain": "One width", "normalised": "Scaled by a deviation", "quantile": "Fitted quantiles"}
MARKS: dict[Way, tuple[str, str]] = {
    "plain": ("circle-open", "○"), "normalised": ("square", "■"), "quantile": ("diamond", "◆")
}  # fmt: skip


@register(
    kind="chart",
    name="quantile-intervals",
    title="Intervals where the number is small, and where it is large",
    summary="How often three kinds of conformal interval hold the truth and how wide they are, by the prediction.",
    reference="Romano, Patterson and Candes 2019, arXiv 1905.03222; Lei et al. 2018, doi "
    "10.1080/01621459.2017.1307116; Clopper and Pearson 1934, doi 10.1093/biomet/26.4.404",
    tasks=NUMBERS,
)
def quantile_intervals_chart(found: QuantileIntervals, mode: str = "light") -> Chart:
    """Left coverage with Clopper and Pearson's intervals, right mean widths, smallest predictions first."""
    p, figure = palette(mode), go.Figure()
    colours: dict[Way, str] = {"plain": p.text, "normalised": p.purple, "quantile": p.tempered}
    bands, least = len(found.ends) - 1, 100 * found.level
    figure.add_scatter(
        x=[-0.5, bands - 0.5], y=[100 * found.level] * 2, mode="lines", uid="bands-level", hoverinfo="skip",
        line={"color": p.muted, "width": 1, "dash": "4px,4px"},
    )  # fmt: skip
    for place, way in enumerate(WAYS):
        one, colour = found.of(way), colours[way]
        mark = {"symbol": MARKS[way][0], "size": 9, "color": colour, "line": {"width": 2, "color": colour}}
        at = [k + APART * (place - 1) for k in range(bands)]
        known = [(x, q.value, q.interval) for x, q in zip(at, one.by_band, strict=True)]
        values = [(x, v, ends) for x, v, ends in known if v is not None and ends is not None]
        least = min(least, *(100 * ends.low for _, _, ends in values))
        figure.add_scatter(
            x=[x for x, _, _ in values], y=[100 * v for _, v, _ in values], mode="markers", uid=f"bands-held-{way}",
            marker=mark, cliponaxis=False,
            error_y={"type": "data", "symmetric": False, "width": 3, "thickness": 1.5, "color": colour,
                     "array": [100 * (ends.high - v) for _, v, ends in values],
                     "arrayminus": [100 * (v - ends.low) for _, v, ends in values]},
            hovertemplate=f"{TITLES[way].lower()}: <b>%{{y:.1f}} %</b> held<extra></extra>",
        )  # fmt: skip
        figure.add_scatter(
            x=at, y=list(one.widths), mode="markers", uid=f"bands-wide-{way}", xaxis="x2", yaxis="y2",
            marker=mark, hovertemplate=f"{TITLES[way].lower()}: <b>%{{y:,.4g}}</b> wide<extra></extra>",
        )  # fmt: skip
    names = [words.amount((low + high) / 2) for low, high in zip(found.ends[:-1], found.ends[1:], strict=True)]
    axis = {"range": [-0.6, bands - 0.4], "tickvals": list(range(bands)), "ticktext": names, "tickangle": -40,
            "showgrid": False}  # fmt: skip
    of = f"predicted{', ' + words.cut(found.unit, 40) if found.unit else ''}: the middle of each band"
    layout(
        figure, mode, HEIGHT, margin=(52, 12, 62, 74),
        xaxis=axis | {"domain": [0, SPLIT - GAP], "anchor": "y", "title": {"text": of}},
        xaxis2=axis | {"domain": [SPLIT, 1], "anchor": "y2", "title": {"text": of}},
        yaxis={"range": [max(0.0, least - 3), 101], "nticks": 6, "title": {"text": "truths held, %"}},
        yaxis2={"anchor": "x2", "rangemode": "tozero", "nticks": 6, "title": {"text": "mean width"}},
    )  # fmt: skip
    legend = "<br>".join(
        f"<span style='color:{colours[way]}'>{MARKS[way][1]} {TITLES[way].lower()}: "
        f"{words.percent(found.of(way).coverage.value)} held, {words.amount(found.of(way).width)} wide, "
        f"interval score {words.amount(found.of(way).score)}</span>"
        for way in WAYS
    )
    note(figure, legend, mode, 0, 1, shift=(0, 6), size=SMALL)
    caption = _caption(found)
    alt = (
        f"Coverage and width of {words.percent(found.level, 0)} intervals by {bands} bands of the prediction, over "
        f"{words.count(found.n)} evaluation examples: {'; '.join(_said(found.of(way)) for way in WAYS)}."
    )
    return Chart(figure, f"{alt} {caption}", caption, _table(found))


def _said(one: Intervals) -> str:
    ends = one.coverage.interval
    between = f" ({words.interval(ends.low, ends.high)})" if ends else ""
    return f"{TITLES[one.way].lower()} {words.percent(one.coverage.value)}{between}"


def _range(some: tuple[Quantity, ...]) -> str:
    values = [one.value for one in some if one.value is not None]
    return f"{words.percent(min(values), 0)} to {words.percent(max(values), 0)}"


def _caption(found: QuantileIntervals) -> str:
    plain, fitted = found.of("plain"), found.of("quantile")
    best = min(found.ways, key=lambda one: one.score)
    moved = fitted.width / plain.width - 1 if plain.width > 0 else 0.0
    size = f"{words.percent(abs(moved), 0)} {'narrower' if moved < 0 else 'wider'} than of one width"
    return (
        f"By the size of the prediction intervals of one width hold {_range(plain.by_band)} of truths and those of "
        f"fitted quantiles {_range(fitted.by_band)}, which are {size} on average; the best interval score has: "
        f"{TITLES[best.way].lower()}."
    )


def _table(found: QuantileIntervals) -> pd.DataFrame:
    rows = []
    for way in WAYS:
        one = found.of(way)
        whole = (float(found.ends[0]), float(found.ends[-1]), one.coverage, one.width)
        bands = zip(found.ends[:-1], found.ends[1:], one.by_band, one.widths, strict=True)
        for name, (low, high, held, wide) in [("all", whole), *((str(k + 1), band) for k, band in enumerate(bands))]:
            rows.append({
                "Intervals": TITLES[way], "Band": name, "Predicted from": float(low), "Predicted to": float(high),
                "Examples": held.n, "Held, %": None if held.value is None else 100 * held.value,
                "Held, from": 100 * held.interval.low if held.interval else None,
                "Held, to": 100 * held.interval.high if held.interval else None, "Mean width": wide,
            })  # fmt: skip
    return pd.DataFrame(rows)
