"""The other calibrations of classes: against SciPy, scikit-learn, brute force, and as nodes of a graph."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from scipy.optimize import minimize
from scipy.special import betaln, expit, log_softmax
from sklearn.linear_model import LogisticRegression
from test_calibrators import fit, made

from core.calibrators._fitted import Affine, Matrix, Mixture, Steps, softmax
from core.calibrators._matrix import MOST, STRENGTHS, fit_held, held, logarithms, objective, stratified
from core.calibrators.bbq import averaged
from core.calibrators.ensemble import best_weights
from core.deploy.head import add_head
from core.errors import TemperError
from core.metrics._reduction import reduce
from core.models.torch_graph import GraphModule
from core.registry import method, methods

BINARY = [one.name for one in methods("calibrate", "binary")]
NEW = ["matrix", "dirichlet", "platt", "beta", "histogram", "bbq", "ensemble"]


def bent(n: int, seed: int, a: float, b: float, c: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits of two classes and labels drawn from `sigmoid(a ln p - b ln (1 - p) + c)`."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(n, 2)) * 2
    logs = log_softmax(logits, 1)
    return logits, (random.random(n) < expit(a * logs[:, 1] - b * logs[:, 0] + c)).astype(np.int64)


def confused(n: int, seed: int, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are over-confident, by another amount and with another shift for each class, and mix neighbours."""
    random = np.random.default_rng(seed)
    truth = random.normal(size=(n, classes)) * 1.5
    labels = np.array([random.choice(classes, p=p) for p in softmax(truth)])
    mixing = np.diag(np.linspace(1, 3, classes)) + 0.9 * np.eye(classes, k=1)
    return truth @ mixing + np.linspace(-1, 1, classes), labels


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e6])
def test_platt_is_the_optimum_of_its_likelihood(size):
    logits, labels = made(400, 2, seed=3)
    found = fit("platt", logits * size, labels)
    score, ones = logits[:, 1] - logits[:, 0], labels.sum()
    targets = np.where(labels == 1, (ones + 1) / (ones + 2), 1 / (400 - ones + 2))

    def loss(w):
        odds = w[0] * score + w[1]
        return (np.logaddexp(0, odds) - targets * odds).sum()

    best = minimize(loss, [1.0, 0.0], tol=1e-14, method="Nelder-Mead", options={"xatol": 1e-10, "maxiter": 5_000}).x
    assert [found.fitted["slope"] * size, found.fitted["shift"]] == pytest.approx(best, abs=1e-6)
    p = found.probabilities(logits * size)[:, 1]
    assert p == pytest.approx(expit(best[0] * score + best[1]), abs=1e-6)


@pytest.mark.parametrize(("a", "b", "c"), [(0.5, 1.5, 0.3), (1.0, 0.2, -0.5), (2.0, 2.0, 0.0)])
def test_beta_equals_scikit_learns_logistic_regression(a, b, c):
    logits, labels = bent(20_000, 1, a, b, c)
    found = fit("beta", logits, labels).fitted
    logs = log_softmax(logits, 1)
    peer = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000).fit(
        np.stack([logs[:, 1], -logs[:, 0]], 1), labels
    )
    assert found["converged"]
    assert [found["a"], found["b"], found["c"]] == pytest.approx([*peer.coef_[0], *peer.intercept_], abs=1e-6)
    assert [found["a"], found["b"], found["c"]] == pytest.approx([a, b, c], abs=0.25)


@pytest.mark.parametrize(("a", "b"), [(-0.4, 1.0), (1.0, -0.3), (-0.5, -0.5)])
def test_beta_stays_within_its_bounds_at_the_best_point(a, b):
    logits, labels = bent(2_000, 2, a, b, 0.2)
    logs = log_softmax(logits, 1)

    def loss(w):
        odds = w[0] * logs[:, 1] - w[1] * logs[:, 0] + w[2]
        wrong = (expit(odds) - labels) / len(labels)
        slope = [wrong @ logs[:, 1], -wrong @ logs[:, 0], wrong.sum()]
        return (np.logaddexp(0, odds) - labels * odds).mean(), np.array(slope)

    bounds = [(0, None), (0, None), (None, None)]
    best = minimize(loss, [1.0, 1, 0], jac=True, bounds=bounds, method="L-BFGS-B", options={"ftol": 0, "gtol": 1e-11})
    found = fit("beta", logits, labels).fitted
    assert min(found["a"], found["b"]) == 0
    assert [found["a"], found["b"], found["c"]] == pytest.approx(best.x, abs=1e-5)
    assert loss([found["a"], found["b"], found["c"]])[0] <= best.fun + 1e-12


