"""Moving a model to other data: the body bit for bit, the last layer, the card, what is refused, the experiment."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import onnx
import pytest
from moving import labelled
from onnx import TensorProto, helper
from PIL import Image

from core.data.handle import DataHandle, Preprocessing, SplitHandle, fitting_split, load_split
from core.door import Visit
from core.engine.evaluate import evaluate
from core.engine.network import load_network
from core.engine.statistics import interval_of
from core.engine.transform import transform
from core.errors import TemperError
from core.figures.labelled import labelled_sentence, moved_sentence
from core.fingerprint import of_file
from core.intake_moved import bring_moved
from core.jobs.workers import workers
from core.models.ends import in_unit, two_logits
from core.models.graph import INPUT, OUTPUT, Graph
from core.models.handle import graph_of_model, weights_of
from core.models.rehead import head_of, rehead, without_end
from core.models.samples import load_sample, own_home, own_ids, read_card
from core.models.session import run
from core.recipe import Recipe, Step
from core.task import Task, task_of_classes
from core.training.gain import gain
from core.training.labelled import COUNTS, WAYS, Ladder, ladder_of
from core.training.permit import permitted
from core.training.redraw import redrawn
from core.transfer import OWN, Offer, came_from, offers, own_pairs, pair_of, transfer
from core.transfer_learned import settle
from core.wish import Wish

THREE = task_of_classes(["a", "b", "c"])


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TEMPER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def ran(graph: Graph, x: np.ndarray, *outputs: str) -> list[np.ndarray]:
    whole = graph.whole()
    held = {one.name for one in whole.graph.output}
    whole.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in outputs if name not in held)
    found = run(whole, {INPUT: x}, outputs)
    return [found[name] for name in outputs]


def made_data(
    folder, x, y, classes, modality="table", splits=("fit", "calibration", "evaluation"), **own
) -> DataHandle:
    """Every split holds what is given: arrays, or a pair of them by split."""
    handles = []
    folder.mkdir(parents=True, exist_ok=True)
    for name in splits:
        rows = (x[name], y[name]) if isinstance(x, dict) else (x, y)
        path = folder / f"{name}.npz"
        np.savez(path, x=rows[0], y=rows[1])
        handles.append(SplitHandle(name, path, len(rows[1]), of_file(path)))
    width = np.asarray(rows[0]).shape[1] if modality == "table" else 1
    scaling = Preprocessing(1.0, (0.0,) * width, (1.0,) * width)
    task = own.get("task") or task_of_classes(classes)
    return DataHandle("made", "made data", modality, task, scaling, tuple(handles), "mine", "me")


def offer_of(data: DataHandle) -> Offer:
    return Offer("made", data.title, "made data", "Made for a test.", lambda: data)


def rows_of(n: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of thirty numbers, as many as the breast-cancer network reads, and the place of the largest of some."""
    x = np.random.default_rng(seed).normal(size=(n, 30)).astype(np.float32)
    return x, x[:, :classes].argmax(1)


# The last layer -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fashion-small", "breast-cancer", "sentiment", "spam-mail", "diamonds"])
def test_the_body_computes_the_same_bits(name):
    model, data = load_sample(name)
    graph = graph_of_model(model)
    moved = rehead(graph, data.task, THREE, 5)
    before = next(node.input[0] for node in graph.structure.graph.node if OUTPUT in node.output)
    x = load_split(data, "calibration").inputs[:16]
    (was,), (now, logits) = ran(graph, x, before), ran(moved.graph, x, before, OUTPUT)
    assert np.array_equal(was, now) and was.std() > 0
    assert logits.shape == (16, 3) and moved.drawn == THREE.classes and moved.kept == ()
    for tensor, values in graph.tensors.items():
        if tensor not in (moved.head.weight, moved.head.bias):
            assert moved.graph.tensors[tensor] is values
    weight = moved.graph.tensors[moved.head.weight]
    wanted = was.reshape(16, -1).astype(np.float64) @ weight.T.astype(np.float64)
    np.testing.assert_allclose(logits, wanted, atol=1e-4 * np.abs(wanted).max())
    assert abs(weight.std() * weight.shape[1] ** 0.5 - 1) < 0.3 and not moved.graph.tensors[moved.head.bias].any()
    again, other = rehead(graph, data.task, THREE, 5).graph, rehead(graph, data.task, THREE, 6).graph
    assert np.array_equal(again.tensors[moved.head.weight], weight)
    assert not np.array_equal(other.tensors[moved.head.weight], weight)


