"""Thresholds, costs, referring and the Brier score's parts: against scikit-learn, brute force and simulation."""

from __future__ import annotations

import json
import math

import deciding
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import brier_score_loss, precision_recall_curve, roc_curve

from core.commands.decide import costs_from_text, decision_summary
from core.decisions.brier_parts import brier_parts, recalibrated
from core.decisions.decide import Judged, Rule, cost_difference, cost_of, judge
from core.decisions.refer import ALL, NOBODY, at_risk, at_share, judge_referral, selective
from core.decisions.stakes import costs_of_card
from core.decisions.thresholds import ALWAYS, NEVER, Costs, cheapest, curve, of_sensitivity, of_specificity
from core.decisions.verdict import verdict
from core.errors import TemperError
from core.metrics import brier  # noqa: F401 registered
from core.models.samples import read_card
from core.registry import method

sets = st.integers(1, 40).flatmap(
    lambda n: st.tuples(
        st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5 + 1e-16, 0.9, 1 - 1e-16, 1.0]), min_size=n, max_size=n),
        st.lists(st.booleans(), min_size=n, max_size=n),
    )
).map(lambda pair: (np.array(pair[0]), np.array(pair[1])))  # fmt: skip
prices = st.tuples(st.sampled_from([0.0, 0.1, 1.0, 3.0]), st.sampled_from([0.2, 1.0, 10.0]))


def counted(scores, positive, threshold) -> tuple[int, int, int, int]:
    """Straight from the definition: true and false positives, true and false negatives."""
    calls = scores >= threshold
    return tuple(
        int(found.sum()) for found in (calls & positive, calls & ~positive, ~calls & ~positive, ~calls & positive)
    )


@settings(max_examples=150, deadline=None)
@given(pair=sets)
def test_the_curve_is_every_way_to_cut(pair):
    scores, positive = pair
    found = curve(scores, positive)
    assert found.thresholds[0] == NEVER and found.thresholds[-1] == ALWAYS
    assert (np.diff(found.thresholds) < 0).all()
    assert len(found.thresholds) == len(np.unique(scores)) + 1
    for k, threshold in enumerate(found.thresholds):
        assert counted(scores, positive, threshold) == (found.tp[k], found.fp[k], found.tn[k], found.fn[k])
    for threshold in (0.0, 0.05, 0.1, 0.5, 0.95, 1.0, 2.0, *scores):
        k = found.at(threshold)
        assert counted(scores, positive, threshold)[:2] == (found.tp[k], found.fp[k])


@pytest.mark.parametrize("levels", [0, 7])
def test_roc_and_precision_are_scikit_learns(levels):
    scores, positive = deciding.made(500, 1, levels=levels)
    found = curve(scores, positive)
    fpr, tpr, _ = roc_curve(positive, scores, drop_intermediate=False)
    np.testing.assert_allclose(found.false_alarm_rate, fpr, atol=1e-12)
    np.testing.assert_allclose(found.sensitivity, tpr, atol=1e-12)
    precision, recall, _ = precision_recall_curve(positive, scores)
    np.testing.assert_allclose(found.precision[::-1], precision, atol=1e-12)
    np.testing.assert_allclose(found.sensitivity[::-1], recall, atol=1e-12)


@settings(max_examples=150, deadline=None)
@given(pair=sets, cost=prices)
def test_no_threshold_is_cheaper_than_the_cheapest(pair, cost):
    scores, positive = pair
    costs = Costs(*cost)

    def price(threshold):
        _, fp, _, fn = counted(scores, positive, threshold)
        return (costs.false_alarm * fp + costs.miss * fn) / len(scores)

    chosen = cheapest(curve(scores, positive), costs)
    least = min(price(t) for t in (0.0, 2.0, *scores, *(np.nextafter(s, 2) for s in scores)))
    assert price(chosen) == pytest.approx(least, abs=1e-9)
    order = np.random.default_rng(0).permutation(len(scores))
    assert cheapest(curve(scores[order], positive[order]), costs) == chosen, "the order of examples does not count"


