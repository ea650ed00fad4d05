"""Layer by layer: every number against one counted by hand, and their sums against the ledger's."""

from __future__ import annotations

from dataclasses import replace

import layered
import numpy as np
import pytest
import torch
from conftest import prune, quantize, recipe

from core.deploy.graph import assemble
from core.deploy.pack import ledger, pack
from core.engine.context import Context
from core.engine.grid import fake_quantize
from core.engine.network import fold, load_network
from core.engine.runtime import session
from core.engine.transform import transform
from core.errors import TemperError
from core.figures.layer_map import Harm, layer_map_chart
from core.figures.sensitivity import change, harm_at, sensitivity_chart
from core.figures.weights import weights_chart
from core.layers import probe as probes
from core.layers.layer_weights import bit_costs, input_range, layer_weights
from core.layers.layerwise import DIED, layerwise, reference, signal_to_noise
from core.layers.sensitivity import known, sensitivity
from core.models.handle import graph_of_model, parameter_count
from core.models.samples import load_sample
from core.recipe import Recipe, Step

CHANNELS = Step.of("prune", "channels-magnitude", {"sparsity": 0.5})
RECIPES = {
    "untouched": Recipe(),
    "pruned": recipe(prune(0.5)),
    "both": recipe(prune(0.5), quantize(4, 8)),
    "channels": recipe(CHANNELS, quantize(4, 8)),
    "half": recipe(quantize(16, 16)),
    "affine": recipe(prune(0.9), quantize(3, 32, scheme="affine", granularity="tensor")),
}
NAMES = ("fashion-resnet", "spam-mail", "sentiment", "diamonds")


@pytest.mark.parametrize("case", RECIPES)
@pytest.mark.parametrize("name", NAMES)
def test_the_layers_add_up_to_the_ledger_and_the_card(name, case):
    model, data = load_sample(name)
    found = layerwise(model, data, RECIPES[case])
    network = transform(model, data, RECIPES[case])[0]
    assert found.packed == ledger(network).packed
    assert found.original_packed == ledger(load_network(model)).packed
    assert sum(one.original_multiply_adds for one in found.layers) == graph_of_model(model).multiply_adds()
    assert all((one.multiply_adds == 0) == (one.kind == "embedding") for one in found.layers)
    held = sum(one.original_parameters for one in found.layers)
    assert held <= parameter_count(model)
    if name in ("fashion-resnet", "spam-mail", "diamonds"):
        assert held == parameter_count(model), "these have no weights outside their layers"
    zero = sum(one.sparsity * np.prod(one.shape) for one in found.layers)
    assert zero / sum(np.prod(one.shape) for one in found.layers) == pytest.approx(network.sparsity)
    arrays = pack(network)
    for one in found.layers:
        alone = sum(a.nbytes for key, a in arrays.items() if key.startswith(f"{one.name}.weight"))
        now = [cost for cost in bit_costs(model, data, RECIPES[case], one.name) if cost.bits == one.bits]
        assert [cost.total for cost in now] == [alone], "at the present width the reckoning is what is stored"


def test_numbers_of_one_layer_by_hand(small):
    model, data = small
    found = layerwise(model, data, RECIPES["both"])
    network, plain = transform(model, data, RECIPES["both"])[0], load_network(model)
    first, layer = found.layers[0], plain.layers[0]
    before, after = fold(plain).tensors[layer.weight].double(), network.tensors[layer.weight].double()
    assert first.shape == tuple(after.shape) and first.channels == first.original_channels == len(after)
    assert first.sqnr_db == pytest.approx(
        float(10 * torch.log10(before.square().sum() / (before - after).square().sum()))
    )
    assert first.bits == 4 and first.sparsity == float((after == 0).double().mean())
    assert first.multiply_adds == after.numel(), "a linear layer uses each weight once"
    assert [one.sqnr_db for one in layerwise(model, data, Recipe()).layers] == [None] * len(found.layers)
    assert {one.bits for one in layerwise(model, data, Recipe()).layers} == {32}
    assert {one.bits for one in layerwise(model, data, RECIPES["half"]).layers} == {16}


def test_noise_is_what_changed():
    before = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    assert signal_to_noise(before, before.clone()) is None
    assert signal_to_noise(torch.zeros(2), torch.ones(2)) is None
    assert signal_to_noise(before, torch.tensor([[3.0, 3.5], [0.0, 0.0]])) == pytest.approx(20.0)