def test_known_classes_keep_their_weights_in_the_new_order():
    model, data = load_sample("fashion-small")
    graph = graph_of_model(model)
    x = load_split(data, "calibration").inputs[:8]
    few = task_of_classes(["Bag", "Coat", "Trouser"])
    moved = rehead(graph, data.task, few, 0)
    (was,), (now,) = ran(graph, x, OUTPUT), ran(moved.graph, x, OUTPUT)
    np.testing.assert_allclose(now, was[:, [data.classes.index(name) for name in few.classes]], rtol=1e-5, atol=1e-5)
    assert moved.kept == few.classes and moved.drawn == ()
    assert rehead(graph, data.task, data.task, 0).graph is graph
    unknown = rehead(graph, data.task, task_of_classes(["Bag", "Coat", "Hat"]), 0)
    assert unknown.kept == () and len(unknown.drawn) == 3


def test_numbers_come_out_in_their_unit():
    model, data = load_sample("breast-cancer")
    prices = Task("regression", (), 1, "price", "euros", ("value", "log_scale"))
    x = load_split(data, "calibration").inputs
    graph = graph_of_model(model)
    plain = rehead(graph, data.task, prices, 0).graph
    scaled = rehead(graph, data.task, prices, 0, (500.0, 20.0)).graph
    (was,), (now,) = ran(plain, x, OUTPUT), ran(scaled, x, OUTPUT)
    np.testing.assert_allclose(now[:, 0], 500 + 20 * was[:, 0], rtol=1e-5)
    np.testing.assert_allclose(now[:, 1], np.log(20) + was[:, 1], rtol=1e-4, atol=1e-5)
    back = rehead(scaled, prices, THREE, 1).graph  # the end in another unit goes with the last layer
    assert ran(back, x, OUTPUT)[0].shape == (len(x), 3)
    np.testing.assert_array_equal(
        ran(back, x, OUTPUT)[0], ran(rehead(graph, data.task, THREE, 1).graph, x, OUTPUT)[0]
    )


def one_layer(*after: onnx.NodeProto, out: str = OUTPUT, **tensors: np.ndarray) -> Graph:
    """A linear layer of four inputs whose output is called `out`, and what comes after it."""
    held = {"l.weight": np.ones((2, 4), np.float32), "l.bias": np.zeros(2, np.float32), **tensors}
    first = helper.make_node("Gemm", [INPUT, "l.weight", "l.bias"], [out], "l", transB=1)
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", s]) for n, s in ((INPUT, 4), (OUTPUT, 2))]
    graph = helper.make_graph([first, *after], "made", ends[:1], ends[1:])
    return Graph(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), held)


def test_ends_are_taken_off_and_fixed_sizes_follow():
    one = replace(one_layer(), tensors={"l.weight": np.ones((1, 4), np.float32), "l.bias": np.zeros(1, np.float32)})
    ended, _ = two_logits(one, "yes")
    assert [node.op_type for node in without_end(ended).structure.graph.node] == ["Gemm"]
    moved = rehead(ended, task_of_classes(["no", "yes"]), THREE, 0)
    assert ran(moved.graph, np.ones((2, 4), np.float32), OUTPUT)[0].shape == (2, 3)
    assert moved.graph.structure.graph.output[0].type.tensor_type.shape.dim[1].dim_value == 3
    same = rehead(ended, task_of_classes(["no", "yes"]), task_of_classes(["yes", "no"]), 0)
    assert same.kept == (), "one logit holds no row for each class"
    assert head_of(without_end(in_unit(one, 1, 3.0, 2.0)[0])).weight == "l.weight"


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        (one_layer(helper.make_node("Softmax", ["h"], [OUTPUT]), out="h"), "come from Softmax, not from one layer"),
        (one_layer(helper.make_node("Add", ["h", "h"], [OUTPUT]), out="h"), "come from Add, not from one layer"),
    ],
)
def test_an_output_of_no_single_layer_is_refused(graph, said):
    with pytest.raises(TemperError, match=said):
        rehead(graph, task_of_classes(["a", "b"]), THREE, 0)


# The pair -----------------------------------------------------------------------------------------------------------


