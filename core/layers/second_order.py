"""The cost of changing one layer's weights, and the sweep that makes later weights pay for earlier ones.

Weights are grouped `(G, R, K)` float64: G groups of R rows of K inputs, each group with moments `(K, K)`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from core.engine.lane import rest

DAMPING = 0.01  # of the mean diagonal, as Frantar and Alistarh use (arXiv 2301.00774, 2210.17323)
BLOCK = 128  # columns between two updates of all that follow: 128 in both papers


def grouped(weight: Tensor, groups: int) -> Tensor:
    """A weight tensor, output channels first, as float64 `(G, R, K)`."""
    return weight.double().reshape(groups, weight.shape[0] // groups, -1)


def error(change: Tensor, second: Tensor) -> Tensor:
    """Squared change of each row's output over the columns seen, `(G, R)`, by a change `(G, R, K)` of its weights."""
    return ((change @ second) * change).sum(2).clamp_(min=0)


def relative_error(change: Tensor, weight: Tensor, second: Tensor) -> float:
    """Share of a layer's output energy that a change of its weights makes, both `(G, R, K)`; 0 where it has none."""
    energy = float(error(weight, second).sum())
    return float(error(change, second).sum()) / energy if energy > 0 else 0.0


def damped(second: Tensor, share: float = DAMPING) -> Tensor:
    """The moments with a share of each group's mean diagonal added to its diagonal; dead inputs then cost a little.

    A group that read only zeros takes the mean of all groups instead.
    """
    diagonal = second.diagonal(dim1=1, dim2=2)
    mean = diagonal.mean(1, keepdim=True)
    mean = torch.where(mean > 0, mean, diagonal.mean())
    return second + torch.diag_embed((share * mean).expand_as(diagonal))


def factor(second: Tensor) -> tuple[Tensor, float]:
    """Upper triangular `U` `(G, K, K)` with `U^T U = (H + damping)^-1`, and the damping it took as a share.

    The damping starts at `DAMPING` and grows tenfold until the factor exists, which a share of 10 ensures.
    """
    share = DAMPING
    while True:
        # The Cholesky factor of the reversed matrix, reversed, is upper triangular: H = R R^T, so U is R^-1.
        lower, failed = torch.linalg.cholesky_ex(damped(second, share).flip(1, 2))
        if not failed.any() or share > 1:
            upper = lower.flip(1, 2)
            unit = torch.eye(upper.shape[1], dtype=upper.dtype).expand_as(upper)
            return torch.linalg.solve_triangular(upper, unit, upper=True), share
        share *= 10


def carry(
    weight: Tensor,
    upper: Tensor,
    settle: Callable[[int, Tensor], Tensor],
    begin: Callable[[int, Tensor], None] | None = None,
    block: int = BLOCK,
) -> Tensor:
    """Settle the columns of `weight` `(G, R, K)` one by one; each error is carried into the columns that follow.

    `settle(k, values (G, R))` gives the values column k shall have. `begin(k, values (G, R, b))` is told each block
    of columns from k on as it stands before any of them is settled. Optimal brain surgery with the order fixed and
    the inverse's Cholesky factor `upper` (Frantar et al. 2022, arXiv 2210.17323).
    """
    weight, settled = weight.clone(), torch.empty_like(weight)
    width = weight.shape[2]
    for start in range(0, width, block):
        end = min(start + block, width)
        part, errors = weight[:, :, start:end].clone(), torch.empty_like(weight[:, :, start:end])
        if begin is not None:
            begin(start, part)
        for k in range(end - start):
            row = upper[:, start + k, start + k : end]
            settled[:, :, start + k] = settle(start + k, part[:, :, k])
            errors[:, :, k] = (part[:, :, k] - settled[:, :, start + k]) / row[:, :1]
            part[:, :, k:] -= errors[:, :, k, None] * row[:, None]
        weight[:, :, end:] -= errors @ upper[:, start:end, end:]
        rest()
    return settled