def test_channels_that_left_are_no_noise(pictures):
    model, data = pictures
    only = layerwise(model, data, recipe(CHANNELS))
    assert {one.sqnr_db for one in only.layers} == {None}
    assert any(one.channels < one.original_channels for one in only.layers)
    assert any(
        one.shape != one.original_shape and one.multiply_adds < one.original_multiply_adds for one in only.layers
    )
    rounded = layerwise(model, data, RECIPES["channels"])
    before = reference(model, data, RECIPES["channels"])
    for one in rounded.layers:
        assert tuple(before.tensors[f"{one.name}.weight"].shape) == one.shape
        assert 5 < one.sqnr_db < 40


def test_a_layer_that_died_says_so(small, monkeypatch):
    model, data = small
    plain = load_network(model)
    first, last = plain.layers[0].weight, plain.layers[-1].weight
    holed = plain.tensors[last].clone()
    holed[0] = 0
    broken = plain.with_tensors({first: torch.zeros_like(plain.tensors[first]), last: holed}).after("broken")
    monkeypatch.setattr("core.layers.layerwise.transform", lambda m, d, r: (broken if r.steps else plain, ()))
    found = layerwise(model, data, recipe(prune(0.5)))
    dead, between, holed_one = found.layers[0], found.layers[1], found.layers[-1]
    assert (dead.warning, dead.dead, dead.sparsity, dead.sqnr_db) == (DIED, dead.channels, 1, 0)
    assert (between.warning, between.dead) == ("", 0)
    assert holed_one.dead == 1 and holed_one.warning == f"1 of {holed_one.channels} channels are all zero"


def test_weights_lie_on_the_levels_of_their_channel(pictures):
    model, data = pictures
    asked = recipe(quantize(4, 8, range="percentile", percentile=95.0))
    network = transform(model, data, asked)[0]
    weight = network.tensors["stem.0.weight"]
    before = reference(model, data, asked).tensors["stem.0.weight"]
    for channel in (0, len(weight) - 1):
        seen = layer_weights(model, data, asked, "stem.0", channel)
        assert len(seen.levels) == 15 and seen.grid_channel == channel and seen.n == weight[channel].numel()
        far = np.abs(weight[channel].flatten().numpy()[:, None] - seen.levels[None]).min(1)
        assert far.max() < 1e-6 * np.abs(seen.levels).max()
    whole = layer_weights(model, data, asked, "stem.0")
    assert whole.grid_channel == int(weight.abs().flatten(1).amax(1).argmax())
    assert whole.original.sum() == pytest.approx(1) and whole.tempered.sum() == pytest.approx(1)
    grid = network.grids["stem.0.weight"]
    ends = (grid.high + 0.5) * grid.scale
    expected = (before.abs() > ends.reshape(-1, 1, 1, 1)).float().mean()
    assert whole.clipped == pytest.approx(float(expected), abs=1e-6) and whole.clipped > 0
    assert torch.equal(fake_quantize(before, grid), weight)
    assert not len(layer_weights(model, data, Recipe(), "stem.0").levels)


def test_what_a_layer_reads_is_seen_on_calibration_examples(small):
    model, data = small
    asked = recipe(quantize(8, 4, range="percentile", percentile=90.0))
    network = transform(model, data, asked)[0]
    first = input_range(model, data, asked, network.layers[0].name)
    values = Context(data, 0).activations(network, 256)["input"].numpy()
    grid = network.activations["input"]
    low = (grid.low - int(grid.zero_point) - 0.5) * float(grid.scale)
    high = (grid.high - int(grid.zero_point) + 0.5) * float(grid.scale)
    assert first.beyond == pytest.approx(((values < low) | (values > high)).mean(), abs=1e-3) and first.beyond > 0.02
    assert (first.low, first.high) == (values.min(), values.max())
    assert input_range(model, data, recipe(prune(0.5)), network.layers[0].name) is None
    mail, mails = load_sample("spam-mail")
    assert input_range(mail, mails, RECIPES["both"], "embedding") is None, "ids are not rounded"


def test_what_is_not_there_is_a_sentence(small):
    with pytest.raises(TemperError, match="No layer is called 'conv9'"):
        layer_weights(*small, Recipe(), "conv9")
    with pytest.raises(TemperError, match="numbered 0 to"):
        layer_weights(*small, Recipe(), "body.0", 10_000)


def test_the_original_is_left_as_it_was(small):
    model, data = small
    before = {name: tensor.clone() for name, tensor in load_network(model).tensors.items()}
    layerwise(model, data, RECIPES["both"])
    layer_weights(model, data, RECIPES["both"], "body.0")
    assert all(torch.equal(before[name], tensor) for name, tensor in load_network(model).tensors.items())
    assert session(assemble(load_network(model))) is not None