def test_the_pair_is_a_model_like_any_other(tmp_path):
    model, own = load_sample("breast-cancer")
    x, y = rows_of(120, 3)
    offer = offer_of(made_data(tmp_path / "d", x, y, ["a", "b", "c"]))
    assert pair_of(model, offer) is None
    name = transfer(model, own, offer)
    assert pair_of(model, offer) == name == transfer(model, own, offer) and own_ids() == (name,)
    card, (pair, data) = read_card(name), load_sample(name)
    assert card["title"] == f"{model.title} for made data" and pair.own
    stated = came_from(name)
    assert stated is not None and came_from("breast-cancer") is None
    assert stated["from"] == "breast-cancer" and stated["fingerprint"] == model.fingerprint and stated["seed"] == 0
    assert stated["layer"] == "head" and stated["drawn"] == ["a", "b", "c"] and stated["kept"] == []
    assert stated["data"] == data.fingerprint == offer.data().fingerprint
    assert card["parameters"] == sum(t.numel() for t in weights_of(pair).values())
    assert data.preprocessing == offer.data().preprocessing and any("columns" in c["said"] for c in card["checks"])
    found = evaluate(pair, data, Recipe((Step.of("prune", "magnitude-global", {"sparsity": 0.5}),)))
    assert found.tempered.predicted.shape == (120, 3)
    assert transfer(model, own, offer, seed=1) != name


def test_one_group_keeps_the_last_layer_and_says_what_it_is():
    model, data = load_sample("rain-6h")
    listed = {offer.title: offer for offer in offers(model, data)}
    jfk = next(offer for title, offer in listed.items() if title.endswith("JFK alone"))
    assert "no new territory" in jfk.said and not [key for key in listed if "Fashion" in key]
    pair, part = load_sample(transfer(model, data, jfk))
    assert pair.weights_fingerprint == model.weights_fingerprint and part.preprocessing == data.preprocessing
    whole, some = evaluate(model, data, Recipe()).original, evaluate(pair, part, Recipe()).original
    airport = load_split(data, "evaluation").groups["airport"] == data.groups[0].names.index("JFK")
    np.testing.assert_allclose(some.logits, whole.logits[airport], atol=1e-4)


def test_pictures_are_offered_digits_and_scaled_as_the_body_was():
    model, data = load_sample("fashion-small")
    offered = {offer.key: offer for offer in offers(model, data)}
    assert set(offered) == {"digits"}, "its own data under another name is no other data"
    pair, digits = load_sample(transfer(model, data, offered["digits"]))
    assert digits.preprocessing == data.preprocessing and len(digits.classes) == 10
    assert weights_of(pair)["head.weight"].shape == weights_of(model)["head.weight"].shape
    assert not np.array_equal(weights_of(pair)["head.weight"], weights_of(model)["head.weight"])
    names = {offer.key for offer in offers(pair, digits)}
    assert names == {"data fashion-resnet"}, "what both samples hold once, and neither the digits nor the pair itself"


def zipped(path, counts: dict[str, int], size=(20, 20)):
    with zipfile.ZipFile(path, "w") as file:
        for label, (name, count) in enumerate(counts.items()):
            for k in range(count):
                grey = np.random.default_rng(100 * label + k).integers(0, 60, size).astype(np.uint8)
                grey[:, 3 * label : 3 * label + 4] = 250
                held = io.BytesIO()
                Image.fromarray(grey).save(held, "PNG")
                file.writestr(f"{name}/{k}.png", held.getvalue())
    return path


def test_a_persons_own_pictures_come_in_behind_the_door(tmp_path):
    path = zipped(tmp_path / "bars.zip", {"left": 12, "middle": 12, "right": 12})
    home = own_home()
    assert home is not None
    name = Visit(Wish("fashion-small", str(path), body=True), home).run()
    pair, data = load_sample(name)
    assert data.classes == ("left", "middle", "right") and fitting_split(data).inputs.shape == (18, 1, 28, 28)
    assert data.preprocessing == load_sample("fashion-small")[1].preprocessing
    assert came_from(name)["offer"] == OWN and own_pairs(load_sample("fashion-small")[0]) == {name: pair.title}
    assert pair.title.endswith("for bars")
    assert [path.name for path in home.iterdir()] == [name], "nothing half-written is left"
    few = zipped(tmp_path / "few.zip", {"left": 12, "right": 1})
    with pytest.raises(TemperError, match="No example of right is in the fit split of 'few'"):
        bring_moved(Wish("fashion-small", str(few), body=True), home, lambda *_: None)
    table = tmp_path / "table.csv"
    table.write_text("a,b,label\n" + "\n".join(f"{k},{k % 3},{k % 2}" for k in range(40)), "utf-8")
    with pytest.raises(TemperError, match="an example of the data has 2 values"):
        bring_moved(Wish("fashion-small", str(table), body=True), home, lambda *_: None)


