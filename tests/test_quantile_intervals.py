"""Intervals by fitted quantiles: their coverage over resamples, where one width fails, and what each rests on."""

from __future__ import annotations

import calibrating
import numpy as np
import pytest
import regression
from scipy import stats

from core.calibration.calibration_lab import Material
from core.calibration.quantile_intervals import BANDS, WAYS, clopper_pearson, quantile_intervals
from core.calibrators.conformal import conformal
from core.errors import TemperError
from core.task import LEVEL, LEVELS


def made(n: int, seed: int, m: int | None = None) -> Material:
    """A network that is as unsure as its number is large, and says only the number."""
    parts = []
    for size, own in ((n, seed), (m or n, seed + 10_000)):
        generator = np.random.default_rng(own)
        value = generator.uniform(1, 10, size)
        labels = value + 0.3 * value * generator.normal(size=size)
        parts.append(regression.outcome(value[:, None].astype(np.float32), labels))
    return Material(("made", "unsure", str(n), str(seed)), *parts)


def test_every_way_holds_its_share_over_many_splits():
    n, m, runs = 120, 200, 30
    for way in WAYS:
        hits, least, most = 0, 0, 0
        for seed in range(runs):
            one = quantile_intervals(made(n, seed, m), 0.8).of(way)
            hits += round(one.coverage.value * m)
            k = int(np.ceil(0.8 * (one.set + 1) - 1e-9))
            law = stats.betabinom(m, k, one.set + 1 - k)  # of the truths held, given that scores do not tie
            least, most = least + law.mean(), most + law.var()
        # Trees may give ties, which only add coverage: above, the bound is that of twice the slack.
        assert (hits - least) / most**0.5 > -4, way
        assert (hits - least) / most**0.5 < (4 if way == "plain" else 8), way


def test_where_one_width_fails_by_size_the_others_hold():
    found = quantile_intervals(made(3_000, 1), 0.9)

    def spread(way):
        shares = [one.value for one in found.of(way).by_band]
        return max(shares) - min(shares)

    # Chance alone spreads ten shares of 300 examples by about 5 points.
    assert spread("plain") > 0.2 and spread("plain") > 2 * max(spread("normalised"), spread("quantile"))
    assert found.of("quantile").score < found.of("plain").score
    assert found.of("quantile").widths[-1] > 3 * found.of("quantile").widths[0]
    assert len(set(found.of("plain").widths)) <= 2 or np.ptp(found.of("plain").widths) < 1e-9
    assert sum(one.n for one in found.of("plain").by_band) == found.n == 3_000 and len(found.ends) == BANDS + 1


def test_the_plain_one_is_the_registered_conformal():
    given = made(400, 3)
    half = dict(zip(LEVELS, conformal(given.calibration.logits, given.calibration.labels).form.factors, strict=True))
    one = quantile_intervals(given).of("plain")
    assert one.width == pytest.approx(2 * half[LEVEL]) and one.fitted == 0 and one.set == 400


def test_the_quantiles_are_scikit_learns_and_its_halves_apart():
    from sklearn.ensemble import HistGradientBoostingRegressor

    given = made(400, 4)
    one = quantile_intervals(given).of("quantile")
    z, y = given.calibration.logits.astype(float), given.calibration.labels
    order = np.random.default_rng(0).permutation(400)
    first, second = order[:200], order[200:]
    low, high = (
        HistGradientBoostingRegressor(
            loss="quantile", quantile=q, max_iter=100, max_leaf_nodes=8, min_samples_leaf=40, early_stopping=False
        ).fit(z[np.sort(first)], y[np.sort(first)])
        for q in (0.05, 0.95)
    )  # fmt: skip
    scores = np.maximum(low.predict(z[second]) - y[second], y[second] - high.predict(z[second]))
    beyond = np.sort(scores)[int(np.ceil(0.9 * 201)) - 1]
    new = given.evaluation.logits.astype(float)
    # The same trees on targets of another size: sums of float64 in another order, splits alike.
    np.testing.assert_allclose(one.low, low.predict(new) - beyond, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(one.high, high.predict(new) + beyond, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("hits", "n"), [(0, 7), (7, 7), (3, 10), (913, 1000)])
def test_clopper_and_pearson_as_scipy_has_it(hits, n):
    theirs = stats.binomtest(hits, n).proportion_ci(0.95, "exact")
    ours = clopper_pearson(hits, n)
    assert (ours.interval.low, ours.interval.high) == pytest.approx((theirs.low, theirs.high))


def test_wrong_requests_are_sentences():
    with pytest.raises(TemperError, match="classes get sets"):
        quantile_intervals(calibrating.material(2))
    with pytest.raises(TemperError, match="at least 100 calibration examples; got 40"):
        quantile_intervals(made(40, 5))
