"""How long and how hard a network learns, and the rate at each step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

OptimiserName = Literal["adamw", "sgd"]
ScheduleName = Literal["cosine", "constant", "linear"]
CHECKS = 20  # places at equal distances where a training can stop, and looks at how it goes at most
STRIDES = (1, 2, 4, 5)  # a look at every so many of them: 20, 10, 5 or 4 in all
SOME = 500  # examples of each set that a look reads
LOOKING, FREE = 0.05, 5e10  # share of the work that looks may add, beside multiply-adds of about half a second
WARM_UP = 0.05  # share of the steps in which the rate rises
MOMENTUM = 0.9


@dataclass(frozen=True)
class Plan:
    """`epochs` of `batch` examples; `rate` the highest rate; `until` the share of the steps after which it stopped.

    The rate rises over the first twentieth of the steps and then follows `schedule`: half a cosine to zero
    (Loshchilov and Hutter 2017, SGDR, arXiv 1608.03983), a straight line to zero, or none. `keep` says which state
    is the result. With `gradual` the last layer learns first and all do from half-way on (Howard and Ruder 2018,
    ULMFiT, arXiv 1801.06146).
    """

    epochs: float
    batch: int
    rate: float
    optimiser: OptimiserName = "adamw"
    schedule: ScheduleName = "cosine"
    weight_decay: float = 0.0
    augment: bool = False
    keep: Literal["last", "best"] = "last"
    until: float = 1.0
    gradual: bool = False
    seed: int = 0

    def steps(self, count: int) -> int:
        """How many batches of `count` examples are learned from, stopped or not."""
        return max(1, math.ceil(self.epochs * self.batches(count) - 1e-9))

    def batches(self, count: int) -> int:
        """Batches an epoch: what is left over by whole ones waits for another epoch's order."""
        return max(1, count // self.batch)

    def checks(self, count: int) -> list[int]:
        """The steps after which it is looked at how it goes, in order."""
        total = self.steps(count)
        last = round(self.until * CHECKS)
        return sorted({max(1, round(total * part / CHECKS)) for part in range(1, last + 1)})

    def stride(self, count: int, looked: int, adds: int) -> int:
        """At every how many checks to look, so that looks stay cheap beside the learning.

        A look reads `looked` examples of `adds` multiply-adds each; to learn from one takes three times those. With
        `keep` best every check is a look.
        """
        allowed = FREE + LOOKING * 3 * adds * self.epochs * count
        cheap = (by for by in STRIDES if CHECKS // by * looked * adds <= allowed)
        return 1 if self.keep == "best" else next(cheap, STRIDES[-1])

    def rate_at(self, step: int, count: int) -> float:
        """The rate of a step, counted from 0."""
        total = self.steps(count)
        warm = max(1, int(WARM_UP * total))
        if step < warm:
            return self.rate * (step + 1) / warm
        done = (step - warm) / (total - warm)
        falling = {"cosine": 0.5 * (1 + math.cos(math.pi * done)), "linear": 1 - done, "constant": 1.0}
        return self.rate * falling[self.schedule]


def optimiser(plan: Plan, leaves: Iterable[tuple[str, Tensor]]) -> torch.optim.Optimizer:
    """What takes the steps. Only tensors of two axes or more decay (Loshchilov and Hutter 2019, arXiv 1711.05101)."""
    named = list(leaves)
    wide = [leaf for _, leaf in named if leaf.ndim > 1]
    narrow = [leaf for _, leaf in named if leaf.ndim <= 1]
    groups = [
        {"params": part, "weight_decay": decay} for part, decay in ((wide, plan.weight_decay), (narrow, 0.0)) if part
    ]
    if plan.optimiser == "adamw":
        return torch.optim.AdamW(groups, plan.rate, fused=True)
    taking = torch.optim.SGD(groups, plan.rate, momentum=MOMENTUM, nesterov=True, fused=True)
    if plan.gradual:  # fused SGD makes momenta for all or for none, and what learns later would have none
        for _, leaf in named:
            taking.state[leaf]["momentum_buffer"] = torch.zeros_like(leaf)
    return taking
