"""Paired statistics against SciPy and statsmodels, and coverage on simulated truth."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import outcome
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.sparse import csr_array
from scipy.special import expit
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.proportion import proportion_confint

from core.engine.statistics import (
    BLOCK,
    Flips,
    detectable,
    difference,
    flips,
    interval_of,
    mcnemar,
    resampled_sums,
    resampling_weights,
    wilson,
)
from core.errors import TemperError
from core.registry import method


def pair(n: int, seed: int, change: float = 0.1, classes: int = 4):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, n)
    before = generator.normal(size=(n, classes)) + 2 * np.eye(classes)[labels]
    after = before + change * generator.normal(size=(n, classes))
    return outcome(before, labels), outcome(after, labels)


@settings(max_examples=100, deadline=None)
@given(gained=st.integers(0, 60), lost=st.integers(0, 60))
def test_mcnemar_equals_its_references(gained, lost):
    found = mcnemar(Flips(gained + lost, gained, lost, 0, 500))
    exact = reference_mcnemar([[100, lost], [gained, 100]], exact=True).pvalue
    assert found.exact_p == pytest.approx(exact, abs=1e-12)
    total = gained + lost
    if total:
        # Mid-p by its definition: the probability of splits less likely, and half of those as likely.
        chances = stats.binom.pmf(np.arange(total + 1), total, 0.5)
        distance = np.abs(np.arange(total + 1) - total / 2)
        here = abs(gained - total / 2)
        mid = chances[distance > here].sum() + 0.5 * chances[distance == here].sum()
        assert found.mid_p == pytest.approx(mid, abs=1e-12)
    assert 0 <= found.mid_p <= found.exact_p <= 1


def test_flips_partition_the_changes():
    before, after = pair(2_000, 0, 1.5)
    found = flips(before, after)
    assert found.flips == found.wrong_to_right + found.right_to_wrong + found.wrong_to_wrong
    assert found.wrong_to_right - found.right_to_wrong == after.correct.sum() - before.correct.sum()
    assert flips(before, before) == Flips(0, 0, 0, 0, 2_000)


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (3, 10), (10, 10), (950, 1_000)])
def test_wilson_equals_statsmodels(successes, n):
    low, high = wilson(float(successes), float(n))
    assert (low, high) == pytest.approx(proportion_confint(successes, n, method="wilson"), abs=1e-9)


def test_resampling_weights_are_bootstrap_counts():
    weights = resampling_weights(300)
    assert weights.shape == (300, 500)
    assert (weights.sum(0) == 300).all()
    assert weights.mean() == pytest.approx(1)
    assert weights.var() == pytest.approx(1 - 1 / 300, rel=0.02)  # a multinomial count's variance


def test_resampled_sums_are_the_sums_of_resampled_examples():
    """Over more examples than are worked on at once."""
    n = BLOCK + 100
    values = np.random.default_rng(0).normal(size=(n, 3))
    expected = resampling_weights(n).T.astype(np.float64) @ values
    assert resampled_sums(csr_array(values)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", ["accuracy", "macro_f1", "ece", "ece_equal_mass", "ece_debiased", "mce"])
def test_all_right_is_not_certain(name):
    """60 of 60 right does not exclude one error in seventeen (Wilson's interval ends at 94 %)."""
    labels = np.arange(60) % 3
    found = interval_of(name, outcome(np.eye(3)[labels] * 8, labels))
    assert found.high - found.low == pytest.approx(0.06, abs=0.01)
    assert found.low >= 0
    assert found.high <= 1
    wrong = interval_of(name, outcome(np.eye(3)[labels] * 8, (labels + 1) % 3))
    assert 0 <= wrong.low < wrong.high <= 1


def test_unlike_examples_are_refused():
    (one, _), (other, _) = pair(100, 0), pair(100, 1)
    shorter, _ = pair(90, 0)
    for second in (other, shorter):
        with pytest.raises(TemperError, match="same examples"):
            difference("accuracy", one, second)
        with pytest.raises(TemperError, match="same examples"):
            flips(one, second)


@pytest.mark.parametrize("name", ["accuracy", "macro_f1", "ece", "nll", "brier"])
def test_intervals_hold_their_value_and_are_paired(name):
    before, after = pair(1_500, 1, 0.2)
    found = difference(name, before, after)
    assert found.interval.low <= found.value <= found.interval.high
    apart = interval_of(name, before), interval_of(name, after)
    unpaired = np.hypot(*[(i.high - i.low) for i in apart])
    if name != "ece":  # its noise is the bins', not the examples'
        assert found.interval.high - found.interval.low < unpaired, "pairing narrows"


def test_a_model_differs_from_itself_by_nothing():
    before, _ = pair(200, 2)
    for name in ("accuracy", "ece", "nll"):
        found = difference(name, before, before)
        assert (found.value, found.interval.low, found.interval.high) == (0, 0, 0)


def test_no_flip_seen_still_leaves_room():
    before, _ = pair(170, 3)
    sharper = outcome(before.logits * 1.1, before.labels)
    for name in ("accuracy", "macro_f1"):
        found = difference(name, before, sharper)
        assert found.value == 0
        # The rule of three: zero of 170 does not exclude one in sixty.
        assert found.interval.low < -0.005
        assert found.interval.high > 0.005


@pytest.mark.parametrize(("name", "least"), [("accuracy", 0.93), ("nll", 0.92), ("brier", 0.92), ("macro_f1", 0.92)])
def test_intervals_cover_the_truth(name, least):
    """300 sets of 400 from a population of known difference; 95 % less three standard errors is 91.2 %."""
    before, after = pair(200_000, 4, 0.6)
    truth = difference_value(name, before, after)
    generator, inside = np.random.default_rng(5), 0
    for _ in range(300):
        chosen = generator.choice(before.n, 400, replace=False)
        found = difference(name, *(outcome(o.logits[chosen], o.labels[chosen]) for o in (before, after)))
        inside += found.interval.low <= truth <= found.interval.high
    assert inside / 300 >= least - 0.01


@pytest.mark.parametrize("name", ["ece", "ece_equal_mass", "ece_debiased", "ks_calibration", "auroc"])
def test_bootstrap_intervals_of_changes_cover_the_truth(name):
    """80 sets of 400 of two classes, one network sharper than the other; 95 % less three standard errors is 88 %."""
    generator = np.random.default_rng(1)
    honest = 1.2 * generator.normal(size=(100_000, 2))
    labels = (generator.random(100_000) < expit(honest[:, 1] - honest[:, 0])).astype(int)
    before = outcome(2.5 * honest + 0.6 * generator.normal(size=honest.shape), labels)
    after = outcome(3.2 * honest + 0.3 * generator.normal(size=honest.shape), labels)
    truth, inside = difference_value(name, before, after), 0
    for _ in range(80):
        chosen = generator.choice(before.n, 400, replace=False)
        found = difference(name, *(outcome(o.logits[chosen], o.labels[chosen]) for o in (before, after)))
        inside += found.interval.low <= truth <= found.interval.high
    assert inside >= 80 * 0.95 - 3 * (80 * 0.95 * 0.05) ** 0.5


def difference_value(name, before, after) -> float:
    value = method("metric", name).function.value
    return value(after.probabilities, after.labels) - value(before.probabilities, before.labels)


@pytest.mark.parametrize(("lost", "gained", "n"), [(150, 90, 10_000), (40, 10, 2_000), (300, 280, 10_000)])
def test_detectable_has_the_stated_power(lost, gained, n):
    """At the discordant rate seen, a true difference of this size is found in about 80 % of sets."""
    least = detectable(Flips(lost + gained, gained, lost, 0, n))
    rate = (lost + gained) / n
    generator = np.random.default_rng(0)
    pairs = generator.binomial(n, rate, 3_000)
    losses = generator.binomial(pairs, min(1.0, 0.5 + least / rate / 2))
    found = [
        mcnemar(Flips(int(p), int(p - one), int(one), 0, n)).mid_p < 0.05
        for p, one in zip(pairs, losses, strict=True)
    ]
    assert np.mean(found) == pytest.approx(0.80, abs=0.04)


def test_detectable_rests_on_six_pairs_where_none_was_seen():
    assert mcnemar(Flips(6, 6, 0, 0, 1_000)).exact_p < 0.05 < mcnemar(Flips(5, 5, 0, 0, 1_000)).exact_p
    assert detectable(Flips(0, 0, 0, 0, 1_000)) == pytest.approx(6 / 1_000)
    assert detectable(Flips(2, 1, 1, 0, 1_000)) == pytest.approx(6 / 1_000)
    assert detectable(Flips(0, 0, 0, 0, 3)) == 1


@settings(max_examples=60, deadline=None)
@given(gained=st.integers(0, 50), lost=st.integers(0, 50))
def test_accuracy_interval_is_walds_with_half_an_example_in_every_cell(gained, lost):
    """Agresti and Min's interval, from the four cells of the table of pairs."""
    labels = np.zeros(120, int)
    right, wrong = np.array([2.0, 0]), np.array([0, 2.0])
    before, after = np.tile(right, (120, 1)), np.tile(right * 1.1, (120, 1))
    before[:gained] = wrong
    after[gained : gained + lost] = wrong
    found = difference("accuracy", outcome(before, labels), outcome(after, labels)).interval
    cells = np.array([120 - gained - lost, gained, lost, 0]) + 0.5
    signs = np.array([0, 1, -1, 0])
    shares, n = cells / cells.sum(), cells.sum()
    mean = (shares * signs).sum()
    half = stats.norm.ppf(0.975) * np.sqrt(((shares * signs**2).sum() - mean**2) / n)
    assert (found.low, found.high) == pytest.approx((max(-1, mean - half), min(1, mean + half)), abs=1e-12)


def test_intervals_lie_around_the_value_shown():
    """Resampled, the calibration error of a calibrated model grows by its bias a second time."""
    generator = np.random.default_rng(7)
    logits = generator.normal(size=(600, 4))
    whole = outcome(logits, (logits + generator.gumbel(size=(600, 4))).argmax(1))
    value = method("metric", "ece").function.value(whole.probabilities, whole.labels)
    found = interval_of("ece", whole)
    assert 0.35 < (value - found.low) / (found.high - found.low) < 0.65


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 20_000), gained=st.integers(0, 200), lost=st.integers(0, 200))
def test_detectable_is_a_usable_number(n, gained, lost):
    gained, lost = min(gained, n // 2), min(lost, n // 2)
    assert 0 < detectable(Flips(gained + lost, gained, lost, 0, n)) <= 1
