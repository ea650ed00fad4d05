"""Networks that predict numbers: metrics against scikit-learn and loops, raw intervals, artifacts, worst examples."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from regression import made, outcome, prices, result
from scipy.stats import norm
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score, root_mean_squared_error

from core.calibrators._fitted import Widths
from core.calibrators._widths import STEEPEST
from core.deploy.graph import INPUT, OUTPUT
from core.deploy.head_numbers import INTERVAL, VALUE, add_numbers_head
from core.engine.numbers import stated, worst
from core.engine.runtime import session
from core.engine.statistics import resampled_sums, resampling_weights
from core.errors import TemperError
from core.figures import words
from core.registry import method, methods
from core.task import FACTS, LEVEL, LEVELS

NAMES = [m.name for m in methods("metric", "regression")]
AT = 1 + LEVELS.index(LEVEL)
THEIRS = {
    "mse": mean_squared_error,
    "rmse": root_mean_squared_error,
    "mae": mean_absolute_error,
    "r2": r2_score,
}


def measure(name):
    return method("metric", name).function


def test_every_metric_the_task_names_is_there():
    facts = FACTS["regression"]
    assert {facts.headline, *facts.shown, *facts.stated, *facts.traded} == set(NAMES)
    assert not {m.name for m in methods("metric", "multi-class")} & set(NAMES)


@pytest.mark.parametrize("name", list(THEIRS))
@pytest.mark.parametrize("n", [2, 31, 5_000])
@pytest.mark.parametrize("far", [0.0, 1e3, 1e6])
def test_against_scikit_learn(name, n, far):
    """Also where the labels lie a million deviations from zero, where their squares would cancel."""
    outputs, y = made(n, seed=n)
    predicted = stated(outputs)
    predicted[:, 0] += far
    y = y + far
    ours, theirs = measure(name).value(predicted, y), THEIRS[name](y, predicted[:, 0])
    # Adding `far` rounds labels to 1e-16 of it; that is in the data of both.
    assert ours == pytest.approx(theirs, rel=1e-10, abs=1e-10)


def test_r2_of_one_value_repeated_is_nothing():
    for value in (0.1, 1e6 + 0.1, -3.0):
        y, predicted = np.full(10, value), np.zeros((10, 20))
        assert measure("r2").value(predicted, y) == 0
        predicted[:, 0] = value
        assert measure("r2").value(predicted, y) == 0


def test_r2_of_resamples_is_that_of_the_resampled_examples():
    """Its totals count labels from their median; a resample drawn out in full must give the same."""
    outputs, y = made(60, seed=1)
    y += 1e5
    predicted = stated(outputs)
    predicted[:, 0] += 1e5
    totals = measure("r2").total(resampled_sums(measure("r2").cells(predicted, y)))
    weights = resampling_weights(60)
    for b in range(0, 500, 25):
        drawn = np.repeat(np.arange(60), weights[:, b])
        assert totals[b] == pytest.approx(r2_score(y[drawn], predicted[drawn, 0]), abs=1e-9)


def test_r2_of_a_resample_of_one_value_is_nothing_and_not_noise():
    y = np.array([0.3, 0.1 + 1e4, 2.0])
    cells = measure("r2").cells(np.zeros((3, 20)), y).toarray()
    assert measure("r2").total(cells[1] * 7) == 0


def test_statistics_of_labels_cancel_between_two_models():
    """What is estimated by weighting is the difference of two models' cells on the examples seen."""
    outputs, y = made(200, seed=4)
    one, other = stated(outputs), stated(outputs + 0.5)
    some = np.arange(0, 200, 3)
    r2 = measure("r2")
    moved = np.asarray((r2.cells(other[some], y[some]) - r2.cells(one[some], y[some])).sum(0)).reshape(-1)
    assert not moved[1:].any() and moved[0] > 0
    swapped = one.copy()
    swapped[some] = other[some]
    whole = np.asarray(r2.cells(one, y).sum(0)).reshape(-1)
    assert r2.total(whole + moved) == pytest.approx(r2.value(swapped, y), abs=1e-12)


def test_intervals_against_loops():
    outputs, y = made(700, seed=5, stated_share=0.6)
    predicted = stated(outputs)
    covered, widths, scores = [], [], []
    for row, actual in zip(predicted, y, strict=True):
        low, high = row[0] - row[AT], row[0] + row[AT]
        covered.append(low <= actual <= high)
        widths.append(high - low)
        fine = 2 / 0.1 * (low - actual) if actual < low else 2 / 0.1 * (actual - high) if actual > high else 0.0
        scores.append(high - low + fine)
    assert 0.5 < np.mean(covered) < 0.8
    assert measure("coverage").value(predicted, y) == pytest.approx(np.mean(covered), abs=1e-12)
    assert measure("interval_width").value(predicted, y) == pytest.approx(np.mean(widths), rel=1e-12)
    assert measure("interval_score").value(predicted, y) == pytest.approx(np.mean(scores), rel=1e-12)


