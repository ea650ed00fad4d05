"""How many epochs fit into the seconds that a person has."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from core.registry import Param
from core.training.device import moved, settled
from core.training.examples import Examples
from core.training.learner import Learner
from core.training.loop import Calls, Loss, learn, look_steps, outputs_of
from core.training.plan import Plan
from core.training.teachers import AHEAD, FromTeacher

WARM = 3  # steps that are not timed
ENOUGH = 60  # steps that are timed, or more of them in
SHORTEST = 1.0  # second: what else the machine does shows in its mean, not in some milliseconds
LONGEST = 2.0  # seconds of timing, about
MARGIN = 1.2  # what a look takes beside its measuring: the state is written down
Measure = Callable[[Callable[[Tensor], Tensor]], dict[str, dict[str, float]]]


class Paced(Exception):  # noqa: N818  (not an error: the answer of a rehearsal)
    """The epochs that fit into the time that was asked for."""

    def __init__(self, epochs: float) -> None:
        super().__init__(epochs)
        self.epochs = epochs


def epochs_in(
    seconds: float, learner: Learner, given: Examples, modality: str, loss: Loss, plan: Plan, measure: Measure,
    allowed: Param,
) -> float:  # fmt: skip
    """The epochs that this machine learns in `seconds`, looks included, as a value of the parameter `allowed`.

    Some steps are taken for it: the learner is of no use afterwards.
    """
    batches = plan.batches(len(given.y))
    times: list[float] = []

    def told(_: float) -> None:
        settled(learner.device)
        times.append(time.perf_counter())
        timed, lasted = len(times) - WARM - 1, times[-1] - times[0]
        if (timed >= ENOUGH and lasted > SHORTEST) or (timed >= 1 and lasted > LONGEST):
            raise _Enough

    tried, asking = _asking(loss, given, learner.device)
    began = time.perf_counter()
    with contextlib.suppress(_Enough):
        learn(learner, given, modality, tried, replace(plan, epochs=1e6), Calls(told=told))
    look = _look_seconds(learner, measure)
    each = _mean_step(began, times)
    assert allowed.low is not None and allowed.high is not None and allowed.step is not None
    epoch = each * batches
    once = 0.0 if plan.augment else asking

    def fitting(looks: int) -> float:
        learning = max(seconds - MARGIN * looks * look, seconds / 4)
        return (learning - once) / epoch if learning - once > epoch and once else learning / (epoch + asking)

    looks = len(look_steps(learner, given, replace(plan, epochs=fitting(0))))
    found = fitting(looks)
    whole = math.floor(found / allowed.step) * allowed.step
    return min(max(round(whole, 6), allowed.low), allowed.high)


def _mean_step(began: float, times: list[float]) -> float:
    """The mean seconds of a step, what else the machine did meanwhile among them; not of the first ones if it can."""
    if len(times) == 1:
        return times[0] - began
    first = min(WARM, len(times) - 2)
    return (times[-1] - times[first]) / (len(times) - 1 - first)


def _look_seconds(learner: Learner, measure: Measure) -> float:
    """The seconds of a look, not of the first one: that reads the examples and loads what measures."""
    for _ in range(2):
        began = time.perf_counter()
        measure(lambda x: outputs_of(learner, x))
    return time.perf_counter() - began


def _asking(loss: Loss, given: Examples, where: torch.device) -> tuple[Loss, float]:
    """The loss with a teacher that says the same of all, and the seconds in which the true one answers an epoch."""
    if not isinstance(loss, FromTeacher):
        return loss, 0.0
    some = given.x[:AHEAD]
    answer = loss.teacher(moved(some[:1], where))
    began = time.perf_counter()
    loss.answers(some, where)
    seconds = (time.perf_counter() - began) * len(given.x) / len(some)
    return replace(loss, teacher=lambda x: answer.expand(len(x), -1)), seconds


class _Enough(Exception):  # noqa: N818  (ends a rehearsal)
    pass
