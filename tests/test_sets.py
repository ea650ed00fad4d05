"""Conformal sets: their scores by hand, their coverage by simulation, their caveats."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from conftest import recipe
from scipy import stats
from setted import SITUATIONS, examples, made

from core.calibration.sets import SCORES, UNKNOWN, Examples, Rule, conformal_sets, scores, threshold
from core.calibration.sets_of import HALVES, sets_of
from core.errors import TemperError
from core.figures.sets import sets_chart
from core.models.samples import load_sample
from core.recipe import Step

P = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])


def test_scores_by_hand():
    assert scores(P, Rule("lac")) == pytest.approx(1 - P)
    assert scores(P, Rule("aps")) == pytest.approx(np.array([[0.5, 0.8, 1.0], [0.9, 1.0, 0.8]])), (
        "the first of equals"
    )
    raps = scores(P, Rule("raps", penalty=0.1, free=1))
    assert raps == pytest.approx(np.array([[0.5, 0.9, 1.2], [1.0, 1.2, 0.8]]))
    u = np.random.default_rng(3).random((2, 1))
    drawn = scores(P, Rule("aps", randomised=True, seed=3))
    assert drawn == pytest.approx(np.array([[0.0, 0.5, 0.8], [0.8, 0.9, 0.0]]) + u * P)


@pytest.mark.parametrize(("n", "level", "place"), [(9, 0.9, 9), (10, 0.9, 10), (19, 0.95, 19), (99, 0.9, 90),
                                                  (100, 0.9, 91), (8, 0.9, None), (18, 0.95, None)])  # fmt: skip
def test_the_threshold_is_the_right_one_of_the_sorted_scores(n, level, place):
    shuffled = np.random.default_rng(0).permutation(np.arange(1.0, n + 1))
    assert threshold(shuffled, level) == (math.inf if place is None else place)


@pytest.mark.parametrize("classes", [2, 3])
def test_sets_that_hold_all_classes_hold_them_for_everyone(classes):
    """The last of all classes brings the sum to 1: a threshold of 1 leaves none out, whatever the rounding."""
    found = conformal_sets(examples(900, classes, 1, 3.0), examples(900, classes, 2, 3.0), Rule("aps", 0.99))
    assert found.parts[0].threshold == 1
    assert (found.sizes == classes).all() and found.coverage.value == 1


RULES = [Rule(score, 0.85, randomised) for score, randomised in itertools.product(SCORES, (False, True))
         if score != "lac" or not randomised]  # fmt: skip


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.score}{rule.randomised}")
@pytest.mark.parametrize("sharp", [1.0, 3.0])
def test_coverage_over_1000_resamples_is_what_was_asked(rule, sharp):
    """However wrong the probabilities: k / (n + 1) where scores differ, at least the level where they may not.

    The first new example of each resample is covered or not, independently, so that their number is binomial; that of
    all 40 is beta-binomial.
    """
    n, m, resamples = 60, 40, 1_000
    hits = np.empty((resamples, m))
    for turn in range(resamples):
        both = examples(n + m, 4, 1_000 + turn, sharp)
        first, second = (
            Examples(both.probabilities[:n], both.labels[:n]),
            Examples(both.probabilities[n:], both.labels[n:]),
        )
        one = Rule(rule.score, rule.level, rule.randomised, seed=turn)
        hits[turn] = conformal_sets(first, second, one).covered
    k = math.ceil((n + 1) * rule.level)
    low, high = stats.binom.interval(0.9999, resamples, k / (n + 1))
    spread = 4 * stats.betabinom(m, k, n + 1 - k).std() / m / resamples**0.5
    exact = rule.score == "lac" or rule.randomised  # without a draw the least likely class scores 1, a tie
    assert low <= hits[:, 0].sum() and (hits[:, 0].sum() <= high or not exact)
    assert hits.mean() >= k / (n + 1) - spread
    assert not exact or hits.mean() <= k / (n + 1) + spread


@pytest.mark.parametrize("by", ["class", "group"])
def test_within_each_class_or_group_as_often(by):
    """About 50 examples set each threshold and 33 judge it: the beta-binomial's deviation bounds the mean."""
    rule, turns = Rule("lac", 0.8, by=by), 240
    hits, counts = np.zeros(3), np.zeros(3)
    for turn in range(turns):
        first, second = examples(150, 3, 2 * turn, 2.0, 3), examples(100, 3, 2 * turn + 1, 2.0, 3)
        found = conformal_sets(first, second, rule)
        of = second.labels if by == "class" else second.groups
        hits += np.bincount(of, found.covered, 3)
        counts += np.bincount(of, minlength=3)
    rates = hits / counts
    spread = 4 * (0.8 * 0.2 * (1 / 52 + 1 / 33) / turns) ** 0.5
    assert (rates > 0.8 - spread).all() and (rates < 0.8 + 1 / 40 + spread).all(), rates


