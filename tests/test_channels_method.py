"""Channel pruning as a step of a recipe: what it computes, what it counts, and the files that leave from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import prune, quantize, recipe
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from test_channels import Inverted, alive, conv
from torch import nn

from core import fingerprint
from core.data.handle import load_split
from core.deploy.check import declaration, parts_of, ship
from core.deploy.graph import assemble, template
from core.deploy.latency import kernel, latencies, words
from core.deploy.pack import pack, unpack_weight
from core.engine.context import Context
from core.engine.evaluate import evaluate, size
from core.engine.network import fold, load_network
from core.engine.runtime import predictor
from core.engine.transform import transform
from core.errors import TemperError
from core.figures.takeaway import remains
from core.models.export import exported
from core.models.graph import graph_of, save_structure
from core.models.handle import ModelHandle, weights_of
from core.models.samples import load_sample
from core.pruners._channels import dependencies_of, kept_count, squared_norms
from core.recipe import Recipe, Step
from core.registry import methods

FORMATS = [m.name for m in methods("format")]


def channels(sparsity: float, **more) -> Step:
    return Step.of("prune", "channels-magnitude", {"sparsity": sparsity, **more})


class Mobile(nn.Module):
    """Depthwise blocks and a reshape that states the number of channels: all that needs the structure edited."""

    def __init__(self):
        super().__init__()
        self.stem = conv(1, 16)
        self.body = nn.Sequential(nn.MaxPool2d(2), Inverted(16, 16, 1), Inverted(16, 24, 2), Inverted(24, 24, 1))
        self.head = nn.Linear(24 * 49, 10)

    def forward(self, x):
        return self.head(self.body(self.stem(x)).reshape(-1, 24, 49).reshape(-1, 24 * 49))


@pytest.fixture(scope="module")
def mobile(tmp_path_factory) -> ModelHandle:
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("mobile")
    graph = graph_of(exported(alive(Mobile()), torch.zeros(1, 1, 28, 28)))
    weights, structure = place / "weights.safetensors", place / "graph.onnx"
    save_file({name: torch.from_numpy(array.copy()) for name, array in graph.tensors.items()}, weights)
    save_structure(graph, structure)
    return replace(
        load_sample("fashion-small")[0], id="mobile", architecture="mobile", weights=weights, graph=structure,
        weights_fingerprint=fingerprint.of_file(weights), graph_fingerprint=fingerprint.of_file(structure),
    )  # fmt: skip


@pytest.fixture
def data():
    return load_sample("fashion-small")[1]


def logits(network, inputs):
    return predictor(assemble(network))(inputs)


@pytest.mark.parametrize("which", ["fashion-resnet", "mobile"])
@pytest.mark.parametrize("folded", [False, True])
def test_the_smaller_network_computes_what_the_zeroed_one_does(which, folded, mobile):
    model, data = load_sample("fashion-resnet" if which == "fashion-resnet" else "fashion-small")
    original = load_network(mobile if which == "mobile" else model)
    original = replace(fold(original), identity=f"{original.identity}-folded") if folded else original
    network, report = method()(original, channels(0.4).values, Context(data, 0))
    inputs = load_split(data, "evaluation").inputs[:64]
    found = dependencies_of(original)
    norms = squared_norms(original, found.groups)
    zero = {name: tensor.clone() for name, tensor in original.tensors.items()}
    for group, norm in zip(found.groups, norms, strict=True):
        if group.whole:
            continue
        gone = np.argsort(norm)[: group.size - kept_count(group.size, round(0.4 * group.size), 4)]
        for member in group.members:
            at = torch.from_numpy(member.at[np.isin(member.channel, gone)])
            zero[member.tensor].index_fill_(member.axis, at, 1.0 if member.tensor.endswith("running_var") else 0.0)
    expected = logits(replace(original, tensors=zero), inputs)
    # the same float32 products summed in another order; relative 6e-8 x sqrt of some 1,000 terms, ten layers deep
    np.testing.assert_allclose(logits(network, inputs), expected, atol=2e-5 * np.abs(expected).max())
    assert not np.allclose(expected, logits(original, inputs), atol=1e-2)
    assert network.shrunk and report["parameters"][1] < 0.6 * report["parameters"][0]
    names = template(network.model).points
    assert template(network.model, network.edits).points == names, "activation points keep their names"


def method():
    return next(m.function for m in methods("prune") if m.name == "channels-magnitude")


def test_the_least_filters_go_with_batch_norm_folded_in(pictures):
    model, data = pictures
    network, _ = transform(model, data, recipe(channels(0.5, multiple=1)))
    tensors, before = fold(load_network(model)).tensors, weights_of(model)
    size = tensors["blocks.0.conv1.weight"].square().sum((1, 2, 3))
    stays = sorted(torch.argsort(size)[len(size) // 2 :].tolist())
    left = torch.isin(torch.arange(8), _stem(model, data))
    kept = before["blocks.0.conv1.weight"][stays][:, left]
    assert torch.equal(network.tensors["blocks.0.conv1.weight"], kept)
    assert torch.equal(network.tensors["blocks.0.norm1.running_mean"], before["blocks.0.norm1.running_mean"][stays])


def _stem(model, data):
    """Places of the stem's rows that stay at 50 %."""
    size = fold(load_network(model)).tensors["stem.0.weight"].square().sum((1, 2, 3))
    return torch.argsort(size)[4:]


