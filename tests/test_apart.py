"""Settings of single layers: what a recipe may say of them, and that methods obey."""

import json

import pytest
import torch

from core.deploy.pack import pack, unpack_weight
from core.engine.network import load_network
from core.engine.transform import transform
from core.errors import TemperError
from core.models.samples import load_sample
from core.recipe import Recipe, Step, from_dict, from_json, from_link
from core.registry import method, methods

PRUNERS = [one.name for one in methods("prune") if any(p.name == "sparsity" and p.by_layer for p in one.parameters)]


@pytest.fixture(scope="module")
def pair():
    return load_sample("fashion-small")


def layers_of(pair):
    return load_network(pair[0]).layers


def sparsity(weight):
    return int((weight == 0).sum())


def test_a_recipe_carries_what_layers_have_of_their_own():
    step = Step.of("quantize", "uniform", {"weight_bits": 4}, {"b": {"weight_bits": 8}, "a": {"weight_bits": 2}})
    recipe = Recipe((step,), 3)
    assert recipe.to_dict()["steps"][0]["layers"] == {"a": {"weight_bits": 2}, "b": {"weight_bits": 8}}
    assert from_json(recipe.to_json()) == recipe == from_link(recipe.to_link())
    assert recipe.notation == "W4A8 (2 layers apart)"
    assert recipe.fingerprint != recipe.without_layers().fingerprint
    assert "layers" not in recipe.without_layers().to_dict()["steps"][0]
    assert recipe.without_layers().notation == "W4A8"


def test_single_pruned_layers_are_named_as_such():
    step = Step.of("prune", "magnitude-layer", {"sparsity": 0.0}, {"a": {"sparsity": 0.5}})
    assert Recipe((step,)).notation == "1 layer sparse"


def test_a_step_at_rest_with_one_layer_at_work_changes_something():
    rest = {"weight_bits": 32, "activation_bits": 32}
    assert Step.of("quantize", "uniform", rest).is_identity
    assert Step.of("quantize", "uniform", rest, {"a": {"weight_bits": 32}}).is_identity
    assert not Step.of("quantize", "uniform", rest, {"a": {"weight_bits": 4}}).is_identity


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([], "must be an object of at most"),
        ({f"l{i}": {"weight_bits": 4} for i in range(501)}, "at most 500"),
        ({"a": {}}, "an object with weight_bits"),
        ({"a": 4}, "an object with weight_bits"),
        ({"a": {"activation_bits": 4}}, "an object with weight_bits"),
        ({"a": {"weight_bits": 9}}, "must be one of"),
        ({"a": {"weight_bits": None}}, "a value of its own"),
        ({"a": {"weight_bits": "4"}}, "must be one of"),
    ],
)
def test_bad_settings_of_a_layer_are_one_sentence(layers, said):
    given = {"version": 1, "steps": [{"kind": "quantize", "method": "uniform", "layers": layers}]}
    with pytest.raises(TemperError, match=said):
        from_dict(given)


def test_a_method_without_such_settings_says_so():
    with pytest.raises(TemperError, match="no such settings"):
        Step.of("repair", "bias", {}, {"a": {"examples": 64}})


def test_a_layer_that_is_not_there_is_named_with_its_nearest(pair):
    name = layers_of(pair)[1].name
    step = Step.of("prune", "magnitude-global", {}, {f"{name}x": {"sparsity": 0.1}})
    with pytest.raises(TemperError, match="has no layer of that name") as raised:
        transform(*pair, Recipe((step,)))
    assert repr(name) in raised.value.hint


@pytest.mark.parametrize("name", PRUNERS)
def test_a_pruner_gives_layers_exactly_their_own_sparsity(pair, name):
    first, second = (layer for layer in layers_of(pair)[:2])
    own = {first.name: {"sparsity": 0.0}, second.name: {"sparsity": 0.25}}
    network, said = transform(*pair, Recipe((Step.of("prune", name, {"sparsity": 0.7}, own),)))
    original = load_network(pair[0])
    assert torch.equal(network.tensors[first.weight], original.tensors[first.weight])
    size = network.tensors[second.weight].numel()
    assert sparsity(network.tensors[second.weight]) == round(0.25 * size)
    others = [layer.weight for layer in network.layers[2:]]
    zeros, total = (
        sum(count(network.tensors[weight]) for weight in others) for count in (sparsity, lambda one: one.numel())
    )
    assert abs(zeros - round(0.7 * total)) <= len(others)  # one weight a layer where each is rounded by itself
    assert said[0]["layers"][first.name] == 0


