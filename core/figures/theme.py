"""One look for every chart: two palettes, one layout, the same two marks for original and tempered."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Literal

import plotly.graph_objects as go

Mode = Literal["light", "dark"]
Series = Literal["original", "tempered"]
Scale = list[tuple[float, str]]

FONT = '"Source Sans 3", "Source Sans", system-ui, sans-serif'
SIZE = 13  # px: text in charts
SMALL = 12  # px: notes and ticks
TITLES: dict[Series, str] = {"original": "Original", "tempered": "Tempered"}
# Shape and dash repeat what colour says, for those who cannot tell the colours apart.
SYMBOLS: dict[Series, str] = {"original": "circle-open", "tempered": "circle"}
DASHES: dict[Series, str] = {"original": "5px,4px", "tempered": "solid"}
HOLLOW = 0.22  # opacity inside the original's bars: an outline with a tint, where tempered is solid


@dataclass(frozen=True)
class Palette:
    """Colours of one mode, as `#RRGGBB`.

    Text and muted text stand at 4.5:1 or more on the background, data colours at 3:1 or more; `line`
    is for quiet rules only. Data colours are hues of Okabe and Ito (2008), lightened for the dark mode.
    """

    background: str
    surface: str
    text: str
    muted: str
    line: str
    accent: str
    original: str
    tempered: str
    green: str
    purple: str
    grey: str

    def of(self, series: Series) -> str:
        """The colour of a series."""
        return self.original if series == "original" else self.tempered


PALETTES: dict[Mode, Palette] = {
    "light": Palette(
        background="#FFFFFF",
        surface="#F5F7FA",
        text="#1B2430",
        muted="#56606E",
        line="#E1E6EC",
        accent="#B84A00",
        original="#0072B2",
        tempered="#C65200",
        green="#008A65",
        purple="#B65C90",
        grey="#858F9D",
    ),
    "dark": Palette(
        background="#0E1117",
        surface="#181D27",
        text="#E8EBF0",
        muted="#A5AFBD",
        line="#2A313D",
        accent="#F0803C",
        original="#56B4E9",
        tempered="#F0803C",
        green="#2FBF93",
        purple="#D98CB8",
        grey="#76818F",
    ),
}


def palette(mode: str) -> Palette:
    """The palette of a mode; anything but 'dark' is light."""
    return PALETTES["dark" if mode == "dark" else "light"]


def translucent(colour: str, opacity: float) -> str:
    """`#RRGGBB` as `rgba(...)`."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"


def blend(front: str, back: str, share: float) -> str:
    """The opaque colour of `front` at `share` over `back`, all `#RRGGBB`."""
    pairs = [(int(front[i : i + 2], 16), int(back[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(share * f + (1 - share) * b):02X}" for f, b in pairs)


def luminance(colour: str) -> float:
    """Relative luminance of `#RRGGBB`, 0 black to 1 white (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def ink(colour: str) -> str:
    """Black or white, whichever reads better on a colour: always at 4.5:1 or more."""
    here = luminance(colour) + 0.05
    return "#FFFFFF" if 1.05 / here > here / 0.05 else "#000000"


def at(scale: Scale, share: float) -> str:
    """The colour of a scale at `share`, 0 to 1."""
    for (start, low), (end, high) in pairwise(scale):
        if start <= share <= end and end > start:
            return blend(high, low, (share - start) / (end - start))
    return scale[-1][1]


def sequential(mode: str) -> Scale:
    """Counts: from the background to one hue (purple, which no series has)."""
    p = palette(mode)
    return [(0.0, p.background), (1.0, p.purple)]


def diverging(mode: str) -> Scale:
    """Differences, tempered minus original: original's hue, the background at zero, tempered's hue."""
    p = palette(mode)
    return [(0.0, p.original), (0.5, p.background), (1.0, p.tempered)]


def bar(series: Series, mode: str) -> dict[str, Any]:
    """How a bar of a series is filled: the original an outline with a tint, tempered solid."""
    colour = palette(mode).of(series)
    fill = translucent(colour, HOLLOW) if series == "original" else colour
    return {"color": fill, "line": {"color": colour, "width": 1.5}}


@cache
def _template(mode: Mode) -> go.layout.Template:
    """The look of every figure of a mode; a figure's own layout holds only what is its own.

    As a template because setting the same on every axis of every figure takes plotly tens of milliseconds.
    """
    p = palette(mode)
    font = {"family": FONT, "size": SIZE, "color": p.text}
    axis = {
        "gridcolor": p.line,
        "linecolor": p.line,
        "zeroline": False,
        "ticks": "",
        "tickfont": {"size": SMALL, "color": p.muted},
        "title": {"font": {"size": SMALL, "color": p.muted}, "standoff": 5},
        "fixedrange": True,
    }
    return go.layout.Template(
        layout={
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": font,
            "hoverlabel": {
                "bgcolor": p.surface,
                "bordercolor": p.line,
                "font": font,
                "align": "left",
                "namelength": -1,
            },
            "hovermode": "closest",
            "dragmode": False,
            "barcornerradius": 2,
            "showlegend": False,
            "legend": {
                "orientation": "h",
                "x": 0,
                "xanchor": "left",
                "y": 1,
                "yanchor": "bottom",
                "bgcolor": "rgba(0,0,0,0)",
                "font": {"size": SMALL},
                "itemclick": False,
                "itemdoubleclick": False,
            },
            "xaxis": axis,
            "yaxis": axis,
        }
    )


def layout(figure: go.Figure, mode: str, height: int, *, margin: tuple[int, int, int, int], **own: Any) -> go.Figure:
    """Give a figure the house's look and its own layout `own` (axes, modes), and return it.

    `height` in px; `margin` is left, right, top, bottom in px. Every trace must carry a uid.
    """
    left, right, top, bottom = margin
    figure.update_layout(
        template=_template("dark" if mode == "dark" else "light"),
        height=height,
        autosize=True,
        margin={"l": left, "r": right, "t": top, "b": bottom, "pad": 0},
        uirevision="constant",
        **own,
    )
    return figure


def note(
    figure: go.Figure,
    text: str,
    mode: str,
    x: float,
    y: float,
    *,
    xref: str = "paper",
    yref: str = "paper",
    anchor: tuple[str, str] = ("left", "bottom"),
    shift: tuple[float, float] = (0, 0),
    colour: str | None = None,
    size: int = SIZE,
    backed: bool = False,
) -> None:
    """Write words into a figure, without an arrow. `anchor` and `shift` are horizontal, vertical (px up).

    `backed` puts the background's colour behind words that may cross lines.
    """
    figure.add_annotation(
        text=text,
        x=x,
        y=y,
        xref=xref,
        yref=yref,
        xanchor=anchor[0],
        yanchor=anchor[1],
        xshift=shift[0],
        yshift=shift[1],
        align=anchor[0],
        showarrow=False,
        bgcolor=translucent(palette(mode).background, 0.8) if backed else None,
        borderpad=1 if backed else 0,
        font={"size": size, "color": colour or palette(mode).text},
    )


def title(series: Series, mode: str) -> str:
    """A panel's title in the series' colour, with its mark before it."""
    mark = "○" if series == "original" else "●"
    return f"<span style='color:{palette(mode).of(series)}'>{mark}</span> <b>{TITLES[series]}</b>"
