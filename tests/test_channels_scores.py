"""What ranks whole channels beside magnitude: batch-norm scales, and gates whose gradients autograd knows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import recipe
from test_channels import conv, pooled
from test_gradients import THREE, made, noise  # noqa: F401
from torch import nn

from core.engine.network import fold, load_network
from core.engine.transform import transform
from core.models.samples import load_sample
from core.pruners._channels import dependencies_of
from core.pruners.channels_taylor import _importances
from core.recipe import Step
from core.registry import method


class Gated(nn.Module):
    """Two layers that share channels by a residual sum, one that shares none; a gate on each."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = conv(2, 4), nn.BatchNorm2d(4)
        self.middle, self.again, self.last = conv(4, 6), nn.BatchNorm2d(6), conv(6, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x, gates=None):
        def gated(values, i):
            return values if gates is None else values * gates[i]

        x = torch.relu(gated(self.norm(self.stem(x)), 0))
        inner = torch.relu(gated(self.again(self.middle(x)), 1))
        return self.head(pooled(x + gated(self.last(inner), 2)))


def test_taylor_is_the_squared_gradient_of_a_gate_after_batch_norm(made):  # noqa: F811
    torch.manual_seed(0)
    module, inputs, y = Gated(), noise(9, 2, 6, 6), np.arange(9) % 3
    network, context = made(module, inputs, y, THREE)
    shared, own = found = tuple(group for group in dependencies_of(network).groups if not group.whole)
    assert (shared.size, own.size) == (4, 6)
    total = [np.zeros(4), np.zeros(6), np.zeros(4)]
    for i in range(9):
        gates = [torch.ones(len(one), 1, 1, requires_grad=True) for one in total]
        loss = F.cross_entropy(module(torch.from_numpy(inputs[i : i + 1]), gates), torch.from_numpy(y[i : i + 1]))
        for one, slope in zip(total, torch.autograd.grad(loss, gates), strict=True):
            one += slope.flatten().double().numpy() ** 2 / 9
    first, second = _importances(network, context, found)
    np.testing.assert_allclose(first, total[0] + total[2], rtol=1e-3)
    np.testing.assert_allclose(second, total[1], rtol=1e-3)
    folded = _importances(fold(network), context, found)
    np.testing.assert_allclose(folded[0], first, rtol=1e-6)


def test_the_least_scales_go_and_what_has_none_stays_whole(made):  # noqa: F811
    module = nn.Sequential(
        conv(2, 8), nn.BatchNorm2d(8), nn.ReLU(), conv(8, 6), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 3)
    )
    network, context = made(module, noise(5, 2, 6, 6), np.arange(5) % 3, THREE)
    values = {"sparsity": 0.5, "scope": "layer", "multiple": 1}
    pruned, said = method("prune", "channels-norm").function(network, values, context)
    scales = network.tensors["1.weight"]
    assert torch.equal(pruned.tensors["1.weight"], scales[scales >= scales.sort().values[4]])
    assert said["channels"] == {"0": [8, 4], "3": [6, 6], "6": [3, 3]}
    assert {"layers": ["3"], "channels": 6, "why": "no batch-norm follows them"} in said["left_alone"]


def test_scores_that_are_not_numbers_leave_a_group_whole(made):  # noqa: F811
    module = nn.Sequential(conv(2, 8), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 3))
    network, context = made(module, noise(5, 2, 6, 6), np.arange(5) % 3, THREE)
    broken = network.tensors["1.weight"].clone()
    broken[3] = torch.nan
    network = network.with_tensors({"1.weight": broken})
    for name in ("channels-norm", "channels-taylor", "channels-magnitude"):
        values = {"sparsity": 0.5, "scope": "network", "multiple": 1}
        pruned, said = method("prune", name).function(network, values, context)
        assert said["channels_removed"] == 0 and pruned.shapes == network.shapes
        assert "not a finite number" in said["left_alone"][0]["why"]


def test_a_network_without_batch_norm_is_told_so_and_left_as_it_is(small):
    model, data = small
    one = method("prune", "channels-norm")
    assert "no batch-norm" in one.why_not(model) and one.why_not(load_sample("fashion-small")[0]) == ""
    network, (said,) = transform(model, data, recipe(Step.of("prune", "channels-norm", {"sparsity": 0.5})))
    assert said["warning"] and network.shapes == load_network(model).shapes


@pytest.mark.parametrize("name", ["channels-norm", "channels-taylor"])
def test_they_choose_other_channels_than_magnitude(name, pictures):
    rows = []
    for how in (name, "channels-magnitude"):
        network, _ = transform(*pictures, recipe(Step.of("prune", how, {"sparsity": 0.5})))
        rows.append(network.tensors["blocks.1.norm1.running_var"])
    assert rows[0].shape == rows[1].shape and not torch.equal(*rows)