@pytest.mark.parametrize(
    ("rows", "classes", "said"),
    [
        (rows_of(3, 3), list("abcde"), "has 5 classes and only 3 examples"),
        (rows_of(1, 1), list("ab"), "has one example to learn from"),
        ((rows_of(40, 2)[0], np.zeros(40, np.int64)), list("ab"), "No example of b is in the fit split"),
        ((np.ones((40, 7), np.float32), np.arange(40) % 2), list("ab"), "inputs of 30; those of 'made data' are 7"),
    ],
)  # fmt: skip
def test_data_that_cannot_be_learned_is_one_sentence(tmp_path, rows, classes, said):
    model, own = load_sample("breast-cancer")
    with pytest.raises(TemperError, match=said):
        transfer(model, own, offer_of(made_data(tmp_path / "d", *rows, classes)))
    assert own_ids() == ()


def test_other_modalities_and_missing_fit_splits_are_refused(tmp_path):
    model, own = load_sample("breast-cancer")
    with pytest.raises(TemperError, match=r"reads rows of a table; .* holds texts"):
        transfer(model, own, offer_of(load_sample("sentiment")[1]))
    unfit = made_data(tmp_path / "d", *rows_of(40, 2), list("ab"), splits=("calibration", "evaluation"))
    with pytest.raises(TemperError, match="has no examples to train on"):
        transfer(model, own, offer_of(unfit))
    flat = Task("regression", (), 1, "price", "euros", ("value",))
    same = made_data(tmp_path / "e", rows_of(40, 2)[0], np.full(40, 3.5), [], task=flat)
    with pytest.raises(TemperError, match=r"All labels of 'made data' to learn from are 3\.5"):
        transfer(model, own, offer_of(same))


# Learning -----------------------------------------------------------------------------------------------------------

LEARN = {"epochs": 2.0, "batch": 32, "rate": 1e-2}


def learned(name: str, **settings):
    model, data = load_sample(name)
    step = Step.of("train", "fine-tune", {**LEARN, **settings})
    with permitted():
        return transform(model, data, Recipe((step,)))[0]


def test_a_moved_model_learns_and_its_frozen_body_does_not(tmp_path):
    model, own = load_sample("breast-cancer")
    name = transfer(model, own, offer_of(made_data(tmp_path / "d", *rows_of(400, 3), list("abc"))))
    pair, data = load_sample(name)
    before = weights_of(pair)
    found = learned(name, layers="head")
    changed = {key for key in before if not np.array_equal(before[key], found.tensors[key])}
    assert changed == {"head.weight", "head.bias"}
    recipe = Recipe((Step.of("train", "fine-tune", {**LEARN, "epochs": 6.0, "rate": 3e-2}),))
    with permitted():
        result = evaluate(pair, data, recipe)
    assert result.tempered.correct.mean() > result.original.correct.mean() + 0.2
    kept = settle(name, recipe)
    assert settle(name, recipe) == kept and set(own_ids()) == {name, kept}
    assert np.array_equal(evaluate(*load_sample(kept), Recipe()).original.logits, result.tempered.logits)
    assert came_from(kept)["pair"] == name and came_from(kept)["learned"] == recipe.to_dict()
    assert read_card(kept)["title"].endswith(", learned") and load_sample(kept)[1].fingerprint == data.fingerprint
    with pytest.raises(TemperError, match="trains and does nothing else"):
        settle(name, Recipe((Step.of("prune", "magnitude-global", {"sparsity": 0.5}), *recipe.steps)))
    with pytest.raises(TemperError, match="is no model of your own"):
        settle("breast-cancer", recipe)
    brought = gain(evaluate(pair, data, Recipe()), result)
    assert "new last layer as it was drawn" in moved_sentence(brought, (), True)
    assert "on 400 evaluation examples" in moved_sentence(brought, (), False)


def test_labels_that_calibrate_or_judge_teach_nothing(tmp_path):
    model, own = load_sample("breast-cancer")
    (x, y), names = rows_of(200, 3), ("fit", "calibration", "evaluation")
    clean = made_data(tmp_path / "a", dict.fromkeys(names, x), dict.fromkeys(names, y), list("abc"))
    poison = {"fit": y, "calibration": (y + 1) % 3, "evaluation": (y + 2) % 3}
    spoilt = made_data(tmp_path / "b", dict.fromkeys(names, x), poison, list("abc"))
    wrong = made_data(tmp_path / "c", dict.fromkeys(names, x), {**poison, "fit": (y + 1) % 3}, list("abc"))
    found = []
    for data in (clean, spoilt, wrong):
        name = transfer(model, own, offer_of(data))
        for start in ("trained", "scratch"):
            found.append(learned(name, start=start).tensors)
    for one, other in zip(found[:2], found[2:4], strict=True):
        assert all(np.array_equal(one[key], other[key]) for key in one)
    assert not np.array_equal(found[0]["head.weight"], found[4]["head.weight"]), "labels of the fit split do teach"


