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
from core.training.device import CPU, moved, out_of_memory, settled, smaller, title, too_small
from core.training.examples import Batches, Examples, augmented, order
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
    places: list[str] = field(default_factory=list)  # the devices it learned on, one after the other


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
    number, or the device's memory too small, before the first check, and `Diverged` after it.
    """
    taking = optimiser(plan, [*learner.leaves.items(), *learner.grown.items()])
    state = state or State()
    _placed(learner, state)
    full = False
    try:
        _learn(learner, given, modality, loss, plan, calls, state, taking)
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        full = True
    if full:  # out here nothing of the step that broke off is held any more
        taking.zero_grad(set_to_none=True)
        raise _broken(learner, state, plan, too_small(learner.device), smaller(learner.device))
    learner.restore(state.best if plan.keep == "best" else state.tensors)
    learner.eval()
    return state


def _learn(
    learner: Learner, given: Examples, modality: str, loss: Loss, plan: Plan, calls: Calls, state: State,
    taking: torch.optim.Optimizer,
) -> None:  # fmt: skip
    count = len(given.y)
    batch, steps, checks = min(plan.batch, count), plan.steps(count), plan.checks(count)
    asked = _asked(loss, given, plan, learner.device)
    batches = Batches(learner.device, given.x, given.y, *([] if asked.known is None else [asked.known]))
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
        x, y, *wanted = batches.at(rows_of(epoch)[place * batch : (place + 1) * batch])
        if plan.augment:
            x = augmented(x, modality, plan.seed * 1_000_003 + step)
        if plan.gradual:
            learner.wake(2 * step / steps)
        rate = plan.rate_at(step, count)
        for group in taking.param_groups:
            group["lr"] = rate
        taking.zero_grad(set_to_none=True)
        with torch.enable_grad():
            value = asked.loss(learner(x), y, x, *wanted)
            value.backward()
        learner.rest()
        if not torch.isfinite(value):
            words = f"The loss was no number any more at step {step + 1:,}, at a rate of {rate:.2g}"
            raise _broken(learner, state, plan, words, "Take a rate of a tenth of that.")
        taking.step()
        calls.told((step + 1) / steps)
        if step + 1 in checks:
            settled(learner.device)
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


def _placed(learner: Learner, state: State) -> None:
    """Note where it learns, after where it did until now."""
    here = title(learner.device)
    if state.places[-1:] != [here]:
        state.places.append(here)


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

    def loss(self, outputs: Tensor, y: Tensor, x: Tensor, wanted: Tensor | None = None) -> Tensor:
        """Of a batch, `wanted` what is known of the teacher's answers."""
        if wanted is None or not isinstance(self.of, FromTeacher):
            return self.of(outputs, y, x)
        return self.of.compare(outputs, y, x, wanted)

    def loss_held(self, outputs: Tensor, y: Tensor, x: Tensor, part: slice) -> Tensor:
        """Of a part of the examples that are held back."""
        if self.held is None or not isinstance(self.of, FromTeacher):
            return self.of(outputs, y, x)
        return self.of.compare(outputs, y, x, self.held[part])


def _asked(loss: Loss, given: Examples, plan: Plan, where: torch.device) -> _Asked:
    """Ask the teacher once of every example, where each comes again as it is."""
    if not isinstance(loss, FromTeacher):
        return _Asked(loss, None, None)
    again = not plan.augment and plan.epochs > 1  # stopped or not, so that it comes out the same
    return _Asked(loss, loss.answers(given.x, where) if again else None, loss.answers(given.held_x, where))


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
    """Outputs `(N, C)` of inputs `(N, ...)`, a part at a time and without gradients; both on the processor."""
    with torch.no_grad():
        return torch.cat([learner(moved(part, learner.device)) for part in x.split(AHEAD)]).to(CPU)


def _broken(learner: Learner, state: State, plan: Plan, words: str, hint: str) -> TemperError:
    if not state.step:
        return TemperError(f"{words}: nothing was learned.", hint)
    kept = state.best_step if plan.keep == "best" else state.step
    learner.restore(state.best if plan.keep == "best" else state.tensors)
    learner.eval()
    return Diverged(f"{words}. What it was after step {kept:,} is kept.", hint, state)


class Diverged(TemperError):  # noqa: N818  (an error by its base)
    """Training broke off, on a loss that is no number or for lack of memory; `state` is that of the check before."""

    def __init__(self, message: str, hint: str, state: State) -> None:
        super().__init__(message, hint)
        self.state = state
