"""Loss foretold against loss measured, a mark a layer and bit-width: the weights' noise beside Fisher information."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core.figures import said, words
from core.figures.theme import SMALL, layout, note, palette
from core.layers.foretold import Agreement, Foretold, agreement, noise
from core.layers.sensitivity import Effect, Sensitivity
from core.registry import method, register
from core.types import Chart

HEIGHT = 380  # px
GAP = (0.47, 0.53)  # where the first panel ends and the second begins, as shares of the width
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "cross", "star")  # by bits, fewest first
LOWEST = 1e-3  # of the largest loss measured: losses below lie on the axis, where zero and gains are too
STRONG, ROUGH = 0.75, 0.4  # rank correlations from which the order is told nearly, or roughly
Told = Mapping[tuple[str, int], float]


@register(
    kind="chart",
    name="foretold",
    title="Foretold and measured",
    summary="The loss of each layer alone as measured, against two predictions that evaluate nothing.",
    reference="Dong et al. 2019, HAWQ: Hessian aware quantization, arXiv 1905.03696",
)
def foretold_chart(
    measured: Sensitivity, told: Foretold, *, selected: str | None = None, mode: str = "light"
) -> Chart:
    """The measured loss upwards, on a logarithmic scale, against the SQNR and against the Fisher information's loss.

    A click gives the layer's name as customdata.
    """
    p, name = palette(mode), _measure(measured)
    losses = {(e.layer, e.bits): _loss(e, name) for e in measured.effects}
    top = max([*losses.values(), 0.0]) or 1.0
    floor = LOWEST * top
    ratios = {(e.layer, e.bits): e.sqnr_db for e in measured.effects if e.sqnr_db is not None}
    fisher = {pair: value for pair, value in told.values.items() if pair in losses and value > 0}
    figure = go.Figure()
    for axis, given, key in (("x", ratios, "sqnr"), ("x2", fisher, "fisher")):
        pairs = [pair for pair in losses if pair in given]
        mine = [pair for pair in pairs if pair[0] == selected]
        figure.add_scatter(
            x=[given[pair] for pair in mine], y=[max(losses[pair], floor) for pair in mine], xaxis=axis,
            mode="markers", hoverinfo="skip", uid=f"{key}-chosen",
            marker={"symbol": "circle-open", "size": 19, "color": p.accent, "line": {"width": 2, "color": p.accent}},
        )  # fmt: skip
        figure.add_scatter(
            x=[given[pair] for pair in pairs], y=[max(losses[pair], floor) for pair in pairs], xaxis=axis,
            mode="markers", customdata=[pair[0] for pair in pairs], hovertemplate="%{text}<extra></extra>",
            text=[_hover(pair, losses[pair], ratios.get(pair), fisher.get(pair), measured) for pair in pairs],
            marker={
                "symbol": [_symbol(measured, pair) + ("-open" if losses[pair] <= floor else "") for pair in pairs],
                "size": 9, "color": p.purple, "line": {"width": 1.5, "color": p.purple},
            },
            selected={"marker": {"opacity": 1}}, unselected={"marker": {"opacity": 1}}, uid=f"{key}-settings",
        )  # fmt: skip
    same = _nats(measured) and bool(fisher)
    ends = [max(floor, min(fisher.values())), min(top, max(fisher.values()))] if same else []
    figure.add_scatter(
        x=ends, y=ends, xaxis="x2", mode="lines", line={"color": p.grey, "width": 1, "dash": "5px,4px"},
        hoverinfo="skip", uid="same",
    )  # fmt: skip
    unit = said.shown_unit(_unit(measured, name))
    loss = f"Measured: {said.name(name)} added{f', {unit}' if unit else ''}"
    low, high = np.log10(floor), np.log10(top)
    layout(
        figure, mode, HEIGHT, margin=(70, 12, 46, 44),
        xaxis={"domain": [0, GAP[0]], "autorange": "reversed", "title": {"text": "SQNR of its weights, dB"}},
        xaxis2={"domain": [GAP[1], 1], "type": "log", "title": {"text": "Foretold by Fisher information, nats"},
                "exponentformat": "power", "dtick": 1 if len(fisher) < 2 or _decades(fisher) < 5 else 2},
        yaxis={"type": "log", "range": [low - 0.12, high + 0.15], "title": {"text": loss}, "dtick": 1,
               "exponentformat": "power"},
    )  # fmt: skip
    key = "   ".join(f"{_sign(place)} {bits} bits" for place, bits in enumerate(measured.bits))
    note(figure, key, mode, 0, 1, shift=(0, 24), colour=p.muted, size=SMALL)
    both = agreements(measured, told, name)
    for x, title, of in ((0.0, "Weights' own noise", both["sqnr"]), (GAP[1], "Fisher information", both["fisher"])):
        note(figure, f"<b>{title}</b>: rank correlation {_rho(of)}", mode, x, 1, shift=(0, 5))
    if same:
        note(figure, "as foretold", mode, float(np.log10(ends[1])), float(np.log10(ends[1])), xref="x2", yref="y",
             anchor=("right", "middle"), shift=(-14, 0), colour=p.muted, size=SMALL, backed=True)  # fmt: skip
    caption = _caption(measured, told, name)
    alt = (
        f"Two scatter plots of {len(losses)} settings, a layer at a bit-width each: the measured change of "
        f"{said.name(name)} against the SQNR and against the loss foretold by the Fisher information. {caption}"
    )
    return Chart(figure, alt, caption, _table(measured, told, name))


def agreements(measured: Sensitivity, told: Foretold, measure: str, bits: int | None = None) -> dict[str, Agreement]:
    """How well each prediction ranks a measured loss."""
    given: dict[str, Told] = {"sqnr": noise(measured), "fisher": told.values}
    return {key: agreement(measured, one, measure, bits) for key, one in given.items()}


def _measure(measured: Sensitivity) -> str:
    """The loss that is foretold: the likelihood's where there is one, else the squared error."""
    return "nll" if "nll" in measured.values else next(iter(measured.values))