def test_the_interval_score_is_best_where_the_widths_are_right():
    """It is proper: of normal errors, no other factor on the true deviation scores better in the long run."""
    outputs, y = made(60_000, seed=6)
    found = {}
    for factor in (0.5, 0.8, 1.0, 1.25, 2.0):
        predicted = stated(outputs)
        predicted[:, 1:] *= factor
        found[factor] = measure("interval_score").value(predicted, y)
    assert min(found, key=found.get) == 1.0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [True, False])
def test_contracts(name, scale):
    outputs, y = made(400, seed=2, scale=scale)
    predicted, one = stated(outputs), measure(name)
    before = predicted.copy(), y.copy()
    value = one.value(predicted, y)
    assert np.array_equal(predicted, before[0]) and np.array_equal(y, before[1])
    assert one.least <= value <= one.most and np.isfinite(value)
    order = np.random.default_rng(0).permutation(400)
    assert one.value(predicted[order], y[order]) == pytest.approx(value, rel=1e-12, abs=1e-12)
    doubled = one.value(np.concatenate([predicted, predicted]), np.concatenate([y, y]))
    assert doubled == pytest.approx(value, rel=1e-12, abs=1e-12)
    totals = one.total(resampled_sums(one.cells(predicted, y)))
    assert totals.shape == (500,) and np.isfinite(totals).all()
    assert (totals >= one.least).all() and (totals <= one.most).all()
    assert one.value(np.zeros((0, 20)), np.zeros(0)) == 0
    assert np.array_equal(one.total(np.zeros((2, 5, one.cells(predicted, y).shape[1]))), np.zeros((2, 5)))


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 60), seed=st.integers(0, 10**6), factor=st.floats(0.01, 100), shift=st.floats(-1e4, 1e4))
def test_units_follow_the_target(n, seed, factor, shift):
    """In another unit, errors and widths are multiples and R2 stays; a shift of everything changes nothing."""
    outputs, y = made(n, seed)
    predicted = stated(outputs)
    other = predicted * factor
    other[:, 0] += shift
    there = y * factor + shift
    size = float(np.abs(there).max() + np.abs(other[:, 0]).max())
    for name, power in (("mse", 2), ("rmse", 1), ("mae", 1), ("interval_width", 1), ("interval_score", 1)):
        expected = measure(name).value(predicted, y) * factor**power
        assert measure(name).value(other, there) == pytest.approx(expected, rel=1e-6, abs=1e-9 * size**power), name
    if np.ptp(y) > 1e-3:
        expected = measure("r2").value(predicted, y)
        assert measure("r2").value(other, there) == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert measure("mae").value(predicted, y) <= measure("rmse").value(predicted, y) * (1 + 1e-12)
    assert 0 <= measure("coverage").value(predicted, y) <= 1


def test_a_stated_deviation_means_a_normal_distribution():
    outputs = np.array([[5.0, 0.0], [-2.0, np.log(3.0)]], np.float32)
    found = stated(outputs)
    assert found.shape == (2, 1 + len(LEVELS)) and found.dtype == np.float64
    assert np.array_equal(found[:, 0], [5.0, -2.0])
    for place, level in enumerate(LEVELS, 1):
        high = norm.ppf(0.5 + level / 2)
        assert found[:, place] == pytest.approx([high, 3 * high], rel=1e-6)


def test_a_network_without_a_deviation_claims_certainty():
    outputs, y = made(50, seed=0, scale=False)
    found = stated(outputs)
    assert not found[:, 1:].any()
    assert measure("coverage").value(found, y) == 0
    assert measure("coverage").value(found, found[:, 0].copy()) == 1


def test_no_stated_deviation_overflows():
    found = stated(np.array([[1.0, 3e38], [1.0, -3e38], [1.0, STEEPEST]], np.float32))
    assert np.isfinite(found**2).all() and (found[:, 1:] > 0).all()
    assert np.array_equal(found[0], found[2])


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (np.array([[1.0, np.nan]]), "not finite"),
        (np.array([[np.inf]]), "not finite"),
        (np.ones((3, 3)), r"got \(3, 3\)"),
        (np.ones(3), r"got \(3,\)"),
    ],
)
def test_outputs_that_mean_nothing_are_a_sentence(outputs, words):
    with pytest.raises(TemperError, match=words):
        stated(outputs.astype(np.float32))


