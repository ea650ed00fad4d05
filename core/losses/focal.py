"""Focal loss."""

import torch
import torch.nn.functional as F
from torch import Tensor

SURE = 1e-12  # a probability of being wrong below which nothing is learned: the power's slope has no end there


def focal(logits: Tensor, y: Tensor, focus: float = 2.0) -> Tensor:
    """The mean of `-(1 - p)^focus log p`, `p` the probability of the true class `y` int64 `(N,)`, logits `(N, C)`.

    What is right already counts for less (Lin et al. 2017, Focal loss, arXiv 1708.02002); networks trained so are
    less over-confident (Mukhoti et al. 2020, arXiv 2002.09437). With `focus` 0 it is the cross-entropy.
    """
    log = F.log_softmax(logits, -1).gather(1, y[:, None])[:, 0]
    wrong = -torch.expm1(log)
    return -(wrong.clamp(min=SURE) ** focus * log).mean()