def _nats(measured: Sensitivity) -> bool:
    return "nll" in measured.values


def _unit(measured: Sensitivity, name: str) -> str:
    return measured.effects[0].changes[name].unit


def _loss(effect: Effect, name: str) -> float:
    change = float(effect.changes[name].value or 0.0)
    return -change if method("metric", name).function.higher_is_better else change


def _decades(told: Told) -> float:
    return float(np.log10(max(told.values())) - np.log10(min(told.values())))


def _symbol(measured: Sensitivity, pair: tuple[str, int]) -> str:
    return SYMBOLS[measured.bits.index(pair[1]) % len(SYMBOLS)]


def _sign(place: int) -> str:
    return "●■◆▲✕✚★"[place % len(SYMBOLS)]


def _rho(of: Agreement) -> str:
    rho = words.NOTHING if of.rho is None else f"{of.rho:+.2f}".replace("-", words.MINUS)
    return f"{rho}, n = {of.n}"


def _hover(
    pair: tuple[str, int], loss: float, ratio: float | None, value: float | None, measured: Sensitivity
) -> str:
    name = _measure(measured)
    lines = [
        f"<b>{words.name(pair[0], 48)}</b> alone at {pair[1]} bits",
        f"{said.title(name)} {words.signed_amount(loss, said.shown_unit(_unit(measured, name)))}",
    ]
    lines += [] if ratio is None else [f"SQNR {ratio:.1f}{words.SPACE}dB".replace("-", words.MINUS)]
    lines += [] if value is None else [f"foretold {words.amount(value, 'nats')}"]
    return "<br>".join(lines)


def _caption(measured: Sensitivity, told: Foretold, name: str) -> str:
    both = agreements(measured, told, name)
    fisher, noisy = both["fisher"].rho, both["sqnr"].rho
    if fisher is None:
        return f"Of {both['fisher'].n} settings too few differ to say whether anything foretells them."
    order = "nearly" if fisher >= STRONG else "only roughly" if fisher >= ROUGH else "not"
    text = (
        f"From {words.count(told.examples)} calibration examples and no evaluation, Fisher information tells {order} "
        f"which of {both['fisher'].n} settings add most {said.name(name)} (rank correlation {_plain(fisher)})"
    )
    if noisy is not None:
        better = "better than" if fisher > noisy + 0.005 else "as well as" if fisher > noisy - 0.005 else "worse than"
        text += f", {better} the weights' own noise ({_plain(noisy)})"
    head = next(iter(measured.values))
    if head != name:
        of = agreements(measured, told, head)
        pair = " and ".join(_plain(of[key].rho) for key in ("fisher", "sqnr"))
        text += f"; for {said.name(head)} these are {pair}"
    return f"{text}."


def _plain(rho: float | None) -> str:
    return words.NOTHING if rho is None else f"{rho:.2f}".replace("-", words.MINUS)


def _table(measured: Sensitivity, told: Foretold, name: str) -> pd.DataFrame:
    unit = said.shown_unit(_unit(measured, name))
    return pd.DataFrame(
        [
            {
                "Layer": e.layer,
                "Bits": e.bits,
                f"{said.title(name)} added{f', {unit}' if unit else ''}": _loss(e, name),
                "SQNR, dB": words.NOTHING if e.sqnr_db is None else f"{e.sqnr_db:.2f}",
                "Foretold, nats": words.amount(told.values.get((e.layer, e.bits))),
            }
            for e in measured.effects
        ]
    )
