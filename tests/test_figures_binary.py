"""The charts of a binary decision draw what was judged; its section stands on a page and keeps what was set."""

from __future__ import annotations

import re
from dataclasses import replace

import deciding
import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.decisions.decide import Rule
from core.decisions.thresholds import NEVER, Costs
from core.decisions.verdict import SIDES, verdict
from core.figures import decided, words
from core.figures._binary import POINTS, calls, probability
from core.figures.brier_parts import PARTS, brier_parts_chart
from core.figures.cost import cost_chart
from core.figures.precision_recall import precision_recall_chart
from core.figures.refer import refer_chart
from core.figures.roc import roc_chart

CASES = list(deciding.SITUATIONS)


def given_of(case: str):
    return deciding.SITUATIONS[case]["given"]


def by_uid(chart) -> dict:
    return {trace.uid: trace for trace in chart.figure.data}


@pytest.mark.parametrize("case", CASES)
def test_marks_lie_on_their_curves_and_are_the_decisions(case):
    given = given_of(case)
    roc, steps, cost, risk = (
        by_uid(make(given)) for make in (roc_chart, precision_recall_chart, cost_chart, refer_chart)
    )
    for series in SIDES:
        side = given.of(series)
        made, k = side.decision, side.curve.at(side.decision.threshold)
        assert len(roc[f"roc-{series}"].x) <= POINTS
        assert (side.curve.tp[k], side.curve.fp[k]) == (made.tp, made.fp)
        for mark, at in (
            (roc[f"roc-point-{series}"], (made.specificity.value, made.sensitivity.value)),
            (steps[f"steps-point-{series}"], (made.sensitivity.value, made.precision.value)),
            (risk[f"risk-point-{series}"], (side.referral.referred.value, side.referral.risk.value)),
        ):
            assert len(mark.x) == (None not in at), "no mark where there is nothing to show"
            if len(mark.x):
                x = 1 - mark.x[0] if mark.uid.startswith("roc") else mark.x[0]
                assert (x, mark.y[0]) == pytest.approx(at)
        bar, error = risk[f"risk-point-{series}"].error_y, side.referral.risk
        if error.interval is not None:
            ends = error.value - bar.arrayminus[0], error.value + bar.array[0]
            assert ends == pytest.approx((error.interval.low, error.interval.high))
        point = cost[f"cost-point-{series}"]
        line = cost[f"cost-{series}"]
        assert point.y[0] == made.cost.value
        if made.policy != "threshold":
            continue  # stands at the axis's end, where scores beyond it are not drawn
        before = np.searchsorted(np.asarray(line.x), point.x[0], "right") - 1
        near = np.asarray(line.y)[max(before, 0) : before + 2]
        slack = (given.rule.costs.false_alarm + given.rule.costs.miss) * 0.05
        assert near.min() - slack <= point.y[0] <= near.max() + slack


@pytest.mark.parametrize("case", CASES)
def test_curves_reach_from_corner_to_corner(case):
    given = given_of(case)
    curves = by_uid(roc_chart(given))
    for series in SIDES:
        x, y = np.asarray(curves[f"roc-{series}"].x), np.asarray(curves[f"roc-{series}"].y)
        assert (x[0], y[0]) == (0, 0)
        if case not in ("one class", "one example"):
            assert (x[-1], y[-1]) == (1, 1)
        assert (np.diff(x) >= 0).all() and (np.diff(y) >= 0).all()


def test_the_trivial_policies_are_lines_at_their_cost():
    given = given_of("dear misses")
    traces = by_uid(cost_chart(given))
    base = given.original.curve.positives / given.n
    assert traces["always"].y[0] == pytest.approx(1 - base)
    assert traces["never"].y[0] == pytest.approx(8 * base)
    assert "never calling" in cost_chart(given).caption or "always calling" in cost_chart(given).caption
    cheaper = "always" if 1 - base < 8 * base else "never"
    assert f"where {cheaper} calling" in cost_chart(given).caption


def test_a_threshold_far_below_one_per_cent_is_on_the_axis():
    """Over-confident probabilities are cut near 0 or 1: even in log-odds, the axis shows that."""
    given = given_of("beyond float")
    chart = cost_chart(given)
    low, high = chart.figure.layout.xaxis.range
    for series in SIDES:
        assert low < by_uid(chart)[f"cost-point-{series}"].x[0] < high
    assert len(chart.figure.layout.xaxis.tickvals) >= 4


@pytest.mark.parametrize("case", CASES)
def test_brier_bars_are_the_parts(case):
    given = given_of(case)
    chart = brier_parts_chart(given)
    for series in SIDES:
        parts = given.of(series).brier
        assert list(by_uid(chart)[f"brier-{series}"].x) == [getattr(parts, key) for key, _, _ in PARTS]
        column = chart.table[series.title()].tolist()
        assert column[0] == pytest.approx(column[1] - column[2] + column[3], abs=1e-12)


