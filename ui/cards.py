"""Cards: a big number with its unit, the original beside it, the difference with its interval."""

from __future__ import annotations

from html import escape

import streamlit as st

from core.engine.compare import Comparison
from core.engine.estimate import Estimate
from core.figures import said, words
from core.metrics._bins import BINS
from core.registry import method
from core.task import Task
from core.types import Quantity

CLASSES = 10  # of more classes only those that changed most are shown
BRACKETS = "An estimate: the exact value lies inside the brackets with 95 % confidence, all looks together."


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


def metric_cards(found: Comparison, classes: tuple[str, ...] = ()) -> str:
    """Cards of the task's metrics and of the flips, as one HTML grid; with `classes`, their recalls below."""
    cards = [
        _metric(name, found.tempered[name], found.original[name].value, found.change[name])
        for name in found.task.facts.shown
    ]
    strip = _strip(found.recalls, found.recall_changes, classes) if classes else ""
    return f"<div class='t-cards'>{''.join(cards)}{_flips(found)}</div>{strip}"


def estimate_cards(found: Estimate, task: Task, recalls: bool = True) -> str:
    """The same cards while the exact result is on its way; what waits for the calibration's fit is still open."""
    cards = [
        _metric(name, found.values[name], _number(found.values[name]) - _number(found.changes[name]),
                found.changes[name])
        if name in found.values
        else card(said.title(name), words.NOTHING, "", "fitting the calibration", "&nbsp;")
        for name in task.facts.shown
    ]  # fmt: skip
    flips = found.flips
    if flips is not None and flips.interval is not None:
        span = f"{words.count(flips.interval.low)} to {words.count(flips.interval.high)}"
        shown = f"estimate, n = {words.count(found.n)}"
        big, of = f"≈ {words.count(_number(flips))}", f"of {words.count(found.total)}"
        cards.append(card("Predictions that flipped", big, of, shown, span, BRACKETS, marked=False))
    strip = _strip(found.recalls, found.recall_changes, task.classes) if recalls else ""
    return f"<div class='t-cards t-open'>{''.join(cards)}</div>{strip}"


def _strip(recalls: tuple[Quantity, ...], changes: tuple[Quantity, ...], classes: tuple[str, ...]) -> str:
    """A quiet line of classes: recall and its change, those that changed most first; nothing where none is known.

    A change whose interval holds zero is shown quietly, the others in full.
    """
    if not recalls:
        return ""
    order = sorted(range(len(recalls)), key=lambda c: -abs(_number(changes[c])))[:CLASSES]
    parts = []
    for place in sorted(order):
        change, interval = changes[place], changes[place].interval
        assert interval is not None
        sure = interval.low > 0 or interval.high < 0
        name = classes[place]
        about = "≈ " if change.how == "estimated" else ""
        now, moved = words.percent(_number(recalls[place])), words.points(_number(change))
        hint = (
            f"Recall of {name}: {now}, {moved} points [{words.points(interval.low)}, {words.points(interval.high)}]"
        )
        parts.append(
            f"<li class='{'sure' if sure else ''}' title='{escape(hint, quote=True)}'><span>{escape(name)}</span>"
            f"<b>{about}{now}</b><i>{moved}</i></li>"
        )
    title = "Recall by class" if len(recalls) <= CLASSES else f"Recall of the {CLASSES} classes that changed most"
    return f"<ul class='t-strip' aria-label='{title}'><li class='t-strip-title'>{title}</li>{''.join(parts)}</ul>"


def _metric(name: str, now: Quantity, before: float | None, change: Quantity) -> str:
    unit, about = now.unit, "≈ " if now.how == "estimated" else ""
    hint = BRACKETS if about else method("metric", name).summary
    big, was = said.number(now.value, unit), said.number(before, unit)
    was += "\u2009%" if unit == "fraction" else ""
    title = f"{said.title(name)}, {BINS} bins" if name == "ece" else said.title(name)
    return card(title, f"{about}{big}", said.shown_unit(unit), f"was {was}", difference(change), hint)


def _number(quantity: Quantity) -> float:
    assert quantity.value is not None
    return quantity.value


def difference(change: Quantity) -> str:
    """A signed difference and its 95 % interval, as HTML; rates in percentage points."""
    value, interval = _number(change), change.interval
    assert interval is not None
    parts = [said.moved(v, change.unit) for v in (value, interval.low, interval.high)]
    unit = " points" if change.unit == "fraction" else ""
    return f"<b>{parts[0]}</b>{unit} <span class='t-was'>[{parts[1]}, {parts[2]}]</span>"


def _flips(found: Comparison) -> str:
    changed, test = found.flips, found.test
    if changed is None or test is None:
        return ""
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
