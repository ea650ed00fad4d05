"""Pruning by what the loss says: scores by their formulas, and what has no score."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import prune, recipe
from hypothesis import given
from hypothesis import strategies as st
from test_gradients import THREE, made, noise  # noqa: F401
from torch import nn

from core.engine.context import Context
from core.engine.network import load_network
from core.engine.transform import transform
from core.layers.gradients import gradients
from core.pruners._loss import ranks_beside, ranks_in_rounds
from core.recipe import Step
from core.registry import method

FORMULAS = {
    "gradient": lambda found, name, weight: (found.mean[name] * weight).abs(),
    "fisher": lambda found, name, weight: found.fisher[name] * weight**2 / 2,
}


@pytest.mark.parametrize("name", FORMULAS)
def test_the_least_scores_of_the_whole_network_go(name, small):
    model, data = small
    network = load_network(model)
    found = gradients(network, Context(data, 0))
    scores = {w: FORMULAS[name](found, w, network.tensors[w]) for w in network.weight_names}
    step = Step.of("prune", name, {"sparsity": 0.6, "rounds": 1})
    pruned, (said,) = transform(model, data, recipe(step))
    gone = torch.cat([scores[w][pruned.tensors[w] == 0] for w in scores])
    kept = torch.cat([scores[w][pruned.tensors[w] != 0] for w in scores])
    assert gone.max() <= kept.min() and len(gone) == round(0.6 * (len(gone) + len(kept)))
    assert said["examples"] == found.examples and not said["magnitude"]


@pytest.mark.parametrize("name", FORMULAS)
def test_a_second_step_keeps_the_zeros_of_the_first(name, pictures):
    step = Step.of("prune", name, {"sparsity": 0.6, "rounds": 4})
    first, _ = transform(*pictures, recipe(prune(0.4, "magnitude-layer")))
    second, _ = transform(*pictures, recipe(prune(0.4, "magnitude-layer"), step))
    for weight in second.weight_names:
        assert (second.tensors[weight][first.tensors[weight] == 0] == 0).all()
    assert second.sparsity == pytest.approx(0.6, abs=1e-4)


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("fill", [-100.0, torch.nan])
def test_without_gradients_magnitude_decides_and_it_is_said(name, fill, made):  # noqa: F811
    module = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    nn.init.constant_(module[0].bias, fill)
    network, context = made(module, noise(5, 4), np.arange(5) % 3, THREE)
    pruned, said = method("prune", name).function(network, {"sparsity": 0.5, "floor": 0.0, "rounds": 4}, context)
    assert set(said["magnitude"]) == {"0", "2"}
    assert all("calibration examples" in why for why in said["magnitude"].values())
    for weight in network.weight_names:
        size = network.tensors[weight].abs()
        assert torch.equal(pruned.tensors[weight] == 0, size < size.flatten().sort().values[size.numel() // 2])


@given(st.integers(0, 1000), st.integers(1, 60), st.integers(1, 60))
def test_a_layer_without_scores_loses_the_share_of_the_others(seed, scored, other):
    rng = np.random.default_rng(seed)
    sizes = {"a": torch.from_numpy(rng.random((scored, 2))), "b": torch.from_numpy(rng.random(other))}
    ranks = ranks_beside({"a": torch.from_numpy(rng.random((scored, 2)))}, sizes)
    assert sorted(torch.cat([one.flatten() for one in ranks.values()]).tolist()) == list(range(2 * scored + other))
    for share in (0.1, 0.5, 0.9):
        count = round(share * (2 * scored + other))
        assert abs(int((ranks["b"] < count).sum()) - share * other) <= 1.5
    assert torch.equal(ranks["b"].argsort(), sizes["b"].argsort())


def test_equal_scores_go_by_size():
    sizes = {"a": torch.tensor([3.0, 0.0, 2.0, 1.0])}
    assert ranks_beside({"a": torch.tensor([0.0, 0.0, 0.0, 5.0])}, sizes)["a"].tolist() == [2, 0, 1, 3]


def test_in_rounds_scores_are_those_of_what_is_left(small):
    """With two rounds, all but the root of a twentieth go by the first scores and the others by the second."""
    model, data = small
    network, context = load_network(model), Context(data, 0)
    names, score = network.weight_names, FORMULAS["fisher"]
    ranks = ranks_in_rounds(network, context, "fisher", score, 2)
    flat = torch.cat([ranks[name].flatten() for name in names])
    assert torch.equal(flat.sort().values, torch.arange(len(flat), dtype=torch.int32))
    gone = round((1 - 0.05**0.5) * len(flat))
    first = gradients(network, context, 128)
    once = ranks_beside({w: score(first, w, network.tensors[w]) for w in names}, _sizes(network))
    early = torch.cat([once[name].flatten() for name in names])
    assert torch.equal(flat[early < gone], early[early < gone])
    left = network.with_tensors({w: network.tensors[w] * (once[w] >= gone) for w in names}).after("test")
    second = gradients(left, context, 128)
    scores = torch.cat([score(second, w, left.tensors[w]).flatten() for w in names])[early >= gone]
    order = flat[early >= gone]
    assert (scores[order.argsort()].diff() >= 0).all()
    assert not torch.equal(order.argsort(), early[early >= gone].argsort()), "the second round says otherwise"


def _sizes(network):
    return {name: network.tensors[name].abs() for name in network.weight_names}
