"""Cards: a big number with its unit, the original beside it, the difference with its interval."""

from __future__ import annotations

from html import escape

import streamlit as st

from core.engine.compare import Comparison
from core.engine.estimate import Estimate
from core.figures import words
from core.types import Quantity

TITLES = {"accuracy": "Accuracy", "macro_f1": "Macro F1", "ece": "ECE, 15 bins", "nll": "NLL"}
HELP = {
    "accuracy": "Share of examples predicted right.",
    "macro_f1": "Mean over classes of the harmonic mean of precision and recall.",
    "ece": "Expected calibration error: how far confidence is from being right, on average.",
    "nll": "Negative log-likelihood in nats: punishes confident mistakes.",
}
RATES = ("accuracy", "macro_f1", "ece")


def card(title: str, big: str, unit: str, was: str, delta: str, hint: str = "", marked: bool = True) -> str:
    """One card as HTML. Every argument but `delta` is plain text; `delta` is HTML made here.

    `marked` puts the original's mark before `was`.
    """
    mark = "<span class='t-dot original'></span>" if marked else ""
    return (
        f"<dl class='t-card' title='{escape(hint, quote=True)}'><dt>{escape(title)}</dt>"
        f"<dd class='t-big'>{escape(big)}<small>{escape(unit)}</small></dd>"
        f"<dd class='t-was'>{mark}{escape(was)}</dd>"
        f"<dd class='t-delta'>{delta}</dd></dl>"
    )


def metric_cards(found: Comparison) -> str:
    """Cards of the four metrics and of the flips, as one HTML grid."""
    cards = [_metric(name, found) for name in TITLES]
    return f"<div class='t-cards'>{''.join(cards)}{_flips(found)}</div>"


def estimate_cards(found: Estimate) -> str:
    """The same cards while the exact result is on its way: accuracy and flips estimated, the rest still open."""
    shown = f"estimate, n = {words.count(found.n)}"
    hint = "The exact result lies inside the brackets with 95 % confidence."
    change, flips = found.change, found.flips
    big = words.percent(_number(found.accuracy)).removesuffix("%").strip()
    assert flips.interval is not None
    before = words.percent(_number(found.accuracy) - _number(change))
    cards = [card(TITLES["accuracy"], f"≈ {big}", "%", f"was {before}", difference(change, True), hint)]
    cards += [
        card(TITLES[name], words.NOTHING, "", "exact in a moment", "&nbsp;") for name in ("macro_f1", "ece", "nll")
    ]
    span = f"{words.count(flips.interval.low)} to {words.count(flips.interval.high)}"
    count = words.count(_number(flips))
    cards.append(
        card(
            "Predictions that flipped",
            f"≈ {count}",
            f"of {words.count(found.total)}",
            shown,
            span,
            hint,
            marked=False,
        )
    )
    return f"<div class='t-cards t-open'>{''.join(cards)}</div>"


def _metric(name: str, found: Comparison) -> str:
    after, before, change = found.tempered[name], found.original[name], found.change[name]
    rate = name in RATES
    big = words.percent(_number(after)).removesuffix("%").strip() if rate else f"{_number(after):.3f}"
    was = words.percent(_number(before)) if rate else f"{_number(before):.3f}"
    return card(TITLES[name], big, "%" if rate else "nats", f"was {was}", difference(change, rate), HELP[name])


def _number(quantity: Quantity) -> float:
    assert quantity.value is not None
    return quantity.value


def difference(change: Quantity, rate: bool) -> str:
    """A signed difference and its 95 % interval, as HTML; rates in percentage points."""
    value, interval = _number(change), change.interval
    assert interval is not None
    if rate:
        parts = [words.points(v) for v in (value, interval.low, interval.high)]
        unit = " points"
    else:
        parts = [words.signed(v, 3) for v in (value, interval.low, interval.high)]
        unit = ""
    return f"<b>{parts[0]}</b>{unit} <span class='t-was'>[{parts[1]}, {parts[2]}]</span>"


def _flips(found: Comparison) -> str:
    changed, test = found.flips, found.test
    verdict = f"mid-p {_p(test.mid_p)}, exact {_p(test.exact_p)}"
    least = f"{words.points(found.detectable).lstrip('+')} points would show"
    if found.significant:
        text = f"significant: {verdict}"
    else:
        text = f"not significant ({verdict}); {least}" if changed.flips else f"all stayed; {least}"
    hint = (
        f"McNemar's test on the examples that one model gets right and the other wrong: {verdict}. The smallest "
        f"accuracy difference this set of {words.count(changed.n)} could show with 80 % power is "
        f"{words.points(found.detectable).lstrip('+')} points."
    )
    was = f"{words.count(changed.wrong_to_right)} became right, {words.count(changed.right_to_wrong)} wrong"
    return (
        f"<dl class='t-card' title='{escape(hint, quote=True)}'><dt>Predictions that flipped</dt>"
        f"<dd class='t-big'>{words.count(changed.flips)}<small>of {words.count(changed.n)}</small></dd>"
        f"<dd class='t-was'>{escape(was)}</dd><dd class='t-delta'>{escape(text)}</dd></dl>"
    )


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def show(html: str) -> None:
    """Put HTML made by this module on the page."""
    st.html(html)
