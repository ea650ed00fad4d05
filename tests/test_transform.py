"""Every pruner and quantizer under the same contracts, and against independent references."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from conftest import prune, quantize, recipe
from torch.nn.utils import prune as torch_prune

from core.data.handle import split_for_fitting
from core.engine.memory import RESULTS, SCORES
from core.engine.network import fold, load_network
from core.engine.transform import check_order, transform
from core.errors import TemperError
from core.models.handle import build, weights_of
from core.recipe import Recipe, Step
from core.registry import methods

CHANGING = [(m.kind, m.name) for kind in ("prune", "quantize") for m in methods(kind)]


def forget():
    RESULTS.clear()
    SCORES.clear()


@pytest.mark.parametrize(("kind", "name"), CHANGING)
def test_the_original_is_never_changed(kind, name, pictures):
    model, data = pictures
    before = {k: v.clone() for k, v in weights_of(model).items()}
    forget()
    transform(model, data, recipe(Step.of(kind, name)))
    for key, value in weights_of(model).items():
        assert torch.equal(value, before[key]), f"{key} was written to"


@pytest.mark.parametrize(("kind", "name"), CHANGING)
def test_steps_are_deterministic(kind, name, small):
    model, data = small
    found = []
    for _ in range(2):
        forget()
        found.append(transform(model, data, recipe(Step.of(kind, name), seed=3))[0])
    assert found[0].identity == found[1].identity
    for key, value in found[0].tensors.items():
        assert torch.equal(value, found[1].tensors[key])


def counted(one) -> str:
    """What a pruner's sparsity is a share of: '' are weights that become zero; patterns have none."""
    return next((p.of for p in one.parameters if p.name == "sparsity"), "pattern")


CHOOSES_ANEW = {"sparsegpt"}  # its masks answer to weights that were changed on the way, and do not nest


@pytest.mark.parametrize("name", [m.name for m in methods("prune") if counted(m) == ""])
def test_pruning_reaches_its_sparsity_and_nests(name, pictures):
    model, data = pictures
    total = sum(weights_of(model)[w].numel() for w in load_network(model).weight_names)
    kept_before = None
    for sparsity in (0.0, 0.1, 0.5, 0.9, 0.99):
        network, _ = transform(model, data, recipe(prune(sparsity, name)))
        # Layer by layer the count is rounded once a layer, so by at most half a weight each.
        assert abs(network.sparsity - sparsity) <= 0.5 * len(network.layers) / total + 1e-9
        kept = {k: v != 0 for k, v in network.tensors.items() if k in network.weight_names}
        if kept_before is not None and name not in CHOOSES_ANEW:
            assert all((~kept[k] | kept_before[k]).all() for k in kept), "a sparser model keeps a subset"
        kept_before = kept


@pytest.mark.parametrize("scope", ["layer", "network"])
@pytest.mark.parametrize("name", [m.name for m in methods("prune") if counted(m) == "channels"])
def test_removing_channels_reaches_its_share_and_nests(name, scope, pictures):
    model, data = pictures
    kept_before = None
    for sparsity in (0.0, 0.1, 0.5, 0.9, 0.95):
        step = Step.of("prune", name, {"sparsity": sparsity, "scope": scope, "multiple": 1})
        network, fitted = transform(model, data, recipe(step))
        if fitted:
            pairs = fitted[0]["channels"].values()
            groups = len(pairs)
            # The count is rounded once a group; a group that would lose all of its channels keeps one, or 2 %.
            assert abs(fitted[0]["channels_removed"] - sparsity) <= 1.02 * groups / sum(before for before, _ in pairs)
        rows = {k: {tuple(row.flatten()[:1].tolist()) for row in network.tensors[k]} for k in ("stem.0.weight",)}
        if kept_before is not None:
            assert all(rows[k] <= kept_before[k] for k in rows), "a smaller model keeps a subset"
        kept_before = rows


