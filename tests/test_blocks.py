"""Residual blocks that leave: which they are, what remains computes what it should, and every way out carries it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import prune, quantize, recipe
from safetensors.torch import save_file
from test_channels import alive, conv, pooled
from torch import nn

from core import fingerprint
from core.data.handle import load_split, split_for_fitting
from core.deploy.check import ship
from core.deploy.devices import work
from core.deploy.graph import assemble
from core.engine.evaluate import evaluate
from core.engine.network import load_network
from core.engine.runtime import predictor
from core.engine.transform import transform
from core.errors import TemperError
from core.figures.takeaway import remains
from core.layers.layerwise import layerwise
from core.models.blocks import blocks_of
from core.models.export import exported
from core.models.graph import graph_of, save_structure
from core.models.samples import load_sample
from core.recipe import Step
from core.registry import method, methods


def blocks(share: float) -> Step:
    return Step.of("prune", "blocks", {"sparsity": share})


class Residual(nn.Module):
    """`relu(x + f(x))` as in a ResNet, the shortcut the identity where the shape stays; `scale` is how loud f is."""

    def __init__(self, a: int, b: int, scale: float = 1.0):
        super().__init__()
        self.first, self.norm, self.second = conv(a, b, bias=False), nn.BatchNorm2d(b), conv(b, b)
        self.shortcut = nn.Identity() if a == b else conv(a, b, 1)
        self.second.weight.data *= scale
        self.second.bias.data *= scale

    def branch(self, x):
        return self.second(torch.relu(self.norm(self.first(x))))

    def forward(self, x):
        return torch.relu(self.branch(x) + self.shortcut(x))


class Deep(nn.Module):
    """Four blocks, three of which could go; the second is the quietest, the fourth the loudest."""

    def __init__(self):
        super().__init__()
        self.stem, self.pool = conv(1, 6), nn.MaxPool2d(4)
        self.body = nn.Sequential(Residual(6, 6), Residual(6, 6, 0.05), Residual(6, 8), Residual(8, 8, 3.0))
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        return self.head(pooled(self.body(self.pool(torch.relu(self.stem(x))))))


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    torch.manual_seed(0)
    place, module = tmp_path_factory.mktemp("deep"), alive(Deep())
    graph = graph_of(exported(module, torch.zeros(1, 1, 28, 28)))
    weights, structure = place / "weights.safetensors", place / "graph.onnx"
    save_file({name: torch.from_numpy(array.copy()) for name, array in graph.tensors.items()}, weights)
    save_structure(graph, structure)
    model, data = load_sample("fashion-small")
    return module, replace(
        model, id="deep", architecture="deep", weights=weights, graph=structure,
        weights_fingerprint=fingerprint.of_file(weights), graph_fingerprint=fingerprint.of_file(structure),
    ), data  # fmt: skip


def logits(network, inputs):
    return predictor(assemble(network))(inputs)


@pytest.mark.parametrize(("share", "gone"), [(1 / 3, [1]), (0.67, [1, 0]), (1.0, [0, 1, 3])])
def test_what_remains_computes_what_the_module_does_without_them(share, gone, deep):
    module, model, data = deep
    network, (said,) = transform(model, data, recipe(blocks(share)))
    left = nn.Sequential(
        module.stem, nn.ReLU(), module.pool, *(b for i, b in enumerate(module.body) if i not in gone)
    )
    inputs = load_split(data, "evaluation").inputs[:32]
    expected = module.head(pooled(left(torch.tensor(inputs)))).numpy()
    np.testing.assert_allclose(logits(network, inputs), expected, atol=1e-5 * np.abs(expected).max())
    names = {f"body.{i}.{part}" for i in gone for part in ("first", "second")}
    assert {name for one in said["blocks"] if one["removed"] for name in one["layers"]} == names
    original = load_network(model)
    assert {one.name for one in original.layers} - {one.name for one in network.layers} == names
    assert not [name for name in network.tensors if name.startswith(tuple(f"body.{i}." for i in gone))]
    assert network.shrunk and said["parameters"][1] < said["parameters"][0]
    assert not any(n in {*names} for n in (one.name for one in work(network)))


def test_influence_is_one_less_the_cosine_of_what_goes_in_and_comes_out(deep):
    module, model, data = deep
    _, (said,) = transform(model, data, recipe(blocks(0.5)))
    inputs = split_for_fitting(data).inputs
    x = torch.from_numpy(inputs[np.linspace(0, len(inputs) - 1, 256).round().astype(int)])
    x = module.pool(torch.relu(module.stem(x)))
    for i, block in enumerate(module.body):
        y = block(x)
        if i != 2:
            found = next(one for one in said["blocks"] if f"body.{i}.first" in one["layers"])
            expected = 1 - torch.cosine_similarity(x.flatten(1), y.flatten(1)).mean()
            assert found["influence"] == pytest.approx(float(expected), abs=1e-5)
        x = y


def test_a_transformers_branches_are_blocks_and_its_mask_stays():
    model, data = load_sample("sentiment")
    network = load_network(model)
    found = blocks_of(assemble(network), network.shapes, network.weight_names)
    assert [len(block.weights) for block in found] == [4, 2, 4, 2]
    whole, (said,) = transform(model, data, recipe(blocks(1.0)))
    assert [layer.name for layer in whole.layers] == ["embedding", "head"]
    assert all(one["removed"] for one in said["blocks"])
    first = min(said["blocks"], key=lambda one: one["influence"])
    quarter, (said,) = transform(model, data, recipe(blocks(0.25)))
    assert [one["layers"] for one in said["blocks"] if one["removed"]] == [first["layers"]]
    inputs = load_split(data, "evaluation").inputs[:8]
    assert np.isfinite(logits(quarter, inputs)).all()


@pytest.mark.parametrize("which", ["fashion-resnet", "breast-cancer"])
def test_where_there_are_none_it_is_said_and_nothing_changes(which):
    model, data = load_sample(which)
    assert "no residual block" in method("prune", "blocks").why_not(model)
    network, (said,) = transform(model, data, recipe(blocks(0.5)))
    assert said["warning"] and said["blocks"] == []
    assert network.tensors.keys() == load_network(model).tensors.keys() and not network.edits


def test_steps_before_and_after_work_on_what_is_there(deep):
    _, model, data = deep
    channels = Step.of("prune", "channels-magnitude", {"sparsity": 0.5, "multiple": 1})
    for steps in (
        (prune(0.5), blocks(0.67), quantize(8, 8)),
        (channels, blocks(0.67), Step.of("repair", "batch-norm")),
        (blocks(0.34), channels, quantize(4, 8, rounding="gptq"), Step.of("repair", "bias")),
        (blocks(0.34), blocks(0.5), prune(0.5, "fisher")),
    ):
        network, _ = transform(model, data, recipe(*steps))
        assert network.masks.keys() <= network.tensors.keys()
        assert logits(network, load_split(data, "evaluation").inputs[:3]).shape == (3, 10)
    assert len(network.layers) == len(load_network(model).layers) - 4, "one block of three, then one of two"
    with pytest.raises(TemperError, match="after quantization"):
        transform(model, data, recipe(quantize(8, 8), blocks(0.5)))


def test_the_ledger_the_layers_and_the_words_agree(deep):
    _, model, data = deep
    made = recipe(blocks(0.67))
    result, found = evaluate(model, data, made), layerwise(model, data, made)
    assert made.notation == "67 % of blocks"
    assert found.packed == result.bytes.packed < found.original_packed == result.original_bytes.packed
    assert set(found.gone) == {f"body.{i}.{part}" for i in (0, 1) for part in ("first", "second")}
    assert all(layer.sqnr_db is None for layer in found.layers), "what is left is what it was"
    assert remains(result).startswith("2 of 3 residual blocks are gone: ")


def test_values_that_are_not_numbers_keep_their_block(deep, monkeypatch):
    from core.pruners import blocks as module

    monkeypatch.setattr(module, "_influences", lambda *_: [torch.tensor(v) for v in (0.1, torch.nan, 0.2)])
    _, model, data = deep
    context = module.Context(data, 7)
    network, said = module.blocks(load_network(model), {"sparsity": 1.0}, context)
    assert [one["removed"] for one in said["blocks"]] == [True, False, True] and "1 blocks stay" in said["warning"]
    assert "body.1.first.weight" in network.tensors


@pytest.mark.parametrize("name", [m.name for m in methods("format")])
def test_every_format_carries_the_shallower_network(name, deep):
    _, model, data = deep
    try:
        made = ship(model, data, recipe(blocks(0.67), quantize(8, 8)), name)
    except TemperError as error:
        assert "use ONNX" in error.message
        return
    assert made.checked.verified, made.checked
