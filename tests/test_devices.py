"""The roofline: a tiny case by hand, the layers' work against the graph's own count, the table's sources."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conftest import prune, quantize, recipe

from core.deploy.devices import DEVICES, WORDS, Work, device, estimate, own_device, work
from core.engine.network import load_network
from core.engine.transform import transform
from core.errors import TemperError
from core.models.handle import graph_of_model

# A million operations, two million int8 operations and a thousand bytes a second.
SLOW = own_device(1e6, 2e6, 1e3)


def test_a_tiny_case_by_hand():
    arithmetic = Work("a", multiply_adds=500_000, weights=10, values=15, dtype="float32")  # 1 s against 100 B: 0.1 s
    memory = Work("b", multiply_adds=1_000, weights=900, values=100, dtype="int8")  # 1 ms against 1,000 B: 1 s
    found = estimate((arithmetic, memory), SLOW)
    assert found.value == pytest.approx(2_000) and found.unit == "ms" and found.how == "estimated"
    assert found.note.startswith(WORDS) and "50 %" in found.note
    assert "1e+03 ms if caches" in found.note, "one second and a thousandth by arithmetic alone"
    with_overhead = estimate((arithmetic, memory), own_device(1e6, 2e6, 1e3, overhead=0.25))
    assert with_overhead.value == pytest.approx(2_500)
    assert estimate((), SLOW).value == 0


def test_int8_counts_one_byte_and_its_own_peak():
    as_float, as_int8 = (Work("a", 500_000, 300, 200, dtype) for dtype in ("float32", "int8"))
    assert as_float.seconds(SLOW) == pytest.approx((1.0, 2.0)) and as_int8.seconds(SLOW) == pytest.approx((0.5, 0.5))


def test_caches_are_only_named_where_they_could_matter():
    bound_by_memory = Work("a", 1, 100_000_000, 1, "float32")
    assert "caches" not in estimate([bound_by_memory], device("raspberry-pi-4")).note
    assert "caches" in estimate([Work("a", 1, 1_000, 1, "float32")], device("raspberry-pi-4")).note
    assert "caches" not in estimate([Work("a", 10**9, 1_000, 1, "float32")], device("raspberry-pi-4")).note


def test_work_is_the_graphs(sample):
    model, _ = sample
    every = work(load_network(model))
    graph = graph_of_model(model)
    layers = [layer for layer in graph.layers if layer.kind != "embedding"]  # which looks up and multiplies nothing
    found = [one for one in every if one.weights]  # without the products of attention, which have none
    assert sum(one.multiply_adds for one in found) == graph.multiply_adds()
    assert [one.name for one in found] == [layer.name for layer in layers]
    weights = {layer.name: graph.tensors[layer.weight].size for layer in layers}
    assert {one.name: one.weights for one in found} == weights
    assert len(every) - len(found) == (4 if model.id == "sentiment" else 0), "two products in each of its two blocks"
    assert {one.dtype for one in every} == {"float32"}
    if layers == list(graph.layers):
        assert found[0].values >= math.prod(model.input_shape)


def test_a_linear_layer_by_hand(small):
    model, _ = small
    first = work(load_network(model))[0]
    out, inputs = graph_of_model(model).tensors[f"{first.name}.weight"].shape
    assert (first.multiply_adds, first.weights, first.values) == (out * inputs, out * inputs, out + inputs)
    assert first.bytes == 4 * (out * inputs + out + inputs)


@pytest.mark.parametrize(
    ("step", "dtype"),
    [
        (quantize(8, 8), "int8"), (quantize(8, 32), "float32"), (quantize(4, 8), "int8"),
        (quantize(8, 8, scheme="affine"), "float32"), (prune(0.9), "float32"),
    ],
)  # fmt: skip
def test_what_integer_kernels_take_counts_as_int8(small, step, dtype):
    model, data = small
    network, _ = transform(model, data, recipe(step))
    found = work(network)
    assert {one.dtype for one in found} == {dtype}
    before, after = (estimate(parts, device("raspberry-pi-5")).value for parts in (work(load_network(model)), found))
    assert after < before if dtype == "int8" else after == pytest.approx(before)


def test_attention_products_count():
    from onnx import TensorProto, helper

    import core.deploy.devices as devices

    nodes = [
        helper.make_node("Transpose", ["input"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["input", "turned"], ["logits"]),
    ]
    ends = [
        helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 5, 7]),
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 5, 5]),
    ]
    graph = helper.make_graph(nodes, "attention", ends[:1], ends[1:])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "assemble", lambda _: made)
        patch.setattr(devices, "replace", lambda network, **_: network)
        patch.setattr(devices, "_dtype", lambda *_: "float32")
        (found,) = work(None)
    assert (found.multiply_adds, found.weights, found.values) == (5 * 5 * 7, 0, 5 * 7 + 7 * 5 + 5 * 5)


@pytest.mark.parametrize("one", DEVICES, ids=lambda one: one.name)
def test_every_device_says_whose_figures_and_how_they_follow(one):
    assert device(one.name) is one
    assert len(one.source) > 40 and len(one.derived) > 40 and one.overhead == 0
    assert 1e9 < one.float32 <= one.int8 < 1e14 and 1e9 < one.bandwidth < 1e12 and one.cache > 0
    assert np.isfinite([one.float32, one.int8, one.bandwidth, one.cache]).all()


@pytest.mark.parametrize(
    ("name", "float32", "int8", "bandwidth"),
    [
        ("raspberry-pi-4", 57.6e9, 115.2e9, 12.8e9),
        ("raspberry-pi-5", 153.6e9, 614.4e9, 17.1e9),
        ("laptop-avx2", 435e9, 870e9, 38.4e9),
        ("laptop-avx512-vnni", 602e9, 2_406e9, 68.3e9),
        ("jetson-orin-nano", 1.28e12, 20e12, 68.3e9),  # the data sheet itself says 68 GB/s
    ],
)
def test_derived_figures(name, float32, int8, bandwidth):
    one = device(name)
    assert (one.float32, one.int8, one.bandwidth) == pytest.approx((float32, int8, bandwidth), rel=0.005)


@pytest.mark.parametrize(
    "make",
    [
        lambda: device("toaster"), lambda: device(""), lambda: own_device(0, 1, 1), lambda: own_device(1, -1, 1),
        lambda: own_device(1, 1, math.nan), lambda: own_device(math.inf, 1, 1), lambda: own_device(1, 1, 1, -1),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(make):
    with pytest.raises(TemperError) as caught:
        make()
    assert caught.value.message.endswith(".") and ". " not in caught.value.message
