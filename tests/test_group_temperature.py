"""A temperature a group: shrunk as far as it is noise, judged on other examples."""

from __future__ import annotations

import calibrating
import numpy as np
import pytest
from conftest import recipe
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from core.calibration.calibration_lab import material
from core.calibration.group_temperature import FEWEST, between, group_temperatures, group_temperatures_of
from core.calibrators._fitted import softmax
from core.calibrators.temperature import optimal_temperature
from core.errors import TemperError
from core.models.samples import load_sample


def made(sizes: tuple[int, ...], right: tuple[float, ...], seed: int):
    """Logits `(N, C)`, labels and groups; the right temperature of group k is `right[k]`."""
    random = np.random.default_rng(seed)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    logits = 3 * random.normal(size=(len(groups), 4))
    p = softmax(logits / np.array(right)[groups][:, None])
    labels = (p.cumsum(1) < random.random((len(p), 1))).sum(1).clip(max=3).astype(np.int64)
    return logits, labels, groups


def test_groups_that_differ_get_their_own():
    names, right = ("a", "b", "c"), (0.7, 1.5, 4.0)
    found = group_temperatures("site", names, made((2_000,) * 3, right, 1), made((2_000,) * 3, right, 2))
    assert [one.temperature for one in found.groups] == pytest.approx(right, rel=0.1)
    assert min(one.weight for one in found.groups) > 0.95
    for one in found.groups:
        assert one.own.interval.low < one.own.value < one.own.interval.high
        assert one.nll_change.interval.high < 0 and one.ece < one.common_ece
    assert found.every.nll_change.interval.high < 0


def test_groups_that_are_alike_share_one():
    names, right = tuple("abcdefgh"), (1.6,) * 8
    spreads = [group_temperatures("site", names, made((80,) * 8, right, s), made((80,) * 8, right, s + 50)).spread
               for s in range(20)]  # fmt: skip
    raw = made((80,) * 8, right, 0)
    own = [optimal_temperature(raw[0][raw[2] == k], raw[1][raw[2] == k]) for k in range(8)]
    assert np.median(spreads) < 0.25 * np.std(np.log(own)) and np.mean(np.array(spreads) == 0) > 0.3


def test_a_small_group_is_moved_further_and_a_tiny_one_has_none():
    names, right = ("large", "small", "tiny"), (1.0, 3.0, 3.0)
    found = group_temperatures("site", names, made((3_000, 40, FEWEST - 1), right, 3), made((500, 500, 5), right, 4))
    large, small, tiny = found.groups
    assert large.weight > small.weight > 0
    assert min(found.common, small.own.value) < small.temperature < max(found.common, small.own.value)
    assert tiny.own is None and tiny.weight == 0 and tiny.temperature == pytest.approx(found.common)
    assert tiny.nll_change is None and tiny.judged == 5


def test_the_interval_is_that_of_the_curvature():
    logits, labels, groups = made((400, 400), (1.0, 2.0), 5)
    found = group_temperatures("site", ("a", "b"), (logits, labels, groups), made((50, 50), (1.0, 2.0), 6))
    z, y = logits[groups == 1], labels[groups == 1]

    def loss(t):
        return -log_softmax(z / np.exp(t), 1)[np.arange(len(y)), y].sum()

    best = minimize_scalar(loss, bounds=(-2, 3), method="bounded", options={"xatol": 1e-9}).x
    step = 1e-3
    curvature = (loss(best + step) - 2 * loss(best) + loss(best - step)) / step**2
    own = found.groups[1].own
    assert np.log(own.value) == pytest.approx(best, abs=1e-6)
    assert np.log(own.interval.high / own.value) == pytest.approx(1.959964 / curvature**0.5, rel=1e-3)


def test_the_spread_between_is_dersimonian_and_lairds():
    random = np.random.default_rng(7)
    found = [between(random.normal(0.3, 0.4, 12) + 0.2 * random.normal(size=12), np.full(12, 0.2)) ** 2
             for _ in range(2_000)]  # fmt: skip
    assert np.mean(found) == pytest.approx(0.16, abs=0.01), "its square is unbiased but for the bound at 0"
    assert between(np.array([1.0]), np.array([0.1])) == between(np.full(5, 0.2), np.full(5, 0.1)) == 0


def test_an_unstated_group_takes_the_common_one():
    logits, labels, groups = made((300, 300), (1.0, 3.0), 8)
    groups = np.where(np.arange(600) < 20, -1, groups)
    found = group_temperatures("site", ("a", "b"), (logits, labels, groups), (logits, labels, groups))
    p = found.probabilities(logits, groups)
    assert p[:20] == pytest.approx(softmax(logits[:20] / found.common))
    assert p[-1] == pytest.approx(softmax(logits[-1:] / found.groups[1].temperature)[0])


def test_wrong_requests_are_sentences():
    good = made((30, 30), (1.0, 1.0), 9)
    with pytest.raises(TemperError, match="below 1, the number of their names"):
        group_temperatures("site", ("a",), good, good)
    with pytest.raises(TemperError, match="a group an example"):
        group_temperatures("site", ("a", "b"), (*good[:2], good[2][:5]), good)
    given = material(*load_sample("breast-cancer"), recipe())
    with pytest.raises(TemperError, match="no groups called 'age'"):
        group_temperatures_of(given, "age")
    with pytest.raises(TemperError, match="Take two halves"):
        group_temperatures_of(calibrating.grouped(crossed=True), "site")
    found = group_temperatures_of(calibrating.grouped(), "site")
    assert [one.n for one in found.groups] == np.bincount(calibrating.grouped().columns[0].calibration).tolist()
