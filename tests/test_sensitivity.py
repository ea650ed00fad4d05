"""Layer sensitivity: branches of one graph equal whole graphs, and the result equals evaluating each by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import quantize, recipe
from onnx import helper, numpy_helper
from scipy.stats import norm, spearmanr
from sklearn.metrics import accuracy_score, log_loss, mean_absolute_error, mean_squared_error

from core.calibrators._fitted import softmax
from core.cli import main
from core.data.handle import load_split
from core.deploy.branch import branch_output, branched
from core.deploy.graph import INPUT, OUTPUT, assemble
from core.engine.evaluate import evaluate
from core.engine.memory import RESULTS
from core.engine.network import fold, load_network
from core.engine.runtime import predictor, run
from core.engine.transform import transform
from core.errors import TemperError
from core.layers import branches
from core.layers import sensitivity as module
from core.layers.sensitivity import BITS, sensitivity
from core.models.samples import load_sample
from core.recipe import Recipe


@pytest.fixture(autouse=True)
def nothing_remembered():
    RESULTS.clear()


def one_rounded(model, data, name: str, bits: int):
    """The network with one layer taken from the recipe that rounds all of them, folded floats elsewhere."""
    network = fold(load_network(model))
    every, _ = transform(model, data, recipe(quantize(bits, 32)))
    return network.with_tensors({f"{name}.weight": every.tensors[f"{name}.weight"]})


def plainly(proto, names, inputs):
    """Outputs without graph optimisation: every node then runs as it is written."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    opened = onnxruntime.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])
    return opened.run(names, {INPUT: inputs})


@pytest.mark.parametrize("name", ["fashion-small", "breast-cancer"])
def test_every_layer_s_branch_is_bit_for_bit_the_whole_graph(name):
    model, data = load_sample(name)
    network = fold(load_network(model))
    inputs = load_split(data, "evaluation").inputs[:64]
    changed = [one_rounded(model, data, layer.name, 3) for layer in network.layers]
    variants = [
        (layer.weight, other.tensors[layer.weight].numpy())
        for layer, other in zip(network.layers, changed, strict=True)
    ]
    proto = branched(assemble(network), variants)
    onnx.checker.check_model(proto)
    original, *found = plainly(proto, [OUTPUT, *map(branch_output, range(len(variants)))], inputs)
    assert np.array_equal(original, plainly(assemble(network), [OUTPUT], inputs)[0])
    for other, logits in zip(changed, found, strict=True):
        whole = plainly(assemble(other), [OUTPUT], inputs)[0]
        assert np.array_equal(logits, whole)
        assert not np.array_equal(logits, original)


def test_a_branch_copies_only_what_depends_on_its_tensor(pictures):
    model, _ = pictures
    network = fold(load_network(model))
    whole = assemble(network)
    weight = "blocks.0.shortcut.0.weight"
    added = list(branched(whole, [(weight, network.tensors[weight].numpy())]).graph.node)[len(whole.graph.node) :]
    assert [node.op_type for node in added[:3]] == ["Conv", "Add", "Relu"]
    first = next(node for node in whole.graph.node if weight in node.input)
    assert added[0].input[0] == first.input[0]
    made = {name for node in added for name in node.output}
    live = {
        name for node in added for name in node.input if name not in made and not name.endswith((".weight", ".bias"))
    }
    assert len(live - {f"{weight}@0"}) == 2, "the block's input and what its main path adds"


