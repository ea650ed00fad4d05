"""Sweeps: every point is known in the end and equals its evaluation, whatever happens to workers or person."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

import numpy as np
import pytest
from sweeping import LONG, TINY, ByHand, Here, assert_exact, ended, finish_all, plan_of, quick, truth_of, until

from core.engine import evaluate as evaluate_module
from core.engine.evaluate import evaluate
from core.engine.memory import RESULTS
from core.errors import TemperError
from core.jobs import workers as jobs_module
from core.jobs.workers import SharedGate, workers
from core.models.samples import load_sample
from core.recipe import Recipe
from core.sweeps import spots as spots_module
from core.sweeps import sweep as module
from core.sweeps.front import Spot, front
from core.sweeps.plan import Plan
from core.sweeps.spots import EXACT, Answer, Errand
from core.sweeps.sweep import TRIES, Sweep
from core.types import Interval, Quantity

PICTURES = plan_of("sparsity=0.5,0.8", "weight_bits=8,6,4")  # at 80 % fewer bits are better: two are off the front
TABLE = plan_of("weight_bits=32,8,4", "activation_bits=32,8")


@pytest.fixture
def faked(monkeypatch):
    monkeypatch.setattr(module, "answer", quick)


def tiny(small, plan: Plan = TINY, exact: bool = True) -> Sweep:
    return Sweep(*small, plan, exact)


def background(sweep: Sweep, hands) -> threading.Thread:
    thread = threading.Thread(target=sweep.run, args=(hands,), daemon=True)
    thread.start()
    return thread


def true_front(truth: dict) -> set:
    """Places that no other reaches at no more bytes; of points alike all."""

    def beats(a, b) -> bool:
        no_worse = a["packed"] <= b["packed"] and a["accuracy"] >= b["accuracy"]
        return no_worse and (a["packed"], a["accuracy"]) != (b["packed"], b["accuracy"])

    return {p for p, own in truth.items() if not any(beats(other, own) for other in truth.values())}


@pytest.fixture(scope="module")
def pictures_truth():
    RESULTS.clear()
    found = truth_of(*load_sample("fashion-small"), PICTURES)
    RESULTS.clear()
    return found


@pytest.fixture(scope="module")
def swept(pictures_truth):
    """A sweep of the pictures here: its points at first, then with everything measured, and the tasks of both."""
    RESULTS.clear()
    sweep, hands = Sweep(*load_sample("fashion-small"), PICTURES), Here()
    told = []
    sweep.run(hands, told.append)
    first, tasks = sweep.spots, list(hands.tasks)
    sweep.exact = True
    sweep.ready()
    sweep.run(hands)
    RESULTS.clear()
    return {"first": first, "tasks": tasks, "told": told, "all": sweep.spots, "more": hands.tasks[len(tasks) :]}


# What comes out


def test_a_small_set_is_exact_at_once(small):
    RESULTS.clear()
    hands, sweep = Here(), Sweep(*small, TABLE)
    sweep.run(hands)
    truth = truth_of(*small, TABLE)
    assert set(sweep.spots) == set(TABLE.recipes)
    for place, spot in sweep.spots.items():
        assert_exact(spot, truth[place])
        assert spot.recipe == TABLE.recipes[place]
    assert len(hands.tasks) == len(TABLE.recipes), "one task a point"
    standing = sweep.standing()
    assert (standing.state, standing.known, standing.exact, standing.fraction) == ("done", 6, 6, 1.0)
    timed = {place for place, spot in sweep.spots.items() if spot.latency is not None}
    assert timed == {place for place, spot in sweep.spots.items() if spot.kernel}
    assert (0, 0) in timed, "float has a kernel everywhere"


def test_every_point_is_looked_at_before_any_is_measured(swept):
    depths = [task.depth for task in swept["tasks"]]
    count = len(PICTURES.recipes)
    assert [task.place for task in swept["tasks"][:count]] == list(PICTURES.order())
    assert depths[:count] == [0] * count
    assert 0 not in depths[count:]


def test_the_true_front_is_measured(swept, pictures_truth):
    spots = swept["first"]
    assert set(spots) == set(PICTURES.recipes)
    members = true_front(pictures_truth)
    assert members == set(front(list(spots.values()), "accuracy").members)
    assert front(list(spots.values()), "accuracy").open == ()
    left = {place for place, spot in spots.items() if not spot.exact}
    assert left, "what cannot be on the front is left as an estimate"
    for place, spot in spots.items():
        if spot.exact:
            assert_exact(spot, pictures_truth[place])


def test_what_is_estimated_holds_the_exact_value(swept, pictures_truth):
    estimated = {p: s for p, s in swept["first"].items() if not s.exact}
    assert estimated
    for place, spot in estimated.items():
        assert {"accuracy", "flips", "macro_f1", "ece", "nll"} <= set(spot.values)
        assert (spot.packed, spot.file) == tuple(pictures_truth[place][size] for size in ("packed", "file"))
        for name, quantity in spot.values.items():
            assert quantity.how == "estimated"
            assert quantity.n < spot.total == 10_000
            assert quantity.interval.low <= pictures_truth[place][name] <= quantity.interval.high, (place, name)


def test_exact_measures_the_rest_and_only_the_rest(swept, pictures_truth):
    for place, spot in swept["all"].items():
        assert_exact(spot, pictures_truth[place])
    before = {place for place, spot in swept["first"].items() if spot.exact}
    assert {task.place for task in swept["more"]} == set(PICTURES.recipes) - before
    assert all(task.depth == EXACT for task in swept["more"])


def test_no_example_is_evaluated_twice(monkeypatch):
    model, data = load_sample("fashion-small")
    plan = plan_of("sparsity=0.31")
    RESULTS.clear()
    asked: list[int] = []
    real = spots_module.predictor
    evaluate(model, data, Recipe())

    def counted(proto):
        predict = real(proto)
        return lambda inputs: (asked.append(len(inputs)), predict(inputs))[1]

    monkeypatch.setattr(spots_module, "predictor", counted)
    monkeypatch.setattr(evaluate_module, "predictor", counted)
    hands = Here()
    Sweep(model, data, plan).run(hands)
    assert [task.depth for task in hands.tasks] == [0, EXACT]
    assert sum(asked) == 10_000
    RESULTS.clear()


def test_another_measure_asks_for_its_own_front(small, faked):
    sweep = tiny(small, exact=False)
    sweep.measure = "ece"  # no look tells it here: everything is measured
    sweep.run(Here())
    assert sweep.standing().exact == len(TINY.recipes)


def test_only_what_may_be_on_the_front_is_measured(small, monkeypatch):
    def told_apart(task: Errand) -> Answer:
        """The third is as small as the second and surely worse; the fourth too, but not surely."""
        found = quick(task)
        worse = {2: 0.5, 3: 0.05}.get(task.place[0], 0.0)
        q = found.spot.values["accuracy"]
        half = 0.1 if q.how == "estimated" else 0.0
        value = q.value - worse
        values = {"accuracy": Quantity(value, "fraction", q.how, Interval(value - half, value + half), q.n)}
        packed = 999 if task.place[0] in (2, 3) else found.spot.packed
        spot = Spot(task.place, task.recipe, values, 100, packed, 1_000)
        return Answer(spot, task.depth, None, "", 0.01)

    monkeypatch.setattr(module, "answer", told_apart)
    sweep = tiny(small, exact=False)
    sweep.run(Here())
    assert {place[0] for place, spot in sweep.spots.items() if not spot.exact} == {2}
    assert set(front(list(sweep.spots.values()), "accuracy").members) == {(0,), (1,), (4,), (5,)}


# Where it is computed


def test_through_processes_the_numbers_are_the_same(swept, pictures_truth):
    """Also after one of the processes was killed in the middle."""
    model, data = load_sample("fashion-small")
    with workers(2, "") as hands:
        first = Sweep(model, data, PICTURES)
        first.run(hands)
        for place, spot in first.spots.items():
            here = swept["first"][place] if not spot.exact else swept["all"][place]
            assert spot.packed == here.packed
            if spot.values["accuracy"].n == here.values["accuracy"].n:
                for name, quantity in spot.values.items():
                    assert quantity.value == pytest.approx(here.values[name].value, abs=1e-5)
                    assert quantity.interval.low == pytest.approx(here.values[name].interval.low, abs=1e-5)
        assert {p for p, s in first.spots.items() if s.exact} >= true_front(pictures_truth)

        killed: list[int] = []
        second = Sweep(model, data, PICTURES, exact=True)
        before = set(hands._executor._processes)

        def told(standing):
            if standing.known == 3 and not killed:
                killed.append(next(iter(hands._executor._processes)))
                os.kill(killed[0], signal.SIGKILL)

        second.run(hands, told)
        assert killed
        assert not before & set(hands._executor._processes), "new processes"
    assert set(second.spots) == set(PICTURES.recipes)
    for place, spot in second.spots.items():
        assert spot.error == ""
        assert_exact(spot, pictures_truth[place])
    assert second.standing().state == "done"


def test_a_number_of_workers_out_of_range_is_one_sentence():
    for count in (0, -1, 257):
        with pytest.raises(TemperError, match=f"from 1 to 256; got {count}"), workers(count):
            pass


def test_workers_of_a_program_that_ends_are_one_sentence(small, faked):
    with workers(1, "") as hands:
        hands._executor = ProcessPoolExecutor(1)
        hands._executor.shutdown()
        sweep = tiny(small)
        with pytest.raises(TemperError, match="The program is ending"):
            sweep.run(hands)
    assert sweep.standing().state == "failed"


def test_a_worker_waits_at_a_closed_gate_and_leaves_at_an_ended_one(monkeypatch):
    gate, passed = SharedGate(get_context("spawn")), []
    jobs_module.wait_at_gate()  # elsewhere it does nothing
    monkeypatch.setattr(jobs_module, "_passing", gate.flag)
    jobs_module.wait_at_gate()

    def works():
        try:
            jobs_module.wait_at_gate()
            passed.append("on")
        except jobs_module.Stopped:
            passed.append("left")

    for then, said in ((gate.open, "on"), (gate.end, "left")):
        gate.close()
        thread = threading.Thread(target=works, daemon=True)
        thread.start()
        thread.join(0.05)
        assert thread.is_alive()
        then()
        ended(thread)
        assert passed.pop() == said
    task = Errand("breast-cancer", "", "", (0,), TINY.recipes[0,], 0)
    with pytest.raises(jobs_module.Stopped):
        spots_module.answer(task)


# Faults


class Pool(Here):
    """A pool of one process, which ends, with all that was given to it, at every `deadly` task."""

    count = 2

    def __init__(self, deadly):
        super().__init__()
        self.deadly, self.broken, self.waiting = deadly, False, []
        self.lost: list[list[tuple[int, ...]]] = []
        self.changed = threading.Condition()
        self.process: threading.Thread | None = None

    def submit(self, call, *arguments):
        with self.changed:
            if self.broken:
                raise BrokenProcessPool
            self.tasks += arguments
            future: Future = Future()
            self.waiting.append((future, call, *arguments))
            self.changed.notify_all()
            if self.process is None:
                self.process = threading.Thread(target=self._work, daemon=True)
                self.process.start()
            return future

    def _work(self) -> None:
        while True:
            with self.changed:
                assert self.changed.wait_for(lambda: self.waiting, LONG)
                while self.changed.wait(0.02):
                    pass  # more comes
                if self.deadly(self.waiting[0][-1]):
                    self.broken = True
                    self.lost.append([task.place for *_, task in self.waiting])
                    for future, *_ in self.waiting:
                        future.set_exception(BrokenProcessPool())
                    return
                future, call, task = self.waiting.pop(0)
            future.set_result(call(task))

    def stop(self):
        super().stop()
        with self.changed:
            self.broken, self.process, self.waiting = False, None, []


@pytest.mark.parametrize("times", [1, 2])
def test_a_lost_worker_loses_no_point(small, faked, times):
    left = [times]

    def deadly(task):
        if task.place == (3,) and left[0]:
            left[0] -= 1
            return True
        return False

    sweep, hands = tiny(small), Pool(deadly)
    sweep.run(hands)
    assert all(spot.exact for spot in sweep.spots.values())
    assert len(sweep.spots) == 6
    assert hands.stops == len(hands.lost) == times
    assert max(map(len, hands.lost)) > 1, "others were lost with it"


@pytest.mark.parametrize("places", [{(3,)}, {(0,), (5,)}])
def test_a_point_that_ends_its_worker_fails_alone(small, faked, places):
    sweep, hands = tiny(small), Pool(lambda task: task.place in places)
    sweep.run(hands)
    spots = sweep.spots
    assert {place for place, spot in spots.items() if spot.error} == places
    for place in places:
        words = spots[place].error
        assert f"stopped {TRIES} times" in words
        assert words.endswith(".") and "\n" not in words
        assert sum(place in lost for lost in hands.lost) == TRIES
        assert sum(task.place == place for task in hands.tasks) == TRIES
    assert all(spot.exact for place, spot in spots.items() if place not in places)
    standing = sweep.standing()
    assert (standing.state, standing.known, standing.exact, standing.points) == ("done", 6, 6, 6)

    hands = Pool(lambda task: False)
    sweep.ready()
    sweep.run(hands)
    assert {task.place for task in hands.tasks} == places, "failed points are tried again, the others are known"
    assert all(spot.exact for spot in sweep.spots.values())


def test_workers_lost_while_nothing_is_under_way(small, faked):
    """While a person computes or the sweep is paused, a system short of memory ends an idle process."""

    class Idle(Here):
        def submit(self, call, *arguments):
            if self.stops == 0 and len(self.tasks) == 2:
                raise BrokenExecutor
            return super().submit(call, *arguments)

    sweep, hands = tiny(small), Idle()
    sweep.run(hands)
    assert hands.stops == 1
    assert all(spot.exact for spot in sweep.spots.values())
    assert len(sweep.spots) == 6
    assert len(hands.tasks) == 12, "nothing was done twice"


def test_processes_that_never_start_end_the_sweep(small, faked):
    hands = Pool(lambda task: True)
    sweep = tiny(small, plan_of("sparsity=0:0.9:0.01"))
    with pytest.raises(TemperError, match="stop as they start"):
        sweep.run(hands)
    assert sweep.standing().state == "failed"
    assert "enough memory" in sweep.standing().note
    assert hands.stops < 20, "it does not try every point"


def test_a_dask_worker_that_is_killed_is_tried_again(small, monkeypatch):
    class KilledWorker(Exception):  # noqa: N818  (Dask's own name)
        pass

    tries, once = [], set()

    def killed(task: Errand) -> Answer:
        tries.append(task.place)
        if task.place == (2,) or (task.place == (4,) and 4 not in once and not once.add(4)):
            raise KilledWorker
        return quick(task)

    monkeypatch.setattr(module, "answer", killed)
    sweep = tiny(small)
    sweep.run(Here())
    assert tries.count((2,)) == TRIES
    assert tries.count((4,)) == 3, "killed, looked at, measured"
    assert {place for place, spot in sweep.spots.items() if spot.error} == {(2,)}
    assert sum(spot.exact for spot in sweep.spots.values()) == 5


@pytest.mark.parametrize(
    ("sample", "plan"), [("breast-cancer", TINY), ("fashion-small", plan_of("sparsity=0.3,0.2"))]
)
def test_a_model_without_finite_numbers_is_one_point_only(sample, plan, monkeypatch):
    model, data = load_sample(sample)
    real, broken = spots_module.transform, plan.recipes[1,]

    def transformed(model, data, recipe, progress=None):
        network, fitted = real(model, data, recipe)
        if recipe != broken:
            return network, fitted
        tensors = {name: network.tensors[name] * np.nan for name in network.weight_names}
        return network.with_tensors(tensors).after("not a number"), fitted

    monkeypatch.setattr(spots_module, "transform", transformed)
    monkeypatch.setattr(evaluate_module, "transform", transformed)
    sweep = Sweep(model, data, plan)
    sweep.run(Here())
    assert sweep.spots[1,].error == "The model's outputs are not finite numbers on this data."
    assert not sweep.spots[1,].known
    assert all(spot.known for place, spot in sweep.spots.items() if place != (1,))
    assert sweep.standing().state == "done"


def test_a_recipe_that_cannot_run_is_one_point_only(small, monkeypatch):
    real = spots_module.transform

    def refuses(model, data, recipe):
        if recipe == TINY.recipes[2,]:
            raise TemperError("This recipe cannot run.", "Try another.")
        return real(model, data, recipe)

    monkeypatch.setattr(spots_module, "transform", refuses)
    sweep = Sweep(*small, TINY)
    sweep.run(Here())
    assert sweep.spots[2,].error == "This recipe cannot run."
    assert sum(spot.exact for spot in sweep.spots.values()) == 5


def test_a_worker_with_another_model_refuses(small):
    model, data = small
    task = Errand(model.id, "another", data.fingerprint, (0,), TINY.recipes[0,], 0)
    assert "differs from the one" in spots_module.answer(task).spot.error


def test_a_fault_of_the_sweep_itself_says_so(small, faked):
    class Refusing(Here):
        def submit(self, call, *arguments):
            raise OSError("no more processes")

    sweep = tiny(small)
    with pytest.raises(OSError):
        sweep.run(Refusing())
    assert (sweep.standing().state, sweep.standing().note) == ("failed", "The sweep stopped on a fault.")
    sweep.ready()
    sweep.run(Here())
    assert (sweep.standing().state, sweep.standing().note) == ("done", "")


def test_a_fault_of_ours_is_one_sentence_and_the_others_go_on(small, monkeypatch):
    def faulty(task: Errand) -> Answer:
        if task.place == (1,):
            raise ZeroDivisionError("secret")
        if task.place == (2,):
            raise MemoryError
        return quick(task)

    monkeypatch.setattr(module, "answer", faulty)
    sweep = tiny(small)
    sweep.run(Here())
    spots = sweep.spots
    assert spots[1,].error == "This point met a fault (ZeroDivisionError)."
    assert spots[2,].error == "There was too little memory for this point."
    assert [p for p, s in spots.items() if s.exact] and sum(s.exact for s in spots.values()) == 4
    assert sweep.standing().state == "done"
    assert (sweep.standing().known, sweep.standing().exact) == (6, 6)


# Pause, resume, cancel


def test_progress_counts_right_and_reaches_the_end(small, faked):
    told, sweep = [], tiny(small)
    assert (sweep.standing().state, sweep.standing().fraction) == ("ready", 0.0)
    sweep.run(Here(), told.append)
    assert [standing.points for standing in told] == [6] * len(told)
    for name in ("known", "exact", "fraction"):
        values = [getattr(standing, name) for standing in told]
        assert values == sorted(values)
    assert (told[0].state, told[-1].state, told[-1].fraction) == ("running", "done", 1.0)
    assert (told[-1].known, told[-1].exact) == (6, 6)
    assert all(standing.exact <= standing.known <= 6 and 0 < standing.fraction <= 1 for standing in told)
    assert told[-1].seconds_left is None
    running = [standing.seconds_left for standing in told if standing.state == "running"]
    assert all(left is not None and left >= 0 for left in running)


def test_progress_of_a_real_sweep(swept):
    told = swept["told"]
    exact = sum(spot.exact for spot in swept["first"].values())
    assert (told[-1].state, told[-1].known, told[-1].exact, told[-1].fraction) == ("done", 6, exact, 1.0)
    assert [standing.known for standing in told] == sorted(standing.known for standing in told)


def test_pause_starts_nothing_more_and_keeps_what_was_under_way(small, faked):
    sweep, hands = tiny(small), ByHand()
    thread = background(sweep, hands)
    hands.until(4)
    sweep.pause()
    assert sweep.standing().state == "paused"
    assert sweep.alive
    hands.finish(2)
    until(lambda: sweep.standing().known == 2)
    hands.finish()
    until(lambda: sweep.standing().known == 4)
    assert len(hands.tasks) == 4
    assert thread.is_alive()
    sweep.resume()
    assert sweep.standing().state == "running"
    hands.until(1)
    finish_all(hands, thread)
    assert sweep.standing().state == "done"
    assert all(spot.exact for spot in sweep.spots.values())


def test_pausing_at_any_moment_ends_well(small, faked):
    """Neither a lost wake-up nor a sweep that takes itself for done."""
    for _ in range(20):
        sweep = tiny(small, plan_of("sparsity=0:0.9:0.02"))
        thread = background(sweep, Here())
        while thread.is_alive():
            sweep.pause()
            sweep.resume()
        assert sweep.standing().state == "done"
        assert all(spot.exact for spot in sweep.spots.values())
        assert len(sweep.spots) == 46


def test_cancel_starts_nothing_more_and_keeps_what_was_known(small, faked):
    sweep, hands = tiny(small), ByHand()
    thread = background(sweep, hands)
    hands.until(4)
    hands.finish(2)
    until(lambda: sweep.standing().known == 2)
    kept = set(sweep.spots)
    hands.until(4)
    started = len(hands.tasks)
    sweep.cancel()
    ended(thread)
    assert sweep.standing().state == "cancelled"
    assert not sweep.alive
    assert set(sweep.spots) == kept
    assert len(hands.tasks) == started
    assert all(future.cancelled() for future, _ in hands.waiting)

    sweep.run(again := Here())
    assert again.tasks == [], "a cancelled sweep waits for 'ready'"
    sweep.ready()
    sweep.run(again)
    assert sweep.standing().state == "done"
    assert len(sweep.spots) == 6
    places = [task.place for task in again.tasks if task.depth == 0]
    assert sorted(places) == sorted(set(TINY.recipes) - kept), "what was known is not looked at again"


def test_cancel_ends_a_paused_sweep(small, faked):
    sweep, hands = tiny(small), ByHand()
    sweep.pause()
    thread = background(sweep, hands)
    until(lambda: sweep.standing().state == "paused")
    assert hands.tasks == []
    sweep.cancel()
    ended(thread)
    assert sweep.standing().state == "cancelled"
    assert hands.tasks == []


def test_cancel_of_what_ended_changes_nothing(small, faked):
    sweep = tiny(small)
    sweep.run(Here())
    sweep.cancel()
    assert sweep.standing().state == "done"
