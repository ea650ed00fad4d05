"""Methods that look at the layers' inputs: their moments by hand, the optimum by brute force, what never happens."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision
from conftest import prune, quantize, recipe
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from test_channels import alive
from torch import nn

from core import fingerprint
from core.data.handle import DataHandle, Preprocessing, SplitHandle
from core.deploy.graph import assemble
from core.deploy.pack import pack, unpack_weight
from core.engine.context import Context
from core.engine.grid import Grid, dequantize, from_limits
from core.engine.grid import quantize as to_integers
from core.engine.memory import RESULTS, SCORES
from core.engine.network import fold, load_network
from core.engine.runtime import predictor
from core.engine.transform import transform
from core.errors import TemperError
from core.layers import gram
from core.layers.gram import moments
from core.layers.second_order import carry, damped, error, factor, grouped
from core.models.export import exported
from core.models.graph import graph_of, save_structure
from core.models.samples import load_sample
from core.pruners.sparsegpt import surgery
from core.pruners.wanda import ranks_by_row
from core.quantizers import _adaround
from core.quantizers._rounding import _integers
from core.registry import method
from core.task import task_of_classes

BOTH = ("gptq", "adaround")


@pytest.fixture(autouse=True)
def forget():
    RESULTS.clear()
    SCORES.clear()


@pytest.fixture
def pair(tmp_path):
    """A model and data of a module's own. There is no evaluation data: whoever reads it fails."""

    def made(module: nn.Module, inputs: np.ndarray):
        of = graph_of(exported(alive(module), torch.zeros(1, *inputs.shape[1:])))
        weights, structure, split = (tmp_path / name for name in ("weights.safetensors", "graph.onnx", "cal.npz"))
        save_file({name: torch.from_numpy(array.copy()) for name, array in of.tensors.items()}, weights)
        save_structure(of, structure)
        model = replace(
            load_sample("fashion-small")[0], id="own", architecture="own", weights=weights, graph=structure,
            input_shape=inputs.shape[1:], weights_fingerprint=fingerprint.of_file(weights),
            graph_fingerprint=fingerprint.of_file(structure),
        )  # fmt: skip
        pictures = inputs.ndim == 4
        np.savez(split, x=inputs.transpose(0, 2, 3, 1) if pictures else inputs, y=np.zeros(len(inputs), np.int64))
        plain = Preprocessing(1.0, (0.0,) * inputs.shape[1], (1.0,) * inputs.shape[1])
        here = SplitHandle("calibration", split, len(inputs), fingerprint.of_file(split))
        gone = SplitHandle("evaluation", tmp_path / "poisoned.npz", 9, "poisoned")
        kind = "pictures" if pictures else "table"
        return model, DataHandle("own", "Own", kind, task_of_classes(["a", "b"]), plain, (here, gone), "none", "none")

    return made


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def correlated(seed: int, groups: int, rows: int, width: int, columns: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A layer's weights `(G, R, K)` and moments of inputs that go together, as activations do."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    inputs = draw(groups, columns, width) @ draw(groups, width, width) + draw(groups, 1, width)
    return draw(groups, rows, width), inputs.mT @ inputs


# --- moments -------------------------------------------------------------------------------------------------------


CONVOLUTIONS = [
    {"kernel_size": 3}, {"kernel_size": 3, "padding": 1, "groups": 2}, {"kernel_size": 3, "stride": 2, "groups": 4},
    {"kernel_size": (3, 2), "padding": (2, 1), "stride": (1, 2)}, {"kernel_size": 3, "dilation": 2, "padding": 2},
    {"kernel_size": 1},
]  # fmt: skip


@pytest.mark.parametrize("given_", CONVOLUTIONS, ids=str)
def test_moments_equal_an_unfold_by_hand(given_, pair):
    torch.manual_seed(0)
    convolution = nn.Conv2d(4, 8, **given_)
    module = nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    inputs = noise(20, 4, 9, 7)
    model, data = pair(module, inputs)
    (_, seen), (_, last) = moments(load_network(model), data)
    more = {name: given_.get(name, default) for name, default in (("padding", 0), ("stride", 1), ("dilation", 1))}
    columns = nn.functional.unfold(torch.from_numpy(inputs).double(), given_["kernel_size"], **more)
    groups = given_.get("groups", 1)
    columns = (
        columns.reshape(20, groups, -1, columns.shape[2]).permute(1, 0, 3, 2).reshape(groups, -1, seen.power.shape[1])
    )
    assert seen.columns == seen.of == columns.shape[1]
    # float32 products summed over up to 1,260 columns
    torch.testing.assert_close(seen.second, columns.mT @ columns, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(seen.power, columns.square().sum(1), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(seen.mean, columns.mean(1), rtol=1e-5, atol=1e-6)
    hidden = module[:4](torch.from_numpy(inputs)).double()
    torch.testing.assert_close(last.second[0], hidden.T @ hidden, rtol=1e-4, atol=1e-5)


def test_same_padding_of_other_exporters_is_read_as_the_runtime_reads_it():
    for auto in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        for length, kernel, stride, dilation in itertools.product((7, 8, 9), (1, 2, 3), (1, 2), (1, 2)):
            window = gram.Window((kernel,), (stride,), (dilation,), (9, 9), auto)
            reach = (kernel - 1) * dilation + 1
            expected = -(-length // stride) if auto != "VALID" else (length - reach) // stride + 1
            if auto == "VALID" or reach >= stride:
                assert window.outputs((length,)) == (expected,)
    upper, lower = (gram.Window((2,), (1,), (1,), (0, 0), way).padding((5,)) for way in ("SAME_UPPER", "SAME_LOWER"))
    assert (upper, lower) == ([(0, 1)], [(1, 0)])


def test_the_error_is_that_of_the_layers_output(pair):
    """On the moments of a grouped, strided convolution, against the outputs themselves."""
    torch.manual_seed(1)
    convolution = nn.Conv2d(6, 9, 3, 2, 1, groups=3, bias=False)
    inputs = noise(12, 6, 8, 8)
    model, data = pair(nn.Sequential(convolution, nn.Flatten(), nn.Linear(144, 2)), inputs)
    (_, seen), _ = moments(load_network(model), data)
    change = torch.randn_like(convolution.weight) * 0.1
    moved = nn.functional.conv2d(torch.from_numpy(inputs), change, None, 2, 1, groups=3)
    found = error(grouped(change, 3), seen.second).flatten()
    torch.testing.assert_close(found, moved.double().square().sum((0, 2, 3)), rtol=1e-5, atol=1e-6)


def test_large_pictures_are_seen_evenly_and_it_is_said(pair, monkeypatch):
    monkeypatch.setattr(gram, "COLUMNS", 2_000)
    monkeypatch.setattr(gram, "UNFOLDED", 4 * 9 * 300)  # several parts
    ramp = np.tile(np.arange(40, dtype=np.float32), (50, 1, 40, 1)) / 40
    model, data = pair(
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)), ramp
    )
    (_, seen), _ = moments(load_network(model), data)
    assert (seen.columns, seen.of) == (2_000, 50 * 38 * 38)
    whole = nn.functional.unfold(torch.from_numpy(ramp).double(), 3)
    # A ramp along the rows: any place missed or favoured shows in the mean. 40 even places of 1,444 an example.
    torch.testing.assert_close(seen.mean[0], whole.mean((0, 2)), atol=0.01, rtol=0)


def test_passes_bound_the_matrices_and_change_nothing(pair, monkeypatch):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(12, 20), nn.ReLU(), nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 2))
    model, data = pair(module, noise(70, 12))
    expected = dict(moments(load_network(model), data))
    RESULTS.clear()
    for name, value in (("PASS", 8 * 20 * 20), ("KEPT", 0), ("FETCHED", 1)):
        monkeypatch.setattr(gram, name, value)
    for layer, seen in moments(load_network(model), data):
        torch.testing.assert_close(seen.second, expected[layer].second, rtol=1e-6, atol=1e-6)
    monkeypatch.setattr(gram, "LARGEST", 8 * 16 * 16)
    assert [bool(seen.why) for _, seen in moments(load_network(model), data)] == [False, True, False]
    network, (said,) = transform(model, data, recipe(quantize(3, 32, rounding="gptq")))
    assert "GiB" in said["skipped"]["2"] and list(said["skipped"]) == ["2"]
    assert torch.isfinite(network.tensors["2.weight"]).all()