def test_captions_say_only_what_the_intervals_say():
    given = given_of("the same twice")
    assert "not surely" not in cost_chart(given).caption  # equal scores: surely equal
    near = given_of("dear misses")
    unsure = replace(near.changes["cost"], interval=replace(near.changes["cost"].interval, low=-1.0, high=1.0))
    assert "not surely different" in cost_chart(replace(near, changes={**near.changes, "cost": unsure})).caption
    skill = near.tempered.brier.skill
    for low, high, said in ((0.1, 0.2, "better than"), (-0.3, -0.1, "worse than"), (-0.1, 0.1, "not surely")):
        bent = replace(skill, value=(low + high) / 2, interval=replace(skill.interval, low=low, high=high))
        side = replace(near.tempered, brier=replace(near.tempered.brier, skill=bent))
        assert said in brier_parts_chart(replace(near, tempered=side)).caption


@pytest.mark.parametrize(
    ("p", "said"),
    [
        (0, "0 %"), (1, "100 %"), (0.31, "31 %"), (0.0912, "9.1 %"), (0.004, "0.40 %"), (0.99981, "99.981 %"),
        (2.03e-12, "2·10⁻¹²"), (9.99e-13, "1·10⁻¹²"), (1 - 3e-9, "1 − 3·10⁻⁹"),
    ],
)  # fmt: skip
def test_probabilities_in_words(p, said):
    assert probability(p).replace(words.SPACE, " ") == said


def test_sentences_say_what_is_done():
    given = deciding.judged(300, 12)
    made = verdict(given, Rule("hand", threshold=0.31))
    assert decided.sentence(made).replace(words.SPACE, " ").endswith("when its probability is at least 31 %.")
    assert "set by hand" in decided.footing(made)
    never = replace(made.tempered.decision, threshold=NEVER)
    assert calls(never, "rain") == "never calls rain"
    for how, said in (
        ("cheapest", "cheapest on 300"),
        ("sensitivity", "catches 90.0"),
        ("specificity", "leaves 90.0"),
    ):
        assert said in decided.footing(verdict(given, Rule(how, wish=0.9)))
    unreachable = deciding.flat(0.9, False, 30)  # every example is wrong, equally surely
    assert "no share" in decided.wished(verdict(unreachable, Rule("hand"), risk=0.01))


def section() -> None:
    """What the Studio does, on made outcomes."""
    import deciding
    import streamlit as st

    from core.decisions.thresholds import Costs
    from ui.decision import decision

    if "given" not in st.session_state:
        st.session_state["given"] = deciding.judged(300, 21)
    decision(st.session_state["given"], "light", Costs(1, 5), ("a <i>picnic</i> is cancelled", "a picnic is wet"))


def shown(page: AppTest) -> str:
    return " ".join(str(element.proto.body) for element in page.get("html")).replace(words.SPACE, " ")


def test_the_section_reads_at_rest_and_follows_its_controls():
    page = AppTest.from_function(section, default_timeout=60).run()
    assert not page.exception and not page.error
    given = page.session_state["given"]
    for name in ("Cost an example", "Sensitivity:", "Specificity:", "Precision:", "referred"):
        assert name in shown(page)
    assert "a &lt;i&gt;picnic" in shown(page)
    rest = verdict(given, Rule(costs=Costs(1.0, 5.0)), 0.1, 0.05)
    assert f"{rest.tempered.decision.cost.value:.3f}" in shown(page)
    assert "rain &amp; &lt;b&gt;" in shown(page) and "<b>:" not in shown(page), "names cannot write markup"
    alarm, miss = page.number_input
    assert (alarm.value, miss.value) == (1, 5)
    alarm.set_value(0.0)
    miss.set_value(0.0).run()
    assert len(page.error) == 1 and "cost 0" in page.error[0].value
    alarm.set_value(4.0).run()
    assert not page.error
    page.segmented_control[0].set_value("hand").run()
    by_hand = next(one for one in page.slider if "from this probability" in one.label)
    by_hand.set_value(20.0).run()
    assert "at least 20 %" in shown(page)
    for how in ("sensitivity", "specificity"):
        page.segmented_control[0].set_value(how).run()
        assert not page.exception and not page.error
        assert any(how in one.label for one in page.slider)
    found = re.search(r"([\d.]+) % referred", shown(page))
    next(one for one in page.slider if one.label == "Share to refer").set_value(50.0).run()
    assert re.search(r"([\d.]+) % referred", shown(page)).group(1) != found.group(1)