def test_of_equally_cheap_thresholds_the_one_near_the_closed_form_is_taken():
    scores, positive = np.array([0.1, 0.2, 0.6, 0.9]), np.array([False, True, False, True])
    assert cheapest(curve(scores, positive), Costs(1, 1)) == pytest.approx(0.75)  # 0.15 costs as much
    assert cheapest(curve(scores, positive), Costs(1, 1.0001)) == pytest.approx(0.15)
    assert cheapest(curve(np.full(3, 0.4), np.zeros(3, bool)), Costs(1, 1)) == NEVER
    assert cheapest(curve(np.full(3, 0.4), np.ones(3, bool)), Costs(1, 1)) == ALWAYS


def test_costs_that_are_sums_of_decimals_tie_all_the_same():
    """Three false alarms at 0.1 and one miss at 0.3 cost the same, though 3 * 0.1 is not 0.3 in float64."""
    scores, positive = np.array([0.9, 0.35, 0.3, 0.2, 0.15]), np.array([True, False, False, False, True])
    found = curve(scores, positive)
    tied = found.cost(Costs(0.1, 0.3))[[1, 5]]
    assert tied[0] != tied[1]
    assert cheapest(found, Costs(0.1, 0.3)) == ALWAYS  # 0 is nearer to 0.25 than 0.625 is


def test_a_calibrated_model_is_cheapest_at_the_closed_form():
    scores, positive = deciding.made(200_000, 5)
    for costs in (Costs(1, 1), Costs(1, 9), Costs(4, 1)):
        found = curve(scores, positive)
        best, closed = found.cost(costs)[found.at([cheapest(found, costs), costs.threshold])]
        assert closed == pytest.approx(best, rel=0.01)
        assert cheapest(found, costs) == pytest.approx(costs.threshold, abs=0.04)


@settings(max_examples=150, deadline=None)
@given(pair=sets, wish=st.floats(0, 1))
def test_wishes_are_kept_and_no_better_threshold_was_left(pair, wish):
    scores, positive = pair
    found = curve(scores, positive)
    if positive.any():
        k = found.at(of_sensitivity(found, wish))
        assert found.sensitivity[k] >= wish - 1e-6
        assert k == 0 or found.sensitivity[k - 1] < wish
    if not positive.all():
        k = found.at(of_specificity(found, wish))
        assert 1 - found.false_alarm_rate[k] >= wish - 1e-6
        assert k == len(found.tp) - 1 or 1 - found.false_alarm_rate[k + 1] < wish


def test_a_wish_about_an_absent_class_is_a_sentence():
    nothing = curve(np.array([0.2, 0.8]), np.zeros(2, bool))
    with pytest.raises(TemperError, match="needs a positive example"):
        of_sensitivity(nothing, 0.9)
    with pytest.raises(TemperError, match="needs a negative example"):
        of_specificity(curve(np.array([0.2]), np.ones(1, bool)), 0.9)


@pytest.mark.parametrize("costs", [(-1, 1), (math.inf, 1), (math.nan, 1), (0, 0), ("1", 1)])
def test_costs_refuse_what_is_no_cost(costs):
    with pytest.raises(TemperError, match="cost"):
        Costs(*costs)


@pytest.mark.parametrize("text", ["", "1", "1:2:3", "a:1", "1:-1", "0:0", "nan:1"])
def test_costs_in_text_refuse_what_they_are_not(text):
    with pytest.raises(TemperError):
        costs_from_text(text)
    assert costs_from_text("1:10") == Costs(1, 10)


@pytest.mark.parametrize("wrong", [3, {"miss": "dear"}, {"false_alarm": 0, "miss": 0}, {"miss": -1}])
def test_a_card_states_costs_or_is_told_what_is_wrong(wrong):
    assert costs_of_card({}) == (Costs(1, 1), ("", ""))
    costs, stories = costs_of_card(read_card("breast-cancer"))
    assert costs.miss > costs.false_alarm and all(stories)
    with pytest.raises(TemperError, match="cost"):
        costs_of_card({"costs": wrong})


