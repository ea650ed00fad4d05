"""Equalisation across layers: the function stays, ranges meet as the paper says, what cannot be paired is named."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import prune, quantize, recipe
from test_second_order import noise, pair  # noqa: F401  (a fixture)
from torch import nn

from core.data.handle import load_split
from core.deploy.graph import assemble
from core.engine.network import fold, load_network
from core.engine.runtime import predictor, run
from core.engine.transform import transform
from core.errors import TemperError
from core.layers.layerwise import layerwise
from core.models.samples import load_sample
from core.recipe import Step
from core.registry import method

EQUALISE, NORM, BIAS = (Step.of("repair", name) for name in ("equalise", "batch-norm", "bias"))


def many() -> nn.Module:
    """Depthwise and grouped layers, pools, a flattened picture and a linear pair, with channels far apart."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(4, 8, 1), nn.LeakyReLU(0.1), nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 12, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12 * 9, 10),
        nn.ReLU(), nn.Linear(10, 6), nn.ReLU6(), nn.Linear(6, 2),
    )  # fmt: skip
    for layer in module:
        if hasattr(layer, "weight") and layer.weight.ndim > 1:
            size = (len(layer.weight), *[1] * (layer.weight.ndim - 1))
            layer.weight.data *= 2.0 ** torch.randint(-2, 3, size)
    return module


def logits(network, inputs):
    return run(predictor(assemble(network)), inputs)


def test_the_function_stays_and_the_ranges_of_both_sides_meet(pair):  # noqa: F811
    inputs = noise(16, 4, 6, 6)
    model, data = pair(many(), inputs)
    network, (said,) = transform(model, data, recipe(EQUALISE))
    before = logits(load_network(model), inputs)
    # float32 rounding of weights and of sums of at most 108 products
    np.testing.assert_allclose(logits(network, inputs), before, atol=1e-5 * np.abs(before).max())
    assert said["pairs"] == 4 and said["left"] == {"13": "what it makes is the network's output"}
    weights = [network.tensors[name].double() for name in network.weight_names]
    old = [fold(load_network(model)).tensors[name].double() for name in network.weight_names]
    assert all(not torch.allclose(a, b) for a, b in zip(weights[:-1], old[:-1], strict=True))

    def made(weight):
        return weight.abs().flatten(1).amax(1)

    reads = [
        made(weights[1]),  # depthwise: a channel in, a channel out
        weights[2].abs().reshape(2, 6, 4, 9).amax((1, 3)).reshape(-1),
        weights[3].abs().reshape(10, 12, 9).amax((0, 2)),
        weights[4].abs().amax(0),
    ]
    for weight, read in zip(weights, reads, strict=False):
        torch.testing.assert_close(made(weight), read, rtol=1e-3, atol=0)


def test_a_pair_is_what_the_papers_equations_give(pair):  # noqa: F811
    torch.manual_seed(1)
    model, data = pair(nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2)), noise(16, 5))
    old, network = load_network(model).tensors, transform(model, data, recipe(EQUALISE))[0].tensors
    makes, reads = old["0.weight"].abs().amax(1), old["2.weight"].abs().amax(0)
    s = (makes * reads).sqrt() / reads
    torch.testing.assert_close(network["0.weight"], old["0.weight"] / s[:, None])
    torch.testing.assert_close(network["0.bias"], old["0.bias"] / s)
    torch.testing.assert_close(network["2.weight"], old["2.weight"] * s)


@pytest.mark.parametrize("name", ["fashion-small", "diamonds", "sentiment", "spam-mail"])
def test_samples_keep_their_outputs_and_what_is_left_has_a_reason(name):
    model, data = load_sample(name)
    network, (said,) = transform(model, data, recipe(EQUALISE))
    inputs = load_split(data, "calibration").inputs[:64]
    before = logits(load_network(model), inputs)
    np.testing.assert_allclose(logits(network, inputs), before, atol=2e-6 * np.abs(before).max())
    assert said["pairs"] > 0 and not method("repair", "equalise").why_not(model)
    assert all(said["left"].values()) and said["left"].keys() < {layer.name for layer in network.layers}
    facts = layerwise(model, data, recipe(EQUALISE))
    assert all(layer.sqnr_db is None or layer.sqnr_db > 130 for layer in facts.layers), "rescaling is no noise"


def test_all_repairs_together_keep_their_masks():
    model, data = load_sample("fashion-small")
    steps = [prune(0.5), NORM, EQUALISE, quantize(4, 8), BIAS]
    network, said = transform(model, data, recipe(*steps))
    assert said[1]["norms"] and said[2]["pairs"] == 3 and said[4]["corrected"]
    for name, mask in network.masks.items():
        assert not network.tensors[name][~mask].any()
    with pytest.raises(TemperError, match="before quantization and equalisation"):
        transform(model, data, recipe(EQUALISE, NORM))
    with pytest.raises(TemperError, match="only before quantization"):
        transform(model, data, recipe(quantize(8, 8), EQUALISE))


def test_bias_correction_of_an_equalised_float_network_changes_nothing(pair):  # noqa: F811
    inputs = noise(64, 4, 6, 6)
    model, data = pair(many(), inputs)
    one, two = (transform(model, data, recipe(*steps))[0] for steps in ([EQUALISE], [EQUALISE, BIAS]))
    for name, tensor in one.tensors.items():
        torch.testing.assert_close(two.tensors[name], tensor, rtol=1e-4, atol=1e-4)


def test_dead_channels_and_strange_weights_stay_as_they_are(pair):  # noqa: F811
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    module[0].weight.data[1] = 0
    module[2].weight.data[:, 2] = 0
    module[0].weight.data[3] *= 1e-12
    model, data = pair(module, noise(16, 5))
    network, (said,) = transform(model, data, recipe(EQUALISE))
    old = load_network(model).tensors
    assert torch.equal(network.tensors["0.bias"][1:3], old["0.bias"][1:3])
    assert said["largest_factor"] == 64
    module[2].weight.data[0, 0] = torch.nan
    model, data = pair(module, noise(16, 5))
    network, (said,) = transform(model, data, recipe(EQUALISE))
    assert said["pairs"] == 0 and "warning" in said
    assert "finite" in said["left"]["2"] and "2 are not" in said["left"]["0"]


def test_a_network_without_pairs_says_so(pair):  # noqa: F811
    model, data = pair(nn.Sequential(nn.Linear(5, 4), nn.Sigmoid(), nn.Linear(4, 2)), noise(16, 5))
    assert method("repair", "equalise").why_not(model)
    network, (said,) = transform(model, data, recipe(EQUALISE))
    assert said["warning"] and "Sigmoid" in said["left"]["0"]
    assert network.tensors["0.weight"] is load_network(model).tensors["0.weight"]
