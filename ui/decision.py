"""The decision of a binary task: how its threshold is chosen, what the two errors cost, what is left to a person."""

from __future__ import annotations

from html import escape

import streamlit as st

from core.decisions.decide import HOWS, How, Judged, Rule
from core.decisions.refer import Referral
from core.decisions.stakes import Stories
from core.decisions.thresholds import Costs
from core.decisions.verdict import Verdict, verdict
from core.figures import words
from core.figures.brier_parts import brier_parts_chart
from core.figures.cost import cost_chart
from core.figures.decided import elsewhere, footing, sentence, wished
from core.figures.precision_recall import precision_recall_chart
from core.figures.refer import refer_chart
from core.figures.roc import roc_chart
from core.types import Quantity
from ui import show
from ui.cards import card, difference
from ui.frame import guarded

NAMES: dict[How, str] = {
    "cheapest": "Cheapest for these costs",
    "hand": "By hand",
    "sensitivity": "Sensitivity at least",
    "specificity": "Specificity at least",
}
LONG = 24  # letters of a class name on a label
DEAREST = 1e6


@st.fragment
def decision(given: Judged, colours: str, defaults: Costs | None = None, stories: Stories = ("", "")) -> None:
    """Draw the section. `defaults` are the costs at rest, `stories` what a false alarm and a miss mean.

    Each model has controls of its own, kept for the visit.
    """
    with st.container(key="decision"):
        show.heading(f"When to call it {words.cut(given.positive, LONG)}")
        rule = _rule(given, defaults or Costs(), stories)
        head = st.container()
        wide, narrow = st.columns(2, gap="medium")
        with narrow:
            chart, below = st.container(), st.container()
            with below:
                share, risk = _referring(given)
        with guarded():
            found = verdict(given, rule, share, risk)
            with head:
                _head(found)
            with wide:
                show.chart(cost_chart(found, mode=colours), "What the errors cost", "decision-cost")
                show.small(elsewhere(found))
            with chart:
                show.chart(refer_chart(found, mode=colours), "Refer the least sure to a person", "decision-refer")
            with below:
                show.small(wished(found))
            left, right = st.columns(2, gap="medium")
            with left:
                show.chart(roc_chart(found, mode=colours), "ROC", "decision-roc")
            with right:
                shown = precision_recall_chart(found, mode=colours)
                show.chart(shown, "Precision and recall", "decision-precision")
            show.chart(brier_parts_chart(found, mode=colours), "Brier score in parts", "decision-brier")
            show.small(
                "Of the positive class: half of the Brier score that is summed over both. Parts by isotonic "
                f"regression; skill against the calibration split's base rate, "
                f"{words.percent(found.original.brier.climatology)}."
            )


def _key(name: str, given: Judged) -> str:
    return f"decision-{name}-{given.key[0]}"


def _rule(given: Judged, defaults: Costs, stories: Stories) -> Rule:
    positive, negative = words.cut(given.positive, LONG), words.cut(given.negative, LONG)
    how: How = st.segmented_control(
        "How the threshold is chosen", HOWS, key=_key("how", given), default="cheapest", required=True,
        format_func=lambda one: NAMES[one], persist_state="session",
    )  # fmt: skip
    alarm, miss, slot = st.columns([1, 1, 2], gap="medium", vertical_alignment="bottom")
    costs = {}
    hints = (
        stories[0] or f"{positive} is called, {negative} it is",
        stories[1] or f"{positive} it is, none is called",
    )
    for column, name, title, value, hint in (
        (alarm, "false-alarm", "A false alarm costs", defaults.false_alarm, hints[0]),
        (miss, "miss", "A miss costs", defaults.miss, hints[1]),
    ):
        costs[name] = column.number_input(
            title, 0.0, DEAREST, float(value), 1.0, key=_key(name, given), format="%g",
            help=f"{hint[:1].upper()}{hint[1:]}.", persist_state="session",
        )  # fmt: skip
    threshold, wish = 50.0, 95.0
    with slot:
        if how == "hand":
            threshold = _percent(f"Called {positive} from this probability on", 0.0, 50.0, 1.0, "at", given)
        elif how == "cheapest":
            told = f"False alarm: {stories[0]}. Miss: {stories[1]}. " if all(stories) else ""
            show.small(f"{told}Any one unit will do; only the ratio moves the threshold.")
        else:
            wish = _percent(f"Least {how} on the calibration split", 50.0, 95.0, 0.5, how, given)
    with guarded():
        return Rule(how, Costs(costs["false-alarm"], costs["miss"]), threshold / 100, wish / 100)
    return Rule(how, Costs(), threshold / 100, wish / 100)