def test_changing_the_evaluation_labels_moves_no_threshold_and_no_cut():
    """Everything that is chosen comes from the calibration split alone."""
    given = deciding.judged(300, 8)
    for rule in (Rule(), Rule(costs=Costs(1, 5)), Rule("sensitivity"), Rule("specificity", wish=0.8)):
        before = verdict(given, rule)
        turned = [
            deciding.outcome(1 - one.probabilities[:, 1], one.labels == 0, recipe=f"turned {next(deciding.TURN)}")
            for one in (given.original, given.tempered)
        ]
        after = verdict(Judged(given.original_calibration, given.tempered_calibration, *turned), rule)
        for series in ("original", "tempered"):
            one, other = before.of(series), after.of(series)
            assert one.decision.threshold == other.decision.threshold
            assert one.referral.cut == other.referral.cut
            assert one.brier.climatology == other.brier.climatology
            assert one.decision.tp != other.decision.tp, "the labels did change"


def test_changing_the_calibration_labels_moves_them():
    given = deciding.judged(300, 8)
    scores = given.tempered_calibration.probabilities[:, 1]
    other = deciding.outcome(scores, np.arange(300) % 2 == 0)
    moved = Judged(other, other, given.original, deciding.outcome(*deciding.made(300, 17)))
    assert verdict(moved).tempered.decision.threshold != verdict(given).tempered.decision.threshold


def test_a_decision_is_its_counts():
    given = deciding.judged(500, 3)
    made = judge(given.tempered, 0.3, Costs(2, 7))
    tp, fp, tn, fn = counted(given.tempered.probabilities[:, 1], given.tempered.labels == 1, 0.3)
    assert (made.tp, made.fp, made.tn, made.fn) == (tp, fp, tn, fn)
    assert made.sensitivity.value == tp / (tp + fn) and made.sensitivity.n == tp + fn
    assert made.specificity.value == tn / (tn + fp) and made.precision.value == tp / (tp + fp)
    assert made.cost.value == pytest.approx((2 * fp + 7 * fn) / 500)
    assert made.always.value == pytest.approx(2 * (tn + fp) / 500)
    assert made.never.value == pytest.approx(7 * (tp + fn) / 500)
    for one in (made.sensitivity, made.specificity, made.precision, made.cost):
        assert one.interval.low < one.value < one.interval.high
    nothing = judge(given.tempered, NEVER, Costs())
    assert nothing.precision.value is None and nothing.precision.note and nothing.policy == "never"


def test_the_class_that_is_looked_for_may_stand_first():
    second, first = deciding.judged(200, 4), deciding.judged(200, 4, place=0)
    assert first.positive == "dry" and second.positive == deciding.CLASSES[1]
    one, other = decision_summary(second), decision_summary(first)
    assert one.pop("positive") != other.pop("positive")
    assert json.dumps(one) == json.dumps(other)


@pytest.mark.parametrize(
    ("n", "alarms", "misses", "costs"),
    [(171, 0.02, 0.01, Costs(1, 10)), (171, 0.05, 0.03, Costs(1, 1)), (1_000, 0.1, 0.05, Costs(1, 5))],
)
def test_the_interval_of_a_cost_covers(n, alarms, misses, costs):
    """Of 1,500 samples at least 93 % hold the true cost; a plain bootstrap holds it in 82 % of the first setting."""
    draws = np.random.default_rng(0).multinomial(n, [alarms, misses, 1 - alarms - misses], 1_500)
    true = costs.false_alarm * alarms + costs.miss * misses
    ends = [cost_of(int(fp), int(fn), n, costs).interval for fp, fn, _ in draws]
    assert np.mean([end.low <= true <= end.high for end in ends]) >= 0.93
    assert np.mean([end.low > true or end.high < true for end in ends]) > 0.005, "and it is not everything"


