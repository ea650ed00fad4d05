"""One layer by itself: settings of its own, its treatment's loss, its time, what Fisher information says."""

from __future__ import annotations

import json
import threading

import numpy as np
import onnx
import pytest
import torch
from conftest import prune, quantize, recipe
from scipy.stats import spearmanr

from core.cli import main
from core.data.handle import load_split
from core.deploy import layer_times as times
from core.deploy.graph import INPUT, OUTPUT, assemble
from core.deploy.layer_times import by_call, layer_times, middle_mean, owners_of
from core.engine.context import Context
from core.engine.memory import RESULTS
from core.engine.network import fold, load_network
from core.engine.runtime import session
from core.engine.transform import transform
from core.errors import TemperError
from core.figures.apart import counted, own_words
from core.figures.foretold import foretold_chart
from core.figures.inputs import sentences
from core.figures.layer_columns import foretold_column, lost_column, time_columns
from core.jobs.background import Named, named
from core.layers import apart, foretold
from core.layers.gradients import gradients
from core.layers.inputs import inputs_of
from core.layers.layer_weights import dead_channels
from core.layers.sensitivity import sensitivity
from core.layers.treated import treated
from core.models.samples import load_sample
from core.recipe import Recipe, Step

BOTH = recipe(prune(0.5), quantize(4, 8), Step.of("calibrate", "temperature"))


@pytest.fixture(scope="module")
def tiny():
    return load_sample("breast-cancer")


def setting(asked: Recipe, layer: str, name: str):
    return next(one for one in apart.settings(asked, layer) if one.param.name == name)


def test_a_layer_has_what_is_set_and_goes_back_to_the_others():
    moved = apart.with_setting(BOTH, "head", setting(BOTH, "head", "weight_bits"), 8)
    moved = apart.with_setting(moved, "head", setting(moved, "head", "sparsity"), 0.2)
    assert [step.own for step in moved.steps] == [{"head": {"sparsity": 0.2}}, {"head": {"weight_bits": 8}}, {}]
    assert own_words(moved) == {"head": "sparsity 20\u00a0%, weight bits 8"}
    assert [(one.value, one.own) for one in apart.settings(moved, "head")] == [(0.2, True), (8, True)]
    assert [(one.value, one.own) for one in apart.settings(moved, "body.0")] == [(0.5, False), (4, False)]
    assert apart.as_the_others(moved, "head") == BOTH == moved.without_layers()
    assert apart.as_the_others(moved, "body.0") == moved


def test_a_missing_step_joins_at_rest_in_its_place(tiny):
    start = recipe(Step.of("calibrate", "temperature"))
    rounded = apart.with_setting(start, "head", setting(start, "head", "weight_bits"), 3)
    assert [step.kind for step in rounded.steps] == ["quantize", "calibrate"]
    pruned = apart.with_setting(rounded, "head", setting(rounded, "head", "sparsity"), 0.4)
    assert [step.kind for step in pruned.steps] == ["prune", "quantize", "calibrate"]
    network, _ = transform(*tiny, pruned)
    changed = [
        one.name for one in network.layers
        if not torch.equal(network.tensors[one.weight], fold(load_network(tiny[0])).tensors[one.weight])
    ]  # fmt: skip
    assert changed == ["head"]
    assert apart.as_the_others(pruned, "head") == start, "what rests leaves the recipe again"


def test_a_protected_layer_keeps_its_weights(tiny):
    name = load_network(tiny[0]).layers[1].name
    safe = apart.protected(BOTH, name)
    assert apart.is_protected(safe, name) and not apart.is_protected(BOTH, name)
    before, after = fold(load_network(tiny[0])), transform(*tiny, safe)[0]
    kept = [one.name for one in before.layers if torch.equal(before.tensors[one.weight], after.tensors[one.weight])]
    assert kept == [name] and f"{name}.weight" not in after.grids
    assert not apart.treats(Recipe()) and not apart.is_protected(Recipe(), name)
    assert counted(1) == "One layer has settings of its own." and counted(3).startswith("3 layers have")


def test_channels_have_no_setting_of_one_layer():
    asked = recipe(Step.of("prune", "channels-magnitude", {"sparsity": 0.5}), quantize(4, 8))
    assert [one.param.name for one in apart.settings(asked, "body.0")] == ["weight_bits"]


def test_treatment_alone_is_sensitivity_where_only_rounding_is(tiny):
    alone = sensitivity(*tiny, (3,))
    found = treated(*tiny, recipe(quantize(3, 32, granularity="channel")))
    assert found.values == alone.values and len(found.effects) == len(alone.effects)
    for one, other in zip(found.effects, alone.effects, strict=True):
        assert one.layer == other.layer and one.flips == other.flips and one.sqnr_db == other.sqnr_db
        assert one.changes["nll"].value == pytest.approx(other.changes["nll"].value, abs=1e-6)


