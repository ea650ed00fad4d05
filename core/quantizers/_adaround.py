"""AdaRound's rounding problem, each weight up or down for the least error of its layer's output.

Nagel et al. 2020 (arXiv 2004.10568) relax the choice and descend by gradients over batches. On a layer's moments the
error is a quadratic of the choices, exact for all the examples at once, and flips are tried on it directly.
"""

from __future__ import annotations

import torch
from torch import Tensor

from core.engine.lane import rest
from core.layers.second_order import error
from core.quantizers._gptq import compensated

SWEEPS = 20  # over the columns at most; on the samples the flips end after 3 to 8
EXACT = 12  # inputs up to which every combination is tried: the filters of a depthwise convolution have 9
STARTS, START_WORK = 16, 20_000_000  # starts at most, and their multiply-adds in all; the least are two
ROOM = 32 * 2**20  # bytes of the errors of combinations held at a time
PAIR_WORK = 1_000_000_000  # multiply-adds of a sweep over pairs up to which pairs are tried
PAIR_SWEEPS = 4


def chosen(
    weight: Tensor, second: Tensor, scale: Tensor, zero: Tensor, nearest: Tensor, other: Tensor
) -> tuple[Tensor, float]:
    """Integers float64 `(G, R, K)`, each `nearest` or `other`, and the damping used.

    Rows of at most `EXACT` inputs get the best of all combinations. Others start at the nearest levels and at those
    that GPTQ finds in several orders of the inputs, drawn by a fixed seed beside its own; from each, flips lower the
    error, and the best end is refined by flips of two. `scale` and `zero` broadcast to `(G, R, K)`.
    """
    down, up = torch.minimum(nearest, other), torch.maximum(nearest, other)
    groups, _, width = weight.shape
    if width <= EXACT:
        return torch.where(_best((down - zero) * scale - weight, (up - down) * scale, second), up, down), 0.0
    work = weight.numel() * width
    generator = torch.Generator().manual_seed(0)
    best, least, used = nearest, error((nearest - zero) * scale - weight, second), 0.0

    def improve(start: Tensor, paired: bool) -> None:
        nonlocal best, least
        elsewhere = down + up - start
        flipped = descend((start - zero) * scale - weight, (elsewhere - start) * scale, second, paired)
        ended = torch.where(flipped, elsewhere, start)
        cost = error((ended - zero) * scale - weight, second)
        best, least = torch.where((cost < least)[:, :, None], ended, best), torch.minimum(cost, least)

    improve(nearest, paired=False)
    for turn in range(max(1, min(STARTS, START_WORK // max(work, 1)) - 1)):
        order = torch.rand(groups, width, generator=generator).argsort(dim=1, stable=True) if turn else None
        start, used = compensated(weight, second, scale, zero, down, up, order)
        improve(start, paired=False)
    if width > 1 and work <= PAIR_WORK:
        improve(best, paired=True)
    return best, used


def _best(change: Tensor, step: Tensor, second: Tensor) -> Tensor:
    """Which weights to move by `step`, bool `(G, R, K)`, for the least error of all combinations."""
    rows, width = change.shape[1], change.shape[2]
    places = torch.arange(2**width)[:, None] >> torch.arange(width)
    choices = (places & 1).double()
    alone, moves = (2 * step * (change @ second)).flatten(0, 1), step.flatten(0, 1)
    found = []
    for part in torch.arange(len(moves)).split(max(1, ROOM // choices.nbytes)):
        both = moves[part, :, None] * moves[part, None] * second[part // rows]
        found.append(((choices @ both * choices).sum(2) + alone[part] @ choices.T).argmin(1))
        rest()
    return choices.bool()[torch.cat(found)].reshape(change.shape)


def descend(change: Tensor, step: Tensor, second: Tensor, paired: bool) -> Tensor:
    """Which weights to flip, bool `(G, R, K)`, so that no flip of one weight lowers the error of its row.

    `change` `(G, R, K)` is how far each weight lies from its true value, `step` what a flip adds to that, 0 for a
    weight that has no choice. Single flips in cycles; where `paired`, then each together with the one that suits it
    best. The error never grows.
    """
    step = step.clone()
    gradient = change @ second
    diagonal = second.diagonal(dim1=1, dim2=2)[:, None]
    flipped = torch.zeros_like(change, dtype=torch.bool)
    # A gain must exceed what summing K products in float64 may have added to the sums.
    least = 1e-12 * (change.abs() @ second.abs() * change.abs()).sum(2).clamp(min=1e-300)

    def flip(chosen: Tensor, k: Tensor) -> None:
        g, r = chosen
        gradient[g, r] += step[g, r, k, None] * second[g, k]
        step[g, r, k] *= -1
        flipped[g, r, k] ^= True

    def singles() -> bool:
        any_flip = False
        for k in range(change.shape[2]):
            gain = step[:, :, k] * (2 * gradient[:, :, k] + step[:, :, k] * diagonal[:, :, k])
            chosen = torch.nonzero(gain < -least).T
            if chosen.shape[1]:
                any_flip = True
                flip(chosen, torch.full_like(chosen[0], k))
        rest()
        return any_flip

    def pairs() -> bool:
        any_flip = False
        for k in range(change.shape[2]):
            alone = step * (2 * gradient + step * diagonal)
            both = alone + alone[:, :, k, None] + 2 * step[:, :, k, None] * step * second[:, k, None]
            both[:, :, k] = torch.inf
            gain, partner = both.min(2)
            chosen = torch.nonzero(gain < -least).T
            if chosen.shape[1]:
                any_flip = True
                flip(chosen, torch.full_like(chosen[0], k))
                flip(chosen, partner[chosen[0], chosen[1]])
            rest()
        return any_flip

    for _ in range(SWEEPS):
        if not singles():
            break
    if paired:
        for _ in range(PAIR_SWEEPS):
            if not pairs():
                break
            singles()
    return flipped