# --- optimal brain surgery -----------------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(2, 9))
@settings(max_examples=25, deadline=None)
def test_the_factor_inverts_the_damped_moments(seed, groups, width):
    _, second = correlated(seed, groups, 1, width, 3 * width)
    upper, _ = factor(second)
    assert torch.equal(upper, upper.triu())
    identity = torch.eye(width, dtype=torch.float64).expand(groups, -1, -1)
    torch.testing.assert_close(upper.mT @ upper @ damped(second), identity, rtol=0, atol=1e-6)


@pytest.mark.parametrize("block", [1, 3, 128])
def test_removing_given_weights_equals_the_closed_form(block):
    """One weight at a time, `w -= w_p / [H^-1]_pp H^-1_p` on what is not settled yet (Hassibi and Stork 1992)."""
    weight, second = correlated(3, 1, 4, 7, 40)
    gone = torch.rand(4, 7, generator=torch.Generator().manual_seed(0)) < 0.5
    upper, _ = factor(second)
    found = carry(weight, upper, lambda k, values: values * ~gone[:, k], block=block)[0]
    for row in range(4):
        expected = weight[0, row].clone()
        for p in range(7):
            if gone[row, p]:
                inverse = torch.linalg.inv(damped(second)[0, p:, p:])
                expected[p:] -= expected[p] / inverse[0, 0] * inverse[0]
        torch.testing.assert_close(found[row], expected, rtol=1e-8, atol=1e-10)
    assert (found[gone].abs() < 1e-12).all()


