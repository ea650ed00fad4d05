"""GPTQ: weights are rounded one input at a time, and those that follow make up for the error."""

from __future__ import annotations

import torch
from torch import Tensor

from core.engine.second_order import carry, factor


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

    `scale` and `zero` broadcast to `(G, R, 1)`; `low` and `high` bound each weight's integer. In `order` `(G, K)`; by
    default the inputs of greatest power come first (the authors' act-order), when most others are left to make up
    for them.
    """
    if order is None:
        order = second.diagonal(dim1=1, dim2=2).argsort(dim=1, descending=True, stable=True)
    back = order.argsort(dim=1)[:, None].expand_as(weight)
    index = order[:, None].expand_as(weight)
    ordered = second.gather(1, order[:, :, None].expand_as(second)).gather(2, order[:, None].expand_as(second))
    upper, damping = factor(ordered)
    low, high = (bound.expand_as(weight).gather(2, index) for bound in (low, high))
    scale, zero = (part.expand(*weight.shape[:2], 1)[:, :, 0] for part in (scale, zero))
    integers = torch.empty_like(weight)

    def settle(k: int, values: Tensor) -> Tensor:
        levels = (values / scale).round_().add_(zero)
        integers[:, :, k] = torch.minimum(torch.maximum(levels, low[:, :, k]), high[:, :, k])
        return (integers[:, :, k] - zero) * scale

    carry(weight.gather(2, index), upper, settle)
    return integers.gather(2, back), damping
