"""The training loop that every method shares: batches, steps, looks at how it goes, the best so far, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from core.deploy.graph import structure
from core.errors import TemperError
from core.models.channels import multiply_adds
from core.training.examples import Examples, augmented, order
from core.training.learner import Learner
from core.training.plan import SOME, Plan, optimiser
from core.training.teachers import AHEAD, FromTeacher

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Look:
    """How it goes after `step` steps: the rate then, and what was measured on each set, by set and by measure."""

    step: int
    epoch: float
    seconds: float
    rate: float
    values: dict[str, dict[str, float]]
    best: bool


@dataclass
class State:
    """Where a training stands; a checkpoint keeps all of it."""

    step: int = 0
    seconds: float = 0.0
    looks: list[Look] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    best: dict[str, Tensor] = field(default_factory=dict)
    best_loss: float = float("inf")
    best_step: int = 0
    moments: dict[str, Any] = field(default_factory=dict)  # the optimiser's own


@dataclass(frozen=True)
class Calls:
    """What the loop calls: all may be left out.

    `measure` gives the figures of the looks. `told` hears of every step the fraction done, and may raise to abandon.
    `looked` hears of every look. `kept` is given the state at every check, to write down. `leave` says whether to
    stop at the next check.
    """

    measure: Callable[[Callable[[Tensor], Tensor]], dict[str, dict[str, float]]] = lambda _: {}
    told: Callable[[float], None] = lambda _: None
    looked: Callable[[Look], None] = lambda _: None
    kept: Callable[[State], None] = lambda _: None
    leave: Callable[[], bool] = lambda: False


def learn(
    learner: Learner, given: Examples, modality: str, loss: Loss, plan: Plan, calls: Calls, state: State | None = None
) -> State:
    """Train, from the beginning or from a state, and leave the learner as the plan keeps it: last, or at its best.

    `loss(outputs, y, x)` is the mean over a batch, `x` as the network read it. The best state is that of the least
    loss on the examples held back, the one before learning among them. Raises `TemperError` where the loss is no
    number before the first look, and `Diverged` after it.
    """
    count = len(given.y)
    batch, steps, checks = min(plan.batch, count), plan.steps(count), plan.checks(count)
    taking = optimiser(plan, [*learner.leaves.items(), *learner.grown.items()])
    state = state or State()
    asked = _asked(loss, given, plan)
    if state.tensors:
        learner.restore(state.tensors)
        taking.load_state_dict(state.moments)
    else:
        state.tensors = learner.state()
        _look(learner, given, asked, plan, calls, state, 0.0)
    looks = look_steps(learner, given, plan)
    began = time.monotonic() - state.seconds
    rows_of = lru_cache(maxsize=1)(lambda epoch: order(count, plan.seed, epoch))
    learner.train()
    for step in range(state.step, checks[-1] if checks else 0):
        epoch, place = divmod(step, plan.batches(count))
        rows = rows_of(epoch)[place * batch : (place + 1) * batch]
        x, y = given.x[rows], given.y[rows]
        if plan.augment:
            x = augmented(x, modality, plan.seed * 1_000_003 + step)
        if plan.gradual:
            learner.wake(2 * step / steps)
        rate = plan.rate_at(step, count)
        for group in taking.param_groups:
            group["lr"] = rate
        taking.zero_grad(set_to_none=True)
        with torch.enable_grad():
            value = asked.loss(learner(x), y, x, rows)
            value.backward()
        learner.rest()
        if not torch.isfinite(value):
            raise _broken(learner, state, plan, step, rate)
        taking.step()
        calls.told((step + 1) / steps)
        if step + 1 in checks:
            state.step, state.seconds = step + 1, time.monotonic() - began
            state.moments, state.tensors = taking.state_dict(), learner.state()
            leave = calls.leave()
            if leave or step + 1 in looks:
                _look(learner, given, asked, plan, calls, state, rate)
                leave = leave or calls.leave()
                learner.train()
            calls.kept(state)
            if leave:
                break
    learner.restore(state.best if plan.keep == "best" else state.tensors)
    learner.eval()
    return state


def look_steps(learner: Learner, given: Examples, plan: Plan) -> set[int]:
    """The steps after which it is looked at how it goes: some of the plan's checks, the last among them."""
    count, network = len(given.y), learner.of
    checks = plan.checks(count)
    adds = multiply_adds(structure(network), network.shapes)
    stride = plan.stride(count, len(given.held_y) + SOME, adds)
    return {*checks[stride - 1 :: stride], *checks[-1:]}