def test_surgery_takes_the_cheapest_weight_of_each_column_as_it_then_stands():
    """With blocks of one column the mask is the paper's: the least w^2 / [H^-1]_kk over the rows."""
    weight, second = correlated(5, 1, 10, 6, 40)
    upper, _ = factor(second)
    kept, updated = surgery(weight, upper, 0.3, block=1)
    current = weight[0].clone()
    for k in range(6):
        inverse = torch.linalg.inv(damped(second)[0, k:, k:])
        least = (current[:, k].square() / inverse[0, 0]).argsort()[:3]
        assert set(torch.nonzero(~kept[0, :, k]).flatten().tolist()) == set(least.tolist())
        for row in least:
            current[row, k:] -= current[row, k] / inverse[0, 0] * inverse[0]
    torch.testing.assert_close(updated[0], current * kept[0], rtol=1e-8, atol=1e-10)


@given(st.integers(0, 10_000), st.floats(0.0, 0.99), st.floats(0.0, 0.9), st.sampled_from([1, 2, 5, 128]))
@settings(max_examples=40, deadline=None)
def test_surgery_meets_its_share_and_keeps_zeros(seed, sparsity, before, block):
    weight, second = correlated(seed, 2, 3, 11, 30)
    weight = weight * (torch.rand(weight.shape, generator=torch.Generator().manual_seed(seed)) >= before)
    kept, updated = surgery(weight, factor(second)[0], sparsity, block)
    zeros = int((weight == 0).sum())
    assert int((~kept).sum()) == max(zeros, round(sparsity * weight.numel()))
    assert not kept[weight == 0].any()
    assert torch.equal(updated != 0, kept)


def test_wanda_ranks_by_its_formula():
    weight, norms = torch.from_numpy(noise(5, 8)).double(), torch.from_numpy(noise(8, seed=1)).double().abs()
    scores = weight.abs() * norms
    ranks = ranks_by_row(scores, weight.abs())
    for count in range(41):
        gone = ranks < count
        per_row = gone.sum(1)
        assert int(gone.sum()) == count and per_row.max() - per_row.min() <= 1
        for row in range(5):
            taken = scores[row].argsort()[: per_row[row]]
            assert gone[row, taken].all()


def test_wanda_in_a_network_follows_the_formula_and_protects_zeros(pair):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 2))
    inputs = noise(30, 2, 6, 6) * np.array([0.1, 5.0], np.float32)[:, None, None]
    model, data = pair(module, inputs)
    network, (said,) = transform(model, data, recipe(prune(0.5, "wanda")))
    norms = nn.functional.unfold(torch.from_numpy(inputs).double(), 3).square().sum((0, 2)).sqrt()
    scores = module[0].weight.double().flatten(1).abs() * norms
    gone = (network.tensors["0.weight"] == 0).flatten(1)
    for row in range(6):
        assert set(torch.nonzero(gone[row]).flatten().tolist()) == set(scores[row].argsort()[:9].tolist())
    assert not said["magnitude"]
    first, _ = transform(model, data, recipe(prune(0.4, "magnitude-layer")))
    for name in ("wanda", "sparsegpt"):
        second, _ = transform(model, data, recipe(prune(0.4, "magnitude-layer"), prune(0.6, name)))
        for weight in second.weight_names:
            assert (second.tensors[weight][first.tensors[weight] == 0] == 0).all()
        assert second.sparsity == pytest.approx(0.6, abs=0.01)