@pytest.mark.parametrize("sparsity", [0.3, 0.77, 0.95])
def test_global_magnitude_equals_torch(sparsity, pictures):
    model, data = pictures
    module = build(model).requires_grad_(True)
    layers = [m for m in module.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    torch_prune.global_unstructured([(m, "weight") for m in layers], torch_prune.L1Unstructured, amount=sparsity)
    network, _ = transform(model, data, recipe(prune(sparsity)))
    for name, layer in ((n, m) for n, m in module.named_modules() if hasattr(m, "weight_mask")):
        assert torch.equal(network.tensors[f"{name}.weight"], layer.weight.detach())


def test_layer_magnitude_equals_torch(pictures):
    model, data = pictures
    module = build(model).requires_grad_(True)
    network, _ = transform(model, data, recipe(prune(0.6, "magnitude-layer")))
    for name, layer in list(module.named_modules()):
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            torch_prune.l1_unstructured(layer, "weight", amount=0.6)
            assert torch.equal(network.tensors[f"{name}.weight"], layer.weight.detach())


def test_random_pruning_follows_the_seed(small):
    model, data = small
    one, two, again = (transform(model, data, recipe(prune(0.5, "random"), seed=s))[0] for s in (1, 2, 1))
    name = one.weight_names[0]
    assert torch.equal(one.tensors[name], again.tensors[name])
    assert not torch.equal(one.tensors[name], two.tensors[name])


def test_folding_keeps_the_function(sample):
    model, data = sample
    folded = fold(load_network(model))
    assert fold(folded) is folded
    module = build(model)
    inputs = torch.from_numpy(split_for_fitting(data).inputs[:64].copy())
    expected = module(inputs)
    if model.architecture != "residual-net":
        assert set(folded.tensors) == set(weights_of(model)), "nothing to fold leaves the names"
        return
    for layer in folded.layers:
        owner = module.get_submodule(layer.name)
        owner.weight = torch.nn.Parameter(folded.tensors[layer.weight])
        owner.bias = torch.nn.Parameter(folded.tensors[layer.bias])
        if layer.norm:
            parent, _, leaf = layer.norm.rpartition(".")
            setattr(module.get_submodule(parent), leaf, torch.nn.Identity())
    # float32 sums of up to 1,440 products: relative error about 1e-6 of logits around 30
    assert torch.allclose(module(inputs), expected, atol=2e-4)


def test_pruned_weights_stay_zero_through_quantization(pictures):
    model, data = pictures
    for scheme in ("symmetric", "affine"):
        network, _ = transform(model, data, recipe(prune(0.6), quantize(4, 8, scheme=scheme)))
        for name, mask in network.masks.items():
            assert (network.tensors[name][~mask] == 0).all()


@pytest.mark.parametrize("bits", [8, 7, 6, 5, 4, 3, 2])
def test_quantized_weights_lie_on_so_many_levels(bits, pictures):
    model, data = pictures
    network, fitted = transform(model, data, recipe(quantize(bits, 32)))
    for name in network.weight_names:
        levels = [len(torch.unique(channel)) for channel in network.tensors[name]]
        assert max(levels) <= 2**bits - 1
    assert fitted[0]["sqnr_db"] is not None


def test_more_bits_mean_less_noise(pictures):
    model, data = pictures
    noise = [transform(model, data, recipe(quantize(b, 32)))[1][0]["sqnr_db"] for b in (2, 3, 4, 5, 6, 7, 8)]
    assert noise == sorted(noise)
    # Halving the step quarters the noise power: 6.02 dB a bit once the grid is fine.
    assert np.diff(noise)[-2:] == pytest.approx([6.02, 6.02], abs=0.3)


def test_half_precision_weights_are_float16(small):
    model, data = small
    network, _ = transform(model, data, recipe(quantize(16, 32)))
    for name in network.weight_names:
        assert torch.equal(network.tensors[name], weights_of(model)[name].half().float())


def test_activation_ranges_come_from_the_calibration_split(pictures, monkeypatch):
    model, data = pictures
    forget()
    from core.data import handle

    asked = []
    original = handle.load_split
    monkeypatch.setattr(handle, "load_split", lambda d, n: asked.append(n) or original(d, n))
    transform(model, data, recipe(quantize(8, 8)))
    assert set(asked) == {"calibration"}
    forget()


def test_fitting_on_the_evaluation_split_raises(small):
    with pytest.raises(TemperError, match="evaluation split"):
        split_for_fitting(small[1], "evaluation")


def test_identity_steps_change_nothing(small):
    model, data = small
    network, fitted = transform(model, data, recipe(prune(0.0), quantize(32, 32)))
    assert network.identity == model.fingerprint
    assert fitted == ()


def test_calibration_must_come_last_and_once():
    step = Step.of("calibrate", "temperature")
    check_order(Recipe((prune(0.5), step)))
    for wrong in (Recipe((step, prune(0.5))), Recipe((step, step))):
        with pytest.raises(TemperError, match="last step"):
            check_order(wrong)


def test_a_failing_step_leaves_the_original(small, monkeypatch):
    model, data = small
    before = copy.deepcopy(dict(weights_of(model)))
    forget()
    from core.quantizers import uniform

    monkeypatch.setattr(uniform, "_activation_grids", lambda *a: (_ for _ in ()).throw(RuntimeError("stop")))
    with pytest.raises(RuntimeError):
        transform(model, data, recipe(prune(0.5), quantize(4, 8)))
    assert all(torch.equal(v, before[k]) for k, v in weights_of(model).items())
    forget()
