"""How sparsity is shared out over layers: LAMP and ERK by their formulas, N:M patterns group by group."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import recipe
from hypothesis import given, settings
from hypothesis import strategies as st

from core.engine.transform import transform
from core.models.samples import load_sample
from core.pruners.magnitude_erk import counts
from core.pruners.magnitude_lamp import lamp
from core.pruners.pattern import largest
from core.recipe import Step


@given(st.integers(1, 40), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_lamp_is_its_formula(size, seed):
    weight = torch.from_numpy(np.random.default_rng(seed).normal(size=size).astype(np.float32)).reshape(1, -1)
    found, squares = lamp(weight).reshape(-1), weight.double().square().reshape(-1)
    for place in range(size):
        as_large = squares[squares >= squares[place]].sum()
        assert float(found[place]) == pytest.approx(float(squares[place] / as_large), rel=1e-12)
    assert float(found.max()) == 1  # the largest of a layer goes last of all


def test_lamp_of_a_layer_of_zeros_is_zero():
    assert not lamp(torch.zeros(3, 4)).any()


@given(st.floats(0.01, 1.0), st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=6))
@settings(max_examples=100, deadline=None)
def test_erk_reaches_the_density_to_one_weight_and_large_layers_give_more(density, shapes):
    weights = {f"l{k}": torch.zeros(shape) for k, shape in enumerate(shapes)}
    kept = counts(weights, density)
    total = sum(weight.numel() for weight in weights.values())
    assert sum(kept.values()) == round(density * total)
    for name, weight in weights.items():
        assert 0 <= kept[name] <= weight.numel()
    by_share = sorted(weights, key=lambda name: sum(weights[name].shape) / weights[name].numel())
    for less, more in pairwise(by_share):
        # A weight of rounding either way.
        a, b = (kept[n] / weights[n].numel() for n in (less, more))
        assert a <= b + 1 / weights[less].numel() + 1 / weights[more].numel()


@pytest.mark.parametrize(("keep", "of"), [(2, 4), (4, 8), (1, 4)])
@pytest.mark.parametrize("shape", [(3, 8), (4, 16, 3, 3)])
def test_a_pattern_keeps_the_largest_of_every_group(keep, of, shape):
    weight = torch.from_numpy(np.random.default_rng(0).normal(size=shape).astype(np.float32))
    mask = largest(weight, keep, of)
    groups = mask.movedim(1, -1).reshape(-1, of)
    values = weight.abs().movedim(1, -1).reshape(-1, of)
    assert (groups.sum(1) == keep).all()
    kept = torch.where(groups, values, torch.inf).min(1).values
    gone = torch.where(groups, -torch.inf, values).max(1).values
    assert (kept >= gone).all()


def test_layers_that_a_pattern_does_not_divide_stay_dense_and_are_named():
    model, data = load_sample("fashion-small")
    network, learned = transform(model, data, recipe(Step.of("prune", "pattern", {"pattern": "2:4"})))
    assert learned[0]["left"] == ["stem.0"]  # one input channel
    for layer in network.layers:
        share = float((network.tensors[layer.weight] == 0).float().mean())
        assert share == (0 if layer.name == "stem.0" else 0.5), layer.name


def test_a_dense_pattern_is_no_step():
    assert not recipe(Step.of("prune", "pattern", {"pattern": "dense"})).simplified().steps
    assert recipe(Step.of("prune", "pattern", {"pattern": "2:4"})).notation == "2:4 sparse"


@pytest.mark.parametrize("method", ["magnitude-lamp", "magnitude-erk"])
def test_masks_nest_and_sparsity_is_reached(method):
    model, data = load_sample("fashion-small")
    before = None
    for sparsity in (0.3, 0.6, 0.9):
        network, learned = transform(model, data, recipe(Step.of("prune", method, {"sparsity": sparsity})))
        total = sum(mask.numel() for mask in network.masks.values())
        zeros = sum(int((~mask).sum()) for mask in network.masks.values())
        assert abs(zeros - round(sparsity * total)) <= 1 and not learned[0]["dead_layers"]
        if before is not None:
            assert all(not (network.masks[name] & ~before[name]).any() for name in before)
        before = network.masks