@pytest.mark.parametrize("penalty", ["odir", "l2"])
@pytest.mark.parametrize("strength", [1e-3, 1.0])
def test_the_matrix_is_where_scipy_ends(penalty, strength):
    logits, labels = confused(300, 4)
    x = logarithms(logits) / logarithms(logits).std()
    by = held(x, labels, strength, penalty)

    def loss(flat):  # written apart from the code under test
        weights, bias = flat.reshape(4, 5)[:, :-1], flat.reshape(4, 5)[:, -1]
        fits = -log_softmax(x @ weights.T + bias, 1)[np.arange(300), labels].mean()
        if penalty == "l2":
            return fits + strength * (flat**2).mean()
        off = weights[~np.eye(4, dtype=bool)]
        kept = 1e-6 * ((np.diag(weights) - by.at[0, 0]) ** 2).mean()
        return fits + strength * ((off**2).mean() + (bias**2).mean()) + kept

    at = objective(x, labels, by)
    random = np.random.default_rng(0)
    flat = random.normal(size=20)
    value, gradient, curvature = at(flat)
    assert value == pytest.approx(loss(flat), rel=1e-12)
    step, around = 1e-5, np.eye(20)
    numeric = [(at(flat + step * e)[0] - at(flat - step * e)[0]) / (2 * step) for e in around]
    assert gradient == pytest.approx(numeric, abs=1e-8)
    numeric = [(at(flat + step * e)[1] - at(flat - step * e)[1]) / (2 * step) for e in around]
    assert curvature() == pytest.approx(np.array(numeric), abs=1e-7)
    found, converged = fit_held(x, labels, by)
    best = minimize(lambda w: at(w)[:2], by.at.ravel(), jac=True, method="BFGS", options={"gtol": 1e-9})
    assert converged
    assert np.abs(at(found.ravel())[1]).max() < 1e-8
    assert loss(found.ravel()) <= loss(best.x) + 1e-10
    assert found.ravel() == pytest.approx(best.x, abs=1e-3 if strength < 1 and penalty == "odir" else 1e-5)


def test_what_is_chosen_is_the_best_held_out():
    for logits, labels in (confused(1_500, 5), made(1_500, 4, 6)):
        found = fit("dirichlet", logits, labels).fitted
        tried = {float(strength): nll for strength, nll in found["held_out_nll"].items()}
        assert set(tried) == set(STRENGTHS)
        assert tried[found["strength"]] == pytest.approx(min(tried.values()), abs=1e-11)
    assert (
        fit("dirichlet", *confused(1_500, 5)).fitted["strength"]
        < fit("dirichlet", *made(1_500, 4, 6)).fitted["strength"]
    ), "where classes are mixed up the mixing is let go"


def test_folds_hold_every_class_evenly():
    labels = np.repeat(np.arange(3), [50, 23, 7])
    folds = stratified(labels, 5, 0)
    for k in range(3):
        counts = np.bincount(folds[labels == k], minlength=5)
        assert counts.max() - counts.min() <= 1
    assert not np.array_equal(folds, stratified(labels, 5, 1))