@pytest.mark.parametrize(
    "name", [one for one in PRUNERS if any(p.name == "floor" for p in method("prune", one).parameters)]
)
def test_every_layer_keeps_its_floor_and_the_whole_its_sparsity(pair, name):
    weights = [layer.weight for layer in layers_of(pair)]
    without, _ = transform(*pair, Recipe((Step.of("prune", name, {"sparsity": 0.95}),)))
    network, _ = transform(*pair, Recipe((Step.of("prune", name, {"sparsity": 0.95, "floor": 0.04}),)))
    shares = [1 - sparsity(network.tensors[weight]) / network.tensors[weight].numel() for weight in weights]
    assert min(shares) >= 0.04 - 1e-3
    assert (
        min(1 - sparsity(without.tensors[w]) / without.tensors[w].numel() for w in weights) < 0.04
    )  # it had an effect
    total = sum(network.tensors[weight].numel() for weight in weights)
    assert sum(sparsity(network.tensors[weight]) for weight in weights) == round(0.95 * total)


def test_a_floor_above_what_may_stay_wins(pair):
    _, said = transform(*pair, Recipe((Step.of("prune", "magnitude-global", {"sparsity": 0.9, "floor": 0.3}),)))
    assert 0.69 < said[0]["sparsity"] < 0.71
    assert all(abs(share - 0.7) < 0.02 for share in said[0]["layers"].values())


@pytest.mark.parametrize("rounding", ["nearest", "gptq"])
def test_each_layer_lies_on_a_grid_of_its_own_bits(pair, rounding):
    names = [layer.name for layer in layers_of(pair)]
    wanted = dict(zip(names, [8, 2, 32, 16], strict=False))
    own = {name: {"weight_bits": bits} for name, bits in wanted.items()}
    given = {"weight_bits": 4, "activation_bits": 8, "rounding": rounding}
    network, _ = transform(*pair, Recipe((Step.of("quantize", "uniform", given, own),)))
    arrays = pack(network)
    for layer in network.layers:
        bits, weight = wanted.get(layer.name, 4), network.tensors[layer.weight]
        assert (layer.weight in network.half) == (bits == 16)
        assert (network.grids[layer.weight].bits if bits < 16 else None) == (bits if bits < 16 else None)
        assert layer.weight in network.grids or bits >= 16
        assert torch.equal(unpack_weight(network, layer.weight, arrays), weight)


def test_one_layer_alone_equals_the_whole_recipe_there(pair):
    name = layers_of(pair)[0].name
    rest = {"weight_bits": 32, "activation_bits": 32}
    alone, _ = transform(*pair, Recipe((Step.of("quantize", "uniform", rest, {name: {"weight_bits": 3}}),)))
    whole, _ = transform(*pair, Recipe((Step.of("quantize", "uniform", rest | {"weight_bits": 3}),)))
    assert torch.equal(alone.tensors[f"{name}.weight"], whole.tensors[f"{name}.weight"])
    other = layers_of(pair)[1].weight
    assert not torch.equal(alone.tensors[other], whole.tensors[other])


def test_the_identity_of_a_network_tells_layers_apart(pair):
    names = [layer.name for layer in layers_of(pair)]
    seen = {
        transform(*pair, Recipe((Step.of("quantize", "uniform", {}, own),)))[0].identity
        for own in ({}, {names[0]: {"weight_bits": 4}}, {names[1]: {"weight_bits": 4}})
    }
    assert len(seen) == 3


def test_pattern_leaves_dense_what_shall_stay_dense(pair):
    layers = [layer for layer in layers_of(pair) if load_network(pair[0]).tensors[layer.weight].shape[1] % 4 == 0]
    own = {layers[0].name: {"pattern": "dense"}}
    network, _ = transform(*pair, Recipe((Step.of("prune", "pattern", {}, own),)))
    assert sparsity(network.tensors[layers[0].weight]) == 0
    assert sparsity(network.tensors[layers[1].weight]) * 2 == network.tensors[layers[1].weight].numel()


def test_moving_a_slider_keeps_what_layers_have_of_their_own():
    step = Step.of("quantize", "uniform", {"weight_bits": 4}, {"a": {"weight_bits": 8}})
    assert step.with_values({"weight_bits": 3}).own == {"a": {"weight_bits": 8}}
    assert step.with_layer("a", {}).layers == ()
    assert step.with_layer("b", {"weight_bits": 2}).own["b"] == {"weight_bits": 2}
    assert json.loads(Recipe((step,)).to_json())["steps"][0]["layers"] == {"a": {"weight_bits": 8}}
