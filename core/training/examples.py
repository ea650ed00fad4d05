"""What is learned from: the fit split, what is held back to choose by, the order of the batches, augmentation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from core.data.handle import DataHandle, split_for_fitting
from core.data.splits import strata_of
from core.errors import TemperError
from core.training.device import moved
from core.types import Integers

HELD_SHARE, MOST_HELD, FEWEST_HELD = 0.1, 500, 20  # of the fit split choose the best so far, where there are plenty
SHIFT = 2  # pixels a picture is moved at most
RESIDENT = 2**30  # bytes of examples that go to a device whole
DROPPED = 0.1  # share of words that an augmented text lacks


@dataclass(frozen=True)
class Examples:
    """`x` float32 `(N, ...)` and `y` `(N,)` to learn from; `held_x`, `held_y` choose the best state.

    Where none are held back, they are some of the same examples and `apart` is False. `rows` are the places of `x`
    in the fit split.
    """

    x: Tensor
    y: Tensor
    held_x: Tensor
    held_y: Tensor
    apart: bool
    rows: Integers


def examples(data: DataHandle, seed: int, hold: bool, most: int | None = None) -> Examples:
    """The examples of the fit split, with `most` only so many of those to learn from, alike in the classes.

    With `hold` a tenth is held back, where there are two hundred.
    Raises `TemperError` where there is none, or only one.
    """
    split = split_for_fitting(data, "fit")
    if len(split.y) < 2:
        raise TemperError(f"Learning needs two examples at least; the fit split of '{data.id}' has {len(split.y)}.")
    order = _interleaved(strata_of(split.y), seed)
    count = min(MOST_HELD, int(HELD_SHARE * len(order)))
    apart = hold and count >= FEWEST_HELD
    rows = order[count if apart else 0 :][:most]
    held = order[:count] if apart else rows[:MOST_HELD]
    x, y = split.inputs, split.y if data.task.decides else split.y.astype(np.float64)
    some = [torch.from_numpy(np.ascontiguousarray(part)) for part in (x[rows], y[rows], x[held], y[held])]
    return Examples(some[0], some[1], some[2], some[3], apart, rows)


class Batches:
    """Tensors `(N, ...)` of the same examples, as a device reads them: there whole where they are small enough.

    Larger ones stay in the processor's memory, and each batch is moved from there.
    """

    def __init__(self, where: torch.device, *tensors: Tensor) -> None:
        self.where = where
        small = sum(tensor.nbytes for tensor in tensors) <= RESIDENT
        self.tensors = [moved(tensor, where) if small else tensor for tensor in tensors]

    def at(self, rows: Tensor) -> list[Tensor]:
        """The examples of the places `rows` int64 `(B,)`, on the device."""
        near = rows.to(self.tensors[0].device)
        return [moved(tensor[near], self.where) for tensor in self.tensors]


def _interleaved(strata: Integers, seed: int) -> Integers:
    """All places in an order whose every beginning holds the strata in proportion, as nearly as it can."""
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(len(strata))
    _, codes, counts = np.unique(strata[shuffled], return_inverse=True, return_counts=True)
    nth = np.empty(len(codes))
    by = np.argsort(codes, kind="stable")
    nth[by] = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
    found: Integers = shuffled[np.argsort((nth + 0.5) / counts[codes], kind="stable")]
    return found


def order(count: int, seed: int, epoch: int) -> Tensor:
    """The order of an epoch's examples: of its own, and the same whenever it is asked for."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))


def augmented(x: Tensor, modality: str, seed: int) -> Tensor:
    """Inputs `(N, ...)` as they might also have been; the same for the same seed, on every device.

    Half of the pictures are mirrored, each moved by up to two pixels; of a text a tenth of the words is left out;
    a table's numbers get noise of a twentieth of a standard deviation.
    """
    generator = torch.Generator().manual_seed(seed)
    if modality == "text":
        gone = (torch.rand(x.shape, generator=generator) < DROPPED).to(x.device)
        return torch.where(gone & (x != 0), torch.zeros_like(x), x)
    if modality == "table":
        return x + (0.05 * torch.randn(x.shape, generator=generator)).to(x.device)
    flip = (torch.rand(len(x), generator=generator) < 0.5).to(x.device)
    x = torch.where(flip[:, None, None, None], x.flip(3), x)
    moves = torch.randint(0, 2 * SHIFT + 1, (2,), generator=generator).tolist()  # one move a batch
    height, width = x.shape[2:]
    padded = F.pad(x, (SHIFT,) * 4, mode="replicate")
    return padded[:, :, moves[0] : moves[0] + height, moves[1] : moves[1] + width]