def dirichlets(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of probabilities drawn from a Dirichlet distribution a class: what Kull et al. start from."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 4, n)
    alphas = np.array([[4, 1, 1, 2.5], [2, 3, 0.7, 1], [1, 2.5, 2, 1], [0.8, 1, 1.5, 1.5]])
    return np.log(np.maximum(np.array([random.dirichlet(alphas[k]) for k in labels]), 1e-300)), labels


def test_order_of_kull_and_others_on_data_like_theirs():
    """By likelihood and classwise: Dirichlet before vector, vector before temperature, temperature before nothing."""
    fitted_on, judged = dirichlets(3_000, 7), dirichlets(6_000, 8)
    names = ("dirichlet", "vector", "temperature")
    found = {name: reduce(fit(name, *fitted_on).probabilities(judged[0]), judged[1]).measures() for name in names}
    before = reduce(softmax(judged[0]), judged[1]).measures()
    for key in ("nll", "classwise_ece_mean"):
        values = {name: row[key] for name, row in found.items()}
        assert values["dirichlet"] < values["vector"] < values["temperature"] < before[key], (key, values)


def test_too_many_classes_are_refused_in_a_sentence():
    logits, labels = np.random.default_rng(0).normal(size=(100, MOST + 1)), np.arange(100) % (MOST + 1)
    for name in ("matrix", "dirichlet"):
        with pytest.raises(TemperError, match="462 parameters for 21 classes; it is offered up to 20") as raised:
            fit(name, logits, labels)
        assert "vector" in raised.value.hint


@pytest.mark.parametrize("name", ["platt", "beta"])
def test_more_than_two_classes_are_refused(name):
    with pytest.raises(TemperError, match="tells two classes apart; these logits are of 3"):
        fit(name, np.ones((30, 3)), np.arange(30) % 3)


@pytest.mark.parametrize("truth", [0.2, 1.0, 3.0])
def test_the_blend_meets_the_conditions_of_an_optimum(truth):
    logits, labels = made(800, 5, seed=9, truth=truth)
    labels[:60] = np.arange(60) % 5  # labels at random, which even probabilities explain
    found = fit("ensemble", logits, labels)
    rows, z = np.arange(800), logits
    own = np.stack(
        [softmax(z / found.form.temperature)[rows, labels], softmax(z)[rows, labels], np.full(800, 0.2)], 1
    )
    w = found.form.weights
    gained = (own / (own @ w)[:, None]).mean(0)  # Karush, Kuhn and Tucker: 1 where a weight is used, less where not
    assert w.sum() == pytest.approx(1, abs=1e-12) and w.min() >= 0
    assert gained.max() <= 1 + 1e-8
    assert gained[w > 1e-9] == pytest.approx(1, abs=1e-8)
    best = minimize(lambda v: -np.log(own @ v).mean(), np.full(3, 1 / 3), bounds=[(0, 1)] * 3, method="SLSQP",
                    constraints={"type": "eq", "fun": lambda v: v.sum() - 1}, options={"ftol": 1e-15})  # fmt: skip
    assert -np.log(own @ w).mean() <= best.fun + 1e-9
    assert np.array_equal(found.probabilities(logits).argmax(1), logits.argmax(1))


def test_parts_that_are_the_same_or_perfect_have_weights():
    assert best_weights(np.full((10, 3), 0.5)) == pytest.approx(np.full(3, 1 / 3))
    assert best_weights(np.array([[1.0, 0.2, 0.1]] * 9)) == pytest.approx([1, 0, 0], abs=1e-9)
    assert np.isfinite(best_weights(np.array([[0.0, 0.0, 0.25]] * 9 + [[1, 1, 0.25]]))).all()


def test_histogram_is_the_share_of_each_tenth():
    logits, labels = made(1_000, 2, seed=12)
    found = method("calibrate", "histogram").function(logits, labels, bins=8)
    p = softmax(logits)[:, 1]
    order = np.argsort(p)
    shares = [labels[order[k * 125 : (k + 1) * 125]].mean() for k in range(8)]
    assert np.unique(found.probabilities(logits)[:, 1]) == pytest.approx(np.unique(shares))
    assert found.probabilities(logits)[order[:125], 1] == pytest.approx(np.full(125, shares[0]))
    tied = np.where(np.arange(1_000) < 700, 0.0, np.arange(1_000) / 1_000)
    again = fit("histogram", np.stack([np.zeros(1_000), tied], 1), labels)
    assert again.probabilities(np.zeros((1, 2)))[0, 1] == pytest.approx(labels[:700].mean()), "ties stay together"


def test_bbq_is_the_average_over_all_binnings():
    random = np.random.default_rng(13)
    n = 60
    p = np.sort(random.random(n))
    hits = random.random(n) < p**2
    scores, means = [], []
    for bins in range(1, int(np.ceil(10 * n ** (1 / 3))) + 1):
        ends = np.unique(np.r_[0, np.round(np.arange(1, bins) * n / bins).astype(int), n])
        edges = np.r_[0, [(p[e - 1] + p[e]) / 2 for e in ends[1:-1]], 1]
        score, mean = 0.0, np.empty(n)
        for low, high, left, right in zip(ends, ends[1:], edges, edges[1:], strict=False):
            count = len(ends) - 1
            a, b = 2 / count * (left + right) / 2, 2 / count * (1 - (left + right) / 2)
            m = hits[low:high].sum()
            score += betaln(m + a, high - low - m + b) - betaln(a, b)
            mean[low:high] = (m + a) / (high - low + a + b)
        scores.append(score)
        means.append(mean)
    weights = np.exp(np.array(scores) - max(scores))
    expected = np.array(weights / weights.sum()) @ np.array(means)
    edges, values, _ = averaged(p, hits)
    assert values[np.searchsorted(edges, p, "right")] == pytest.approx(expected, abs=1e-7)


CASES = {
    "class absent": (np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2),
    "one of a class": (np.random.default_rng(1).normal(size=(40, 3)), np.r_[2, np.arange(39) % 2]),
    "constant": (np.zeros((40, 2)), np.arange(40) % 4 // 3),
    "shifted constant": (np.tile([1e20, -1e20], (40, 1)), np.arange(40) % 2),
    "perfect": (30.0 * np.eye(2)[np.arange(40) % 2], np.arange(40) % 2),
    "perfectly wrong": (-30.0 * np.eye(2)[np.arange(40) % 2], np.arange(40) % 2),
    "perfect, three": (30.0 * np.eye(3)[np.arange(60) % 3], np.arange(60) % 3),
    "separable": (np.stack([np.zeros(40), np.linspace(-1, 1, 40)], 1), (np.arange(40) > 19).astype(np.int64)),
    "ties": (np.round(np.random.default_rng(2).normal(size=(60, 3))), np.arange(60) % 3),
    "ten": (np.random.default_rng(3).normal(size=(10, 2)), np.arange(10) % 2),
    "huge": (1e30 * np.random.default_rng(4).uniform(-1, 1, (40, 3)), np.arange(40) % 3),
    "tiny": (1e-30 * np.random.default_rng(5).normal(size=(40, 3)), np.arange(40) % 3),
}


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("case", CASES)
def test_unusual_examples_give_probabilities_or_a_sentence(name, case):
    logits, labels = CASES[case]
    if logits.shape[1] > 2 and name in ("platt", "beta"):
        return
    with np.errstate(all="raise", under="ignore"):
        found = fit(name, logits, labels)
    for new in (logits, -logits, np.zeros((2, logits.shape[1]))):
        p = found.probabilities(new)
        assert np.isfinite(p).all() and p.min() >= 0
        assert p.sum(1) == pytest.approx(np.ones(len(p)))
    if case in ("class absent", "one of a class") and name in ("matrix", "dirichlet"):
        assert "lass 2 has" in found.fitted["warning"]
    if case == "class absent" and name in ("histogram", "bbq"):
        assert "rests on nothing" in found.fitted["warning"]
    if case == "separable" and name == "beta":
        assert "separable" in found.fitted["warning"] and not found.fitted["converged"]


def nodes(form, classes: int) -> onnx.ModelProto:
    """A network that gives its inputs as logits, with a form at its end."""
    shape = ["batch", classes]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["input"], ["logits"])], "made",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
    )  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    add_head(proto, form)
    onnx.checker.check_model(proto)
    return proto