def test_groups_that_differ_are_covered_alike_only_by_group():
    def mixed(seed):
        one = examples(2_000, 4, seed, groups=2)
        p = np.where(one.groups[:, None] == 1, one.probabilities**4, one.probabilities)
        return Examples(p / p.sum(1, keepdims=True), one.labels, one.groups)

    first, second = mixed(1), mixed(2)
    alike = conformal_sets(first, second, Rule("lac", 0.9, by="group")).by_group
    all_ = conformal_sets(first, second, Rule("lac", 0.9)).by_group
    assert max(abs(q.value - 0.9) for q in alike) < 0.03
    assert all_[0].value - all_[1].value > 0.05


def test_what_is_counted_is_what_is_there():
    for case in SITUATIONS.values():
        found = case["found"]
        assert found.histogram.sum() == found.n
        assert (found.histogram * np.arange(len(found.histogram))).sum() == found.inside.sum()
        assert found.mean_size.value == pytest.approx(found.inside.sum() / found.n)
        assert (
            found.empty.value == found.histogram[0] / found.n and found.single.value == found.histogram[1] / found.n
        )
        held = sum((q.value or 0) * q.n for q in found.by_class)
        assert held == pytest.approx(found.coverage.value * found.n)
        interval = found.coverage.interval
        assert interval.low <= found.coverage.value <= interval.high + 1e-12
        table = sets_chart(found).table
        assert table[table["Row"].str.startswith("share")]["Examples"].sum() == found.n


def test_too_few_examples_rule_nothing_out_and_say_so():
    found = made(8, 30, 3, Rule("lac", 0.9))
    assert found.inside.all() and found.caveats == (
        "The threshold would need 9 examples and has 8: every set holds every class.",
    )
    by_class = SITUATIONS["by class, too few"]["found"]
    assert "A threshold needs 9 examples; " in by_class.caveats[0]
    open_ = [k for k, part in enumerate(by_class.parts) if part.threshold == math.inf]
    assert open_ and by_class.inside[:, open_].all()


@pytest.mark.parametrize("by", ["all", "class"])
def test_splits_that_are_not_alike_are_named(by):
    rule, first = Rule("lac", 0.9, by=by), examples(800, 3, 1)
    same = [conformal_sets(first, examples(800, 3, seed), rule).caveats for seed in range(2, 32)]
    assert not any(same)
    moved = examples(800, 3, 40)
    labels = np.where(np.arange(800) % 4 == 0, np.arange(800) % 3, moved.labels)
    (said,) = conformal_sets(first, Examples(moved.probabilities, labels), rule).caveats
    assert "less often than chance allows" in said and ("for class 0" in said) == (by == "class")


def test_an_unstated_group_is_a_group_of_its_own():
    first, second = examples(90, 3, 1, groups=2), examples(60, 3, 2, groups=2)
    groups = second.groups.copy()
    groups[:5] = -1
    found = conformal_sets(first, Examples(second.probabilities, second.labels, groups), Rule(by="group"))
    assert found.group_names[-1] == UNKNOWN and found.parts[-1].n == 0
    assert found.inside[:5].all(), "of whom nothing is known nothing is ruled out"


@pytest.mark.parametrize(("wrong", "says"), [
    (lambda: Rule("other"), "lac, aps, raps"),
    (lambda: Rule(level=1.0), "between 0 and 1"),
    (lambda: Rule("lac", randomised=True), "LAC has no last class"),
    (lambda: Rule("raps", penalty=-1.0), "at least 0"),
    (lambda: Examples(np.array([[2.0, -1.0]]), np.array([0])), "sum to 1"),
    (lambda: Examples(np.array([[np.nan, 1.0]]), np.array([0])), "finite"),
    (lambda: Examples(P, np.array([0, 3])), "from 0 to 2; they run from 0 to 3"),
    (lambda: Examples(P, np.array([0])), "N labels"),
    (lambda: Examples(P[:0], np.zeros(0, int)), "N labels"),
    (lambda: conformal_sets(Examples(P, np.array([0, 1])), Examples(P, np.array([0, 1])), Rule(by="group")),
     "each example's group"),
    (lambda: conformal_sets(Examples(P, np.array([0, 1])), examples(9, 4, 0), Rule()), "same classes; got 3 and 4"),
])  # fmt: skip
def test_a_wrong_request_is_one_sentence(wrong, says):
    with pytest.raises(TemperError, match=says):
        wrong()


def test_sets_of_a_sample():
    model, data = load_sample("breast-cancer")
    found = sets_of(model, data, recipe(), Rule("aps", 0.9, True))
    assert found.n == data.split("evaluation").n and found.parts[0].n == data.split("calibration").n
    low, high = found.coverage.interval.low, found.coverage.interval.high
    assert low - 0.06 < 0.9 < high + 0.06
    halved = sets_of(model, data, recipe(Step.of("calibrate", "isotonic")), Rule("lac"))
    assert HALVES in halved.caveats and halved.parts[0].n == math.ceil(data.split("calibration").n / 2)
    with pytest.raises(TemperError, match="no groups called 'age'"):
        sets_of(model, data, recipe(), Rule(), "age")
    with pytest.raises(TemperError, match="Sets are of classes"):
        sets_of(*load_sample("diamonds"), recipe(), Rule())