def test_treatment_alone_is_the_graph_with_that_layer(tiny):
    model, data = tiny
    found = treated(model, data, BOTH)
    before, after = fold(load_network(model)), fold(transform(model, data, BOTH.without("calibrate"))[0])
    split = load_split(data, "evaluation")
    for one in found.effects:
        network = before.with_tensors({f"{one.layer}.weight": after.tensors[f"{one.layer}.weight"]})
        logits = session(assemble(network)).run([OUTPUT], {INPUT: split.inputs})[0]
        assert one.values["accuracy"] == pytest.approx((logits.argmax(1) == split.y).mean())
    safe = apart.protected(BOTH, found.effects[0].layer)
    assert [e.layer for e in treated(model, data, safe).effects] == [e.layer for e in found.effects[1:]]
    assert treated(model, data, Recipe()).effects == ()
    assert lost_column(treated(model, data, Recipe())).values == {}
    column = lost_column(found)
    assert column.values == {e.layer: -e.changes["accuracy"].value for e in found.effects}
    with pytest.raises(TemperError, match="several layers together"):
        treated(model, data, recipe(Step.of("prune", "channels-magnitude", {"sparsity": 0.5})))


def test_fisher_foretells_half_the_sum_of_information_times_change_squared(tiny):
    model, data = tiny
    fisher = foretold.information(model, data)
    assert fisher.fisher.keys() == gradients(fold(load_network(model)), Context(data, 0)).fisher.keys()
    before, after = fold(load_network(model)), fold(transform(model, data, BOTH.without("calibrate"))[0])
    found = foretold.of_recipe(fisher, model, data, BOTH)
    for name, value in found.items():
        change = after.tensors[f"{name}.weight"].double() - before.tensors[f"{name}.weight"].double()
        by_hand = sum(f * d * d / 2 for f, d in zip(
            fisher.fisher[f"{name}.weight"].flatten().tolist(), change.flatten().tolist(), strict=True))  # fmt: skip
        assert value == pytest.approx(by_hand, rel=1e-6) and value > 0
    told = foretold.foretold(fisher, model, data, (2, 4, 8))
    for name in found:
        assert told.values[name, 2] > told.values[name, 4] > told.values[name, 8] > 0
    assert not any(foretold.of_recipe(fisher, model, data, Recipe()).values())
    assert set(foretold_column(found).values) == set(found) and not foretold_column(dict.fromkeys(found, 0.0)).values


def test_agreement_is_spearman_s_with_its_n(tiny):
    model, data = tiny
    measured = sensitivity(model, data, (2, 4))
    told = foretold.foretold(foretold.information(model, data), model, data, (2, 4))
    harms = [e.changes["nll"].value for e in measured.effects]
    said = foretold.agreement(measured, told.values, "nll")
    by_hand = spearmanr([told.values[e.layer, e.bits] for e in measured.effects], harms).statistic
    assert said.rho == pytest.approx(by_hand) and said.n == len(measured.effects)
    perfect = {(e.layer, e.bits): -e.changes["accuracy"].value for e in measured.effects}
    assert foretold.agreement(measured, perfect, "accuracy").rho == pytest.approx(1), "less accuracy is worse"
    sqnr = foretold.agreement(measured, foretold.noise(measured), "nll").rho
    assert sqnr == pytest.approx(-measured.rank_correlation("nll")), "noise is the negative of SQNR"
    assert foretold.agreement(measured, {}, "nll") == foretold.Agreement(None, 0)
    caption = foretold_chart(measured, told).caption
    assert f"{said.rho:.2f}".replace("-", "−") in caption and f"of {said.n} settings" in caption


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(times, "TURNS", 1)
    monkeypatch.setattr(times, "CALLS", 5)
    monkeypatch.setattr(times, "WARM_UP", 1)


@pytest.mark.parametrize("name", ["fashion-small", "spam-mail", "sentiment"])
@pytest.mark.parametrize("asked", [recipe(quantize(8, 8)), recipe(quantize(4, 32))], ids=["int8", "float"])
def test_every_layer_has_nodes_of_its_own_in_the_optimised_graph(name, asked, tmp_path):
    model, data = load_sample(name)
    network, _ = transform(model, data, asked)
    proto, path = assemble(network), str(tmp_path / "optimised.onnx")
    session(proto, save_optimised=path)
    optimised = onnx.load(path)
    owners = owners_of(optimised, proto, network.layers)
    assert set(owners.values()) == {layer.name for layer in network.layers}
    kinds = {node.name: node.op_type for node in optimised.graph.node}
    mine = {kinds[name] for name in owners}
    assert not mine & {"Relu", "GlobalAveragePool", "Softmax", "LayerNormalization", "Reshape", "QuantizeLinear"}
    computing = {name for name, kind in kinds.items() if "Conv" in kind or "Gemm" in kind}
    assert computing <= set(owners)