@pytest.mark.parametrize(("name", "classes"), list(itertools.product(BINARY, (2, 4))))
def test_the_nodes_say_what_the_fit_says(name, classes):
    if classes > 2 and name in ("platt", "beta"):
        return
    logits, labels = made(300, classes, seed=14)
    found = fit(name, logits, labels)
    new = np.random.default_rng(15).normal(size=(2_000, classes)).astype(np.float32) * 4
    new[0] = 60 * np.eye(classes)[0]
    proto, expected = nodes(found.form, classes), found.probabilities(new)
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    given = session.run(["probabilities"], {"input": new})[0]
    assert given == pytest.approx(expected, abs=2e-6)
    with torch.no_grad():
        given = GraphModule(proto)(torch.from_numpy(new))[1].numpy()
    assert given == pytest.approx(expected, abs=2e-6)


def test_a_step_function_without_steps_is_a_number():
    form = Steps(((np.zeros(0), np.array([0.3])),))
    session = onnxruntime.InferenceSession(nodes(form, 2).SerializeToString())
    given = session.run(["probabilities"], {"input": np.array([[1.0, 2], [5, -9]], np.float32)})[0]
    assert given == pytest.approx(np.array([[0.7, 0.3]] * 2))


@pytest.mark.parametrize("name", NEW)
def test_forms_are_those_meant(name):
    form = {"platt": Affine, "histogram": Steps, "bbq": Steps, "ensemble": Mixture}.get(name, Matrix)
    assert isinstance(fit(name, *made(200, 2, 16)).form, form)
