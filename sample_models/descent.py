"""A training loop for small networks that take minutes: AdamW, warm-up, cosine decay, no checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Descent:
    """How long and how hard to train: AdamW, one warm-up, cosine decay to zero, gradients cut at norm 1."""

    epochs: int
    batch: int
    rate: float
    weight_decay: float
    warm_up_epochs: float
    seed: int


def descend(
    model: nn.Module, x: Tensor, y: Tensor, loss_of: Callable[[Tensor, Tensor], Tensor], plan: Descent
) -> None:
    """Minimise the mean of `loss_of(outputs, targets)` in place; the weights after the last epoch stay.

    Nothing is selected on held-out data. One thread and fixed seeds: the same machine gives the same weights again.
    """
    torch.set_num_threads(1)
    torch.manual_seed(plan.seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=plan.rate, weight_decay=plan.weight_decay)
    steps = math.ceil(len(x) / plan.batch)
    warm, total = plan.warm_up_epochs * steps, plan.epochs * steps

    def factor(step: int) -> float:
        return (step + 1) / warm if step < warm else 0.5 * (1 + math.cos(math.pi * (step - warm) / (total - warm)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
    model.train()
    for epoch in range(plan.epochs):
        sums = 0.0
        for chosen in torch.randperm(len(x)).split(plan.batch):
            loss = loss_of(model(x[chosen]), y[chosen])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            sums += loss.item() * len(chosen)
        if (epoch + 1) % max(plan.epochs // 5, 1) == 0:
            print(f"epoch {epoch + 1}/{plan.epochs}  loss {sums / len(x):.4f}", flush=True)
    model.eval()
