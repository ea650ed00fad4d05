"""The network that learns computes what the file will, and its gradients are those of the papers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import prune, quantize, recipe
from learning import COMPRESSED

from core.data.handle import load_split
from core.deploy.graph import assemble
from core.engine.grid import fake_quantize, from_limits
from core.engine.network import fold, load_network
from core.engine.runtime import predictor, run
from core.engine.transform import transform
from core.losses.cross_entropy import cross_entropy
from core.losses.distillation import distillation, imitation
from core.losses.focal import focal
from core.models.samples import load_sample
from core.trainers._training import everything, named_part
from core.training.learner import Learner
from core.training.rounding import halved, rounded, rounded_by_example

# Of the logits' standard deviation: the same sums in another order, and, where activations are rounded, the few
# values that lie on a border between two levels and fall to the other side for it.
# Sixteen bits hold eleven digits of each activation: there nearly all are on a border, and each moves little.
FLOAT, HALF, BORDER, ON_BORDERS = 1e-5, 2e-3, 0.03, 0.2


def outputs(network, x):
    with torch.no_grad():
        return Learner(network, everything(network)).eval()(torch.from_numpy(x.copy())).numpy()


@pytest.mark.parametrize("case", [*COMPRESSED, "folded"])
@pytest.mark.parametrize("name", ["breast-cancer", "fashion-small"])
def test_it_computes_what_the_file_does(name, case):
    model, data = load_sample(name)
    network = fold(load_network(model)) if case == "folded" else transform(model, data, recipe(*COMPRESSED[case]))[0]
    x = load_split(data, "evaluation").inputs[:60]
    ours, file = outputs(network, x), run(predictor(assemble(network)), x)
    off = np.abs(ours - file) / file.std()
    if network.activation_bits == 32:
        assert off.max() < FLOAT
    elif network.activation_bits == 16:
        assert off.max() < HALF
    else:
        assert (off > FLOAT).mean() < ON_BORDERS and off.max() < BORDER


@pytest.mark.parametrize("case", ["W4A8", "W3A8 sparse affine", "W4 groups", "W8A8 dynamic", "bf16", "fp8", "nf4"])
def test_what_it_ends_as_is_what_it_was_at_rest(case):
    """Nothing learned: the same tensors, grids and masks come out."""
    model, data = load_sample("breast-cancer")
    network = transform(model, data, recipe(*COMPRESSED[case]))[0]
    found = Learner(network, everything(network), scales=True).network()
    assert all(torch.equal(found.tensors[name], network.tensors[name]) for name in network.tensors)


def test_adapters_merge_exactly_and_stay_masked():
    model, data = load_sample("fashion-small")
    network = transform(model, data, recipe(prune(0.6)))[0]
    learner = Learner(network, named_part(network, "adapters", 2), seed=1)
    generator = torch.Generator().manual_seed(5)
    for leaf in learner.leaves.values():
        leaf.data += 0.02 * torch.randn(leaf.shape, generator=generator)
    merged = learner.network()
    for name, mask in network.masks.items():
        assert not merged.tensors[name][~mask].any()
        one, other = learner.leaves[f"{name} B"], learner.leaves[f"{name} A"]
        wanted = (network.tensors[name] + (one @ other).reshape(network.tensors[name].shape)) * mask
        assert torch.equal(merged.tensors[name], wanted.detach())
    x = load_split(data, "evaluation").inputs[:20]
    with torch.no_grad():
        alone = learner.eval()(torch.from_numpy(x.copy())).numpy()
    assert np.abs(alone - outputs(merged, x)).max() < 1e-4
    assert merged.shapes == network.shapes


def test_gradual_wakes_the_last_layer_first():
    model, _ = load_sample("fashion-small")
    network = load_network(model)
    learner = Learner(network, everything(network))
    last, first = network.layers[-1].weight, network.layers[0].weight
    learner.wake(0.0)
    assert last in learner.awake and first not in learner.awake
    learner.train()(torch.randn(16, 1, 28, 28)).square().sum().backward()
    learner.rest()
    assert learner.leaves[last].grad is not None and learner.leaves[first].grad is None
    sizes = []
    for share in (0.25, 0.5, 1.0):
        learner.wake(share)
        sizes.append(len(learner.awake))
    assert sizes == sorted(sizes) and learner.awake == frozenset(learner.leaves)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("axis", [None, 0])
def test_the_gradient_of_the_scale_is_that_of_lsq(symmetric, axis):
    """Esser et al. 2020, equation 3, element by element in NumPy: `-v/s + round(v/s)` inside, the end outside."""
    generator = np.random.default_rng(0)
    x, weight = generator.normal(size=(2, 6, 40)).astype(np.float32)
    high = torch.full((6,), 1.1) if axis == 0 else torch.tensor(1.1)
    grid = from_limits(-0.7 * high, high, 3, symmetric, axis)
    grown = torch.zeros_like(grid.scale).requires_grad_()
    leaf = torch.from_numpy(x.copy()).requires_grad_()
    found = rounded(leaf, grid, grown)
    assert torch.equal(found.detach(), fake_quantize(leaf.detach(), grid))
    (found * torch.from_numpy(weight)).sum().backward()

    scale = grid.scale.numpy().astype(float).reshape(-1, 1)
    zero = grid.zero_point.numpy().astype(float).reshape(-1, 1)
    low, top, wanted, passed = grid.low - zero, grid.high - zero, np.zeros_like(x, float), np.zeros_like(x, float)
    for i in range(6):
        for j in range(40):
            k = i if axis == 0 else 0
            v = float(x[i, j]) / scale[k, 0]
            inside = low[k, 0] < v < top[k, 0]
            slope = np.round(v) - v if inside else (low[k, 0] if v <= low[k, 0] else top[k, 0])
            wanted[i, j] = weight[i, j] * slope * scale[k, 0]  # of the scale's logarithm
            passed[i, j] = weight[i, j] if inside else 0.0
    assert np.abs(passed - leaf.grad.numpy()).max() < 1e-6
    by_scale = wanted.sum(1) if axis == 0 else wanted.sum()
    assert np.abs(by_scale - grown.grad.numpy()).max() < 1e-5 * np.abs(wanted).sum()


def test_beyond_the_ends_the_scale_has_a_finite_difference():
    """Where every value is clipped nothing is rounded, and the function is smooth in its scale."""
    grid = from_limits(torch.tensor(-1.0), torch.tensor(1.0), 4, True, None)
    x = torch.tensor([3.0, -5.0, 2.0, 7.0])

    def value(by: float) -> float:
        return float(fake_quantize(x, replace(grid, scale=grid.scale * np.float32(np.exp(by)))).square().sum())

    grown = torch.zeros(()).requires_grad_()
    rounded(x, grid, grown).square().sum().backward()
    assert float(grown.grad) == pytest.approx((value(1e-3) - value(-1e-3)) / 2e-3, rel=1e-3)


def test_the_other_roundings_pass_the_gradient_straight():
    x = torch.randn(5, 7, requires_grad=True)
    for made in (halved(x), halved(x, brain=True), rounded_by_example(x, 4)):
        (gradient,) = torch.autograd.grad((3 * made).sum(), x)
        assert torch.equal(gradient, torch.full_like(x, 3.0)) and not torch.equal(made, x)


def test_a_network_of_integers_learns_its_biases_through_their_grid():
    """A bias is added in whole steps of input times weight: at 4 bits each that is seen."""
    model, data = load_sample("breast-cancer")
    network = transform(model, data, recipe(quantize(4, 4, granularity="tensor")))[0]
    x = load_split(data, "evaluation").inputs[:50]
    right = run(predictor(assemble(network)), x)
    learner = Learner(network, everything(network)).eval()
    assert learner.biases
    with torch.no_grad():
        assert np.abs(learner(torch.from_numpy(x.copy())).numpy() - right).max() < 1e-4
        learner.biases = {}
        assert np.abs(learner(torch.from_numpy(x.copy())).numpy() - right).max() > 0.1, "or this test says nothing"


def brute(logits, y, focus=0.0, smoothing=0.0):
    total = 0.0
    for row, label in zip(logits.double().tolist(), y.tolist(), strict=True):
        p = np.exp(np.array(row) - np.max(row))
        p /= p.sum()
        target = np.full(len(p), smoothing / len(p))
        target[label] += 1 - smoothing
        total -= float((target * (1 - p[label]) ** focus * np.log(p)).sum())
    return total / len(y)


def test_losses_by_brute_force():
    generator = torch.Generator().manual_seed(0)
    logits, y = 3 * torch.randn(40, 5, generator=generator), torch.randint(0, 5, (40,), generator=generator)
    assert float(cross_entropy(logits, y)) == pytest.approx(brute(logits, y), rel=1e-5)
    assert float(cross_entropy(logits, y, 0.2)) == pytest.approx(brute(logits, y, smoothing=0.2), rel=1e-5)
    for focus in (0.0, 0.5, 2.0, 5.0):
        assert float(focal(logits, y, focus)) == pytest.approx(brute(logits, y, focus), rel=1e-5)
    assert float(focal(logits, y, 0.0)) == pytest.approx(float(cross_entropy(logits, y)), rel=1e-6)


@pytest.mark.parametrize("focus", [0.0, 0.5, 2.0])
def test_focal_has_a_gradient_where_the_answer_is_surely_right(focus):
    logits = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
    focal(logits, torch.tensor([0, 0]), focus).backward()
    assert torch.isfinite(logits.grad).all()


def test_distillation_is_the_papers():
    generator = torch.Generator().manual_seed(1)
    student, teacher = (2 * torch.randn(30, 4, generator=generator) for _ in range(2))
    for t in (1.0, 4.0):
        p, q = ((of.double() / t).softmax(1).numpy() for of in (teacher, student))
        assert float(distillation(student, teacher, t)) == pytest.approx(
            t * t * (p * np.log(p / q)).sum(1).mean(), rel=1e-5
        )
    assert float(distillation(student, student, 3.0)) == pytest.approx(0, abs=1e-6)
    student.requires_grad_()
    (high,) = torch.autograd.grad(distillation(student, teacher, 500.0), student)
    with torch.no_grad():  # the limit of section 2.1: matching of logits, each about its mean, over classes
        gap = (student - student.mean(1, keepdim=True)) - (teacher - teacher.mean(1, keepdim=True))
    assert torch.allclose(high * len(student), gap / 4, atol=0.02 * float(gap.abs().max()) / 4)


def test_imitation_of_numbers():
    student, teacher = torch.tensor([[1.0, 0.5], [2.0, 0.0]]), torch.tensor([[2.0, 0.0], [4.0, 1.0]])
    assert float(imitation(student[:, :1], teacher[:, :1], 5.0)) == pytest.approx((1 + 4) / 2 / 10)
    assert float(imitation(student, teacher, 5.0)) == pytest.approx((1 + 4) / 2 / 10 + (0.25 + 1) / 2 / 2)


def test_a_batch_norm_that_is_not_awake_yet_learns_no_statistics():
    network = load_network(load_sample("fashion-small")[0])
    learner = Learner(network, everything(network)).train()
    x = torch.randn(16, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    before = learner.state()
    learner.wake(0.0)  # the last layer alone
    learner(x)
    norms = [name for name in before if name.startswith("norm ")]
    assert norms and all(torch.equal(before[name], learner.state()[name]) for name in norms)
    learner.wake(1.0)
    learner(x)
    assert all(not torch.equal(before[name], learner.state()[name]) for name in norms)