def test_times_of_both_networks_sum_to_the_whole(quick):
    model, data = load_sample("fashion-small")
    network, _ = transform(model, data, recipe(quantize(8, 8)))
    seen: list[float] = []
    found = layer_times(network, data, seen.append)
    assert seen == [0.5, 1.0]
    for one in (found.original, found.tempered):
        assert list(one.layers) == [layer.name for layer in network.layers] and min(one.layers.values()) > 0
        shares = sum(one.share(name) for name in one.layers)
        assert shares + one.rest / one.total == pytest.approx(1) and one.calls == 5
    columns = time_columns(found)
    assert columns["time"].values == {n: found.tempered.share(n) for n in found.tempered.layers}
    other, _ = transform(model, data, recipe(prune(0.5), quantize(8, 8)))
    third, _ = transform(model, data, recipe(quantize(8, 32)))
    assert times.key(network, data) == times.key(other, data) != times.key(third, data), "a format, not its values"


def test_a_profile_is_summed_by_call_and_owner():
    run = {"name": "model_run", "cat": "Session"}

    def node(name: str, ts: int, dur: int) -> dict[str, object]:
        return {"name": f"{name}_kernel_time", "cat": "Node", "ts": ts, "dur": dur}

    events = [
        {**run, "ts": 10, "dur": 50}, node("a", 12, 5), node("b", 20, 7), node("a2", 30, 2),
        {**run, "ts": 100, "dur": 50}, node("a", 102, 6), node("c", 140, 1),
        {"name": "a_fence_before", "cat": "Node", "ts": 103, "dur": 9},
    ]  # fmt: skip
    assert by_call(events, {"a": "x", "a2": "x", "b": "y"}) == [{"x": 7.0, "y": 7.0}, {"x": 6.0, "": 1.0}]
    assert middle_mean(np.array([1.0, 1000.0, 2.0, 3.0])) == 2.5


def test_what_a_layer_reads_and_how_far_outliers_go(tiny):
    model, data = tiny
    first = load_network(model).layers[0].name
    seen = Context(data, 0).activations(load_network(model), 256)["input"].numpy()
    found = inputs_of(model, data, first)
    assert (found.low, found.high) == (seen.min(), seen.max())
    assert found.low <= found.inner_low < found.inner_high <= found.high
    far = np.abs(seen).max() / max(abs(np.percentile(seen, 0.1)), abs(np.percentile(seen, 99.9)))
    assert found.reach == pytest.approx(far, rel=1e-5)
    assert "99.8\u00a0% of it" in sentences(found, None)[0] and sentences(None, None) == []
    assert inputs_of(*load_sample("spam-mail"), "embedding") is None, "ids have no range"


def test_dead_channels_are_named(tiny):
    model, data = tiny
    asked = recipe(prune(0.97))
    network, _ = transform(model, data, asked)
    for layer in network.layers:
        rows = (network.tensors[layer.weight] == 0).all(1).nonzero().flatten().tolist()
        assert dead_channels(model, data, asked, layer.name) == tuple(rows)


def test_a_named_work_is_found_again_and_cancelled_at_a_chunk():
    RESULTS.clear()
    done = named(("test", "sum"), lambda told: told(0.5) or 3)
    assert done.found() is None and done is named(("test", "sum"), lambda told: 4)
    done.start().join(20)
    assert done.state == "done" and done.found() == 3 and done.fraction == 0.5
    begun, go = threading.Event(), threading.Event()

    def slow(told):
        begun.set()
        go.wait(20)
        told(0.9)
        return 1

    left = Named(("test", "slow"), slow)
    thread = left.start()
    begun.wait(20)
    assert left.alive and left.start() is None and left.found() is None
    left.cancel()
    go.set()
    thread.join(20)
    assert left.state == "cancelled" and left.found() is None

    def wrong(_):
        raise TemperError("No.", "Go on.")

    said = Named(("test", "wrong"), wrong)
    said.start().join(20)
    assert (said.state, said.note) == ("failed", "No. Go on.")
    fault = Named(("test", "fault"), lambda _: 1 / 0)
    fault.start().join(20)
    assert fault.state == "failed" and "ZeroDivisionError" in fault.note


def test_the_command_line_foretells_beside_what_it_measures(tiny, capsys):
    assert main(["sensitivity", "--model", "breast-cancer", "--bits", "2,4", "--fisher", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    told = foretold.foretold(foretold.information(*tiny), *tiny, (2, 4))
    assert {(e["layer"], e["bits"]): e["foretold_nats"] for e in said["effects"]} == dict(told.values)
    agreed = foretold.agreement(sensitivity(*tiny, (2, 4)), told.values, "nll")
    assert said["fisher"]["rank_correlation"]["nll"] == {"rho": agreed.rho, "n": agreed.n}