def test_a_probe_measures_in_the_background_and_can_be_cancelled(monkeypatch):
    model, data = load_sample("breast-cancer")
    made = probes.Probe(model, data, (2, 5))
    assert made.found() is None and known(model, data, (2, 5)) is None
    made.start().join(60)
    assert made.state == "done" and made.found() == sensitivity(model, data, (2, 5))
    assert probes.probe(model, data) is probes.probe(model, data)
    left = probes.Probe(model, data, (2, 6))
    seen = []

    def slow(_model, _data, _bits, progress):
        left.cancel()
        progress(0.5)
        seen.append("went on")

    monkeypatch.setattr(probes, "sensitivity", slow)
    left.start().join(60)
    assert left.state == "cancelled" and not seen and left.found() is None

    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(probes, "sensitivity", broken)
    left.start().join(60)
    assert left.state == "failed" and "ZeroDivisionError" in left.note


def by_uid(chart):
    return {trace.uid: trace for trace in chart.figure.data}


def test_the_map_draws_what_the_table_says():
    found = layered.MAPS["two"]["found"]
    chart = layer_map_chart(found, "sqnr")
    traces = by_uid(chart)
    assert list(traces["bytes-tempered"].x) == chart.table["Packed, bytes"].tolist() == [100, 900]
    assert list(traces["bytes-original"].x) == chart.table["Original packed, bytes"].tolist()
    assert list(traces["targets-x"].customdata) == ["stem <b>", "blocks.1.conv"]
    shares = [
        max(row[0] for row in pair if row[0] is not None)
        for pair in zip(*(traces[f"cells-{c}"].z for c in ("#000000", "#FFFFFF")), strict=True)
    ]
    assert shares[1] > shares[0], "the lower SQNR is the darker"
    assert "of blocks.1.conv at 4 bits" in chart.caption and "holds 87" in chart.caption
    assert "every weight of head is zero" in layer_map_chart(**layered.MAPS["died"]).caption
    harm = Harm(
        "Accuracy at 4 bits",
        {"stem <b>": 0.1, "blocks.1.conv": -0.1},
        {"stem <b>": "−10 points", "blocks.1.conv": "+10 points"},
        "is the most sensitive, {} in Accuracy",
    )
    drawn = layer_map_chart(found, "sensitivity", measured={"sensitivity": harm})
    assert "stem <b> is the most sensitive, −10 points in Accuracy" in drawn.caption
    assert "not known yet" in layer_map_chart(found, "sensitivity").caption
    marked = layer_map_chart(found, "bits", own={"blocks.1.conv": "weight bits 8"})
    assert (
        "1 layer has settings of its own (◆)" in marked.caption and marked.figure.layout.yaxis.ticktext[1][0] == "◆"
    )
    assert marked.table["Of its own"].tolist() == ["", "weight bits 8"]


def test_sensitivity_shows_the_headline(small):
    found = sensitivity(*small, (2, 4))
    chart = sensitivity_chart(found)
    worst = min(found.effects, key=lambda e: e.changes["accuracy"].value)
    assert worst.layer in chart.caption and f"at {worst.bits} bits" in chart.caption
    rho = found.rank_correlation("accuracy", 2)
    assert rho is None or f"{rho:+.2f}".replace("-", "−") in chart.caption
    assert len(chart.table) == len(found.effects)
    at = harm_at(found, 4)
    assert at.values == {e.layer: -e.changes["accuracy"].value for e in found.effects if e.bits == 4}
    numbers = layered.ALONE["numbers"]["effects"]
    assert change(numbers, numbers.effects[0]) == pytest.approx(148**0.5 - 10), "of a root, the difference of roots"
    assert "in RMSE" in sensitivity_chart(numbers).caption


def test_many_levels_are_a_band_and_a_tall_bar_is_cut():
    few, many = (weights_chart(layered.WEIGHTS[case]["weights"]) for case in ("few levels", "many levels"))
    assert len(by_uid(few)["levels"].x) == 3 * 15 and not few.figure.layout.shapes
    assert not by_uid(many)["levels"].x and len(many.figure.layout.shapes) == 1
    assert few.figure.layout.yaxis.range[1] < 90 and "around zero" in few.figure.layout.annotations[-1].text
    assert "channel 3" in few.caption and "2.00" in few.caption
    assert (
        replace(layered.WEIGHTS["float"]["weights"]).bits == 32
        and "no grid" in weights_chart(**layered.WEIGHTS["float"]).caption
    )
