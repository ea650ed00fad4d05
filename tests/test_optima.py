"""Every calibration that maximises a likelihood is at the optimum to 1e-6: an independent loss, differentiated."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_calibrators import fit, made
from test_calibrators_more import confused
from test_conformal import made as numbers

from core.calibrators.ensemble import blended
from core.calibrators.temperature import optimal_temperature
from core.registry import method, methods
from core.task import EVERY

WITHOUT = {"isotonic", "histogram", "bbq", "conformal"}  # shares, steps and ranks: no likelihood is climbed
N = 1_200


def tensor(values) -> torch.Tensor:
    return torch.as_tensor(np.asarray(values, np.float64))


def surprise(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(logits, labels)


def temperature():
    logits, labels = made(N, 5, seed=1, truth=0.4)
    z, y = tensor(logits), tensor(labels).long()
    return [np.log(fit("temperature", logits, labels).fitted["temperature"])], lambda w: surprise(z / w[0].exp(), y)


def vector():
    logits, labels = confused(N, 2)
    found, spread = fit("vector", logits, labels).fitted, logits.std()
    z, y = tensor(logits / spread), tensor(labels).long()
    at = np.r_[np.array(found["scale"]) * spread, found["bias"]]
    return at, lambda w: surprise(z * w[:4] + w[4:], y)


def regularised(name: str, penalty: str = "odir"):
    logits, labels = confused(N, 3)
    x = logits - np.log(np.exp(logits).sum(1, keepdims=True)) if name == "dirichlet" else logits
    size = float(np.sqrt((x**2).mean()))
    asked = {"penalty": penalty} if name == "dirichlet" else {}
    found = method("calibrate", name).function(logits, labels, **asked).fitted
    at = np.concatenate([np.array(found["weights"]) * size, np.array(found["bias"])[:, None]], 1)
    z, y, kept = tensor(x / size), tensor(labels).long(), 1 / optimal_temperature(x / size, labels)
    off = ~torch.eye(4, dtype=torch.bool)

    def loss(w: torch.Tensor) -> torch.Tensor:
        weights, bias = w.reshape(4, 5)[:, :-1], w.reshape(4, 5)[:, -1]
        if penalty == "l2":
            held = found["strength"] * (w**2).mean()
        else:
            held = found["strength"] * ((weights[off] ** 2).mean() + (bias**2).mean())
            held = held + 1e-6 * ((weights.diagonal() - kept) ** 2).mean()
        return surprise(z @ weights.T + bias, y) + held

    return at.ravel(), loss


def platt():
    logits, labels = made(N, 2, seed=4)
    score, ones = logits[:, 1] - logits[:, 0], labels.sum()
    s = tensor(score / score.std())
    targets = tensor(np.where(labels == 1, (ones + 1) / (ones + 2), 1 / (N - ones + 2)))
    found = fit("platt", logits, labels).fitted
    at = [found["slope"] * score.std(), found["shift"]]
    loss = torch.nn.functional.binary_cross_entropy_with_logits
    return at, lambda w: loss(w[0] * s + w[1], targets)


def beta():
    logits, labels = made(N, 2, seed=5, truth=0.6)
    logs = torch.log_softmax(tensor(logits), 1)
    found, loss = fit("beta", logits, labels).fitted, torch.nn.functional.binary_cross_entropy_with_logits
    assert min(found["a"], found["b"]) > 0, "inside its bounds, where the gradient is nothing"
    return (
        [found["a"], found["b"], found["c"]],
        lambda w: loss(w[0] * logs[:, 1] - w[1] * logs[:, 0] + w[2], tensor(labels)),
    )


def ensemble():
    """Weights on the simplex, as logarithms; those at 0 stay there, which its own test holds."""
    logits, labels = made(N, 5, seed=9, truth=0.4)
    labels[:90] = np.arange(90) % 5
    found = fit("ensemble", logits, labels)
    used = np.flatnonzero(found.form.weights > 0)
    z, y = tensor(logits), tensor(labels).long()
    parts = [torch.softmax(z / found.form.temperature, 1), torch.softmax(z, 1), torch.full_like(z, 0.2)]
    own = torch.stack([parts[k][torch.arange(N), y] for k in used], 1)
    given = blended(logits, found.form)[np.arange(N), labels]
    assert given == pytest.approx((own @ tensor(found.form.weights[used])).numpy(), abs=1e-12)
    logs = np.log(found.form.weights[used])
    return (logs - logs[0])[
        1:
    ], lambda w: -(own @ torch.softmax(torch.cat([torch.zeros(1, dtype=w.dtype), w]), 0)).log().mean()


def scale():
    outputs, labels = numbers(N, seed=2, stated_share=0.4)
    off = tensor((labels - outputs[:, 0]) / np.exp(outputs[:, 1].astype(float)))
    factor = fit("scale", outputs, labels).fitted["factor"]
    return [np.log(factor)], lambda w: (w[0] + (off / w[0].exp()) ** 2 / 2).mean()


CASES = {
    "temperature": temperature, "vector": vector, "matrix": lambda: regularised("matrix"), "platt": platt,
    "dirichlet": lambda: regularised("dirichlet"), "dirichlet, l2": lambda: regularised("dirichlet", "l2"),
    "beta": beta, "ensemble": ensemble, "scale": scale,
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_fitted_lies_within_a_millionth_of_the_optimum(case):
    """The loss is written anew and differentiated by torch: Newton's next step from what was fitted is the error."""
    at, loss = CASES[case]()
    w = tensor(at).requires_grad_()
    gradient = torch.autograd.grad(loss(w), w)[0].detach()
    curvature = torch.autograd.functional.hessian(loss, w.detach())
    assert gradient.abs().max() < 1e-6
    values, vectors = torch.linalg.eigh(curvature)
    assert values.min() > -1e-12, "convex, so that it is the optimum"
    seen = values > 1e-9 * values.max()  # a direction in which the likelihood says nothing has no optimum
    step = vectors[:, seen] @ ((vectors[:, seen].T @ gradient) / values[seen])
    assert step.abs().max() < 1e-6 * max(1.0, float(w.detach().abs().max()))
    moved = w.detach() + 1e-3
    assert loss(w.detach()) <= loss(moved)


def test_every_calibration_climbs_a_likelihood_or_is_named_as_one_that_does_not():
    every = {one.name for kind in EVERY for one in methods("calibrate", kind)}
    assert {case.partition(",")[0] for case in CASES} | WITHOUT == every
    assert not WITHOUT & {case.partition(",")[0] for case in CASES}
