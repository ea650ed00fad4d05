"""GPTQ: weights are rounded one input at a time, and those that follow make up for the error."""

from __future__ import annotations

import torch
from torch import Tensor

from core.layers.second_order import carry, factor


def compensated(
    weight: Tensor,
    second: Tensor,
    scale: Tensor,
    zero: Tensor,
    low: Tensor,
    high: Tensor,
    order: Tensor | None = None,
) -> tuple[Tensor, float]:
    """Integers float64 `(G, R, K)` of `weight` `(G, R, K)`, and the damping used (Frantar et al. 2022, 2210.17323).

    `scale` and `zero` broadcast to `(G, R, 1)` or, where inputs have scales of their own, to `(G, R, K)`; `low` and
    `high` bound each weight's integer. In `order` `(G, K)`; by default the inputs of greatest power come first (the
    authors' act-order), when most others are left to make up for them.
    """
    if order is None:
        order = second.diagonal(dim1=1, dim2=2).argsort(dim=1, descending=True, stable=True)
    back = order.argsort(dim=1)[:, None].expand_as(weight)
    index = order[:, None].expand_as(weight)
    ordered = second.gather(1, order[:, :, None].expand_as(second)).gather(2, order[:, None].expand_as(second))
    upper, damping = factor(ordered)
    low, high = (bound.expand_as(weight).gather(2, index) for bound in (low, high))
    single = scale.shape[2] == 1
    wide = weight[:, :, :1] if single else weight
    scale, zero = (part.expand_as(wide) for part in (scale, zero))
    if not single:
        scale, zero = scale.gather(2, index), zero.gather(2, index)
    integers = torch.empty_like(weight)

    def settle(k: int, values: Tensor) -> Tensor:
        step, shift = (part[:, :, 0 if single else k] for part in (scale, zero))
        levels = (values / step).round_().add_(shift)
        integers[:, :, k] = torch.minimum(torch.maximum(levels, low[:, :, k]), high[:, :, k])
        return (integers[:, :, k] - shift) * step

    carry(weight.gather(2, index), upper, settle)
    return integers.gather(2, back), damping