@pytest.mark.parametrize(
    ("n", "shares"), [(171, (0.01, 0.0, 0.0, 0.01)), (1_000, (0.02, 0.03, 0.01, 0.005)), (171, (0, 0, 0, 0.02))]
)
def test_the_interval_of_a_paired_cost_covers(n, shares):
    """Alarms that came and went, misses that went and came; the outcomes themselves are drawn."""
    costs, generator = Costs(1, 10), np.random.default_rng(1)
    true = shares[0] - shares[1] + 10 * (shares[3] - shares[2])
    kinds = [(0.1, 0.9, False), (0.9, 0.1, False), (0.1, 0.9, True), (0.9, 0.1, True), (0.1, 0.1, False)]
    held = 0
    for _ in range(400):
        drawn = generator.choice(5, n, p=[*shares, 1 - sum(shares)])
        was, now, positive = (np.array([kinds[k][part] for k in drawn]) for part in range(3))
        pair = deciding.outcome(was, positive.astype(bool)), deciding.outcome(now, positive.astype(bool))
        found = cost_difference(*pair, (0.5, 0.5), costs)
        held += found.interval.low <= true <= found.interval.high
    assert held / 400 >= 0.93


def test_a_difference_of_costs_is_the_costs_difference():
    given = deciding.judged(500, 6)
    found = verdict(given, Rule(costs=Costs(1, 4)))
    change = found.changes["cost"]
    assert change.value == pytest.approx(found.tempered.decision.cost.value - found.original.decision.cost.value)
    assert change.interval.low < change.value < change.interval.high
    same = cost_difference(given.original, given.original, (0.4, 0.4), Costs())
    assert (same.interval.low, same.interval.high) == (0, 0)
    unseen = cost_difference(given.original, given.tempered, (NEVER, NEVER), Costs())
    assert unseen.value == 0 and unseen.interval.low < 0 < unseen.interval.high, "other scores could have differed"


@settings(max_examples=150, deadline=None)
@given(pair=sets, threshold=st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0, NEVER]))
def test_risk_coverage_against_a_loop(pair, threshold):
    """Ties taken as the mean over every order they could stand in."""
    scores, positive = pair
    found = selective(scores, positive, threshold)
    wrong = (scores >= threshold) != positive
    assert found.risk[-1] == pytest.approx(wrong.mean())
    assert (np.diff(found.sureness) <= 0).all()
    assert 0 <= found.area <= 1
    for cut in np.unique(found.sureness):
        kept = found.sureness >= cut
        assert found.risk[kept.sum() - 1] == pytest.approx(found.wrong[kept].mean())
    order = np.random.default_rng(1).permutation(len(scores))
    np.testing.assert_allclose(selective(scores[order], positive[order], threshold).risk, found.risk)


def test_at_one_half_sureness_orders_as_the_predicted_class_does():
    scores, positive = deciding.made(400, 2)
    found = selective(scores, positive)
    order = np.argsort(-np.maximum(scores, 1 - scores), kind="stable")
    wrong = ((scores >= 0.5) != positive)[order]
    np.testing.assert_allclose(found.risk, np.cumsum(wrong) / np.arange(1, 401))
    assert found.area == pytest.approx((np.cumsum(wrong) / np.arange(1, 401)).mean())


@settings(max_examples=100, deadline=None)
@given(pair=sets, wish=st.floats(0, 1))
def test_the_smallest_share_to_refer(pair, wish):
    found = selective(*pair)
    cut = at_risk(found, wish)
    good = [
        1 - kept.mean()
        for kept in (found.sureness >= one for one in [NOBODY, *np.unique(found.sureness)])
        if found.wrong[kept].mean() <= wish + 1e-9
    ]
    if cut is None:
        assert not good
    else:
        made = judge_referral(found, cut)
        assert made.risk.value <= wish + 1e-9
        assert made.referred.value == pytest.approx(min(good))


def test_shares_to_refer():
    found = selective(*deciding.made(1_000, 3))
    for share in (0.0, 0.1, 0.5):
        made = judge_referral(found, at_share(found, share))
        assert made.referred.value == pytest.approx(share, abs=1e-3)
        assert made.risk.n == 1_000 - round(1_000 * share) and made.risk.interval.low <= made.risk.value
    assert at_share(found, 0.0) == NOBODY and at_share(found, 1.0) == ALL
    assert judge_referral(found, ALL).risk.value is None
    for wrong in (-0.1, 1.1, math.nan, "x"):
        with pytest.raises(TemperError):
            at_share(found, wrong)
        with pytest.raises(TemperError):
            at_risk(found, wrong)


