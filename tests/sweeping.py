"""What the tests of sweeps share: plans, workers that are no processes, answers without a network, the truth."""

from __future__ import annotations

import threading
from concurrent.futures import Future

import pytest

from core.engine.evaluate import evaluate
from core.recipe import Recipe
from core.registry import method
from core.sweeps.front import Spot
from core.sweeps.plan import Plan, axis_from_text
from core.sweeps.spots import EXACT, Answer, Errand
from core.types import Interval, Quantity

LONG = 120.0  # seconds, against hanging only


def plan_of(*texts: str, base: Recipe | None = None) -> Plan:
    base = base or Recipe()
    return Plan(base, tuple(axis_from_text(base, text) for text in texts))


TINY = plan_of("sparsity=0.1,0.2,0.3,0.4,0.5,0.6")


class Here:
    """Workers of this thread: a call is done at once. It keeps the tasks."""

    count = 1

    def __init__(self):
        self.tasks: list[Errand] = []
        self.stops = 0

    def submit(self, call, *arguments):
        self.tasks += arguments
        future: Future = Future()
        try:
            future.set_result(call(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def stop(self):
        self.stops += 1


class ByHand(Here):
    """Workers whose calls are done when the test says so."""

    count = 2

    def __init__(self):
        super().__init__()
        self.waiting: list[tuple[Future, Errand]] = []
        self.changed = threading.Condition()

    def submit(self, call, *arguments):
        future: Future = Future()
        with self.changed:
            self.tasks += arguments
            self.waiting.append((future, lambda: call(*arguments)))
            self.changed.notify_all()
        return future

    def until(self, count: int) -> None:
        """Wait for so many calls."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.waiting) >= count, LONG), "nothing was started"

    def finish(self, count: int | None = None) -> None:
        with self.changed:
            some, self.waiting = self.waiting[:count], self.waiting[len(self.waiting) if count is None else count :]
        for future, call in some:
            if future.set_running_or_notify_cancel():
                future.set_result(call())


def quick(task: Errand) -> Answer:
    """An answer without a network: more sparsity is smaller and worse."""
    number = task.place[0]
    how, n, half = ("measured", 100, 0.05) if task.depth == EXACT else ("estimated", 10, 0.3)
    value = 0.9 - 0.01 * number
    values = {"accuracy": Quantity(value, "fraction", how, Interval(value - half, value + half), n)}
    return Answer(Spot(task.place, task.recipe, values, 100, 1_000 - number, 1_000), task.depth, None, "", 0.01)


def truth_of(model, data, plan: Plan) -> dict:
    """Every measure and the bytes of every point, straight from its evaluation."""
    found = {}
    for place, recipe in plan.recipes.items():
        result = evaluate(model, data, recipe)
        after = result.tempered
        values = {name: method("metric", name).function.of(after) for name in after.task.facts.stated}
        values["flips"] = float((after.predictions != result.original.predictions).sum())
        found[place] = values | {"packed": result.bytes.packed, "file": result.bytes.file}
    return found


def assert_exact(spot: Spot, truth: dict) -> None:
    assert spot.exact
    assert (spot.packed, spot.file) == (truth["packed"], truth["file"])
    assert spot.values["accuracy"].value == truth["accuracy"]
    assert spot.values["flips"].value == truth["flips"]
    for name, quantity in spot.values.items():
        assert quantity.value == pytest.approx(truth[name], abs=1e-5), name
        assert quantity.interval.low <= quantity.value <= quantity.interval.high, name
        assert (quantity.how, quantity.n) == ("measured", spot.total)
        assert len(spot.resampled[name]) > 100


def ended(thread: threading.Thread) -> None:
    thread.join(LONG)
    assert not thread.is_alive(), "the sweep does not end"


def finish_all(hands: ByHand, thread: threading.Thread) -> None:
    while thread.is_alive():
        hands.finish()
        thread.join(0.01)


def until(ready) -> None:
    """Wait for another thread to get somewhere."""
    pause = threading.Event()
    for _ in range(int(LONG / 0.005)):
        if ready():
            return
        pause.wait(0.005)
    pytest.fail("the other thread never got there")
