"""Rounding that gradients pass: forward as the artifact rounds, backward as if it had not (straight-through).

Bengio et al. 2013, Estimating or propagating gradients through stochastic neurons, arXiv 1308.3432. Scales may be
learned (Esser et al. 2020, Learned step size quantization, arXiv 1902.08153), here by their logarithm: they stay
above zero, and one rate suits scales of every size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from core.engine.grid import Grid, fake_quantize, spread


def rounded(x: Tensor, grid: Grid, grown: Tensor | None = None) -> Tensor:
    """`x` on the grid; its gradient is 1 within the grid's ends and 0 beyond.

    `grown`, of the scale's shape, is the logarithm of the factor by which learning has changed the scale.
    """
    if grid.levels is not None:
        return x + (fake_quantize(x.detach(), grid) - x).detach()
    scale = grid.scale if grown is None else grid.scale * torch.exp(grown)
    wide = spread(scale, grid, x.shape)
    zero = spread(grid.zero_point, grid, x.shape)
    inside = torch.clamp(x / wide, grid.low - zero, grid.high - zero)
    return (inside + (torch.round(inside) - inside).detach()) * wide


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
