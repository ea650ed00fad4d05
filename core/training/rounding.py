"""Rounding that gradients pass: forward as the artifact rounds, backward as if it had not (straight-through).

Bengio et al. 2013, Estimating or propagating gradients through stochastic neurons, arXiv 1308.3432. Scales may be
learned (Esser et al. 2020, Learned step size quantization, arXiv 1902.08153), here by their logarithm: they stay
above zero, and one rate suits scales of every size.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from core.engine.grid import Grid, fake_quantize, spread

EDGE = 1e-4  # of a step: what lies on an end of the grid, but for how division rounds, still learns


def grid_on(grid: Grid, where: torch.device) -> Grid:
    """The grid for values on a device. A zero point of shape `()` stays on the processor: it is read as a number."""
    if grid.scale.device == where:
        return grid
    zero = grid.zero_point.to(where) if grid.zero_point.ndim else grid.zero_point
    levels = grid.levels and replace(grid.levels, values=grid.levels.values.to(where))
    return replace(grid, scale=grid.scale.to(where), zero_point=zero, levels=levels)


def rounded(x: Tensor, grid: Grid, grown: Tensor | None = None) -> Tensor:
    """`x` on the grid; its gradient is 1 within the grid's ends and 0 beyond.

    `grown`, of the scale's shape, is the logarithm of the factor by which learning has changed the scale. Its
    gradient is that of LSQ by the chain rule, without that paper's factor for the size of the tensor.
    """
    if grid.levels is not None:
        return x + (fake_quantize(x.detach(), grid) - x).detach()
    scale = grid.scale if grown is None else grid.scale * torch.exp(grown)
    zero = spread(grid.zero_point, grid, x.shape) if grid.affine else torch.zeros(())
    found: Tensor = _Rounded.apply(x, spread(scale, grid, x.shape), zero, grid.low, grid.high)
    return found


class _Rounded(torch.autograd.Function):
    """`fake_quantize` in few passes over the memory, which is what it costs; fused operators took ten times as long.

    They also multiply by a scale's inverse where ONNX divides, which is another value at some ties.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, wide: Tensor, zero: Tensor, low: int, high: int) -> Tensor:
        """Shapes: `x` any, `wide` and `zero` such that they broadcast to it."""
        place = x / wide
        if zero.ndim:
            place, ends = place.add_(zero), (low, high)
        else:
            ends = (low - int(zero), high - int(zero))
        q = place.clamp(*ends).round_()
        ctx.ends = ends[0] - EDGE, ends[1] + EDGE
        more: tuple[Tensor, ...] = ()
        if ctx.needs_input_grad[1]:
            if zero.ndim:
                inside = (place >= ctx.ends[0]) & (place <= ctx.ends[1])
                by_step = torch.where(inside, q - place, q - zero)
            else:  # the place itself, 0 beyond the ends, in one pass
                by_step = torch.ops.aten.hardtanh_backward(place, place, *ctx.ends)
                torch.sub(q, by_step, out=by_step)
            more = by_step, wide
        ctx.save_for_backward(place, *more)
        return (q.sub_(zero) if zero.ndim else q).mul_(wide)

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor | None, ...]:
        """Of `wide`: the rounding's error within the ends, the end itself beyond."""
        gradient, (place, *more) = given[0], ctx.saved_tensors
        passed = torch.ops.aten.hardtanh_backward(gradient, place, *ctx.ends)
        of_scale = None
        if more:
            by_step, wide = more
            of_scale = (gradient * by_step).sum_to_size(wide.shape) if wide.ndim else _dot(gradient, by_step)
        return passed, of_scale, None, None, None


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """The sum of products of two tensors of one shape, in one pass where they lie alike in memory."""
    whole = a.is_contiguous() or (a.ndim == 4 and a.is_contiguous(memory_format=torch.channels_last))
    if a.stride() == b.stride() and whole:
        return torch.dot(a.as_strided((a.numel(),), (1,)), b.as_strided((b.numel(),), (1,)))
    return (a * b).sum()


def rounded_by_example(x: Tensor, bits: int) -> Tensor:
    """`x` `(N, ...)`, each example on an affine grid of its own extremes, with zero among its levels."""
    flat = x.detach().flatten(1)
    low, high = flat.amin(1).clamp(max=0), flat.amax(1).clamp(min=0)
    top = 2**bits - 1
    step = (high - low) / top
    step = torch.where(step > 0, step, torch.ones_like(step))
    zero = torch.round(-low / step)
    shape = (-1, *[1] * (x.ndim - 1))
    scale, zero = step.reshape(shape), zero.reshape(shape)
    q = (torch.round(x.detach() / scale) + zero).clamp(0, top)
    return x + ((q - zero) * scale - x).detach()


def halved(x: Tensor, brain: bool = False) -> Tensor:
    """`x` as it is in 16 bits, with the gradient of `x`."""
    kind = torch.bfloat16 if brain else torch.float16
    return x + (x.detach().to(kind).float() - x).detach()