def test_across_the_network_norms_are_compared_to_their_group(pictures):
    model, data = pictures
    original = load_network(model)
    network, _ = transform(model, data, recipe(channels(0.3, scope="network", multiple=1)))
    groups = [g for g in dependencies_of(original).groups if not g.whole]
    relative = [norm / norm.mean() for norm in squared_norms(original, tuple(groups))]
    least = np.sort(np.concatenate(relative))[round(0.3 * sum(map(len, relative))) - 1]
    for group, norm in zip(groups, relative, strict=True):
        assert len(network.tensors[group.outputs[0]]) == max(int((norm > least).sum()), 1)


@given(st.integers(1, 600), st.floats(0, 0.95), st.sampled_from([1, 4, 8]))
def test_counts_kept_are_multiples_and_never_none(size, share, multiple):
    removed = round(share * size)
    kept = kept_count(size, removed, multiple)
    assert 1 <= kept <= size
    assert kept >= 0.02 * size
    assert removed > 0 or kept == size
    if removed and size >= 16:
        assert kept % multiple == 0
    if kept > size - removed:
        assert kept <= max(multiple, 0.02 * size + multiple), "more stays than was asked only at the floor"
    assert kept_count(size, min(removed + 1, size), multiple) <= kept


def test_steps_before_and_after_work_on_what_is_there(pictures):
    model, data = pictures
    alone, _ = transform(model, data, recipe(channels(0.5)))
    after, _ = transform(model, data, recipe(channels(0.5), prune(0.5), quantize(8, 8)))
    before, _ = transform(model, data, recipe(prune(0.5), channels(0.5), quantize(4, 32)))
    for network in (after, before):
        assert {n: t.shape for n, t in network.masks.items()} == {n: network.tensors[n].shape for n in network.masks}
        assert all((network.tensors[name][~mask] == 0).all() for name, mask in network.masks.items())
        assert network.sparsity > 0.2
    assert {n: after.tensors[n].shape for n in after.weight_names} == {
        n: alone.tensors[n].shape for n in after.weight_names
    }
    assert after.sparsity == pytest.approx(0.5, abs=0.05), (
        "half of the weights that are left; a few more round to zero"
    )
    twice, fitted = transform(model, data, recipe(channels(0.5), channels(0.5)))
    assert fitted[1]["parameters"][0] == fitted[0]["parameters"][1]
    assert len(twice.tensors["blocks.2.conv1.weight"]) == 16
    assert logits(twice, load_split(data, "evaluation").inputs[:3]).shape == (3, 10)


@pytest.mark.parametrize("bits", [(8, 8), (16, 32), (32, 16), (4, 32)])
def test_after_quantization_it_is_refused_in_one_sentence(bits, pictures):
    with pytest.raises(TemperError, match="after quantization") as raised:
        transform(*pictures, recipe(quantize(*bits), channels(0.5)))
    assert raised.value.hint


def test_two_steps_on_a_depthwise_network(mobile, data):
    network, fitted = transform(mobile, data, recipe(channels(0.5), channels(0.5), quantize(8, 8)))
    assert dict(network.edits), "depthwise groups and reshapes are put right"
    found = [len(network.tensors[n]) for n in network.weight_names]
    assert found[-1] == 10
    assert logits(network, load_split(data, "evaluation").inputs[:3]).shape == (3, 10)
    little, _ = transform(mobile, data, recipe(channels(0.5), channels(0.02)))  # leaves most groups as they are
    assert logits(little, load_split(data, "evaluation").inputs[:3]).shape == (3, 10)
    assert fitted[1]["multiply_adds"][1] < fitted[1]["multiply_adds"][0] < fitted[0]["multiply_adds"][0]


