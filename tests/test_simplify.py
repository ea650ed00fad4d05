"""A graph in plain form: the same function without aliases, shape computations or a fixed batch."""

from __future__ import annotations

import numpy as np
import pytest
from hostile_models import F, network, weights
from onnx import helper, numpy_helper
from test_layers import same

from core.models.graph import graph_of
from core.models.simplify import runner


def kinds(graph) -> list[str]:
    return [node.op_type for node in graph.structure.graph.node]


def test_constants_aliases_and_the_unused_go():
    constant = helper.make_node("Constant", [], ["b"], value=numpy_helper.from_array(weights()["b"], "b"))
    nodes = [("Identity", ["x"], ["x2"]), ("Dropout", ["x2"], ["x3"]), ("Relu", ["x"], ["unused"]),
             ("Gemm", ["x3", "w", "b"], ["h"], {"transB": 1}), ("Identity", ["h"], ["y"])]  # fmt: skip
    proto = network(nodes, {"w": weights()["w"], "idle": np.ones(9, "f4")})
    proto.graph.node.insert(0, constant)
    graph = graph_of(proto)
    assert kinds(graph) == ["Gemm"] and set(graph.tensors) == {"w.weight", "w.bias"} and same(proto, graph)


def test_shape_computations_become_one_target():
    nodes = [("Shape", ["x"], ["s"]), ("Gather", ["s", "zero"], ["n"]), ("Unsqueeze", ["n", "zeros"], ["n1"]),
             ("Concat", ["n1", "rest"], ["t"], {"axis": 0}), ("Reshape", ["x", "t"], ["h"]),
             ("Gemm", ["h", "w", "b"], ["y"], {"transB": 1})]  # fmt: skip
    held = {**weights(), "zero": np.array(0), "zeros": np.array([0]), "rest": np.array([4])}
    proto = network(nodes, held, [helper.make_tensor_value_info("x", F, ["n", 2, 2])])
    graph = graph_of(proto)
    assert kinds(graph) == ["Reshape", "Gemm"] and same(proto, graph, (2, 2))


@pytest.mark.parametrize("fixed", [1, 2, 7])
@pytest.mark.parametrize("target", ["whole", "first", "zero"])
def test_a_fixed_batch_becomes_a_free_one(fixed, target):
    shape = {"whole": [fixed, 4], "first": [fixed, -1], "zero": [0, 4]}[target]
    nodes = [("Reshape", ["x", "t"], ["h"]), ("Gemm", ["h", "w", "b"], ["y"], {"transB": 1})]
    free = network(nodes, {**weights(), "t": np.array([-1, 4])}, [helper.make_tensor_value_info("x", F, ["n", 2, 2])])
    output = [helper.make_tensor_value_info("y", F, [fixed, 3])]
    given = [helper.make_tensor_value_info("x", F, [fixed, 2, 2])]
    graph = graph_of(network(nodes, {**weights(), "t": np.array(shape)}, given, output))
    assert same(free, graph, (2, 2))


@pytest.mark.parametrize("fixed", [1, 3])
def test_a_constant_for_each_example_is_held_once(fixed):
    token = np.arange(2, dtype=np.float32).reshape(1, 1, 2)
    nodes = [("Concat", ["token", "x"], ["h"], {"axis": 1}), ("Flatten", ["h"], ["i"]),
             ("Add", ["i", "shift"], ["j"]), ("Gemm", ["j", "w", "b"], ["y"], {"transB": 1})]  # fmt: skip
    held = {**weights(), "token": token.repeat(fixed, 0), "shift": np.ones((fixed, 4), "f4")}
    given = [helper.make_tensor_value_info("x", F, [fixed, 1, 2])]
    graph = graph_of(network(nodes, held, given, [helper.make_tensor_value_info("y", F, [fixed, 3])]))
    for rows in (1, 2, 5):
        x = np.random.default_rng(0).standard_normal((rows, 1, 2)).astype(np.float32)
        inner = np.concatenate([token.repeat(rows, 0), x], 1).reshape(rows, 4) + 1
        found = runner(graph.whole(), "input", "logits")(x)
        assert np.allclose(found, inner @ weights()["w"].T + weights()["b"], atol=1e-5)


@pytest.mark.parametrize("square", ["Pow", "Mul"])
def test_a_layer_norm_written_out_is_one(square):
    squared = ("Pow", ["c", "two"], ["q"]) if square == "Pow" else ("Mul", ["c", "c"], ["q"])
    nodes = [("ReduceMean", ["x"], ["m"], {"axes": [-1]}), ("Sub", ["x", "m"], ["c"]), squared,
             ("ReduceMean", ["q"], ["v"], {"axes": [-1]}), ("Add", ["v", "e"], ["ve"]), ("Sqrt", ["ve"], ["s"]),
             ("Div", ["c", "s"], ["d"]), ("Mul", ["d", "g"], ["dg"]), ("Add", ["dg", "o"], ["z"]),
             ("Gemm", ["z", "w", "b"], ["y"], {"transB": 1})]  # fmt: skip
    held = {
        **weights(),
        "two": np.float32(2),
        "e": np.float32(1e-5),
        "g": np.arange(4, dtype="f4"),
        "o": np.ones(4, "f4"),
    }
    proto = network(nodes, held)
    graph = graph_of(proto)
    assert kinds(graph) == ["LayerNormalization", "Gemm"] and same(proto, graph)
    assert {part.what.partition(":")[0] for part in graph.skipped} == {"a layer norm"}
    for axes in ([0], [1, 0]):  # a mean over something else is left as it is
        nodes[0] = ("ReduceMean", ["x"], ["m"], {"axes": axes})
        proto = network(nodes, held)
        assert "LayerNormalization" not in kinds(graph_of(proto)) and same(proto, graph_of(proto))


def test_the_same_file_gives_the_same_graph():
    proto = network([("Gemm", ["x", "w", "b"], ["y"], {"transB": 1})], weights())
    one, two = (graph_of(proto).structure.SerializeToString(deterministic=True) for _ in range(2))
    assert one == two
