"""Where the bytes are: stacked bars of both models' packed parts, with the files below."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from core.figures import words
from core.figures.theme import SMALL, TITLES, Palette, Series, bar, layout, note, palette, title
from core.registry import register
from core.types import Chart, Ledger

PARTS: tuple[tuple[str, str], ...] = (
    ("weights", "Weights"),
    ("grids", "Scales and zero points"),
    ("masks", "Masks or indices"),
    ("other", "Biases and other"),
)
FILES: tuple[tuple[str, str], ...] = (("file", "File"), ("compressed", "Compressed file"))
# Centres of the rows from the top: packed parts, file, compressed file, then the same for tempered.
ROWS: dict[Series, tuple[float, float, float]] = {"original": (0.0, 0.62, 0.88), "tempered": (2.0, 2.62, 2.88)}
THICK, THIN = 0.56, 0.16
TOP, BOTTOM = -0.85, 3.1
HEIGHT = 290  # px
ROOM = 1.3  # axis beyond the longest bar, for the words beside it
SHORT = 0.3  # of the longest bar: bars up to here have room for their parts beside them


@register(
    kind="chart",
    name="ledger",
    title="Bytes",
    summary="Size as a ledger: weights at their bits, scales, masks, and the file on disk.",
    reference="Han, Mao and Dally 2016, Deep Compression (arXiv 1510.00149)",
)
def ledger_chart(original: Ledger, tempered: Ledger, mode: str = "light") -> Chart:
    """Both ledgers in bytes on one linear axis from zero."""
    p = palette(mode)
    ledgers: dict[Series, Ledger] = {"original": original, "tempered": tempered}
    figure = go.Figure()
    for part, part_title in PARTS:
        for series, ledger in ledgers.items():
            _bar(figure, series, part, part_title, ledger, ROWS[series][0], THICK, mode)
    for place, (part, part_title) in enumerate(FILES, 1):
        for series, ledger in ledgers.items():
            _bar(figure, series, part, part_title, ledger, ROWS[series][place], THIN, mode)
    used = [part for part in PARTS[1:] if any(getattr(ledger, part[0]) for ledger in ledgers.values())]
    largest = max(max(ledger.packed, ledger.file) for ledger in ledgers.values())
    ticks = _ticks(largest)
    layout(
        figure, mode, HEIGHT, margin=(4, 8, 4, 30), barmode="stack", bargap=0, barcornerradius=0,
        xaxis={"range": [0, ROOM * largest], "tickvals": ticks, "ticktext": [words.tick(t) for t in ticks]},
        yaxis={"range": [BOTTOM, TOP], "visible": False},
    )  # fmt: skip
    for series, ledger in ledgers.items():
        _words(figure, series, ledger, original, p, mode, largest)
    if used:
        key = "   ".join(f"<span style='color:{_colour(part, p)}'>■</span> {name}" for part, name in used)
        note(figure, key, mode, 1, ROWS["tempered"][0] - THICK / 2, yref="y", anchor=("right", "bottom"),
             shift=(0, 22), colour=p.muted, size=SMALL)  # fmt: skip
    caption = _caption(original, tempered)
    alt = (
        f"Stacked bars of bytes. Original {words.size(original.packed)} packed, {words.size(original.file)} as a "
        f"file, {words.size(original.compressed)} compressed. Tempered {words.size(tempered.packed)}: "
        f"{_parts(tempered)}; {words.size(tempered.file)} as a file, {words.size(tempered.compressed)} compressed."
    )
    return Chart(figure, alt, caption, _table(original, tempered))


def _colour(part: str, p: Palette) -> str:
    return {"grids": p.green, "masks": p.purple}.get(part, p.grey)


def _bar(
    figure: go.Figure, series: Series, part: str, name: str, ledger: Ledger, row: float, thick: float, mode: str
) -> None:
    p, value = palette(mode), getattr(ledger, part)
    own = part in ("weights", "file", "compressed")
    marker = bar(series, mode) if own else {"color": _colour(part, p), "line": {"width": 0}}
    figure.add_bar(
        x=[value], y=[row], width=thick, orientation="h", marker=marker, uid=f"{part}-{series}",
        hovertemplate=f"<b>{words.size(value)}</b> {name}, {TITLES[series].lower()}<extra></extra>",
    )  # fmt: skip


def _words(
    figure: go.Figure, series: Series, ledger: Ledger, original: Ledger, p: Palette, mode: str, largest: int
) -> None:
    """The total above each bar; the parts and files beside short bars, where there is room."""
    row, file_row, compressed_row = ROWS[series]
    total = f"{title(series, mode)}  {words.size(ledger.packed)}"
    if series == "tempered":
        total += f", <b>{words.ratio(original.packed, ledger.packed)}</b>"
    note(figure, total, mode, 0, row - THICK / 2, xref="paper", yref="y", shift=(0, 3))
    quiet = {"colour": p.muted, "size": SMALL}
    if ledger.packed < SHORT * largest and series == "tempered":
        text = words.lines(_parts(ledger), 58)
        note(figure, text, mode, ledger.packed, row, xref="x", yref="y", anchor=("left", "middle"),
             shift=(8, 0), **quiet)  # type: ignore[arg-type]  # fmt: skip
    for part_row, value, name in ((file_row, ledger.file, "file"), (compressed_row, ledger.compressed, "compressed")):
        note(figure, f"{name} {words.size(value)}", mode, value, part_row, xref="x", yref="y",
             anchor=("left", "middle"), shift=(8, 0), **quiet)  # type: ignore[arg-type]  # fmt: skip


def _parts(ledger: Ledger) -> str:
    values = [(getattr(ledger, part), name.lower()) for part, name in PARTS]
    return ", ".join(f"{name} {words.size(value)}" for value, name in values if value)


def _ticks(largest: int) -> list[float]:
    """Zero and up to five round steps, so that labels are whole kB or MB."""
    step = 1.0
    while largest / step > 5:
        step *= 2.5 if str(int(step))[0] == "2" else 2
    return [k * step for k in range(int(largest / step) + 1)]


def _caption(original: Ledger, tempered: Ledger) -> str:
    factor = words.ratio(original.packed, tempered.packed)
    overhead = tempered.grids + tempered.masks
    if original.packed == tempered.packed:
        return f"Both take {words.size(original.packed)} packed: this recipe saves no bytes."
    text = (
        f"{factor[0].upper()}{factor[1:]}: {words.size(original.packed)} becomes {words.size(tempered.packed)} packed"
    )
    if overhead:
        text += f", of which {words.size(overhead)} are scales and masks"
    return text + "."


def _table(original: Ledger, tempered: Ledger) -> pd.DataFrame:
    entries = (("dense", "Dense float32"), *PARTS, ("packed", "Packed, all parts"), *FILES)
    rows = [(name, getattr(original, part), getattr(tempered, part)) for part, name in entries]
    table = pd.DataFrame(rows, columns=["Entry", "Original, bytes", "Tempered, bytes"])
    # A ratio only where both sides have bytes; words, so that no cell is infinite.
    table["Ratio"] = [words.ratio(a, b) for _, a, b in rows]
    return table
