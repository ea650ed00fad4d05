"""Which rate: a hundred steps at ever larger ones, and a tenth of that of the least loss.

Smith 2017, Cyclical learning rates for training neural networks, arXiv 1506.01186, section 3.3; the rate rises
exponentially here, so that every power of ten gets as many steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch

from core.data.handle import DataHandle
from core.engine.context import Context
from core.engine.lane import rest
from core.engine.transform import transform
from core.errors import TemperError
from core.models.handle import ModelHandle
from core.recipe import Recipe
from core.registry import method
from core.training.device import moved
from core.training.examples import Batches, Examples, order
from core.training.learner import Learner
from core.training.loop import Loss
from core.training.permit import Permit, permitted
from core.training.plan import Plan, optimiser

STEPS = 100
ENDS = (1e-6, 1.0)
SMOOTH = 0.8  # weight of what came before in the running mean
LOOKED_AT = 128  # examples, the same after each step: batches differ by more than a step changes
ENOUGH = 4.0  # times the least loss at which it ends
FALLS = 0.95  # of the first loss: a least one above that is no fall
By = Literal["least", "rise"]


@dataclass(frozen=True)
class RateRange:
    """Rates tried, the loss of the same examples after each step, its running mean, and a rate to take.

    `by` says why: "least" is a tenth of the rate of the least running mean; where that never falls, as in a network
    that has learned these examples, "rise" is a tenth of the rate at which it has risen by a tenth. The steepest fall
    is not taken: in a pruned network the statistics of batch-norms make it, at whatever rate comes first.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smooth: tuple[float, ...]
    suggestion: float
    by: By


class Ranged(Exception):  # noqa: N818  (not an error: the answer)
    """The rates that were tried."""

    def __init__(self, found: RateRange) -> None:
        super().__init__(found)
        self.found = found


def find_rate(
    model: ModelHandle, data: DataHandle, recipe: Recipe, told: Callable[[float], None] = lambda _: None
) -> RateRange:
    """Try rates for the recipe's last training, after all that stands before it. Nothing of it is kept.

    `told` hears the fraction done, and may raise to abandon. Raises `TemperError`.
    """
    steps = recipe.simplified().without("calibrate").steps
    if not steps or steps[-1].kind != "train":
        raise TemperError("A rate is found for a recipe whose last step before calibration trains.")
    before, _ = transform(model, data, replace(recipe, steps=steps[:-1]))
    learn = method("train", steps[-1].method).function

    def heard(fraction: float) -> None:
        rest()
        told(fraction)

    try:
        with permitted(Permit(heard, ranging=True)):
            learn(before, steps[-1].values, Context(data, recipe.seed))
    except Ranged as answer:
        return answer.found
    raise TemperError(f"'{steps[-1].method}' has no rate to find.")


def rate_range(
    learner: Learner,
    given: Examples,
    loss: Loss,
    plan: Plan,
    allowed: tuple[float, ...],
    told: Callable[[float], None],
) -> RateRange:
    """Take up to a hundred steps at rising rates; the learner is of no use afterwards. `allowed` are the choices."""
    taking = optimiser(plan, [*learner.leaves.items(), *learner.grown.items()])
    count = len(given.y)
    batch = min(plan.batch, count)
    rates, losses, smooth = list[float](), list[float](), list[float]()
    batches = Batches(learner.device, given.x, given.y)
    x_seen, y_seen = (moved(part[:LOOKED_AT], learner.device) for part in (given.held_x, given.held_y))

    def seen() -> float:
        learner.eval()
        with torch.no_grad():
            return float(loss(learner(x_seen), y_seen, x_seen))

    running = seen()
    if not math.isfinite(running):
        raise TemperError("The loss is no number before anything is learned.")
    for step in range(STEPS):
        epoch, place = divmod(step, plan.batches(count))
        rows = order(count, plan.seed, epoch)[place * batch : (place + 1) * batch]
        rate = ENDS[0] * (ENDS[1] / ENDS[0]) ** (step / (STEPS - 1))
        for group in taking.param_groups:
            group["lr"] = rate
        taking.zero_grad(set_to_none=True)
        x, y = batches.at(rows)
        learner.train()
        with torch.enable_grad():
            value = loss(learner(x), y, x)
            value.backward()
        taking.step()
        found = seen()
        if not math.isfinite(found):
            break
        running = SMOOTH * running + (1 - SMOOTH) * found
        rates.append(rate)
        losses.append(found)
        smooth.append(running)
        if running > ENOUGH * min(smooth):
            break
        told((step + 1) / STEPS)
    if not rates:
        raise TemperError(f"The loss was no number any more at a rate of {ENDS[0]:g} already.")
    return RateRange(tuple(rates), tuple(losses), tuple(smooth), *suggested(rates, smooth, allowed))


def suggested(rates: list[float], smooth: list[float], allowed: tuple[float, ...]) -> tuple[float, By]:
    """The rate to take, as the largest of those `allowed` that is not above it, and what decided."""
    least = min(range(len(smooth)), key=smooth.__getitem__)
    by: By = "least" if smooth[least] < FALLS * smooth[0] else "rise"
    risen = [rate for rate, value in zip(rates, smooth, strict=True) if value > 1.1 * smooth[0]]
    rate = (rates[least] if by == "least" else risen[0] if risen else rates[-1]) / 10
    below = [one for one in sorted(allowed) if one <= rate * 1.001]
    return (below[-1] if below else min(allowed)), by