# --- rounding ------------------------------------------------------------------------------------------------------


def rounded(way: str, weight: torch.Tensor, second: torch.Tensor, bits: int, symmetric: bool = True):
    """A layer `(G, R, K)` on a grid a row: the grid, the nearest integers, the way's integers."""
    flat = weight.flatten(0, 1).float()
    grid = from_limits(flat.amin(1), flat.amax(1), bits, symmetric, 0)
    return grid, to_integers(flat, grid), _integers(flat, grid, second, way)[0].reshape(flat.shape).int()


def cost(integers: torch.Tensor, grid: Grid, weight: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    change = dequantize(integers, grid).double().reshape(weight.shape) - weight.float()
    return error(change, second).flatten()


def optimum(choices, grid: Grid, weight: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """The least error of each row over all combinations of its weights' choices."""
    rows = weight.flatten(0, 1)
    groups = torch.arange(len(second)).repeat_interleave(weight.shape[1])
    found = []
    for row in range(len(rows)):
        every = torch.cartesian_prod(*choices[row]).double()
        change = ((every - grid.zero_point[row]) * grid.scale[row]).float().double() - rows[row].float()
        found.append(error(change[None], second[groups[row], None][0][None])[0].min())
    return torch.stack(found)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("exact", [True, False])
def test_adaround_lies_between_nearest_and_the_optimum(exact, symmetric, monkeypatch):
    """By trying all of so few combinations, and by the flips that wider layers get: within 3 % of the optimum."""
    if not exact:
        monkeypatch.setattr(_adaround, "EXACT", 0)
    totals = np.zeros(3)
    for seed in range(8):
        weight, second = correlated(seed, 2, 5, 10, 60)
        grid, nearest, found = rounded("adaround", weight, second, 3, symmetric)
        level = weight.flatten(0, 1).float() / grid.scale[:, None]
        two = [(end + grid.zero_point[:, None]).clamp(grid.low, grid.high) for end in (level.floor(), level.ceil())]
        choices = [[torch.stack([end[row, k] for end in two]).unique() for k in range(10)] for row in range(10)]
        for row, k in itertools.product(range(10), range(10)):
            assert found[row, k] in choices[row][k]
        best = optimum(choices, grid, weight, second)
        ours, plain = (cost(one, grid, weight, second) for one in (found, nearest))
        assert (ours >= best * (1 - 1e-9)).all()
        assert (ours <= plain * (1 + 1e-9)).all()
        if exact:
            torch.testing.assert_close(ours, best, rtol=1e-9, atol=0)
        totals += [float(one.sum()) for one in (best, ours, plain)]
    assert totals[1] <= 1.03 * totals[0]
    assert totals[0] < 0.7 * totals[2], "there is something to gain"


def test_gptq_is_never_better_than_the_best_of_all_levels():
    better = []
    for seed in range(6):
        weight, second = correlated(seed, 1, 6, 9, 60)
        grid, nearest, found = rounded("gptq", weight, second, 2)
        levels = torch.arange(grid.low, grid.high + 1)
        best = optimum([[levels] * 9 for _ in range(6)], grid, weight, second)
        ours = cost(found, grid, weight, second)
        assert (ours >= best * (1 - 1e-9)).all()
        better += (ours < cost(nearest, grid, weight, second)).tolist()
    assert 0.5 < np.mean(better) < 1, "mostly better than nearest, and not always: why the better of the two is kept"


def test_gptq_settles_columns_in_the_order_of_their_power():
    """Against the plain procedure: round a column, spread its error by the inverse of what is left."""
    weight, second = correlated(9, 1, 3, 8, 50)
    grid, _, found = rounded("gptq", weight, second, 3)
    order = second[0].diagonal().argsort(descending=True)
    moments_, current = damped(second)[0][order][:, order], weight[0].float().double()[:, order].clone()
    for k in range(8):
        inverse = torch.linalg.inv(moments_[k:, k:])
        levels = (current[:, k] / grid.scale).round().clamp(grid.low, grid.high)
        assert torch.equal(levels.int(), found[:, order[k]])
        spread = (current[:, k] - levels * grid.scale) / inverse[0, 0]
        current[:, k:] -= spread[:, None] * inverse[0]


@given(
    st.sampled_from(BOTH), st.integers(0, 10_000), st.sampled_from([2, 3, 4, 8]), st.booleans(), st.integers(1, 60)
)
@settings(max_examples=40, deadline=None)
def test_integers_stay_on_the_grid_and_zeros_stay_zero(way, seed, bits, symmetric, columns):
    """Also where fewer columns than inputs were seen, and where an input is always zero."""
    weight, second = correlated(seed, 2, 3, 12, columns)
    weight = weight * (torch.rand(weight.shape, generator=torch.Generator().manual_seed(seed)) > 0.4)
    second[:, 4] = second[:, :, 4] = 0
    grid, _, found = rounded(way, weight, second, bits, symmetric)
    assert found.min() >= grid.low and found.max() <= grid.high
    values = dequantize(found, grid)
    assert torch.equal(to_integers(values, grid), found)
    assert (values[weight.flatten(0, 1).float() == 0] == 0).all()


def test_no_flip_of_one_weight_or_of_two_is_left_that_lowers_the_error():
    for seed in range(5):
        weight, second = correlated(seed, 2, 3, 14, 60)
        low = weight.floor() - weight
        for paired in (False, True):
            flipped = _adaround.descend(low, torch.ones_like(low), second, paired)
            ended = low + flipped
            least = error(ended, second)
            assert (least <= error(low, second)).all()
            for some in itertools.chain(range(14), itertools.combinations(range(14), 2) if paired else ()):
                other = ended.clone()
                at = torch.tensor(some)
                other[:, :, at] = (low + ~flipped)[:, :, at]
                assert (error(other, second) >= least * (1 - 1e-9)).all()


@given(st.integers(0, 10_000), st.sampled_from([0.6, 0.9, 0.97]))
@settings(max_examples=15, deadline=None)
def test_no_layer_is_worse_than_with_the_plain_method(seed, sparsity):
    """Layer errors on the calibration examples, computed here from the outputs, not from the moments."""
    torch.manual_seed(seed)
    model, data = load_sample("breast-cancer")
    network = fold(load_network(model))
    random = {name: torch.randn_like(network.tensors[name]) for name in network.weight_names}
    network = replace(network.with_tensors(random), identity=f"random {seed}")
    context = Context(data, 0)
    seen = dict(moments(network, data))
    uniform = method("quantize", "uniform")
    steps = {
        way: uniform.function(network, uniform.complete({"weight_bits": 3, "rounding": way}), context)[0]
        for way in ("nearest", *BOTH)
    }
    for name in ("magnitude-layer", "sparsegpt"):
        steps[name] = method("prune", name).function(network, {"sparsity": sparsity}, context)[0]
    for layer in network.layers:

        def off(way, of=layer):
            change = steps[way].tensors[of.weight] - network.tensors[of.weight]
            return error(grouped(change, 1), seen[of].second)

        for way in BOTH:
            assert (off(way) <= off("nearest") * (1 + 1e-9)).all()
        assert off("sparsegpt").sum() <= off("magnitude-layer").sum() * (1 + 1e-9)


# --- the whole way -------------------------------------------------------------------------------------------------

STEPS = {
    "wanda": prune(0.6, "wanda"), "sparsegpt": prune(0.6, "sparsegpt"),
    "gptq": quantize(3, 32, rounding="gptq"), "adaround": quantize(3, 8, rounding="adaround", scheme="affine"),
}  # fmt: skip
SAMPLES_SEEN = ("fashion-small", "breast-cancer", "diamonds", "spam-mail", "sentiment")


@pytest.mark.parametrize("sample_", SAMPLES_SEEN)
@pytest.mark.parametrize("name", STEPS)
def test_every_sample_is_treated_the_same_way_twice_without_its_evaluation_data(sample_, name):
    model, data = load_sample(sample_)
    poisoned = [replace(s, path=s.path.with_name("gone")) if s.name == "evaluation" else s for s in data.splits]
    data = replace(data, splits=tuple(poisoned))
    network, (said,) = transform(model, data, recipe(STEPS[name]))
    embeddings = [layer.name for layer in network.layers if layer.kind == "embedding"]
    assert list(said["skipped" if name in BOTH else "magnitude"]) == embeddings
    assert set(said["output_error"]) == {layer.name for layer in network.layers} - set(embeddings)
    if name in BOTH:
        assert all(after <= before for before, after in said["output_error"].values())
        for weight, grid in network.grids.items():
            assert torch.equal(unpack_weight(network, weight, pack(network)), network.tensors[weight])
            assert torch.equal(dequantize(to_integers(network.tensors[weight], grid), grid), network.tensors[weight])
    else:
        assert network.sparsity == pytest.approx(0.6, abs=0.01)
    RESULTS.clear()
    SCORES.clear()
    again, _ = transform(model, data, recipe(STEPS[name]))
    assert all(torch.equal(network.tensors[key], again.tensors[key]) for key in network.tensors)


def test_better_rounding_and_surgery_change_the_answers_less():
    model, data = load_sample("diamonds")
    from core.data.handle import load_split

    inputs = load_split(data, "calibration").inputs
    expected = predictor(assemble(load_network(model)))(inputs)[:, 0]

    def off(step):
        network, _ = transform(model, data, recipe(step))
        return float(np.square(predictor(assemble(network))(inputs)[:, 0] - expected).mean())

    nearest = off(quantize(3, 32))
    assert all(off(quantize(3, 32, rounding=way)) < nearest / 2 for way in BOTH)
    assert off(prune(0.5, "sparsegpt")) < off(prune(0.5, "magnitude-layer")) / 2


def test_what_cannot_be_treated_is_rounded_to_nearest_with_the_reason(pair):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 2))
    module[0].weight.data.zero_()
    module[0].bias.data.fill_(-1.0)  # what follows reads only zeros
    model, data = pair(module, noise(40, 6))
    for way in BOTH:
        network, (said,) = transform(model, data, recipe(quantize(4, 32, rounding=way)))
        assert said["skipped"]["0"] == "its weights are all zero"
        assert said["skipped"]["2"] == "its inputs are all zero on the calibration examples"
        plain, _ = transform(model, data, recipe(quantize(4, 32)))
        assert torch.equal(network.tensors["2.weight"], plain.tensors["2.weight"])
    inputs = noise(40, 6)
    inputs[3, 2] = np.nan
    model, data = pair(module, inputs)
    _, (said,) = transform(model, data, recipe(quantize(4, 32, rounding="gptq")))
    assert "finite" in said["skipped"]["0"]
    for name in ("wanda", "sparsegpt"):
        network, (said,) = transform(model, data, recipe(prune(0.5, name)))
        assert "finite" in said["magnitude"]["0"]


