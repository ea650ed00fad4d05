"""Float formats and groups: levels against PyTorch's own casts and the published ones, and files that hold them."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
import torch
from conftest import prune, quantize, recipe
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from test_second_order import correlated, noise, pair  # noqa: F401  (a fixture)
from torch import nn

from core.data.handle import load_split
from core.deploy.check import ship
from core.deploy.graph import INPUT, OUTPUT, assemble
from core.deploy.latency import words
from core.deploy.pack import ledger, pack, unpack_weight
from core.engine.grid import dequantize, fake_quantize, from_levels, from_limits
from core.engine.grid import quantize as to_integers
from core.engine.levels import levels
from core.engine.network import fold, load_network
from core.engine.runtime import session
from core.engine.transform import transform
from core.layers.gram import moments
from core.layers.layer_weights import bit_costs, layer_weights
from core.layers.layerwise import bits_of, layerwise
from core.models.samples import load_sample
from core.quantizers._rounding import _integers
from core.recipe import Step

CASTS = {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}
FORMATS = ("bf16", "e4m3", "e5m2", "nf4", "e2m1")
# As printed in appendix E of QLoRA (arXiv 2305.14314).
NF4 = [
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
]  # fmt: skip


def stored_as(name: str, **layers: str) -> Step:
    own = {layer.replace("__", "."): {"format": kind} for layer, kind in layers.items()}
    return Step.of("quantize", "float", {"format": name}, own)


# --- values --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASTS)
def test_eight_bit_levels_and_rounding_are_pytorchs_bit_for_bit(name):
    every = torch.arange(256, dtype=torch.uint8).view(CASTS[name]).float()
    assert torch.equal(levels(name).values, every[every.isfinite()].unique())
    middles = (levels(name).values[1:] + levels(name).values[:-1]) / 2  # ties decide half-to-even
    spread = torch.randn(20_000, generator=torch.Generator().manual_seed(0)) * torch.logspace(-7, 2, 20_000)
    top = levels(name).values[-1]
    x = torch.cat([middles, levels(name).values, spread]).clamp(-top, top)
    grid = from_levels(top, levels(name), None)
    assert grid.scale == 1
    assert torch.equal(fake_quantize(x, grid), x.to(CASTS[name]).float())
    assert fake_quantize(torch.tensor([1e9, -1e9]), grid).tolist() == [top, -top]


def test_normal_float_has_the_published_levels():
    np.testing.assert_allclose(levels("nf4").values.numpy(), NF4, atol=1e-6)
    assert levels("nf4").zero == 7 and levels("nf4").bits == 4
    assert levels("e2m1").values.tolist() == [-6, -4, -3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3, 4, 6]


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(["e4m3", "e5m2", "nf4", "e2m1"]), seed=st.integers(0, 10**6), size=st.floats(1e-20, 1e20))
def test_rounding_is_to_the_nearest_level_and_stays(name, seed, size):
    x = torch.randn(3, 70, generator=torch.Generator().manual_seed(seed)) * size
    x[0, 3] = 0
    grid = from_levels(torch.nn.functional.pad(x.abs(), (0, 26)).reshape(3, 3, 32).amax(2), levels(name), 0, 32)
    once = fake_quantize(x, grid)
    assert torch.equal(to_integers(once, grid), to_integers(x, grid)) and once[0, 3] == 0
    scale = grid.scale.repeat_interleave(32, 1)[:, :70, None]
    nearest = (levels(name).values * scale - x[:, :, None]).abs().amin(2)
    torch.testing.assert_close((once - x).abs(), nearest, rtol=1e-5, atol=1e-6 * size)


def test_formats_round_trained_weights_as_casts_do():
    model, data = load_sample("fashion-small")
    true = fold(load_network(model)).tensors
    made = {name: transform(model, data, recipe(stored_as(name)))[0] for name in FORMATS}
    for weight in made["bf16"].weight_names:
        assert torch.equal(made["bf16"].tensors[weight], true[weight].bfloat16().float())
        for name, kind in CASTS.items():
            scale = true[weight].abs().flatten(1).amax(1) / torch.finfo(kind).max
            scale = scale.reshape(-1, *[1] * (true[weight].ndim - 1))
            cast = (true[weight] / scale).clamp(-torch.finfo(kind).max, torch.finfo(kind).max).to(
                kind
            ).float() * scale
            assert torch.equal(made[name].tensors[weight], cast)
        flat = torch.nn.functional.pad(true[weight].flatten(), (0, -true[weight].numel() % 64)).reshape(-1, 64)
        largest = flat.abs().amax(1, keepdim=True)
        table = levels("nf4").values
        wanted = table[(flat[:, :, None] / largest[:, :, None] - table).abs().argmin(2)] * largest
        assert torch.equal(made["nf4"].tensors[weight].flatten(), wanted.flatten()[: true[weight].numel()])


# --- what holds them -----------------------------------------------------------------------------------------------

GROUPS = {"group 32": {"granularity": "group", "group": 32}, "affine": {"granularity": "group", "scheme": "affine"}}
RECIPES = {
    **{name: recipe(stored_as(name)) for name in FORMATS},
    "sparse nf4": recipe(prune(0.8), stored_as("nf4")),
    **{f"W4 {name}": recipe(quantize(4, 32, **more)) for name, more in GROUPS.items()},
    "sparse W3A8 affine": recipe(prune(0.8), quantize(3, 8, **GROUPS["affine"])),
}


PROGRAMS = ("bf16", "nf4", "sparse W3A8 affine")  # PyTorch takes a second for each


@pytest.mark.parametrize(
    ("which", "form"), [*((w, f) for w in RECIPES for f in ("onnx", "packed")), *((w, "pt2") for w in PROGRAMS)]
)
def test_rows_of_numbers_leave_verified(which, form):
    model, data = load_sample("breast-cancer")
    assert ship(model, data, RECIPES[which], form).checked.verified


@pytest.mark.parametrize("which", ["bf16", "e4m3", "nf4", "W4 affine"])
def test_texts_leave_verified_embedding_and_all(which):
    model, data = load_sample("spam-mail")
    assert ship(model, data, RECIPES[which], "onnx").checked.verified


@pytest.mark.parametrize("which", ["e5m2", "nf4", "bf16", "sparse W3A8 affine"])
def test_files_of_convolutions_compute_what_the_screen_does(which):
    model, data = load_sample("fashion-small")
    network, _ = transform(model, data, RECIPES[which])
    inputs = load_split(data, "calibration").inputs[:32]
    screen, file = (
        session(assemble(network, compact=way)).run([OUTPUT], {INPUT: inputs})[0] for way in (False, True)
    )
    # The very same floats; beside rounded activations a last bit may move a value by a level.
    np.testing.assert_allclose(file, screen, atol=(0.05 if network.activations else 1e-5) * np.abs(screen).max())


@pytest.mark.parametrize("which", RECIPES)
def test_packed_weights_come_back_exactly_and_every_byte_is_counted(which):
    for sample in ("fashion-small", "breast-cancer"):
        model, data = load_sample(sample)
        network, _ = transform(model, data, RECIPES[which])
        arrays = pack(network)
        for name in network.weight_names:
            assert torch.equal(unpack_weight(network, name, arrays), network.tensors[name]), name
            assert not network.tensors[name][~network.masks[name]].any() if network.masks else True
        assert ledger(network).packed == sum(array.nbytes for array in arrays.values())
        assert layerwise(model, data, RECIPES[which]).packed == ledger(network).packed


def test_four_bits_are_four_bits_and_a_block_costs_a_scale():
    model, data = load_sample("breast-cancer")
    network, (said,) = transform(model, data, recipe(stored_as("nf4")))
    count = [network.tensors[name].numel() for name in network.weight_names]
    assert ledger(network).weights == sum(-(-n // 2) for n in count)
    assert ledger(network).grids == sum(4 * -(-n // 64) for n in count) + 16 * 4  # and the sixteen levels, once
    assert 19 < said["sqnr_db"] < 23
    file = onnx.load_from_string(ship(model, data, recipe(stored_as("nf4")), "onnx").content)
    held = {t.name: t for t in file.graph.initializer}
    codes = [t for name, t in held.items() if name.endswith(".weight/q")]
    assert len(codes) == len(count) and all(t.data_type == onnx.TensorProto.UINT4 for t in codes)
    np.testing.assert_array_equal(numpy_helper.to_array(held["levels/nf4"]), levels("nf4").values.numpy())
    assert not any(node.op_type == "DequantizeLinear" for node in file.graph.node)


def test_layers_may_differ_and_the_name_says_the_format():
    model, data = load_sample("fashion-small")
    of = recipe(stored_as("nf4", stem__0="float32", head="e4m3", blocks__0__conv1="bf16"))
    network, _ = transform(model, data, of)
    bits = {layer.name: bits_of(network, layer) for layer in network.layers}
    assert (bits["stem.0"], bits["head"], bits["blocks.0.conv1"], bits["blocks.1.conv1"]) == (32, 8, 16, 4)
    assert "NF4" in of.notation and recipe(stored_as("e4m3")).notation == "FP8 e4m3"
    assert recipe(stored_as("float32")).simplified() == recipe()
    again, _ = transform(model, data, recipe(stored_as("bf16"), quantize(8, 32), stored_as("nf4")))
    assert not again.half and not again.brain and all(grid.levels for grid in again.grids.values())


def test_the_layers_page_draws_the_levels_of_the_widest_group():
    model, data = load_sample("fashion-small")
    seen = layer_weights(model, data, recipe(stored_as("nf4")), "blocks.1.conv1")
    largest = transform(model, data, recipe(stored_as("nf4")))[0].grids["blocks.1.conv1.weight"].scale.max()
    np.testing.assert_allclose(seen.levels, np.array(NF4) * float(largest), rtol=1e-5, atol=1e-7)
    assert (seen.bits, seen.clipped, seen.grid_group) == (4, 0, 64)
    for which in ("e5m2", "sparse W3A8 affine"):
        for channel in (None, 3):
            seen = layer_weights(model, data, RECIPES[which], "blocks.1.conv1", channel)
            assert len(seen.levels) in (8, 247) and (np.diff(seen.levels) > 0).all()
        cost = next(c for c in bit_costs(model, data, RECIPES[which], "blocks.1.conv1") if c.bits == seen.bits)
        facts = layerwise(model, data, RECIPES[which]).find("blocks.1.conv1")
        assert cost.total == facts.packed - 4 * facts.channels, "beside the bias"


def test_groups_beside_rounded_activations_compute_in_float_and_say_so():
    model, data = load_sample("fashion-small")
    network, _ = transform(model, data, recipe(quantize(8, 8, granularity="group", group=32)))
    whole = [name for name in network.weight_names if network.tensors[name][0].numel() <= 32]
    assert whole and all(network.grids[name].integral == (name in whole) for name in network.weight_names)
    assert "computed as float" in words(network)
    held = {t.name for t in assemble(network).graph.initializer}
    assert all((name in held) != (name in whole) for name in network.weight_names)


# --- groups --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["symmetric", "affine"])
def test_groups_are_grids_of_their_own_and_never_worse_together(scheme):
    model, data = load_sample("fashion-small")
    grouped_, plain = (
        transform(model, data, recipe(quantize(4, 32, scheme=scheme, **more)))
        for more in ({"granularity": "group", "group": 32}, {})
    )
    assert grouped_[1][0]["sqnr_db"] > plain[1][0]["sqnr_db"] + 0.5
    weight = fold(load_network(model)).tensors["blocks.2.conv2.weight"]
    rows = weight.reshape(len(weight), -1)
    alone = []
    for start in range(0, rows.shape[1], 32):
        part = rows[:, start : start + 32]
        alone.append(fake_quantize(part, from_limits(part.amin(1), part.amax(1), 4, scheme == "symmetric", 0)))
    assert torch.equal(grouped_[0].tensors["blocks.2.conv2.weight"], torch.cat(alone, 1).reshape(weight.shape))


@pytest.mark.parametrize("way", ["gptq", "adaround"])
@pytest.mark.parametrize("scheme", ["symmetric", "affine"])
def test_better_rounding_keeps_to_the_grids_of_groups(way, scheme, pair):  # noqa: F811
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 6))
    inputs = noise(60, 4, 4, 4)
    inputs[:, 1] += inputs[:, 0]  # inputs that go together are what rounding can use
    model, data = pair(module, inputs)
    given_ = {"granularity": "group", "group": 32, "scheme": scheme}
    step = quantize(3, 32, rounding=way, **given_)
    network, (_, said) = transform(model, data, recipe(prune(0.3), step))
    assert all(grid.group == 32 for grid in network.grids.values())
    for name, grid in network.grids.items():
        tensor = network.tensors[name]
        assert torch.equal(dequantize(to_integers(tensor, grid), grid), tensor)
        assert not tensor[~network.masks[name]].any()
    assert all(after < 0.9 * before for before, after in said["output_error"].values())


def test_gptq_with_a_scale_an_input_follows_the_same_recursion():
    """Columns whose scale differs, settled one by one with the closed-form update of all that follow."""
    weight, second = correlated(3, 1, 4, 12, 50)
    weight = weight.float().reshape(4, 12)
    grid = from_limits(-weight.abs().reshape(4, 3, 4).amax(2), weight.abs().reshape(4, 3, 4).amax(2), 3, True, 0, 4)
    found, share = _integers(weight, grid, second, "gptq")
    h = second[0] + share * second[0].diagonal().mean() * torch.eye(12, dtype=torch.float64)
    left = torch.argsort(second[0].diagonal(), descending=True)
    scale = grid.scale.double().repeat_interleave(4, 1)
    w, integers = weight.double().clone(), torch.zeros(4, 12, dtype=torch.float64)
    while len(left):
        inverse = torch.linalg.inv(h[left][:, left])
        k = left[0]
        integers[:, k] = (w[:, k] / scale[:, k]).round().clamp(-3, 3)
        off = (w[:, k] - integers[:, k] * scale[:, k]) / inverse[0, 0]
        w[:, left] -= off[:, None] * inverse[0]
        left = left[1:]
    assert torch.equal(found[0], integers)
    assert not torch.equal(integers, to_integers(weight, grid).double()), "and not to nearest"


def test_a_file_names_what_a_reader_needs(tmp_path):
    model, data = load_sample("breast-cancer")
    content = ship(model, data, recipe(stored_as("nf4")), "packed").content
    (tmp_path / "a.safetensors").write_bytes(content)
    from safetensors import safe_open

    with safe_open(tmp_path / "a.safetensors", "np") as file:
        said = json.loads(file.metadata()["temper"])["weights"]
        assert "levels/nf4" in file.keys()  # noqa: SIM118
    assert all(one["levels"] == "nf4" and one["group"] == 64 and one["zero"] == 7 for one in said.values())
    assert next(moments(load_network(model), data))
