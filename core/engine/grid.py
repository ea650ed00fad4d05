"""Quantization grids: evenly spaced, bit for bit those of ONNX's operators, or the levels of a small float format."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.engine.levels import Levels


@dataclass(frozen=True)
class Grid:
    """Integers `low..high` standing for `(q - zero_point) * scale`, or with `levels` for `levels[q] * scale`.

    `scale` float32 and `zero_point` int32 have shape `()` or, along `axis`, `(C,)`. With `group` the scale is
    `(rows, blocks)`: each row of the values, flattened, is cut into blocks of so many, the last of which may be
    shorter. The rows are those of axis 0, or one row of everything where `axis` is None. With `levels` the zero
    point, of shape `()`, is the place of zero among them.
    """

    scale: Tensor
    zero_point: Tensor
    low: int
    high: int
    bits: int
    axis: int | None = None
    levels: Levels | None = None
    group: int = 0

    @property
    def symmetric(self) -> bool:
        """Whether the integers are signed and zero stands for zero."""
        return self.low < 0

    @property
    def affine(self) -> bool:
        """Whether each scale has a zero point of its own."""
        return not self.symmetric and self.levels is None

    @property
    def integral(self) -> bool:
        """Whether ONNX's integer operators know it: evenly spaced, one scale a tensor or a channel."""
        return self.levels is None and not self.group


def from_limits(low: Tensor, high: Tensor, bits: int, symmetric: bool, axis: int | None, group: int = 0) -> Grid:
    """The grid that covers `[low, high]`, tensors of shape `()`, `(C,)` or, with `group`, `(rows, blocks)`.

    Symmetric: signed, -(2^(b-1)-1)..2^(b-1)-1, so that 8 bits use -127..127.
    Affine: unsigned, 0..2^b-1, the range widened to hold zero exactly (Jacob et al. 2018, arXiv 1712.05877).
    """
    if symmetric:
        top = 2 ** (bits - 1) - 1
        scale = torch.maximum(low.abs(), high.abs()).float() / top
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        return Grid(scale, torch.zeros_like(scale, dtype=torch.int32), -top, top, bits, axis, group=group)
    top = 2**bits - 1
    low, high = low.float().clamp(max=0), high.float().clamp(min=0)
    scale = (high - low) / top
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    zero_point = torch.round(-low / scale).clamp(0, top).to(torch.int32)
    return Grid(scale, zero_point, 0, top, bits, axis, group=group)


def from_levels(largest: Tensor, of: Levels, axis: int | None, group: int = 0) -> Grid:
    """The grid whose largest level stands for `largest`, of shape `()`, `(C,)` or, with `group`, `(rows, blocks)`."""
    scale = largest.float() / of.values[-1]
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    zero = torch.tensor(of.zero, dtype=torch.int32)
    return Grid(scale, zero, 0, len(of.values) - 1, of.bits, axis, of, group)


def spread(values: Tensor, grid: Grid, shape: Sequence[int]) -> Tensor:
    """A grid's scales or zero points, shaped to go with values of `shape`."""
    if values.ndim == 0:
        return values
    if grid.group:
        columns = math.prod(shape) // max(len(values), 1)
        return values.repeat_interleave(grid.group, 1)[:, :columns].reshape(tuple(shape))
    target = [1] * len(shape)
    target[grid.axis or 0] = -1
    return values.reshape(target)


def quantize(x: Tensor, grid: Grid) -> Tensor:
    """Integers int32 of `x`'s shape: divide, round half to even, shift, saturate."""
    scale = spread(grid.scale, grid, x.shape)
    if grid.levels is not None:
        return grid.levels.nearest(x / scale)
    zero_point = spread(grid.zero_point, grid, x.shape)
    return ((x / scale).round_() + zero_point).clamp_(grid.low, grid.high).to(torch.int32)


def dequantize(q: Tensor, grid: Grid) -> Tensor:
    """Real values float32 of integers `q`."""
    scale = spread(grid.scale, grid, q.shape)
    if grid.levels is not None:
        return grid.levels.values[q.long()] * scale
    return (q - spread(grid.zero_point, grid, q.shape)).float() * scale


def fake_quantize(x: Tensor, grid: Grid) -> Tensor:
    """`dequantize(quantize(x))` without leaving float32."""
    if grid.levels is not None:
        return dequantize(quantize(x, grid), grid)
    scale = spread(grid.scale, grid, x.shape)
    zero_point = spread(grid.zero_point, grid, x.shape)
    return (x / scale).round_().add_(zero_point).clamp_(grid.low, grid.high).sub_(zero_point).mul_(scale)