@dataclass(frozen=True)
class _Asked:
    """A loss with what its teacher says, where it has one that need not be asked again."""

    of: Loss
    known: Tensor | None
    held: Tensor | None

    def loss(self, outputs: Tensor, y: Tensor, x: Tensor, rows: Tensor) -> Tensor:
        """Of a batch, `rows` its places among the examples."""
        if self.known is None or not isinstance(self.of, FromTeacher):
            return self.of(outputs, y, x)
        return self.of.compare(outputs, y, x, self.known[rows])

    def loss_held(self, outputs: Tensor, y: Tensor, x: Tensor, part: slice) -> Tensor:
        """Of a part of the examples that are held back."""
        if self.held is None or not isinstance(self.of, FromTeacher):
            return self.of(outputs, y, x)
        return self.of.compare(outputs, y, x, self.held[part])


def _asked(loss: Loss, given: Examples, plan: Plan) -> _Asked:
    """Ask the teacher once of every example, where each comes again as it is."""
    if not isinstance(loss, FromTeacher):
        return _Asked(loss, None, None)
    again = not plan.augment and plan.epochs > 1  # stopped or not, so that it comes out the same
    return _Asked(loss, loss.answers(given.x) if again else None, loss.answers(given.held_x))


def _look(
    learner: Learner, given: Examples, asked: _Asked, plan: Plan, calls: Calls, state: State, rate: float
) -> None:
    """Measure how it goes, and keep the state where it is the best so far."""
    learner.eval()
    outputs = outputs_of(learner, given.held_x)
    held = _mean_loss(outputs, given, asked)
    best = held < state.best_loss
    if best:
        state.best, state.best_loss, state.best_step = state.tensors, held, state.step
    same = calls.measure(lambda x: outputs if torch.equal(x, given.held_x) else outputs_of(learner, x))
    epoch = state.step / plan.batches(len(given.y))
    look = Look(state.step, epoch, state.seconds, rate, {"held back": {"loss": held}, **same}, best)
    state.looks.append(look)
    calls.looked(look)


def _mean_loss(outputs: Tensor, given: Examples, asked: _Asked) -> float:
    total, held = 0.0, len(given.held_y)
    for start in range(0, held, AHEAD):
        part = slice(start, start + AHEAD)
        x, y = given.held_x[part], given.held_y[part]
        with torch.no_grad():
            total += float(asked.loss_held(outputs[part], y, x, part)) * len(y)
    return total / held


def outputs_of(learner: Learner, x: Tensor) -> Tensor:
    """Outputs `(N, C)` of inputs `(N, ...)`, a part at a time and without gradients."""
    with torch.no_grad():
        return torch.cat([learner(part) for part in x.split(AHEAD)])


def _broken(learner: Learner, state: State, plan: Plan, step: int, rate: float) -> TemperError:
    words = f"The loss was no number any more at step {step + 1:,}, at a rate of {rate:.2g}"
    if not state.step:
        return TemperError(f"{words}: nothing was learned.", "Take a rate of a tenth of that.")
    kept = state.best_step if plan.keep == "best" else state.step
    learner.restore(state.best if plan.keep == "best" else state.tensors)
    learner.eval()
    return Diverged(f"{words}. What it was after step {kept:,} is kept.", state)


class Diverged(TemperError):  # noqa: N818  (an error by its base)
    """Training broke off on a loss that is no number; `state` is that of the last look before."""

    def __init__(self, message: str, state: State) -> None:
        super().__init__(message, "Take a lower rate.")
        self.state = state
