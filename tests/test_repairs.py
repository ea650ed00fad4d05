"""Repairs without training: statistics against PyTorch's own, means that come back, and what they never touch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import prune, quantize, recipe

from core.data.handle import load_split
from core.engine.evaluate import evaluate
from core.engine.network import fold, load_network
from core.engine.transform import transform
from core.errors import TemperError
from core.models.handle import build
from core.models.samples import load_sample
from core.recipe import Recipe, Step, from_json
from core.registry import methods
from core.repairs._observe import channel_means, examples
from core.repairs.bias import _Outputs
from core.sweeps.plan import Plan, axis_from_text

NORM, BIAS = Step.of("repair", "batch-norm"), Step.of("repair", "bias")


def repaired(name: str, *steps: Step):
    model, data = load_sample(name)
    return transform(model, data, recipe(*steps))


def test_re_estimated_statistics_are_those_of_pytorchs_own_training_mode():
    model, data = load_sample("fashion-small")
    network, learned = repaired("fashion-small", Step.of("repair", "batch-norm", {"examples": 96}))
    module = build(model).train()
    norms = [m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    inputs = examples(load_network(model), data, 96)
    with torch.no_grad():
        module(inputs)
    assert learned[0]["norms"] == len(norms) and learned[0]["examples"] == 96
    values = dict(module.named_buffers())
    for name in network.tensors:
        if name.endswith("running_mean"):
            torch.testing.assert_close(network.tensors[name], values[name], rtol=1e-4, atol=1e-5)
        if name.endswith("running_var"):  # PyTorch keeps the unbiased variance, n / (n - 1) of it
            torch.testing.assert_close(network.tensors[name], values[name], rtol=2e-3, atol=1e-5)


def test_re_estimation_brings_accuracy_back_where_most_weights_are_gone():
    model, data = load_sample("fashion-small")
    alone = evaluate(model, data, recipe(prune(0.8))).tempered.correct.mean()
    again = evaluate(model, data, recipe(prune(0.8), NORM)).tempered.correct.mean()
    assert again > alone + 0.3


def test_masks_stay_true_after_every_repair():
    network, _ = repaired("fashion-small", prune(0.7), NORM, quantize(4, 8), BIAS)
    for name, mask in network.masks.items():
        assert not network.tensors[name][~mask].any(), name


def test_batch_norm_after_quantization_is_refused_in_a_sentence():
    with pytest.raises(TemperError, match="only before quantization"):
        repaired("fashion-small", quantize(8, 8), NORM)


def test_a_network_without_batch_norm_says_so(small):
    model, data = small
    result = evaluate(model, data, recipe(NORM))
    assert any("no batch-norm" in text for text in result.warnings)
    np.testing.assert_allclose(result.tempered.logits, result.original.logits, atol=1e-6)


@pytest.mark.parametrize("name", ["fashion-small", "diamonds", "sentiment"])
def test_corrected_biases_bring_the_means_of_every_layer_back(name):
    model, data = load_sample(name)
    network, learned = repaired(name, quantize(3, 32), BIAS)
    inputs = examples(fold(network), data, 512)
    with torch.no_grad():
        wanted, found = _Outputs(fold(load_network(model))), _Outputs(fold(network))
        wanted(inputs)
        found(inputs)
    corrected = [layer for layer in network.layers if layer.name not in learned[-1]["left"]]
    assert corrected and learned[-1]["corrected"] == len(corrected)
    for layer in corrected:
        size = float(wanted.means[layer.bias].abs().max()) + 1e-6
        apart = float((wanted.means[layer.bias] - found.means[layer.bias]).abs().max())
        assert apart < 1e-4 * max(size, 1.0), layer.name


def test_correcting_biases_of_the_original_changes_nothing():
    model, data = load_sample("fashion-small")
    result = evaluate(model, data, recipe(BIAS))
    np.testing.assert_allclose(result.tempered.logits, result.original.logits, atol=1e-4)


def test_biases_help_a_coarse_grid():
    model, data = load_sample("diamonds")
    plain = evaluate(model, data, recipe(quantize(4, 8))).tempered
    mended = evaluate(model, data, recipe(quantize(4, 8), BIAS)).tempered
    error = [float(((o.values - o.labels) ** 2).mean()) for o in (plain, mended)]
    assert error[1] < 0.8 * error[0]


def test_layers_that_lost_channels_are_left_and_named():
    _, learned = repaired("fashion-small", Step.of("prune", "channels-magnitude", {"sparsity": 0.3}), BIAS)
    assert learned[-1]["left"]


@pytest.mark.parametrize("step", [NORM, BIAS])
def test_repairs_are_deterministic_and_look_at_no_label_and_at_no_evaluation_example(step, monkeypatch):
    model, data = load_sample("fashion-small")
    first, _ = transform(model, data, recipe(prune(0.5), step))

    def poisoned(of, name):
        split = load_split(of, name)
        assert name == "calibration", "a repair read the evaluation split"
        return type(split)(split.name, split.x, split.inputs, np.full_like(split.y, -1))

    monkeypatch.setattr("core.data.handle.load_split", poisoned)
    from core.engine.memory import RESULTS

    monkeypatch.setattr(RESULTS, "get", lambda _: None)
    monkeypatch.setattr(RESULTS, "remember", lambda _key, compute, _size: compute())
    second, _ = transform(model, data, recipe(prune(0.5), step))
    for name, tensor in first.tensors.items():
        torch.testing.assert_close(tensor, second.tensors[name], rtol=0, atol=0)


def test_a_repair_stands_where_it_belongs():
    after = {one.name: one.after for one in methods("repair")}
    assert after == {"batch-norm": "prune", "bias": "quantize", "equalise": "prune"}
    assert list(after) == ["batch-norm", "bias", "equalise"], "of two in one place the first goes first: norms, then"
    base = Recipe((prune(0.5), NORM, BIAS))
    plan = Plan(base, (axis_from_text(base, "weight_bits=4"),))
    kinds = [step.method for step in next(iter(plan.recipes.values())).steps]
    assert kinds == ["magnitude-global", "batch-norm", "uniform", "bias"]
    again = from_json(next(iter(plan.recipes.values())).to_json())
    assert [step.method for step in again.steps] == kinds


def test_means_of_texts_are_by_feature():
    values = torch.arange(24.0).reshape(2, 3, 4)
    torch.testing.assert_close(channel_means(values), values.mean((0, 1)))