def test_singular_moments_are_damped_and_it_is_said(pair):
    torch.manual_seed(0)
    model, data = pair(nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 2)), noise(20, 64))
    for step in (quantize(3, 32, rounding="gptq"), prune(0.5, "sparsegpt")):
        _, (said,) = transform(model, data, recipe(step))
        assert said["singular"]["0"] >= 0.01


def test_sparsegpt_refuses_weights_that_lie_on_a_grid(pictures):
    model, data = pictures
    with pytest.raises(TemperError, match="leave the grid"):
        transform(model, data, recipe(quantize(4, 32), prune(0.5, "sparsegpt")))
    network, _ = transform(model, data, recipe(quantize(4, 32), prune(0.5, "wanda")))
    for name, grid in network.grids.items():
        assert torch.equal(dequantize(to_integers(network.tensors[name], grid), grid), network.tensors[name])


def test_masks_survive_better_rounding(pictures):
    model, data = pictures
    for way in BOTH:
        network, _ = transform(model, data, recipe(prune(0.6, "sparsegpt"), quantize(4, 8, rounding=way)))
        assert all((network.tensors[name][~mask] == 0).all() for name, mask in network.masks.items())


def test_the_same_model_on_other_data_is_another_network(pair):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    found = []
    for spread in ([9, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 9]):
        model, data = pair(module, noise(40, 6) * np.array(spread, np.float32))
        found.append(transform(model, data, recipe(prune(0.5, "wanda")))[0])
    assert found[0].identity != found[1].identity
    assert not torch.equal(found[0].masks["0.weight"], found[1].masks["0.weight"])


def test_a_network_of_depthwise_layers_goes_through(pair):
    torch.manual_seed(0)
    model, data = pair(torchvision.models.mobilenet_v2(num_classes=10, width_mult=0.25), noise(40, 3, 64, 64))
    for step in STEPS.values():
        network, (said,) = transform(model, data, recipe(step))
        assert len(said["output_error"]) == 53
        assert all(torch.isfinite(network.tensors[name]).all() for name in network.weight_names)