def shared_and_joined() -> onnx.ModelProto:
    """Two readers of one weight, and a join of three tensors: more than the samples ask of a branch."""
    nodes = [
        helper.make_node("MatMul", [INPUT, "w"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "v"], ["c"]),
        helper.make_node("MatMul", ["c", "w"], ["d"]),
        helper.make_node("Sum", ["a", "b", "d"], ["e"]),
        helper.make_node("Concat", ["e", "c"], [OUTPUT], axis=1),
    ]
    draw = np.random.default_rng(0)
    values = {name: draw.normal(size=(4, 4)).astype(np.float32) for name in ("w", "v", "unused")}
    graph = helper.make_graph(
        nodes,
        "joined",
        [helper.make_tensor_value_info(INPUT, onnx.TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, ["n", 8])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("name", ["w", "v"])
def test_any_graph_can_branch(name):
    proto = shared_and_joined()
    inputs = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    values = np.random.default_rng(2).normal(size=(4, 4)).astype(np.float32)
    replaced = onnx.ModelProto()
    replaced.CopyFrom(proto)
    for initialiser in replaced.graph.initializer:
        if initialiser.name == name:
            initialiser.CopyFrom(numpy_helper.from_array(values, name))
    found = plainly(branched(proto, [(name, values)]), [branch_output(0)], inputs)[0]
    assert np.array_equal(found, plainly(replaced, [OUTPUT], inputs)[0])


@pytest.mark.parametrize("name", ["nothing", "unused"])
def test_a_branch_without_effect_is_refused(name):
    with pytest.raises(ValueError, match=name):
        branched(shared_and_joined(), [(name, np.zeros((4, 4), np.float32))])


def by_hand(model, data, name: str, bits: int):
    split = load_split(data, "evaluation")
    return split.y, run(predictor(assemble(one_rounded(model, data, name, bits))), split.inputs)


def assert_same(effect, found, model, data):
    labels, logits = by_hand(model, data, effect.layer, effect.bits)
    original = evaluate(model, data, Recipe()).original
    after = softmax(logits)
    before = original.probabilities
    assert effect.values["accuracy"] == accuracy_score(labels, logits.argmax(1))
    assert effect.changes["accuracy"].value == pytest.approx(
        effect.values["accuracy"] - found.values["accuracy"], abs=1e-12
    )
    assert effect.flips.flips == (logits.argmax(1) != original.predictions).sum()
    assert effect.flips.wrong_to_right == ((logits.argmax(1) == labels) & ~original.correct).sum()
    assert effect.flips.right_to_wrong == ((logits.argmax(1) != labels) & original.correct).sum()
    # Kept as float32, half a unit in the last place; logits differ by some 1e-5 where an Add is fused, which moves
    # an example's NLL by at most twice that, in both models.
    change = log_loss(labels, after) - log_loss(labels, before)
    assert effect.changes["nll"].value == pytest.approx(change, rel=1e-6, abs=4e-5)
    rows = np.arange(len(labels))
    paired = np.log(before[rows, labels]) - np.log(after[rows, labels])
    half = 1.959964 * paired.std() / np.sqrt(len(labels))
    assert effect.changes["nll"].interval.high - effect.changes["nll"].value == pytest.approx(
        half, rel=1e-2, abs=1e-5
    )


def test_it_equals_evaluating_each_layer_by_hand(small):
    found = sensitivity(*small)
    original = evaluate(*small, Recipe()).original
    assert [(e.layer, e.bits) for e in found.effects] == [
        (layer.name, bits) for layer in load_network(small[0]).layers for bits in BITS
    ]
    assert found.values["accuracy"] == original.correct.mean()
    assert found.values["nll"] == pytest.approx(log_loss(original.labels, original.probabilities), rel=1e-6)
    for effect in found.effects:
        assert_same(effect, found, *small)


def test_it_equals_evaluating_pictures_by_hand(pictures):
    found = sensitivity(*pictures, (2, 5))
    assert found.n == len(load_split(pictures[1], "evaluation").y)
    for layer, bits in (("stem.0", 5), ("blocks.1.shortcut.0", 2)):
        effect = next(e for e in found.effects if (e.layer, e.bits) == (layer, bits))
        assert_same(effect, found, *pictures)
    losses = {bits: [e.changes["nll"].value for e in found.effects if e.bits == bits] for bits in (2, 5)}
    assert np.mean(losses[5]) < np.mean(losses[2])


def test_numbers_are_judged_by_their_errors():
    model, data = load_sample("diamonds")
    found = sensitivity(model, data, (2, 4))
    before = evaluate(model, data, Recipe()).original.values
    truth = load_split(data, "evaluation").y
    assert found.values == {
        "mse": pytest.approx(mean_squared_error(truth, before), rel=1e-6),
        "mae": pytest.approx(mean_absolute_error(truth, before), rel=1e-6),
    }
    assert len(found.effects) == 2 * len(load_network(model).layers)
    for effect in found.effects:
        labels, outputs = by_hand(model, data, effect.layer, effect.bits)
        after = outputs[:, 0].astype(np.float64)
        # A value in float32 is good to 1e-7 of itself: of prices up to 20,000, to 0.002, also where an Add is fused.
        for name, of, slack in (("mse", np.square, 20), ("mae", np.abs, 0.004)):
            paired = of(after - labels) - of(before - labels)
            change = effect.changes[name]
            assert change.value == pytest.approx(paired.mean(), rel=1e-6, abs=slack)
            assert effect.values[name] == pytest.approx(of(after - labels).mean(), rel=1e-6, abs=slack)
            half = norm.ppf(0.975) * paired.std() / np.sqrt(len(labels))
            assert change.interval.high - change.value == pytest.approx(half, rel=1e-3, abs=slack)
            assert change.value - change.interval.low == pytest.approx(half, rel=1e-3, abs=slack)
        assert effect.changes["mae"].unit == "US dollars" and effect.changes["mse"].unit == "US dollars squared"
        assert effect.flips is None
    for name in ("mse", "mae"):
        added = [effect.changes[name].value for effect in found.effects]
        ratios = [effect.sqnr_db for effect in found.effects]
        assert found.rank_correlation(name) == pytest.approx(spearmanr(ratios, added).statistic)
        assert found.rank_correlation(name) < -0.5, "weights rounded further off add more error"


def test_an_embedding_is_a_layer_like_others():
    model, data = load_sample("spam-mail")
    found = sensitivity(model, data, (2,))
    assert [e.layer for e in found.effects] == [layer.name for layer in load_network(model).layers]
    assert found.effects[0].layer == "embedding"
    assert_same(found.effects[0], found, model, data)


def test_more_bits_hurt_less_and_are_predicted_to(small):
    found = sensitivity(*small)
    for layer in {e.layer for e in found.effects}:
        ratios = [e.sqnr_db for e in found.effects if e.layer == layer]
        assert ratios == sorted(ratios)
    moved = {bits: sum(abs(e.changes["nll"].value) for e in found.effects if e.bits == bits) for bits in BITS}
    assert moved[8] < moved[2]
    assert sum(e.flips.flips for e in found.effects if e.bits == 8) <= sum(
        e.flips.flips for e in found.effects if e.bits == 2
    )


def test_sqnr_is_that_of_the_layer_s_weights(small):
    model, data = small
    network = fold(load_network(model))
    for effect in sensitivity(model, data, (4,)).effects:
        name = f"{effect.layer}.weight"
        before = network.tensors[name].numpy().astype(np.float64)
        noise = before - one_rounded(model, data, effect.layer, 4).tensors[name].numpy()
        expected = 10 * np.log10((before**2).sum() / (noise**2).sum())
        assert effect.sqnr_db == pytest.approx(expected, abs=0.0051), "two digits are kept"


def test_the_rank_correlation_is_scipy_s(small):
    found = sensitivity(*small)
    ratios = [e.sqnr_db for e in found.effects]
    added = [e.changes["nll"].value for e in found.effects]
    lost = [found.values["accuracy"] - e.values["accuracy"] for e in found.effects]
    assert found.rank_correlation("nll") == pytest.approx(spearmanr(ratios, added).statistic)
    assert found.rank_correlation("accuracy") == pytest.approx(spearmanr(ratios, np.round(lost, 9)).statistic)
    assert found.rank_correlation("nll", 2) == pytest.approx(spearmanr(ratios[::5], added[::5]).statistic)
    assert found.rank_correlation("accuracy", 8) is None, "no prediction changed: there is nothing to rank"
    assert replace(found, effects=found.effects[:2]).rank_correlation("nll") is None


def test_the_original_is_left_as_it_was(small):
    model, data = small
    before = {name: tensor.clone() for name, tensor in load_network(model).tensors.items()}
    identity = load_network(model).identity
    sensitivity(model, data)
    after = load_network(model)
    assert after.identity == identity == model.fingerprint
    assert all(np.array_equal(before[name], tensor) for name, tensor in after.tensors.items())


def test_layers_that_do_not_fit_into_one_session_take_turns(small, monkeypatch):
    whole = sensitivity(*small)
    RESULTS.clear()
    seen: list[float] = []
    monkeypatch.setattr(branches, "WEIGHTS", 1)
    assert sensitivity(*small, progress=seen.append) == whole
    assert seen == sorted(seen)
    assert seen[-1] == 1


def test_it_is_remembered_also_on_disk(small, monkeypatch, tmp_path):
    monkeypatch.setenv("TEMPER_CACHE", str(tmp_path))
    found = sensitivity(*small)
    assert sensitivity(*small, (8, 6, 4, 3, 2)) is found, "the order of the bits is no other question"
    RESULTS.clear()

    def no_more(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(module, "_measure", no_more)
    assert sensitivity(*small) == found
    with pytest.raises(AssertionError):
        sensitivity(*small, (2,))


def test_progress_reaches_one_and_may_end_the_run(small):
    seen: list[float] = []
    sensitivity(*small, progress=seen.append)
    assert seen == sorted(set(seen))
    assert seen[-1] == 1
    assert len(seen) > 1

    class Overtaken(Exception):  # noqa: N818  (not an error: a newer value has come)
        """Raised by a page."""

    def leave(fraction: float) -> None:
        raise Overtaken

    RESULTS.clear()
    with pytest.raises(Overtaken):
        sensitivity(*small, progress=leave)
    again: list[float] = []
    sensitivity(*small, progress=again.append)
    assert again == seen, "nothing half done was kept"


@pytest.mark.parametrize("bits", [(), (1, 2), (9,), (2, 2), (2.5,), (True, 2), ("4",), (2, None)])
def test_unusable_bits_are_refused_in_a_sentence(small, bits):
    with pytest.raises(TemperError, match="from 2 to 8; got") as raised:
        sensitivity(*small, bits)
    assert str(raised.value).count(".") == 1 + str(bits).count(".")


def test_the_command_prints_a_table_or_one_object(capsys, small):
    assert main(["sensitivity", "--model", "breast-cancer", "--bits", "2,4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads(json.dumps(sensitivity(*small, (2, 4)).to_dict()))
    assert [(e["layer"], e["bits"]) for e in found["effects"][:2]] == [("body.0", 2), ("body.0", 4)]
    assert set(found["sqnr_rank_correlation"]["nll"]) == {"all", "2", "4"}
    assert main(["sensitivity", "--model", "breast-cancer", "--bits", "2,4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(found["effects"]) + 2
    assert lines[2].split()[:2] == ["body.0", "2"]


def test_the_command_speaks_of_numbers_as_errors(capsys):
    assert main(["sensitivity", "--model", "diamonds", "--bits", "4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) >= {"mse", "mae"} and not set(found) & {"accuracy", "nll"}
    assert set(found["effects"][0]) == {"layer", "bits", "mse", "mse_change", "mae", "mae_change", "sqnr_db"}
    assert set(found["sqnr_rank_correlation"]) == {"mse", "mae"}
    assert main(["sensitivity", "--model", "diamonds", "--bits", "4"]) == 0
    text = capsys.readouterr().out
    assert "mse, US dollars squared" in text and "mae, US dollars " in text and "flips" not in text
    assert "rank correlation of SQNR and mae added" in text
    low, high = found["effects"][0]["mae_change"]["interval"]
    assert f"{found['effects'][0]['mae_change']['value']:+,.4g} [{low:+,.4g}, {high:+,.4g}]" in text.splitlines()[2]


@pytest.mark.parametrize("bits", ["", "x", "2,", "1", "2,2", "4-8", "1" * 5000, "²"])
def test_the_command_refuses_unusable_bits(capsys, bits):
    assert main(["sensitivity", "--model", "breast-cancer", "--bits", bits]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("temper: ")
    assert captured.err.count("\n") == 1
