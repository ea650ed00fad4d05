"""Embeddings as layers: found, rounded a row at a time, pruned, evaluated and out in every format."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from conftest import prune, quantize, recipe
from hostile_models import F, network, onnx_file, weights
from onnx import TensorProto, helper, numpy_helper
from texted import CLASSES, LENGTH, NETWORKS, WIDTH, WORDS, Encoder, ids, module, pair

from core import about
from core.data.handle import load_split
from core.deploy.check import declaration, offered, parts_of, ship
from core.deploy.graph import INPUT, _points, assemble, template
from core.deploy.latency import integer_layers, multiplying
from core.deploy.pack import ledger, pack
from core.engine.evaluate import evaluate
from core.engine.network import load_network
from core.engine.runtime import predictor, run, session
from core.engine.transform import transform
from core.formats import packed_reader
from core.layers.sensitivity import sensitivity
from core.models.channels import dependencies
from core.models.exact import exact, reads_ids
from core.models.export import _programmed, exported
from core.models.graph import graph_of
from core.models.handle import graph_of_model, structure_of, weights_of
from core.models.simplify import runner
from core.models.torch_graph import GraphModule
from core.recipe import Step
from core.registry import method

TABLE = "words.weight"
RECIPES = {
    "W8A8": recipe(quantize(8, 8)),
    "W4A8": recipe(quantize(4, 8)),
    "W4A32": recipe(quantize(4, 32)),
    "W2A32": recipe(quantize(2, 32)),
    "W3A4 affine": recipe(quantize(3, 4, scheme="affine")),
    "W6A32 affine by tensor": recipe(quantize(6, 32, scheme="affine", granularity="tensor")),
    "W16A16": recipe(quantize(16, 16)),
    "sparse": recipe(prune(0.5)),
    "sparse W8A8": recipe(prune(0.5), quantize(8, 8)),
    "sparse W4A32 temperature": recipe(prune(0.5), quantize(4, 32), Step.of("calibrate", "temperature")),
    "half the channels W4A8": recipe(prune(0.5, "channels-magnitude"), quantize(4, 8)),
}


@pytest.fixture(scope="module", params=NETWORKS)
def text(request, tmp_path_factory):
    return pair(module(request.param), tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return pair(module("bag"), tmp_path_factory.mktemp("bag"))


class Alone(torch.nn.Module):
    """Logits that are sums of rows."""

    def __init__(self) -> None:
        super().__init__()
        self.words = torch.nn.Embedding(WORDS, CLASSES)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.words(ids.long()).sum(1)


def by_hand(table: np.ndarray, bits: int, affine: bool, by_row: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The table rounded one row after the other: integers, scales and the values that they stand for."""
    rows, integers, scales = [], [], []
    for row in table:
        seen = row if by_row else table.reshape(-1)
        if affine:
            low, high = min(seen.min(), np.float32(0)), max(seen.max(), np.float32(0))
            scale, top, bottom = np.float32((high - low) / np.float32(2**bits - 1)), 2**bits - 1, 0
        else:
            top = 2 ** (bits - 1) - 1
            scale, low, bottom = np.float32(np.abs(seen).max() / np.float32(top)), np.float32(0), -top
        scale = scale if scale > 0 else np.float32(1)
        zero = np.rint(-low / scale) if affine else np.float32(0)
        q = np.clip(np.rint(row / scale) + zero, bottom, top)
        integers.append(q)
        scales.append(scale)
        rows.append((q - zero).astype(np.float32) * scale)
    return np.array(integers, np.int64), np.array(scales), np.array(rows)


