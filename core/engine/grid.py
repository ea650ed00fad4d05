"""Uniform quantization grids, bit for bit those of ONNX's QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """Integers `low..high` standing for `(q - zero_point) * scale`.

    `scale` float32 and `zero_point` int32 have shape `()` or, along `axis`, `(C,)`.
    """

    scale: Tensor
    zero_point: Tensor
    low: int
    high: int
    bits: int
    axis: int | None = None

    @property
    def symmetric(self) -> bool:
        """Whether the integers are signed and zero stands for zero."""
        return self.low < 0


def from_limits(low: Tensor, high: Tensor, bits: int, symmetric: bool, axis: int | None) -> Grid:
    """The grid that covers `[low, high]`, tensors of shape `()` or `(C,)`.

    Symmetric: signed, -(2^(b-1)-1)..2^(b-1)-1, so that 8 bits use -127..127.
    Affine: unsigned, 0..2^b-1, the range widened to hold zero exactly (Jacob et al. 2018, arXiv 1712.05877).
    """
    if symmetric:
        top = 2 ** (bits - 1) - 1
        scale = torch.maximum(low.abs(), high.abs()).float() / top
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        return Grid(scale, torch.zeros_like(scale, dtype=torch.int32), -top, top, bits, axis)
    top = 2**bits - 1
    low, high = low.float().clamp(max=0), high.float().clamp(min=0)
    scale = (high - low) / top
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    zero_point = torch.round(-low / scale).clamp(0, top).to(torch.int32)
    return Grid(scale, zero_point, 0, top, bits, axis)


def _broadcast(values: Tensor, grid: Grid, rank: int) -> Tensor:
    if grid.axis is None:
        return values
    shape = [1] * rank
    shape[grid.axis] = -1
    return values.reshape(shape)


def quantize(x: Tensor, grid: Grid) -> Tensor:
    """Integers int32 of `x`'s shape: divide, round half to even, shift, saturate."""
    scale = _broadcast(grid.scale, grid, x.ndim)
    zero_point = _broadcast(grid.zero_point, grid, x.ndim)
    return ((x / scale).round_() + zero_point).clamp_(grid.low, grid.high).to(torch.int32)


def dequantize(q: Tensor, grid: Grid) -> Tensor:
    """Real values float32 of integers `q`."""
    scale = _broadcast(grid.scale, grid, q.ndim)
    return (q - _broadcast(grid.zero_point, grid, q.ndim)).float() * scale


def fake_quantize(x: Tensor, grid: Grid) -> Tensor:
    """`dequantize(quantize(x))` without leaving float32."""
    scale = _broadcast(grid.scale, grid, x.ndim)
    zero_point = _broadcast(grid.zero_point, grid, x.ndim)
    return (x / scale).round_().add_(zero_point).clamp_(grid.low, grid.high).sub_(zero_point).mul_(scale)