def network(columns: int) -> onnx.ModelProto:
    """A graph whose raw outputs are its inputs."""
    node = helper.make_node("Identity", [INPUT], [OUTPUT])
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", columns]) for name in (INPUT, OUTPUT)]
    graph = helper.make_graph([node], "g", sides[:1], sides[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("columns", "form"),
    [
        (1, None),
        (2, None),
        (1, Widths(np.linspace(0.1, 4, 19), False)),
        (2, Widths(np.linspace(0.1, 4, 19), False)),
        (2, Widths(np.linspace(0.1, 4, 19), True)),
    ],
)
def test_an_artifact_states_the_screens_interval(columns, form):
    outputs, _ = made(300, seed=3)
    outputs[:4, 1] = [80, -80, 44, -3e38]
    outputs = np.ascontiguousarray(outputs[:, :columns])
    proto = network(columns)
    add_numbers_head(proto, form, states_scale=columns == 2)
    onnx.checker.check_model(proto, full_check=True)
    raw, value, interval = session(proto).run([OUTPUT, VALUE, INTERVAL], {INPUT: outputs})
    assert np.array_equal(raw, outputs)
    assert value.shape == (300, 1) and np.array_equal(value[:, 0], outputs[:, 0])
    half = np.zeros(300) if columns == 1 else np.exp(np.clip(outputs[:, 1].astype(float), -50, 50)) * norm.ppf(0.95)
    if form is not None:
        half = form.factors[17] * (np.exp(np.clip(outputs[:, 1].astype(float), -50, 50)) if form.scaled else 1)
    expected = np.stack([outputs[:, 0] - half, outputs[:, 0] + half], 1)
    # Computed in float64 and rounded once to float32.
    assert interval.shape == (300, 2)
    assert interval == pytest.approx(expected, rel=2**-23)
    assert (interval[:, 0] <= value[:, 0]).all() and (value[:, 0] <= interval[:, 1]).all()


def test_worst_examples_are_those_that_moved_or_grew_most():
    y = np.array([10.0, 10.0, 10.0, 10.0, 10.0])
    before = np.array([[10.0], [12.0], [4.0], [9.0], [9.0]], np.float32)
    after = np.array([[13.0], [10.5], [11.0], [9.0], [8.0]], np.float32)
    both = result(outcome(before, y), outcome(after, y))
    assert [one.place for one in worst(both, 9, "moved")] == [2, 0, 1, 4]
    grew = worst(both, 9, "grew")
    assert [(one.place, one.growth) for one in grew] == [(0, 3.0), (4, 1.0)]
    assert (grew[0].actual, grew[0].before, grew[0].after, grew[0].change) == (10.0, 10.0, 13.0, 3.0)
    assert worst(both, 1, "moved")[0].place == 2
    assert worst(result(both.original, both.original), 5) == ()


def test_prices_have_an_outcome_with_every_metric():
    found = outcome(*prices(500))
    for name in NAMES:
        assert np.isfinite(measure(name).of(found))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (words.amount(531, "US dollars"), "531 US dollars"),
        (words.amount(1_240.4, "US dollars"), "1,240 US dollars"),
        (words.amount(0.013), "0.013"),
        (words.amount(0.8765), "0.876"),
        (words.amount(0.99994), "1.00"),
        (words.amount(-5.314, "m"), "−5.31 m"),
        (words.amount(99.96, "m"), "100 m"),
        (words.amount(999.7), "1,000"),
        (words.amount(0), "0"),
        (words.amount(0.0000127), "1.27×10⁻⁵"),
        (words.amount(12_400_000_000.0, "US dollars"), "1.24×10¹⁰ US dollars"),
        (words.amount(None, "m"), "–"),
        (words.amount(float("nan"), "m"), "–"),
        (words.signed_amount(12.34, "m"), "+12.3 m"),
        (words.signed_amount(-12.34, "m"), "−12.3 m"),
        (words.signed_amount(0.0, "m"), "0 m"),
    ],
)
def test_amounts_read_well(written, expected):
    assert written.replace("\u00a0", " ") == expected


def test_number_and_unit_apart_are_the_amount():
    assert words.amount_parts(1_240, "US dollars") == ("1,240", "US dollars")
    assert words.amount_parts(None, "US dollars") == ("–", "")