def _referring(given: Judged) -> tuple[float, float]:
    left, right = st.columns(2, gap="medium")
    with left:
        share = _percent("Share to refer", 0.0, 10.0, 1.0, "share", given, most=90.0)
    with right:
        risk = _percent("Wrong at most", 0.0, 5.0, 0.5, "risk", given, most=30.0)
    return share / 100, risk / 100


def _percent(
    title: str, low: float, value: float, step: float, name: str, given: Judged, most: float = 100.0
) -> float:
    found: float = st.slider(
        title, low, most, value, step, key=_key(name, given), format="%g %%", persist_state="session"
    )
    return found


def _head(found: Verdict) -> None:
    st.html(f"<p class='t-take'>{escape(sentence(found))}</p><div class='t-cards'>{''.join(_cards(found))}</div>")
    show.small(footing(found))


def _cards(found: Verdict) -> list[str]:
    after, before = found.tempered.decision, found.original.decision
    positive, negative = words.cut(found.judged.positive, LONG), words.cut(found.judged.negative, LONG)
    cost = found.changes["cost"]
    cards = [
        card("Cost an example", _plain(after.cost), "", f"was {_plain(before.cost)}", _moved(cost),
             _hint(after.cost, before.cost, rate=False)),
    ]  # fmt: skip
    for name, title in (("sensitivity", f"Sensitivity: {positive} caught"),
                        ("specificity", f"Specificity: {negative} left alone")):  # fmt: skip
        one, other, change = getattr(after, name), getattr(before, name), found.changes[name]
        cards.append(_share(title, one, other, escape(change.note) if change.value is None else difference(change)))
    cards.append(_share("Precision: calls that are right", after.precision, before.precision, _ends(after.precision)))
    cards.append(_referred(found.tempered.referral, found.original.referral))
    return cards


def _referred(after: Referral, before: Referral) -> str:
    title = f"Wrong, {words.percent(after.referred.value)} referred"
    return _share(title, after.risk, before.risk, _ends(after.risk))


def _share(title: str, after: Quantity, before: Quantity, delta: str) -> str:
    known = after.value is not None
    big = words.percent(after.value).removesuffix("%").strip()
    return card(title, big, "%" if known else "", f"was {words.percent(before.value)}", delta, _hint(after, before))


def _moved(change: Quantity) -> str:
    """A change of cost with its interval, as HTML."""
    assert change.interval is not None
    value, low, high = (words.signed(v, 3) for v in (change.value, change.interval.low, change.interval.high))
    return f"<b>{value}</b> <span class='t-was'>[{low}, {high}]</span>"


def _plain(given: Quantity) -> str:
    return words.NOTHING if given.value is None else f"{given.value:.3f}"


def _ends(given: Quantity) -> str:
    """The interval of a number itself, as HTML."""
    if given.interval is None:
        return escape(given.note)
    ends = words.interval(given.interval.low, given.interval.high)
    return f"{ends} <span class='t-was'>n{words.SPACE}={words.SPACE}{given.n:,}</span>"


def _hint(after: Quantity, before: Quantity, rate: bool = True) -> str:
    said = []
    for name, one in (("Tempered", after), ("original", before)):
        if one.interval is None:
            said.append(f"{name}: {one.note}")
            continue
        low, high = one.interval.low, one.interval.high
        ends = words.interval(low, high) if rate else f"{low:.3f} to {high:.3f}"
        said.append(f"{name}: 95 % interval {ends}, n = {one.n:,}")
    return "; ".join(said) + "."
