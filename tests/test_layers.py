"""Layers found in a graph: names, kinds, norms, weights with their output channels first, and nothing overwritten."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from hostile_models import F, network, weights
from onnx import helper

from core.models.graph import graph_of

OUT = [helper.make_tensor_value_info("y", F, ["n", 3])]


def same(proto, graph, shape=(4,)) -> bool:
    """Whether both give the same logits at several batch sizes."""
    whole = onnxruntime.InferenceSession(graph.whole().SerializeToString())
    given = onnxruntime.InferenceSession(proto.SerializeToString())
    for rows in (1, 2, 5):
        x = np.random.default_rng(rows).standard_normal((rows, *shape)).astype(np.float32)
        expected = given.run(None, {given.get_inputs()[0].name: x})[0]
        if not np.allclose(whole.run(None, {"input": x})[0], expected, rtol=1e-5, atol=1e-5):
            return False
    return True


@pytest.mark.parametrize(
    "attributes",
    [{"transB": 1}, {"transB": 1, "alpha": 0.5}, {"transB": 1, "beta": 2.0}, {"transB": 0}, {},
     {"transB": 0, "alpha": -1.5, "beta": 0.25}],
)  # fmt: skip
def test_every_way_to_write_a_gemm(attributes):
    held = weights()
    if not attributes.get("transB"):
        held["w"] = np.ascontiguousarray(held["w"].T)
    proto = network([("Gemm", ["x", "w", "b"], ["y"], attributes)], held)
    graph = graph_of(proto)
    assert same(proto, graph)
    layer = graph.layers[0]
    assert (layer.name, layer.kind, layer.norm, layer.biased) == ("w", "linear", None, True)
    assert graph.shapes == {"w.weight": (3, 4), "w.bias": (3,)}


@pytest.mark.parametrize("bias", [(3,), (1, 3), (1,), ()])
def test_biases_of_any_shape(bias):
    proto = network([("Gemm", ["x", "w", "b"], ["y"], {"transB": 1})], {**weights(), "b": np.full(bias, 0.7, "f4")})
    graph = graph_of(proto)
    assert same(proto, graph) and graph.shapes["w.bias"] == (3,)


def test_a_product_and_a_sum():
    held = {"fc.kernel": weights()["w"].T.copy(), "fc.bias": weights()["b"]}
    proto = network([("MatMul", ["x", "fc.kernel"], ["h"]), ("Add", ["h", "fc.bias"], ["y"])], held)
    graph = graph_of(proto)
    assert same(proto, graph) and not graph.skipped
    assert [(layer.kind, graph.shapes[layer.weight]) for layer in graph.layers] == [("linear", (3, 4))]


def test_names_made_up_by_an_exporter_give_way():
    held = {"onnx::MatMul_12": weights()["w"].T.copy(), "block.fc.bias": weights()["b"]}
    proto = network([("MatMul", ["x", "onnx::MatMul_12"], ["h"]), ("Add", ["h", "block.fc.bias"], ["y"])], held)
    assert [layer.name for layer in graph_of(proto).layers] == ["block.fc"]
    held = {"onnx::Gemm_1": weights()["w"], "onnx::Gemm_2": weights()["b"]}
    proto = network([("Gemm", ["x", "onnx::Gemm_1", "onnx::Gemm_2"], ["y"], {"transB": 1})], held)
    proto.graph.node[0].name = "/layer1/layer1.0/fc/Gemm"
    graph = graph_of(proto)
    assert [layer.name for layer in graph.layers] == ["layer1.0.fc"] and same(proto, graph)


def test_one_tensor_in_two_layers_is_two():
    held = {"w": np.random.default_rng(0).standard_normal((4, 4)).astype("f4"), **{"v": weights()["w"]}}
    nodes = [("Gemm", ["x", "w"], ["h"], {"transB": 1}), ("Gemm", ["h", "w"], ["i"], {"transB": 1}),
             ("Gemm", ["i", "v"], ["y"], {"transB": 1})]  # fmt: skip
    proto = network(nodes, held)
    graph = graph_of(proto)
    assert same(proto, graph) and [layer.name for layer in graph.layers] == ["w", "w.2", "v"]


def test_a_name_that_another_tensor_bears_already():
    """'a' becomes 'a.weight', which is another layer's: neither may take the other's values."""
    generator = np.random.default_rng(0)
    held = {
        name: generator.standard_normal((4, 4)).astype("f4")
        for name in ("a", "a.weight", "a.bias", "logits", "input")
    }
    held = {**held, "w": weights()["w"]}
    nodes = [("Gemm", ["x", name], [f"h{turn}"], {"transB": 1}) if turn == 0 else
             ("Gemm", [f"h{turn - 1}", name], [f"h{turn}"], {"transB": 1})
             for turn, name in enumerate(("a", "a.weight", "a.bias", "logits", "input"))]  # fmt: skip
    proto = network([*nodes, ("Gemm", ["h4", "w"], ["y"], {"transB": 1})], held)
    graph = graph_of(proto)
    assert same(proto, graph) and len({layer.name for layer in graph.layers}) == 6


def test_tensors_called_like_the_ends():
    nodes = [("Gemm", ["logits", "w", "b"], ["input"], {"transB": 1}), ("Relu", ["input"], ["y"])]
    proto = network(nodes, weights(), [helper.make_tensor_value_info("logits", F, ["n", 4])])
    assert same(proto, graph_of(proto))


def test_convolutions_and_their_norms():
    generator = np.random.default_rng(0)
    held = {"c.weight": generator.standard_normal((3, 2, 3, 3)).astype("f4")}
    for part in ("weight", "bias", "running_mean", "running_var"):
        held[f"n.{part}"] = (np.abs(generator.standard_normal(3)) + 0.5).astype("f4")
    norm = ["n.weight", "n.bias", "n.running_mean", "n.running_var"]
    nodes = [("Conv", ["x", "c.weight"], ["h"]), ("BatchNormalization", ["h", *norm], ["i"], {"epsilon": 1e-3}),
             ("GlobalAveragePool", ["i"], ["j"]), ("Flatten", ["j"], ["y"])]  # fmt: skip
    proto = network(nodes, held, [helper.make_tensor_value_info("x", F, ["n", 2, 6, 6])])
    graph = graph_of(proto)
    layer = graph.layers[0]
    assert (layer.name, layer.kind, layer.norm) == ("c", "convolution", "n")
    assert layer.norm_epsilon == pytest.approx(1e-3) and same(proto, graph, (2, 6, 6)) and not graph.skipped


def test_a_norm_whose_layer_is_read_elsewhere_stays_apart():
    held = {"c.weight": np.ones((2, 2, 1, 1), "f4")}
    for part in ("weight", "bias", "running_mean", "running_var"):
        held[f"n.{part}"] = np.full(2, 0.5, "f4")
    norm = ["n.weight", "n.bias", "n.running_mean", "n.running_var"]
    nodes = [("Conv", ["x", "c.weight"], ["h"]), ("BatchNormalization", ["h", *norm], ["i"]),
             ("Add", ["h", "i"], ["j"]), ("GlobalAveragePool", ["j"], ["k"]), ("Flatten", ["k"], ["y"])]  # fmt: skip
    proto = network(nodes, held, [helper.make_tensor_value_info("x", F, ["n", 2, 3, 3])])
    graph = graph_of(proto)
    assert graph.layers[0].norm is None and same(proto, graph, (2, 3, 3))
    assert [(part.name, part.what) for part in graph.skipped] == [("n", "a batch-norm that follows no layer")]