@settings(max_examples=100, deadline=None)
@given(pair=sets)
def test_brier_parts_add_up(pair):
    scores, positive = pair
    found = brier_parts(scores, positive, 0.3)
    assert found.score == pytest.approx(found.miscalibration - found.discrimination + found.uncertainty, abs=1e-12)
    assert min(found.miscalibration, found.discrimination, found.uncertainty) >= 0
    assert found.discrimination <= found.uncertainty + 1e-12


@pytest.mark.parametrize("levels", [0, 6])
def test_brier_parts_against_scikit_learn(levels):
    scores, positive = deciding.made(600, 4, 3.0, levels)
    found = brier_parts(scores, positive, 0.3)
    theirs = IsotonicRegression().fit(scores, positive).predict(scores)
    np.testing.assert_allclose(recalibrated(scores, positive), theirs, atol=1e-9)
    assert found.score == pytest.approx(brier_score_loss(positive, scores), abs=1e-12)
    assert found.miscalibration == pytest.approx(found.score - brier_score_loss(positive, theirs), abs=1e-9)
    both = method("metric", "brier").function.of(deciding.outcome(scores, positive))
    assert 2 * found.score == pytest.approx(both, abs=1e-12), "the registered score sums over both classes"
    reference = np.mean((0.3 - positive) ** 2)
    assert found.skill.value == pytest.approx(1 - found.score / reference)
    assert found.skill.interval.low < found.skill.value < found.skill.interval.high


def test_brier_parts_name_the_fault():
    generator = np.random.default_rng(0)
    odds = generator.normal(-1, 1.5, 100_000)
    positive = generator.random(100_000) < expit(odds)
    calibrated, sharp = brier_parts(expit(odds), positive, 0.3), brier_parts(expit(4 * odds), positive, 0.3)
    flat = brier_parts(np.full(100_000, positive.mean()), positive, float(positive.mean()))
    assert calibrated.miscalibration < 5e-4 < 0.01 < sharp.miscalibration
    assert sharp.discrimination == pytest.approx(calibrated.discrimination, rel=1e-6), "the order is the same"
    assert flat.miscalibration == pytest.approx(0, abs=1e-12) and flat.discrimination == pytest.approx(0, abs=1e-12)
    assert flat.skill.value == pytest.approx(0, abs=1e-12)
    assert brier_parts(np.array([0.2]), np.array([False]), 0.0).skill.value is None


@pytest.mark.parametrize("case", list(deciding.SITUATIONS))
def test_the_summary_is_json_and_says_what_was_judged(case):
    found = deciding.SITUATIONS[case]["given"]
    told = decision_summary(found.judged, found.rule)
    again = json.loads(json.dumps(told, allow_nan=False))
    made = verdict(found.judged, found.rule)
    for series in ("original", "result"):
        side, decision = again[series], made.of(series).decision
        assert side["counts"]["tp"] == decision.tp
        assert side["cost"]["value"] == decision.cost.value
        assert side["threshold"] == (None if decision.threshold == NEVER else decision.threshold)
        parts = side["brier_parts"]
        assert parts["score"] == pytest.approx(
            parts["miscalibration"] - parts["discrimination"] + parts["uncertainty"], abs=1e-12
        )
        for name in ("auroc", "average_precision"):
            low, high = side[name]["interval"]
            assert 0 <= low <= side[name]["value"] <= high <= 1
    assert again["rule"]["chosen_on"] == ("hand" if found.rule.how == "hand" else "calibration")


def test_what_cannot_be_judged_is_a_sentence():
    given = deciding.judged(50)
    with pytest.raises(TemperError, match="same examples"):
        Judged(given.original_calibration, given.tempered_calibration, given.original, given.tempered_calibration)
    for wrong in ({"how": "best"}, {"threshold": 1.5}, {"wish": -0.1}):
        with pytest.raises(TemperError):
            Rule(**wrong)
    with pytest.raises(TemperError, match="at least one example"):
        curve(np.zeros(0), np.zeros(0, bool))
    with pytest.raises(TemperError, match="at least one example"):
        brier_parts(np.zeros(0), np.zeros(0, bool), 0.5)
