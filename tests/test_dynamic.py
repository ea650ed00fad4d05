"""Dynamic activation scales: ONNX's own operator example by example, and no prediction depends on its company."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import prune, quantize, recipe
from onnx import TensorProto, helper
from test_second_order import noise, pair  # noqa: F401  (a fixture)
from torch import nn

from core.data.handle import load_split
from core.deploy.check import declaration, parts_of, ship
from core.deploy.editor import Editor
from core.deploy.graph import INPUT, OUTPUT, assemble
from core.deploy.latency import carried, words
from core.deploy.pack import pack
from core.engine.runtime import session
from core.engine.transform import transform
from core.errors import TemperError
from core.layers.layer_weights import input_range
from core.models.samples import load_sample
from core.models.torch_graph import GraphModule
from core.registry import method


def dynamic(weight_bits: int, activation_bits: int, **more):
    return quantize(weight_bits, activation_bits, activation_scales="dynamic", **more)


def rounder(bits: int, version: int, rank: int):
    editor = Editor(version)
    made = editor.round_dynamically("input", bits)
    shape = ["n", *[None] * (rank - 1)]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("input", made)]
    graph = helper.make_graph(editor.nodes, "g", ends[:1], ends[1:], editor.initialisers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=8)


def onnx_own(x: np.ndarray) -> np.ndarray:
    """One example by ONNX's DynamicQuantizeLinear, and back."""
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape) for name in "xy"]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]


def examples() -> np.ndarray:
    x = noise(9, 3, 5, 4) * np.logspace(-3, 3, 9, dtype=np.float32)[:, None, None, None]
    x[1], x[2], x[3] = 0, -np.abs(x[2]), np.abs(x[3])
    x[4] = 2.5
    return x


@pytest.mark.parametrize("version", [17, 18])
def test_eight_bits_equal_onnx_s_own_operator_on_each_example(version):
    x = examples()
    model = rounder(8, version, x.ndim)
    found = session(model).run(None, {"input": x})[0]
    np.testing.assert_array_equal(found, np.stack([onnx_own(one) for one in x]))
    with torch.no_grad():
        np.testing.assert_array_equal(GraphModule(model)(torch.from_numpy(x)).numpy(), found)


@pytest.mark.parametrize("bits", [4, 5, 8])
def test_an_example_s_values_lie_on_so_many_levels_zero_among_them(bits):
    x = examples()
    found = session(rounder(bits, 17, x.ndim)).run(None, {"input": x})[0]
    for one, other in zip(x, found, strict=True):
        assert len(np.unique(other)) <= 2**bits
        step = max(one.max(), 0) - min(one.min(), 0)
        assert np.abs(other - one).max() <= (step / (2**bits - 1)) * 1.001, "the zero point is rounded as well"
    assert not found[1].any()


@pytest.mark.parametrize("name", ["fashion-small", "diamonds", "sentiment", "spam-mail"])
def test_alone_and_in_company_predictions_are_the_same(name):
    model, data = load_sample(name)
    network, _ = transform(model, data, recipe(dynamic(8, 8)))
    opened, inputs = session(assemble(network)), load_split(data, "calibration").inputs[:40].copy()
    together = opened.run([OUTPUT], {INPUT: inputs})[0]
    alone = np.concatenate([opened.run([OUTPUT], {INPUT: inputs[i : i + 1]})[0] for i in range(len(inputs))])
    # Sums in another order for another batch: float32's last bits, and a level where one lands on a boundary.
    assert np.median(np.abs(together - alone)) <= 1e-6 * np.abs(together).max()
    assert np.abs(together - alone).max() <= 0.02 * np.abs(together).max()
    if name != "fashion-small":
        return
    inputs[1] = 1000.0  # an outlier beside it stretches no other example's grid
    beside = opened.run([OUTPUT], {INPUT: inputs})[0]
    np.testing.assert_allclose(np.delete(beside, 1, 0), np.delete(together, 1, 0), atol=0.02 * np.abs(together).max())


@pytest.mark.parametrize("form", ["onnx", "packed", "pt2"])
def test_files_hold_dynamic_scales(form):
    model, data = load_sample("breast-cancer")
    of = recipe(prune(0.3), dynamic(4, 6, granularity="group", group=32))
    assert ship(model, data, of, form).checked.verified
    assert "dynamic" in of.notation
    parts = parts_of(model, data, of)
    assert declaration(method("format", "onnx-float")).fits(parts), "float ONNX holds no rounded activations"


def test_nothing_is_calibrated_and_no_integer_kernel_is_claimed():
    model, data = load_sample("fashion-small")
    network, (said,) = transform(model, data, recipe(dynamic(8, 8)))
    assert "range_examples" not in said and not network.activations and network.activation_bits == 8
    assert "computed as float" in words(network) and not carried(network)
    assert not any(name.startswith("activations/") for name in pack(network))
    assert input_range(model, data, recipe(dynamic(8, 8)), "head") is None
    again, _ = transform(model, data, recipe(dynamic(8, 8), quantize(4, 8)))
    assert again.activations and not again.dynamic and integer_weights(again)
    plain, _ = transform(model, data, recipe(dynamic(8, 32)))
    assert not plain.dynamic and recipe(dynamic(8, 32)).notation == "W8A32"


def integer_weights(network) -> bool:
    return any(node.op_type == "DequantizeLinear" for node in assemble(network).graph.node)


class Mixing(nn.Module):
    """Puts the examples along the second axis."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.b(torch.relu(self.a(x)).unsqueeze(0)).squeeze(0)


def test_a_network_that_mixes_its_examples_is_refused(pair):  # noqa: F811
    torch.manual_seed(0)
    model, data = pair(Mixing(), noise(40, 6))
    with pytest.raises(TemperError, match="mixes its examples"):
        transform(model, data, recipe(dynamic(8, 8)))
    transform(model, data, recipe(quantize(8, 8)))
