"""Budgets: the knapsack against brute force, options against recipes, and that evaluation labels choose nothing."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest

from core.cli import main
from core.data import handle
from core.deploy.branch import branch_output, branched
from core.deploy.graph import INPUT, OUTPUT, assemble
from core.deploy.pack import pack
from core.engine.evaluate import evaluate, size
from core.engine.lane import lane
from core.engine.memory import RESULTS
from core.engine.network import fold, load_network
from core.engine.runtime import predictor, session
from core.engine.transform import transform
from core.errors import TemperError
from core.layers.gram import moments
from core.models.samples import load_sample
from core.recipe import from_json
from core.search import allocate as module
from core.search.allocate import allocate
from core.search.allocating import Allocating, allocating
from core.search.budget import Budget
from core.search.candidate import packed, recipe_of
from core.search.knapsack import choose, least
from core.search.layer_options import Way, menu, moved
from core.task import Task, task_of_classes

FEW = Way(bits=(2, 4, 8), sparsities=(0.0, 0.7), examples=64)
NEAREST = replace(FEW, rounding="nearest", pruner="magnitude-layer")


@pytest.fixture(scope="module")
def cells():
    return load_sample("breast-cancer")


@pytest.fixture(scope="module")
def prices():
    return load_sample("diamonds")


def brute(harm, limits):
    """The least harm over every choice that fits, by trying all."""
    best = math.inf
    for at in itertools.product(*map(lambda row: range(len(row)), harm)):
        if all(sum(row[k] for row, k in zip(table, at, strict=True)) <= most for table, most in limits):
            best = min(best, sum(row[k] for row, k in zip(harm, at, strict=True)))
    return best


@pytest.mark.parametrize("seed", range(60))
def test_the_knapsack_is_solved_to_its_optimum(seed):
    draw = np.random.default_rng(seed)
    sizes = draw.integers(1, 5, draw.integers(1, 6))
    harm = [draw.exponential(10.0 ** draw.integers(-4, 2), size).tolist() for size in sizes]
    tables = [
        [draw.integers(1, 10 ** int(draw.integers(1, 6)), size).tolist() for size in sizes]
        for _ in range(1 + seed % 2)
    ]
    limits = []
    for table in tables:
        low, high = least(table), sum(max(row) for row in table)
        limits.append((table, float(round(low + draw.random() * (high - low)))))
    found, best = choose(harm, limits), brute(harm, limits)
    assert (found is None) == math.isinf(best)
    if found is not None:
        for table, most in limits:
            assert sum(row[k] for row, k in zip(table, found, strict=True)) <= most
        assert sum(row[k] for row, k in zip(harm, found, strict=True)) == pytest.approx(best, rel=1e-6, abs=1e-9)


def test_a_limit_that_is_met_exactly_fits_and_one_byte_less_does_not():
    table, harm = [[10, 20], [1_000_003, 5]], [[1.0, 0.0], [0.0, 3.0]]
    assert choose(harm, [(table, 15.0)]) == (0, 1)
    assert choose(harm, [(table, 14.0)]) is None
    assert choose(harm, [(table, 1_000_023.0)]) == (1, 0)
    assert choose(harm, [(table, 1_000_022.0)]) == (0, 0)


def test_layers_without_the_same_options_in_each_table_are_a_fault():
    with pytest.raises(ValueError, match="Layer 1"):
        choose([[1.0], [1.0, 2.0]], [([[1], [1]], 9.0)])


def test_distances_of_predictions_are_what_they_say():
    task = task_of_classes(("a", "b", "c"))
    draw = np.random.default_rng(0)
    outputs = draw.normal(size=(3, 5, 3)).astype(np.float32)
    p = np.exp(outputs.astype(float))
    p /= p.sum(2, keepdims=True)
    assert moved(outputs, task) == pytest.approx((p[0] * np.log(p[0] / p)).sum(2), abs=1e-6)
    assert (moved(outputs, task)[0] == 0).all()
    plain = Task("regression", (), 1, "y", "m", ("value",))
    assert moved(outputs[:, :, :1], plain) == pytest.approx((outputs[:, :, 0] - outputs[0, :, 0]) ** 2, rel=1e-5)
    stated = replace(plain, outputs=("value", "log_scale"))
    spread = np.exp(outputs[:, :, 1].astype(float))
    wanted = (outputs[:, :, 0] - outputs[0, :, 0]) ** 2 + (spread - spread[0]) ** 2
    assert moved(outputs[:, :, :2], stated) == pytest.approx(wanted, rel=1e-4, abs=1e-6)


def test_a_variant_may_change_several_tensors(cells):
    model, data = cells
    network = fold(load_network(model))
    layer = network.layers[1]
    changed = {name: network.tensors[name].numpy() * 0.5 for name in (layer.weight, layer.bias)}
    proto, inputs = assemble(network), handle.load_split(data, "calibration").inputs[:20]
    both = session(branched(proto, [changed])).run([OUTPUT, branch_output(0)], {INPUT: inputs})
    whole = network.with_tensors({name: network.tensors[name] * 0.5 for name in changed})
    assert np.allclose(both[1], predictor(assemble(whole))(inputs), atol=1e-5)
    assert not np.allclose(both[0], both[1])


@pytest.mark.parametrize("name", ["breast-cancer", "diamonds", "spam-mail"])
def test_bytes_foreseen_are_those_packed(name):
    """To the byte where weights are rounded to nearest, whatever is mixed."""
    model, data = load_sample(name)
    found, draw = menu(model, data, NEAREST), np.random.default_rng(1)
    plain = [(2, 0.0)] * len(found.layers)
    whole = next(one[2] for one in found.uniform if one[:2] == (2, 0.0))
    rest = packed(model, data, recipe_of(model, found.layers, plain, NEAREST, 32, False)) - whole
    for _ in range(3):
        taken = [row[draw.integers(len(row))] for row in found.options]
        recipe = recipe_of(model, found.layers, [(o.bits, o.sparsity) for o in taken], NEAREST, 32, False)
        network = transform(model, data, recipe)[0]
        assert rest + sum(o.bytes for o in taken) == sum(array.nbytes for array in pack(network).values())
        assert from_json(recipe.to_json()) == recipe


def test_options_do_what_the_recipe_for_that_layer_alone_does(prices):
    model, data = prices
    way = replace(FEW, rounding="nearest", sparsities=(0.0,), examples=10_000)
    found = menu(model, data, way)
    inputs = handle.load_split(data, "calibration").inputs
    base = fold(load_network(model))
    before = predictor(assemble(base))(inputs)
    means = {layer.weight: seen.mean[0].float() for layer, seen in moments(base, data)}
    whole = transform(model, data, recipe_of(model, found.layers, [(4, 0.0)] * 4, way, 32, False))[0]
    for layer, row in zip(base.layers, found.options, strict=True):
        weight = whole.tensors[layer.weight]
        bias = base.tensors[layer.bias] - (weight - base.tensors[layer.weight]) @ means[layer.weight]
        alone = predictor(assemble(base.with_tensors({layer.weight: weight, layer.bias: bias})))(inputs)
        harm = next(o.harm for o in row if o.bits == 4)
        assert harm == pytest.approx(float(moved(np.stack([before, alone]), data.task)[1].mean()), rel=1e-3)


def test_less_harm_is_found_than_any_uniform_setting_foresees(prices):
    found = menu(*prices, FEW)
    for bits, sparsity, weights, _ in found.uniform:
        rows = [[o for o in row if (o.bits, o.sparsity) == (bits, sparsity)] for row in found.options]
        if all(rows):
            most = sum(row[0].bytes for row in rows)
            chosen = choose(
                [[o.harm for o in r] for r in found.options], [([[o.bytes for o in r] for r in found.options], most)]
            )
            assert chosen is not None and weights > 0
            best = sum(row[k].harm for row, k in zip(found.options, chosen, strict=True))
            assert best <= sum(row[0].harm for row in rows) + 1e-9


@pytest.mark.parametrize("name", ["breast-cancer", "diamonds", "spam-mail"])
def test_a_size_is_kept_and_the_answer_is_what_evaluation_says(name):
    model, data = load_sample(name)
    found = allocate(model, data, Budget(smaller=6.0, way=FEW))
    assert found.mixed.packed <= found.original / 6
    assert found.mixed.packed == size(transform(model, data, found.mixed.recipe)[0]).packed
    again = evaluate(model, data, from_json(found.mixed.recipe.to_json()))
    assert np.array_equal(again.tempered.predicted, found.mixed.result.tempered.predicted)
    assert found.uniform is None or found.uniform.packed <= found.original / 6
    assert sum(found.layers) <= found.foreseen
    assert found.gain is None or found.gain.interval.low <= found.gain.value <= found.gain.interval.high


def test_where_everything_fits_nothing_is_chosen_or_measured_for_it(prices):
    found = allocate(*prices, Budget(smaller=2.0, lose=100.0, way=FEW))
    assert found.options == 4 and set(found.mixed.candidate.settings) == {(8, 0.0)}
    assert found.held and not found.better


def test_a_floor_holds_on_calibration_with_some_to_spare(prices):
    strict, loose = (allocate(*prices, Budget(lose=lose, way=FEW)) for lose in (20.0, 200.0))
    for found, lose in ((strict, 20.0), (loose, 200.0)):
        assert found.mixed.candidate.loss + found.mixed.candidate.error <= lose
        assert found.held == (found.lost <= lose)
    assert loose.mixed.packed < strict.mixed.packed < strict.original


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"most_bytes": 100}, "takes at least [0-9,]+ bytes; 100 were asked"),
        ({"lose": 0.0, "way": replace(FEW, bits=(2,), sparsities=(0.0,))}, "cannot be promised"),
        ({"smaller": 2.0, "ms": 1e-9, "device": "raspberry-pi-4"}, "no allocation of bits takes less than"),
    ],
)
def test_what_cannot_be_reached_is_one_sentence_with_what_can(prices, asked, said):
    with pytest.raises(TemperError, match=said):
        allocate(*prices, Budget(**{"way": FEW, **asked}))


@pytest.mark.parametrize(
    "asked",
    [
        {}, {"most_bytes": 0}, {"smaller": 0.5}, {"smaller": math.nan}, {"lose": -1.0}, {"lose": 0.1, "reach": 0.5},
        {"smaller": 2.0, "ms": 3.0}, {"smaller": 2.0, "device": "raspberry-pi-4"},
        {"smaller": 2.0, "ms": 3.0, "device": "abacus"}, {"smaller": 2.0, "way": Way(bits=())},
        {"smaller": 2.0, "way": Way(bits=(4, 4))}, {"smaller": 2.0, "way": Way(bits=(1,))},
        {"smaller": 2.0, "way": Way(sparsities=(0.5,))}, {"smaller": 2.0, "way": Way(examples=0)},
    ],
)  # fmt: skip
def test_a_wish_that_makes_no_sense_is_refused(asked):
    with pytest.raises(TemperError):
        Budget(**asked)


def test_a_time_is_kept_by_more_than_bytes(prices):
    way = replace(FEW, bits=(4, 16), sparsities=(0.0,))
    plain = allocate(*prices, Budget(smaller=2.5, way=way, activation_bits=8))
    assert any(bits == 16 for bits, _ in plain.mixed.candidate.settings)
    quick = allocate(*prices, Budget(smaller=1.5, way=way, ms=0.0021, device="raspberry-pi-4"))
    assert quick.ms.how == "estimated" and quick.ms.value <= 0.0021 + 1e-9
    assert all(bits == 4 for bits, _ in quick.mixed.candidate.settings)


def test_labels_of_the_evaluation_split_choose_nothing(cells, monkeypatch):
    model, data = cells
    budget = Budget(smaller=9.0, way=FEW)
    RESULTS.clear()
    honest = allocate(model, data, budget)
    read, poisoned = handle._read, []

    def poison(of, name):
        split = read(of, name)
        if name != "evaluation":
            return split
        poisoned.append(name)
        return replace(split, y=1 - split.y, inputs=np.ascontiguousarray(split.inputs[::-1]))

    RESULTS.clear()
    monkeypatch.setattr(handle, "_read", poison)
    lied = allocate(model, data, budget)
    RESULTS.clear()
    assert poisoned and lied.mixed.value.value != honest.mixed.value.value
    assert lied.mixed.recipe == honest.mixed.recipe and lied.uniform.recipe == honest.uniform.recipe
    assert lied.mixed.candidate.loss == honest.mixed.candidate.loss


def test_the_options_come_back_from_disk(cells, monkeypatch, tmp_path):
    monkeypatch.setenv("TEMPER_CACHE", str(tmp_path))
    RESULTS.clear()
    first = menu(*cells, FEW)
    RESULTS.clear()
    monkeypatch.setattr("core.search.layer_options._rows", None)
    assert menu(*cells, FEW) == first


def test_in_the_background_it_is_found_again_and_can_be_cancelled(cells, monkeypatch):
    search = allocating(*cells)
    assert allocating(*cells) is search and search.latest is None
    budget = Budget(smaller=5.0, way=FEW)
    with lane():  # whatever a person computes goes first
        thread = search.start(budget)
        assert search.alive and search.start(budget) is None
        search.cancel()
    thread.join(60)
    assert search.state == "cancelled" and search.latest is None
    search.start(budget).join(120)
    assert search.state == "done" and search.latest.mixed.packed <= search.latest.original / 5
    monkeypatch.setattr("core.search.allocating.allocate", None)
    assert search.start(budget) is None and search.latest is not None
    broken = Allocating(*cells)
    broken.start(budget).join(60)
    assert broken.state == "failed" and "fault of Temper's own (TypeError)" in broken.note


def test_the_command_writes_a_recipe_and_says_which_split_chose(tmp_path, capsys):
    out = tmp_path / "recipe.json"
    asked = ["allocate", "--model", "breast-cancer", "--smaller", "6", "--bits", "2,4,8", "--out", str(out)]
    assert main([*asked, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["chosen_on"]["split"] == "calibration" and said["judged_on"] == {"split": "evaluation", "n": 171}
    assert said["result"]["recipe"] == from_json(out.read_text()).to_dict()
    assert said["result"]["packed_bytes"] <= said["original"]["packed_bytes"] / 6
    assert {one["bits"] for one in said["layers"]} <= {2, 4, 8}
    assert main([*asked, "--lose-at-most", "60"]) == 0
    assert "surely better" in capsys.readouterr().out


@pytest.mark.parametrize(
    "more",
    [[], ["--at-most-kb", "nan"], ["--smaller", "2", "--bits", "a"], ["--at-most-kb", "0.001"],
     ["--smaller", "2", "--out", "/nowhere/at/all.json"]],
)  # fmt: skip
def test_a_wrong_command_is_one_sentence(more, capsys):
    assert main(["allocate", "--model", "breast-cancer", *more]) == 2
    assert capsys.readouterr().err.startswith("temper: ")


def test_no_answer_is_kept_of_a_search_that_was_abandoned(cells):
    def stop(fraction):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        module.allocate(*cells, Budget(smaller=5.0, way=replace(FEW, seed=9)), stop)
