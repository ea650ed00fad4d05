"""Confidence calibration at its optimum: against SciPy, scikit-learn and under common contracts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import outcome
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime, minimize, minimize_scalar
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from core.calibrators._fitted import softmax
from core.calibrators.temperature import LARGEST, SMALLEST, _derivatives, optimal_temperature
from core.errors import TemperError
from core.registry import method, methods

NAMES = [m.name for m in methods("calibrate", "multi-class")]


def fit(name, logits, labels):
    return method("calibrate", name).function(logits, labels)


def made(n: int, classes: int, seed: int, truth: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose right temperature is about `1 / truth`."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(n, classes)) * 3
    labels = np.array([generator.choice(classes, p=p) for p in softmax(logits * truth)])
    return logits, labels


def nll(logits, labels, temperature) -> float:
    return float(-log_softmax(logits / temperature, 1)[np.arange(len(labels)), labels].mean())


@pytest.mark.parametrize("truth", [0.05, 0.4, 1.0, 2.5])
@pytest.mark.parametrize(("n", "classes"), [(300, 2), (2_000, 10), (500, 100)])
def test_temperature_is_the_optimum_of_the_likelihood(truth, n, classes):
    logits, labels = made(n, classes, seed=n, truth=truth)
    found = optimal_temperature(logits, labels)
    best = minimize_scalar(
        lambda log_t: nll(logits, labels, np.exp(log_t)), bounds=(-6, 6), method="bounded", options={"xatol": 1e-10}
    )
    # The likelihood is flat to second order there: SciPy finds log T to about the root of double precision.
    assert np.log(found) == pytest.approx(best.x, abs=1e-6)
    assert nll(logits, labels, found) <= best.fun + 1e-12


def test_derivatives_are_those_of_the_likelihood():
    """Central differences in beta = 1 / T, over more logits than are worked on at once."""
    logits, labels = made(5_000, 10, seed=4)
    centred = logits - logits.max(1, keepdims=True)
    own = float(centred[np.arange(5_000), labels].mean())
    step = 1e-4
    below, here, above = (nll(logits, labels, 1 / beta) for beta in (0.6 - step, 0.6, 0.6 + step))
    slope, curvature = _derivatives(centred, own, 0.6)
    # Truncation is of order step ** 2, rounding of the second difference 1e-16 / step ** 2.
    assert slope == pytest.approx((above - below) / (2 * step), abs=1e-6)
    assert curvature == pytest.approx((above - 2 * here + below) / step**2, abs=1e-5)


def test_temperature_equals_scikit_learn():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(1_500, 5))
    y = (x @ generator.normal(size=(5, 3)) + generator.gumbel(size=(1_500, 3)) * 1.5).argmax(1)
    model = LogisticRegression(C=1e4).fit(x[:300] * 3, y[:300])
    theirs = CalibratedClassifierCV(FrozenEstimator(model), method="temperature").fit(x[300:], y[300:])
    logits = model.decision_function(x[300:])
    found = fit("temperature", logits, y[300:])
    assert found.probabilities(logits) == pytest.approx(theirs.predict_proba(x[300:]), abs=1e-3)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_float32_logits_fit_as_well(kind):
    logits, labels = made(3_000, 10, seed=3, truth=0.3)
    assert fit("temperature", logits.astype(kind), labels).fitted["temperature"] == pytest.approx(1 / 0.3, rel=0.1)


def test_extreme_logits_stay_inside_the_bounds():
    labels = np.arange(60) % 3
    separable = np.eye(3)[labels] * 5.0
    found = fit("temperature", separable, labels)
    assert found.fitted["temperature"] == pytest.approx(SMALLEST)
    assert "bound" in found.fitted["warning"]
    hopeless = fit("temperature", np.eye(3)[(labels + 1) % 3] * 5.0, labels)
    assert hopeless.fitted["temperature"] == pytest.approx(LARGEST)
    huge, y = made(200, 5, seed=8)
    assert optimal_temperature(huge * 1e4, y) == pytest.approx(
        min(LARGEST, 1e4 * optimal_temperature(huge, y)), rel=1e-6
    )


def test_logits_that_say_nothing_keep_their_temperature():
    found = fit("temperature", np.full((40, 3), 2.5), np.arange(40) % 3)
    assert found.fitted["temperature"] == 1
    assert "equal" in found.fitted["warning"]


@pytest.mark.parametrize(("n", "classes"), [(9_000, 10), (4_500, 40)])
def test_a_start_from_a_sample_leads_to_the_optimum_of_all(n, classes):
    """The examples a sample would take have another temperature than the rest."""
    logits, labels = made(n, classes, seed=2, truth=0.3)
    logits[:: n // 1_000] *= 0.05
    found = optimal_temperature(logits, labels)
    assert nll(logits, labels, found) <= min(nll(logits, labels, found * f) for f in (1 - 1e-5, 1 + 1e-5))


@pytest.mark.parametrize("size", [1e-4, 1e4])
def test_vector_scaling_undoes_the_size_of_logits(size):
    logits, labels = made(400, 4, seed=6)
    one, other = (fit("vector", z, labels) for z in (logits, logits * size))
    assert other.probabilities(logits * size) == pytest.approx(one.probabilities(logits), abs=1e-6)


def test_vector_scaling_is_at_a_stationary_point():
    logits, labels = made(2_000, 5, seed=1)
    logits[:, 2] += 1.5  # a class favoured wrongly: the bias must undo it
    found = fit("vector", logits, labels).fitted
    parameters = np.array(found["scale"] + found["bias"])

    def loss(p):
        return float(-log_softmax(logits * p[:5] + p[5:], 1)[np.arange(len(labels)), labels].mean())

    assert np.abs(approx_fprime(parameters, loss, 1e-6)).max() < 1e-5
    assert found["bias"][2] < min(found["bias"][i] for i in (0, 1, 3, 4))
    assert loss(parameters) <= nll(logits, labels, optimal_temperature(logits, labels))


@pytest.mark.parametrize(("n", "classes"), [(3_000, 3), (7_000, 40)])
def test_vector_scaling_is_where_scipy_ends(n, classes):
    """Enough examples a class for an optimum; of 40 classes more logits than one block holds."""
    logits, labels = made(n, classes, seed=5, truth=0.4)
    found = fit("vector", logits, labels).fitted
    assert found["converged"]
    tensors = torch.from_numpy(logits), torch.from_numpy(labels)

    def loss(parameters):
        leaf = torch.tensor(parameters, requires_grad=True)
        value = torch.nn.functional.cross_entropy(tensors[0] * leaf[:classes] + leaf[classes:], tensors[1])
        value.backward()
        return value.item(), leaf.grad.numpy()

    start = np.concatenate([np.full(classes, 0.4), np.zeros(classes)])
    theirs = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 3_000, "ftol": 0, "gtol": 1e-8})
    value, gradient = loss(np.array(found["scale"] + found["bias"]))
    assert np.abs(gradient).max() < 1e-6
    assert value == pytest.approx(theirs.fun, abs=2e-8)  # each may end 1e-8 above the optimum


@pytest.mark.parametrize("kind", ["separable", "hopeless", "class without examples", "more parameters than examples"])
def test_vector_scaling_ends_without_an_optimum(kind):
    """The likelihood rises for ever; what is returned is finite, and no worse than the optimal temperature."""
    labels = np.arange(60) % 3
    logits = {
        "separable": np.eye(3)[labels] * 5.0,
        "hopeless": np.eye(3)[(labels + 1) % 3] * 5.0,
        "class without examples": np.random.default_rng(0).normal(size=(60, 4)),
        "more parameters than examples": np.random.default_rng(0).normal(size=(60, 80)),
    }[kind]
    found = fit("vector", logits, labels)
    p = found.probabilities(logits)
    assert np.isfinite(found.fitted["scale"] + found.fitted["bias"]).all()
    reached = -np.log(np.maximum(p[np.arange(60), labels], 1e-300)).mean()
    assert reached <= nll(logits, labels, optimal_temperature(logits, labels)) + 1e-12


@pytest.mark.parametrize("classes", [2, 5])
def test_isotonic_equals_scikit_learn(classes):
    logits, labels = made(600, classes, seed=classes)
    new = np.random.default_rng(5).normal(size=(200, classes)) * 4
    found = fit("isotonic", logits, labels).probabilities(new)
    raw, fresh, mapped = softmax(logits), softmax(new), []
    for c in range(classes):
        one = IsotonicRegression(out_of_bounds="clip", y_min=0, y_max=1).fit(raw[:, c], labels == c)
        mapped.append(one.predict(fresh[:, c]))
    expected = np.stack(mapped, 1)
    if classes == 2:
        expected[:, 0] = 1 - expected[:, 1]
    total = expected.sum(1, keepdims=True)
    expected = np.where(total > 0, expected / np.where(total > 0, total, 1), 1 / classes)
    assert found == pytest.approx(expected, abs=1e-12)


class Softmax(ClassifierMixin, BaseEstimator):
    """A trained model to scikit-learn whose inputs are logits."""

    def __init__(self, classes: int = 2):
        self.classes = classes
        self.classes_ = np.arange(classes)
        self.fitted_ = True

    def fit(self, x, y):
        return self

    def predict(self, x):
        return x.argmax(1)

    def predict_proba(self, x):
        return softmax(x)


@pytest.mark.parametrize("classes", [2, 5])
def test_isotonic_equals_scikit_learns_calibrated_classifier(classes):
    logits, labels = made(600, classes, seed=classes)
    new = np.random.default_rng(5).normal(size=(200, classes)) * 4
    theirs = CalibratedClassifierCV(FrozenEstimator(Softmax(classes)), method="isotonic", ensemble=False)
    expected = theirs.fit(logits, labels).predict_proba(new)
    assert fit("isotonic", logits, labels).probabilities(new) == pytest.approx(expected, abs=1e-12)


def test_rows_that_every_map_sends_to_zero_become_uniform():
    """Each class is seen at 0, 0.4 (never right) and 0.6 (always): its map is 0 up to 0.4."""
    labels = np.arange(60) % 3
    seen = 0.6 * np.eye(3)[labels] + 0.4 * np.eye(3)[(labels + 1) % 3] + 1e-12
    found = fit("isotonic", np.log(seen), labels)
    assert found.probabilities(np.log([[0.39, 0.36, 0.25]])) == pytest.approx(np.full((1, 3), 1 / 3))
    assert found.probabilities(np.log([[0.7, 0.2, 0.1]])) == pytest.approx(np.array([[1.0, 0, 0]]))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("n", "classes"), [(30, 2), (60, 10), (500, 10)])
def test_contracts(name, n, classes):
    logits, labels = made(n, classes, seed=n)
    before = logits.copy()
    found = fit(name, logits.astype(np.float32), labels)
    assert np.array_equal(logits, before)
    for new in (logits, logits[:1], np.zeros((3, classes)), logits * 100):
        p = found.probabilities(new.astype(np.float32))
        assert p.shape == new.shape
        assert p.dtype == np.float64
        assert np.isfinite(p).all()
        assert p.min() >= 0
        assert p.sum(1) == pytest.approx(np.ones(len(new)))
    again = fit(name, logits.astype(np.float32), labels)
    assert np.array_equal(found.probabilities(logits), again.probabilities(logits))
    import json

    assert json.loads(json.dumps(found.fitted)) == found.fitted


@pytest.mark.parametrize("name", NAMES)
def test_every_method_mends_an_over_confident_model(name):
    logits, labels = made(6_000, 5, seed=11, truth=0.3)
    found = fit(name, logits[:3_000], labels[:3_000])
    ece = method("metric", "ece").function
    judged = slice(3_000, None)
    before = ece.value(softmax(logits[judged]), labels[judged])
    after = ece.value(found.probabilities(logits[judged]), labels[judged])
    assert after < 0.25 * before


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("logits", "labels", "words"),
    [
        (np.full((20, 3), np.nan), np.arange(20) % 3, "finite logits .* 60 are not"),
        (np.full((20, 3), np.inf, np.float16), np.arange(20) % 3, "finite"),
        (np.full((20, 3), 1e300), np.arange(20) % 3, "finite"),
        (np.ones((20, 3)), np.full(20, 2), "at least two classes; all these are of class 2"),
        (np.ones((9, 3)), np.arange(9) % 3, "at least 10 examples; got 9"),
        (np.ones((20, 3)), np.arange(20) % 4, "labels from 0 to 2; they run from 0 to 3"),
        (np.ones((20, 3)), np.arange(20) % 3 - 1, "they run from -1 to 1"),
        (np.ones((20, 3)), np.arange(20) % 3 * 1.0, "integers as labels; got float64 and float64"),
        (np.ones((20, 3), object), np.arange(20) % 3, "numbers as logits"),
        (np.ones((20, 1)), np.zeros(20, int), "C at least 2"),
        (np.ones((20, 3)), np.zeros((20, 1), int), "needs logits"),
        (np.ones((20, 3)), np.zeros(19, int), "needs logits"),
        (np.ones(20), np.zeros(20, int), "needs logits"),
    ],
)
def test_what_cannot_be_fitted_is_a_sentence(name, logits, labels, words):
    with pytest.raises(TemperError, match=words):
        fit(name, logits, labels)


def test_few_examples_are_doubted():
    logits, labels = made(100, 10, seed=2)
    assert "overfit" in fit("vector", logits, labels).fitted["warning"]
    assert "warning" not in fit("vector", *made(600, 10, seed=2)).fitted


@settings(max_examples=40, deadline=None)
@given(n=st.integers(20, 200), classes=st.integers(2, 6), seed=st.integers(0, 10**6), truth=st.floats(0.05, 3))
def test_temperature_never_changes_a_prediction(n, classes, seed, truth):
    logits, labels = made(n, classes, seed, truth)
    if len(np.unique(labels)) < 2:
        return
    found = fit("temperature", logits, labels)
    assert found.fitted["temperature"] > 0
    assert np.array_equal(found.probabilities(logits).argmax(1), outcome(logits, labels).predictions)