def held(proto: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    return {tensor.name: tensor for tensor in proto.graph.initializer}


@pytest.mark.parametrize("export", [exported, _programmed])
@pytest.mark.parametrize("name", NETWORKS)
def test_an_embedding_is_a_layer(name, export):
    made = module(name)
    graph = graph_of(export(made, torch.from_numpy(ids(2))))
    first = graph.layers[0]
    assert (first.name, first.kind, first.norm, first.biased) == ("words", "embedding", None, False)
    assert graph.shapes[TABLE] == (WORDS, WIDTH)
    linear = {n for n, part in made.named_modules() if isinstance(part, torch.nn.Linear)}
    assert {layer.name for layer in graph.layers[1:]} == linear
    assert {layer.kind for layer in graph.layers[1:]} == {"linear"}
    left = {part.name: part.what.partition(":")[0] for part in graph.skipped}
    norms = {n for n, part in made.named_modules() if isinstance(part, torch.nn.LayerNorm)}
    places = {"places": "a position table"} if name == "transformer" else {}
    assert left == dict.fromkeys(norms, "a layer norm") | places
    assert all("2109.12948" in part.what for part in graph.skipped if part.name in norms)
    logits = runner(graph.whole(), "input", "logits")
    for rows in (1, 5):
        x = ids(rows, rows)
        assert np.allclose(logits(x), made(torch.from_numpy(x)).numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("fixed", [1, 3])
def test_a_file_made_for_a_fixed_number_of_examples(name, fixed, tmp_path):
    made = module(name)
    path = onnx_file(tmp_path / "m.onnx", made, torch.from_numpy(ids(fixed)), fixed=True)
    logits = runner(graph_of(onnx.load(path)).whole(), "input", "logits")
    for rows in (1, 2, 5):
        assert np.allclose(logits(ids(rows)), made(torch.from_numpy(ids(rows))).numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("fixed", [1, 3])
def test_a_fixed_number_of_examples_is_followed_through_an_embedding(fixed):
    table = np.random.default_rng(0).standard_normal((5, 2)).astype("f4")
    nodes = [("Cast", ["x"], ["i"], {"to": TensorProto.INT64}), ("Gather", ["e", "i"], ["g"]),
             ("Reshape", ["g", "t"], ["h"]), ("Gemm", ["h", "w", "b"], ["y"], {"transB": 1})]  # fmt: skip
    ends = [[helper.make_tensor_value_info(name, F, [fixed, n])] for name, n in (("x", 2), ("y", 3))]
    graph = graph_of(network(nodes, {**weights(), "e": table, "t": np.array([fixed, 4])}, *ends))
    for rows in (1, 2, 5):
        x = np.random.default_rng(rows).integers(0, 5, (rows, 2))
        expected = table[x].reshape(rows, 4) @ weights()["w"].T + weights()["b"]
        found = runner(graph.whole(), "input", "logits")(x.astype(np.float32))
        assert np.allclose(found, expected, atol=1e-5)


def test_a_graph_that_reads_ids_is_looked_at_with_an_id_that_exists():
    """Noise would be no row of a table of two."""
    nodes = [("Cast", ["x"], ["i"], {"to": TensorProto.INT64}), ("Gather", ["e", "i"], ["g"]),
             ("ReduceMean", ["g"], ["h"], {"axes": [1], "keepdims": 0}),
             ("Gemm", ["h", "w", "b"], ["y"], {"transB": 1})]  # fmt: skip
    given = [helper.make_tensor_value_info("x", F, ["n", 999])]
    assert graph_of(network(nodes, {**weights(), "e": np.ones((2, 4), "f4")}, given)).multiply_adds() == 3 * 4


def tables() -> dict[str, tuple[list, dict, str]]:
    """Gathers that are no embeddings: nodes from `h` int64 `(n, 4)` to `t`, their constants, and what is said."""
    table = np.random.default_rng(0).standard_normal((4, 4)).astype("f4")
    spread = [("Shape", ["x"], ["s"]), ("Expand", ["first", "s"], ["at"]), ("Gather", ["t", "at"], ["g"])]
    return {
        "constant places": ([("Gather", ["t", "at"], ["g"])], {"t": table, "at": np.arange(4)}, "a position table"),
        "the same places for every example": (spread, {"t": table, "first": np.arange(4)[None]}, "a position table"),
        "numbers, not rows": ([("Gather", ["t", "h"], ["g"])], {"t": table[0]}, "a table that is not"),
        "columns": ([("Gather", ["t", "h"], ["g"], {"axis": 1})], {"t": table}, "a table that is not"),
        "added": ([("Add", ["x", "t"], ["g"])], {"t": table[None]}, "a constant that is added"),
    }


@pytest.mark.parametrize("title", tables())
def test_other_tables_are_left_alone_and_the_reason_is_said(title):
    nodes, constants, what = tables()[title]
    cast = ("Cast", ["x"], ["h"], {"to": TensorProto.INT64})
    ends = [("ReduceSum", ["g"], ["r"], {"keepdims": 0}), ("Add", ["x", "r"], ["k"]),
            ("Gemm", ["k", "w", "b"], ["y"], {"transB": 1})]  # fmt: skip
    proto = network([cast, *nodes, *ends], {**weights(), **constants})
    graph = graph_of(proto)
    assert [layer.name for layer in graph.layers] == ["w"]
    assert [part.what.startswith(what) for part in graph.skipped] == [True], graph.skipped


def test_one_table_read_twice_is_two_layers():
    nodes = [("Cast", ["x"], ["i"], {"to": TensorProto.INT64}), ("Gather", ["e", "i"], ["a"]),
             ("Abs", ["i"], ["j"]), ("Gather", ["e", "j"], ["c"]), ("Add", ["a", "c"], ["h"]),
             ("ReduceSum", ["h", "one"], ["s"], {"keepdims": 0}),
             ("Gemm", ["s", "w", "b"], ["y"], {"transB": 1})]  # fmt: skip
    proto = network(nodes, {**weights(), "e": np.ones((9, 4), "f4"), "one": np.array([1])})
    assert [(layer.name, layer.kind) for layer in graph_of(proto).layers] == [
        ("e", "embedding"), ("e.2", "embedding"), ("w", "linear"),
    ]  # fmt: skip


def test_ids_masks_and_lengths_are_never_rounded(text):
    model, data = text
    graph = structure_of(model).graph
    assert reads_ids(graph)
    points = template(model).points
    counted = exact(graph)
    assert INPUT in counted and counted.isdisjoint(points)
    for name in points:  # what is rounded depends on a trained tensor: no list of ids, no mask, no length
        seen = session(assemble(load_network(model), reveal=True)).run([name], {INPUT: ids(50)})[0]
        assert len(np.unique(seen)) > LENGTH + 2
    made = {output for node in graph.node for output in node.output}
    sums = {node.output[0] for node in graph.node if node.op_type == "ReduceSum"}
    assert len(sums & counted) == 1, "the number of words, not their sum"
    assert counted & made > sums & counted
    for bits in (8, 16):
        found = assemble(transform(model, data, recipe(quantize(32, bits)))[0])
        readers = [node for node in found.graph.node if INPUT in node.input]
        kinds = [(node.op_type, node.attribute[0].i) for node in readers]
        assert kinds == [("Cast", TensorProto.INT64)]


def test_numbers_that_are_no_ids_are_rounded(small):
    assert not reads_ids(structure_of(small[0]).graph) and INPUT in template(small[0]).points


def test_what_a_layer_reads_is_rounded_even_where_it_was_counted():
    """A mask as a layer's input: integer kernels need its grid."""
    nodes = [("Greater", ["x", "zero"], ["m"]), ("Cast", ["m"], ["f"], {"to": F}),
             ("Gemm", ["f", "v"], ["g"]), ("Sigmoid", ["g"], ["r"]),
             ("Gemm", ["r", "w", "b"], ["y"], {"transB": 1})]  # fmt: skip
    graph = graph_of(network(nodes, {**weights(), "zero": np.float32(0), "v": np.eye(4, dtype="f4")}))
    assert _points(graph.structure, {layer.weight for layer in graph.layers})[0] == ("f", "g", "r")


def test_a_masked_embedding_is_rounded_where_a_layer_reads_it():
    """Means of few values of one grid lie halfway between levels of the next: the order of a sum would decide."""
    graph = graph_of(exported(module("bag"), torch.from_numpy(ids(2))))
    points = _points(graph.structure, {layer.weight for layer in graph.layers})[0]
    makers = {node.output[0]: node.op_type for node in graph.structure.graph.node}
    assert [makers[name] for name in points] == ["Div", "Relu"]


@pytest.mark.parametrize("title", RECIPES)
def test_every_format_takes_it_out(text, title):
    model, data = text
    chosen = RECIPES[title]
    result = evaluate(model, data, chosen)
    assert np.isfinite(result.tempered.probabilities).all() and result.original.correct.mean() == 0.9
    done = set()
    for form, why in offered(parts_of(model, data, chosen)):
        if why:
            assert form.name == "onnx-float" and "rounds activations" in why
            continue
        checked = ship(model, data, chosen, form.name).checked
        assert checked.verified, checked
        done.add(form.name)
    assert {"onnx", "packed", "pt2"} <= done


@pytest.mark.parametrize("export", [exported, _programmed])
def test_segments_that_are_all_the_first_are_no_layer(export):
    torch.manual_seed(0)
    graph = graph_of(export(Encoder().eval(), torch.from_numpy(ids(2))))
    assert [layer.name for layer in graph.layers if layer.kind == "embedding"] == ["words"]
    left = {part.name: part.what for part in graph.skipped}
    assert left["segments"].startswith("a position table") and left["places"].startswith("a constant that is added")


@pytest.mark.parametrize("what", ["encoder", "one layer", "a table alone"])
@pytest.mark.parametrize("title", ["W8A8", "W4A32", "sparse W8A8"])
def test_others_go_through_too(what, title, tmp_path):
    """PyTorch's own layer; one whose only point is the input; one that has no point at all."""
    torch.manual_seed(0)
    made = {"encoder": Encoder, "one layer": lambda: torch.nn.Linear(LENGTH, CLASSES), "a table alone": Alone}[what]()
    model, data = pair(made.eval().requires_grad_(False), tmp_path)
    for form, why in offered(parts_of(model, data, RECIPES[title])):
        if not why:
            checked = ship(model, data, RECIPES[title], form.name).checked
            assert checked.verified, checked
        else:
            assert form.name == "onnx-float"


@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize("scheme", ["symmetric", "affine"])
@pytest.mark.parametrize("granularity", ["channel", "tensor"])
def test_rows_are_rounded_bit_for_bit_as_by_hand(bag, tmp_path, bits, scheme, granularity):
    model, data = bag
    chosen = recipe(quantize(bits, 32, scheme=scheme, granularity=granularity))
    table = weights_of(model)[TABLE].numpy()
    integers, scales, rows = by_hand(table, bits, scheme == "affine", granularity == "channel")
    made = transform(model, data, chosen)[0]
    assert np.array_equal(made.tensors[TABLE].numpy(), rows)
    assert not np.array_equal(rows, table)
    packed = ship(model, data, chosen, "packed").content
    (tmp_path / "m.safetensors").write_bytes(packed)
    assert np.array_equal(packed_reader.read(tmp_path / "m.safetensors")[0][TABLE], rows)
    proto = onnx.load_from_string(ship(model, data, chosen, "onnx").content)
    stored = numpy_helper.to_array(held(proto)[f"{TABLE}/q"])
    assert np.array_equal(stored.astype(np.int64), integers)
    scale = numpy_helper.to_array(held(proto)[f"{TABLE}/scale"]).reshape(-1)
    assert np.array_equal(scale, scales if granularity == "channel" else scales[:1])
    gathered = next(n.output[0] for n in structure_of(model).graph.node if n.op_type == "Gather")
    proto.graph.output.append(helper.make_empty_tensor_value_info(gathered))
    x = np.arange(WORDS, dtype=np.float32)[:48].reshape(-1, LENGTH)
    assert np.array_equal(session(proto).run([gathered], {INPUT: x})[0], rows[x.astype(int)])


@pytest.mark.parametrize(("bits", "activations", "kind"), [(4, 32, "INT4"), (4, 8, "INT4"), (8, 8, "INT8")])
def test_the_file_holds_the_table_in_its_bits(bag, bits, activations, kind):
    model, data = bag
    proto = onnx.load_from_string(ship(model, data, recipe(quantize(bits, activations)), "onnx").content)
    found = held(proto)
    assert found[f"{TABLE}/q"].data_type == getattr(TensorProto, kind)
    assert len(found[f"{TABLE}/q"].raw_data) == WORDS * WIDTH * bits // 8
    assert TABLE not in found, "and nowhere as floats"
    onnx.checker.check_model(proto, full_check=True)


def test_only_the_rows_that_are_read_become_float(bag, tmp_path):
    """ONNX Runtime picks integers: no node of the graph that it runs makes a whole table of floats."""
    model, data = bag
    for bits in (4, 8):
        proto = onnx.load_from_string(ship(model, data, recipe(quantize(bits, 32)), "onnx").content)
        session(proto, save_optimised=str(tmp_path / "run.onnx"))
        ran = onnx.load(tmp_path / "run.onnx")
        whole = [name for name, t in held(ran).items() if list(t.dims) == [WORDS, WIDTH]]
        assert [held(ran)[name].data_type for name in whole] == [TensorProto.INT8]
        readers = {node.op_type for node in ran.graph.node if set(whole) & set(node.input)}
        assert readers == {"Gather"}


def test_integer_layers_stay_integer_beside_a_table_of_four_bits(text):
    model, data = text
    made = transform(model, data, recipe(quantize(4, 8)))[0]
    inside = integer_layers(assemble(made))
    assert inside == multiplying(made) == len(made.layers) - 1
    assert integer_layers(assemble(made, compact=True)) == inside


def test_packed_rows_take_half_a_byte_a_weight_and_a_scale_each(bag):
    model, data = bag
    made = transform(model, data, recipe(quantize(4, 32)))[0]
    arrays = pack(made)
    assert arrays[f"{TABLE}/values"].nbytes == WORDS * WIDTH // 2
    assert arrays[f"{TABLE}/scale"].nbytes == 4 * WORDS
    assert {n for n in arrays if n.startswith(TABLE)} == {f"{TABLE}/values", f"{TABLE}/scale"}
    weight = sum(made.tensors[name].numel() for name in made.weight_names) // 2
    rows = sum(len(made.tensors[name]) for name in made.weight_names)
    assert (ledger(made).weights, ledger(made).grids) == (weight, 4 * rows)


def test_magnitudes_are_ranked_with_all_the_others(bag):
    model, data = bag
    made = transform(model, data, recipe(prune(0.5)))[0]
    given = weights_of(model)
    assert made.sparsity == pytest.approx(0.5, abs=1e-3)
    gone = torch.cat([given[n][~made.masks[n]].abs() for n in made.weight_names])
    kept = torch.cat([given[n][made.masks[n]].abs() for n in made.weight_names])
    assert gone.max() <= kept.min(), "one threshold for table and layers"
    assert 0 < made.masks[TABLE].float().mean() != 0.5, "so that the table's own share follows from its values"
    for name in ("magnitude-layer", "random"):
        table = transform(model, data, recipe(prune(0.5, name)))[0].tensors[TABLE]
        assert int((table == 0).sum()) >= WORDS * WIDTH // 2


def test_a_table_loses_columns_with_the_layer_behind_it(bag):
    model, data = bag
    made, fitted = transform(model, data, recipe(prune(0.5, "channels-magnitude")))
    assert fitted[0]["channels"]["words"] == [WIDTH, WIDTH // 2]
    assert made.shapes[TABLE] == (WORDS, WIDTH // 2) and made.shapes["hidden.weight"][1] == WIDTH // 2
    given = weights_of(model)
    best = np.sort(given[TABLE].norm(dim=0).argsort().numpy()[WIDTH // 2 :])
    assert torch.equal(made.tensors[TABLE], given[TABLE][:, best])
    group = dependencies(structure_of(model), graph_of_model(model).shapes).groups[0]
    assert (group.outputs, group.inputs, group.size) == ((TABLE,), ("hidden.weight",), WIDTH)
    small = module("bag")
    small.words.weight.data = made.tensors[TABLE]
    for part in (small.hidden, small.head):
        name = "hidden" if part is small.hidden else "head"
        part.weight.data, part.bias.data = made.tensors[f"{name}.weight"], made.tensors[f"{name}.bias"]
    x = load_split(data, "evaluation").inputs.copy()
    assert np.allclose(run(predictor(assemble(made)), x), small(torch.from_numpy(x)).numpy(), atol=1e-5)
    before, after = fitted[0]["multiply_adds"]
    assert before == WIDTH * 24 + 24 * CLASSES == graph_of_model(model).multiply_adds() and after < before


def test_a_table_before_a_layer_norm_keeps_its_width(tmp_path):
    made, fitted = transform(*pair(module("transformer"), tmp_path), recipe(prune(0.5, "channels-magnitude")))
    assert made.shapes[TABLE] == (WORDS, WIDTH)
    why = next(left["why"] for left in fitted[0]["left_alone"] if "words" in left["layers"])
    assert why == "a layer norm averages over them"


def test_sensitivity_rounds_a_table_alone(bag):
    model, data = bag
    found = sensitivity(model, data, (2, 8))
    effect = next(e for e in found.effects if (e.layer, e.bits) == ("words", 2))
    rows = by_hand(weights_of(model)[TABLE].numpy(), 2, False, True)[2]
    alone = load_network(model).with_tensors({TABLE: torch.from_numpy(rows)})
    split = load_split(data, "evaluation")
    predicted = run(predictor(assemble(alone)), split.inputs).argmax(1)
    assert effect.values["accuracy"] == pytest.approx((predicted == split.y).mean())
    assert effect.flips.flips > 0


def test_a_table_alone_multiplies_nothing_and_has_nothing_to_round_between_layers():
    graph = graph_of(exported(Alone().eval(), torch.from_numpy(ids(2))))
    assert [layer.kind for layer in graph.layers] == ["embedding"] and graph.multiply_adds() == 0
    assert _points(graph.structure, {TABLE}) == ((), {})


def test_the_listing_counts_it(text):
    model, _ = text
    said = about.parts(model).said
    linear = len(graph_of_model(model).layers) - 1
    assert said.startswith(f"{linear} linear layers and 1 embedding can be pruned and quantized")


def test_the_formats_know_the_newer_exporters_operators(bag):
    made = module("bag")
    graph = graph_of(_programmed(made, torch.from_numpy(ids(2))))
    found = GraphModule(graph.whole())(torch.from_numpy(ids(5)))
    assert torch.allclose(found, made(torch.from_numpy(ids(5))), atol=1e-5)
    assert declaration(method("format", "pt2")).fits(parts_of(*bag, recipe())) == ""
