"""Grids and ranges against ONNX Runtime, and their properties."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from core.engine.grid import dequantize, fake_quantize, from_limits, quantize
from core.engine.ranges import HISTOGRAM, STRIDE, limits


def onnx_round_trip(
    x: np.ndarray, scale: np.ndarray, zero: np.ndarray, axis: int | None
) -> tuple[np.ndarray, np.ndarray]:
    extra = {} if axis is None else {"axis": axis}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], **extra),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], **extra),
    ]
    kind = onnx.TensorProto.UINT8 if zero.dtype == np.uint8 else onnx.TensorProto.INT8
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, x.shape)],
        [
            helper.make_tensor_value_info("q", kind, x.shape),
            helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, x.shape),
        ],
        [numpy_helper.from_array(scale, "s"), numpy_helper.from_array(zero, "z")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("axis", [None, 0])
@pytest.mark.parametrize("seed", range(5))
def test_eight_bits_equal_onnx_bit_for_bit(symmetric, axis, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(16, 3, 5, 5, generator=generator) * torch.logspace(-3, 3, 16)[:, None, None, None]
    x[0, 0] = 0.5  # ties exactly between two levels decide half-to-even from half-away
    groups = x.reshape(16, -1) if axis == 0 else x.reshape(1, -1)
    low, high = groups.amin(1) * 0.7, groups.amax(1) * 0.7  # some values saturate
    grid = from_limits(low if axis == 0 else low[0], high if axis == 0 else high[0], 8, symmetric, axis)
    zero = grid.zero_point.numpy().astype(np.int8 if symmetric else np.uint8)
    q, y = onnx_round_trip(x.numpy(), grid.scale.numpy(), zero, axis)
    if symmetric:  # ONNX saturates at -128, the symmetric grid at -127
        q = np.maximum(q, -127)
        y = np.maximum(y, -127 * (grid.scale.numpy().reshape(-1, 1, 1, 1) if axis == 0 else grid.scale.numpy()))
    assert np.array_equal(quantize(x, grid).numpy(), q)
    assert np.array_equal(dequantize(quantize(x, grid), grid).numpy(), y)


@settings(max_examples=60, deadline=None)
@given(bits=st.integers(2, 8), symmetric=st.booleans(), seed=st.integers(0, 10**6), scale=st.floats(1e-6, 1e6))
def test_grid_properties(bits, symmetric, seed, scale):
    x = torch.randn(4, 60, generator=torch.Generator().manual_seed(seed)) * scale
    grid = from_limits(x.amin(1), x.amax(1), bits, symmetric, 0)
    once = fake_quantize(x, grid)
    assert torch.equal(once, dequantize(quantize(x, grid), grid)), "the fused form is the two-step form"
    assert torch.equal(quantize(once, grid), quantize(x, grid)), "rounding what is rounded changes nothing"
    assert len(torch.unique(quantize(x, grid))) <= grid.high - grid.low + 1 <= 2**bits
    assert torch.equal(fake_quantize(torch.zeros(4, 1), grid), torch.zeros(4, 1)), "zero stands for zero"
    # Half a step inside the range; affine zero points are rounded themselves, which costs half a step more.
    slack = 0.5 if symmetric else 1.0
    assert ((once - x).abs() <= grid.scale[:, None] * (slack + 1e-3)).all()


def test_eight_bit_symmetric_grid_uses_127():
    grid = from_limits(torch.tensor(-1.0), torch.tensor(0.5), 8, True, None)
    assert (grid.low, grid.high) == (-127, 127)
    assert grid.scale.item() == pytest.approx(1 / 127)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
def test_mse_range_is_never_worse_than_min_max(bits, symmetric):
    x = torch.randn(8, 400, generator=torch.Generator().manual_seed(1)) ** 3

    def error(rule):
        low, high = limits(x, rule, bits, symmetric, 99.9)
        return (fake_quantize(x, from_limits(low, high, bits, symmetric, 0)) - x).square().sum(1)

    assert (error("mse") <= error("minmax") * (1 + 1e-6)).all()
    if bits < 8:  # heavy tails: coarse grids gain from clipping them
        assert error("mse").sum() < error("minmax").sum()


def test_percentile_cuts_half_at_either_end():
    x = torch.arange(1001.0)[None]
    low, high = limits(x, "percentile", 8, False, 90.0)
    assert (low.item(), high.item()) == (pytest.approx(50), pytest.approx(950))


def test_constant_and_zero_tensors_have_a_usable_grid():
    for value in (0.0, 3.0, -3.0):
        x = torch.full((1, 9), value)
        for symmetric in (True, False):
            grid = from_limits(x.amin(1), x.amax(1), 4, symmetric, 0)
            assert torch.isfinite(grid.scale).all()
            assert torch.allclose(fake_quantize(x, grid), x, atol=abs(value) * 0.04)


def _plain_entropy_end(values: np.ndarray, levels: int) -> float:
    """The end by loops over ends, levels and bins, in the words of the talk that it comes from."""
    size = np.abs(values[values != 0]).astype(np.float64)
    counts = np.histogram(size, HISTOGRAM, (0, size.max()))[0]
    best, found = np.inf, size.max()
    for end in range(HISTOGRAM, levels - 1, -STRIDE):
        reference = counts[:end].astype(float)
        reference[end - 1] += counts[end:].sum()
        candidate = np.zeros(end)
        for level in range(levels):
            bins = [k for k in range(end) if -(-level * end // levels) <= k < -(-(level + 1) * end // levels)]
            held = [k for k in bins if reference[k] > 0]
            for k in held:
                candidate[k] = counts[bins].sum() / len(held)
        if candidate[reference > 0].min() == 0:
            continue
        p, q = reference / reference.sum(), candidate / candidate.sum()
        divergence = sum(p[k] * np.log(p[k] / q[k]) for k in range(end) if p[k] > 0)
        if divergence < best - 1e-12:
            best, found = divergence, size.max() * end / HISTOGRAM
    return found


def test_entropy_ends_equal_a_plain_double_loop(monkeypatch):
    for name, value in (("HISTOGRAM", 96), ("STRIDE", 3)):
        monkeypatch.setattr(f"core.engine.ranges.{name}", value)
        monkeypatch.setitem(globals(), name, value)
    x = torch.randn(6, 400, generator=torch.Generator().manual_seed(2)) ** 3
    x[1] = x[1].relu()
    x[2, 5] = 200.0
    x[3, :390] = 0
    x[4] = x[4].abs() * 1e-20
    cut = 0
    for bits in (2, 3, 4, 5):
        low, high = limits(x, "entropy", bits, True, 99.9)
        wanted = np.array([_plain_entropy_end(row.numpy(), 2 ** (bits - 1)) for row in x])
        top = x.abs().amax(1).numpy()
        np.testing.assert_allclose(torch.maximum(-low, high).numpy(), np.minimum(wanted, top), rtol=1e-5)
        cut += int((wanted < 0.9 * top).sum())
        _, high = limits(x, "entropy", bits, False, 99.9)  # one side alone has all the levels
        assert high[1].item() == pytest.approx(min(_plain_entropy_end(x[1].numpy(), 2**bits), x[1].max()), rel=1e-5)
    assert cut > 4, "a case in which nothing is cut shows nothing"


def test_entropy_of_constant_zero_and_broken_groups_is_usable():
    x = torch.tensor([[0.0, 0.0, 0.0], [3.0, 3.0, 3.0], [-3.0, -3.0, -3.0], [1.0, torch.nan, 2.0]])
    low, high = limits(x, "entropy", 4, True, 99.9)
    assert low[:3].tolist() == [0, 3, -3] and high[:3].tolist() == [0, 3, -3]
    assert torch.isnan(high[3])
    many = torch.randn(3, 5_000, generator=torch.Generator().manual_seed(0))
    together, alone = (
        limits(many, "entropy", 8, True, 99.9),
        [limits(row[None], "entropy", 8, True, 0) for row in many],
    )
    assert torch.equal(together[1], torch.cat([one[1] for one in alone]))