def test_from_scratch_begins_with_other_weights_and_the_same_seed_gives_them_again():
    model, _ = load_sample("fashion-small")
    network = load_network(model)
    one, other = redrawn(network, 1), redrawn(network, 2)
    for layer in network.layers:
        weight = one.tensors[layer.weight]
        assert not np.array_equal(weight, other.tensors[layer.weight])
        assert abs(float(weight.std()) * (weight[0].numel() / 2) ** 0.5 - 1) < 0.35, layer.name
        if layer.norm:
            parts = [one.tensors[f"{layer.norm}.{part}"].unique().tolist() for part in
                     ("weight", "bias", "running_mean", "running_var")]  # fmt: skip
            assert parts == [[1.0], [0.0], [0.0], [1.0]]
    again = redrawn(network, 1)
    assert all(np.array_equal(one.tensors[key], again.tensors[key]) for key in one.tensors)
    frozen = {"start": "scratch", "layers": "head", "examples": 50, "epochs": 0.05}
    body = learned("fashion-small", **frozen).tensors["stem.0.weight"]
    assert np.array_equal(body, redrawn(network, 0).tensors["stem.0.weight"]), "what does not learn is drawn anew too"
    rounded = Recipe((Step.of("quantize", "uniform", {"weight_bits": 4}), Step.of("train", "fine-tune", frozen)))
    with pytest.raises(TemperError, match="drawn anew do not fit the grids"), permitted():
        transform(*load_sample("fashion-small"), rounded)


# The experiment -----------------------------------------------------------------------------------------------------


def test_the_experiment_trains_each_way_once_and_is_found_again(tmp_path):
    model, own = load_sample("breast-cancer")
    name = transfer(model, own, offer_of(made_data(tmp_path / "d", *rows_of(40, 3), list("abc"))))
    ladder = ladder_of(*load_sample(name), 10, 1)
    assert ladder_of(*load_sample(name), 10, 1) is ladder and not ladder.known().points
    assert [(r.count, r.way.name) for r in ladder.rungs] == [(c, w.name) for c in (10, 40) for w in WAYS]
    assert COUNTS[-1] == 0 and {r.training.recipe.steps[0].values["examples"] for r in ladder.rungs} == {10, 0}
    with workers(1) as hands:
        ladder.ready()
        ladder.run(hands)
    found = ladder.known()
    assert ladder.standing().state == "done" and len(found.points) == found.wanted == 6
    learned = {(p.way, p.count): p for p in found.points}
    for rung in ladder.rungs:
        assert rung.training.standing().looks[-1].step in (10, 11), "as many steps for each"
    rung = ladder.rungs[-1]
    outcome = evaluate(*load_sample(name), rung.training.recipe).tempered
    kept = learned[rung.way.name, rung.count]
    assert kept.value == outcome.correct.mean() and kept.low == interval_of("accuracy", outcome).low
    assert (
        found.before is not None
        and found.before.value == evaluate(*load_sample(name), Recipe()).original.correct.mean()
    )
    again = Ladder(*load_sample(name), 10, 1)
    assert again.standing().state == "done" and again.known() == found, "read from what was kept"
    path = rung.training.folder / "judged.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "value": 0.123}))
    assert Ladder(*load_sample(name), 10, 1).known().points[-1].value == 0.123
    path.write_text("{")
    assert Ladder(*load_sample(name), 10, 1).standing().state == "ready", "what cannot be read is done again"


def test_a_cancelled_experiment_keeps_what_it_has(tmp_path):
    model, own = load_sample("breast-cancer")
    name = transfer(model, own, offer_of(made_data(tmp_path / "d", *rows_of(40, 3, 9), list("abc"))))
    ladder = ladder_of(*load_sample(name), 10, 1)
    ladder.ready()
    ladder.cancel()
    with workers(1) as hands:
        ladder.run(hands)
    assert ladder.standing().state == "cancelled" and not ladder.known().points and not ladder.alive


def test_the_finding_says_only_what_intervals_tell_apart():
    ahead = labelled_sentence(labelled((10, 898)))
    assert "With 10 labelled examples the body frozen reaches 60.0" in ahead.replace("\N{NO-BREAK SPACE}", " ")
    assert "20.0 points in favour of what it had learned before" in ahead.replace("\N{NO-BREAK SPACE}", " ")
    assert labelled_sentence(labelled((10, 898), by=0.0)).count("does not tell them apart") == 2
    assert "in favour of beginning anew" in labelled_sentence(labelled((10, 898), by=-0.2))
    assert "in favour of beginning anew" in labelled_sentence(labelled((10, 50), measure="rmse")), "less is better"
    assert labelled_sentence(labelled(())) == ""