def test_the_ledger_counts_smaller_tensors_against_the_original(pictures):
    model, data = pictures
    result = evaluate(model, data, recipe(channels(0.5)))
    network, _ = transform(model, data, recipe(channels(0.5)))
    assert result.bytes.dense == result.original_bytes.dense == sum(t.numel() * 4 for t in weights_of(model).values())
    assert result.bytes.packed == sum(t.numel() * 4 for t in network.tensors.values())
    assert result.bytes.masks == 0, "what is not there needs no mask"
    assert torch.equal(unpack_weight(network, "head.weight", pack(network)), network.tensors["head.weight"])


def test_a_shrunk_network_is_timed_as_itself(pictures, monkeypatch):
    from core.deploy import latency

    model, data = pictures
    timed = []

    def measure(networks, _):
        timed.append([kernel(n) for n in networks])
        return [latency.Latency(2.0 - i, 3.0, 4.0) for i in range(len(networks))]

    monkeypatch.setattr(latency, "_measure", measure)
    latency.RESULTS.clear()
    original, smaller = latencies(transform(model, data, recipe(channels(0.5)))[0], data)
    assert (original.p50, smaller.p50, smaller.note) == (2.0, 1.0, "")
    masked, _ = transform(model, data, recipe(channels(0.5), prune(0.5)))
    assert "smaller network" in latencies(masked, data)[1].note
    assert len(timed) == 1, "the same shapes run in the same time"
    other, _ = transform(model, data, recipe(channels(0.25)))
    assert kernel(other) != kernel(masked)
    assert words(other) == "" and "Simulated" in words(transform(model, data, recipe(prune(0.5)))[0])
    narrow, _ = transform(model, data, recipe(channels(0.5), quantize(4, 32)))
    assert kernel(narrow) == kernel(masked), "4-bit weights run as the float network of the same shapes"
    assert "4-bit weights are computed as float" in latencies(narrow, data)[1].note
    assert words(transform(model, data, recipe(channels(0.5), quantize(4, 8)))[0]).startswith("Simulated")
    assert words(transform(model, data, recipe(channels(0.5), quantize(4, 16)))[0]).startswith("Simulated")
    integer, _ = transform(model, data, recipe(channels(0.5), quantize(8, 8)))
    assert kernel(integer).startswith("int8-channel-") or words(integer)


def test_what_went_is_told_in_words_and_numbers(pictures):
    model, data = pictures
    made = recipe(channels(0.5), quantize(8, 8))
    assert made.notation == "50 % of channels · W8A8"
    result = evaluate(model, data, made)
    learned = result.fitted[0]
    assert learned["channels"]["head"] == [10, 10]
    assert learned["left_alone"] == [{"layers": ["head"], "channels": 10, "why": "they are the model's outputs"}]
    said = remains(result)
    assert f"{learned['parameters'][1]:,} of {learned['parameters'][0]:,} parameters" in said
    assert remains(evaluate(model, data, Recipe())) == ""


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("steps", [(channels(0.5),), (channels(0.5), quantize(8, 8))], ids=["float", "integer"])
def test_every_format_carries_the_smaller_network(name, steps, pictures):
    _ships(*pictures, name, steps)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_carries_a_smaller_depthwise_network(name, mobile, data):
    _ships(mobile, data, name, (channels(0.5),))


def _ships(model, data, name, steps):
    whole = recipe(*steps[1:])  # the same steps without the channels
    try:
        made = ship(model, data, recipe(*steps), name)
    except TemperError as error:
        assert "use ONNX" in error.message, "the one reason a format may have here"
        return
    assert made.checked.verified, made.checked
    full = len(declaration(made.method).make(parts_of(model, data, whole)))
    packed = [size(transform(model, data, of)[0]).packed for of in (whole, recipe(*steps))]
    # a file loses what the tensors lose, but for batch-norms, which it holds folded, and what it says of the graph
    assert full - len(made.content) > 0.9 * (packed[0] - packed[1]) > 0
