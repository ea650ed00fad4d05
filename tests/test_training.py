"""The training loop, what it keeps, and trainings in a worker process: stopped, killed, gone on with, damaged."""

from __future__ import annotations

import json
import math
import os
import signal
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import prune, quantize, recipe
from learning import forgetful, same, trained, training

from core.damage.around import around
from core.damage.neighbourhood import neighbourhood
from core.data import handle
from core.engine.memory import RESULTS
from core.engine.transform import transform
from core.errors import TemperError
from core.jobs.idle import neighbours
from core.jobs.workers import workers
from core.layers.course import course
from core.sweeps.plan import Plan as Grid
from core.sweeps.plan import axis_from_text
from core.sweeps.sweep import Sweep
from core.training import kept, pace
from core.training import training as trainings
from core.training.examples import examples
from core.training.permit import Permit, StoppedEarly, Untrained, permitted
from core.training.plan import CHECKS, Plan
from core.training.training import Training, training_of

pytestmark = pytest.mark.usefixtures("one_core")

STEPS = (prune(0.6), quantize(4, 8))
LONG = training("recover", epochs=10.0, augment="light")  # 40 steps, 20 looks


def after(looks: int):
    """A permit whose training is asked to leave at a look, and what it saw."""
    seen: list = []
    return Permit(looked=seen.append, leave=lambda: len(seen) > looks), seen


def test_rates_follow_their_schedules():
    for schedule, half, last in (("cosine", 0.5, 0.0), ("linear", 0.5, 0.0), ("constant", 1.0, 1.0)):
        plan = Plan(10.0, 10, 0.2, schedule=schedule)
        rates = [plan.rate_at(step, 1_000) for step in range(1_000)]
        assert rates[:50] == pytest.approx([0.2 * (step + 1) / 50 for step in range(50)])
        assert rates[50 + 475] == pytest.approx(0.2 * half) and rates[999] == pytest.approx(0.2 * last, abs=1e-3)
        assert max(rates) == pytest.approx(0.2)
        assert Plan(1.0, 10, 0.2, schedule=schedule).rate_at(0, 10) == 0.2, "a single step learns"


def test_a_training_stops_at_twentieths():
    plan = Plan(10.0, 10, 0.2)
    assert plan.checks(1_000) == [50 * part for part in range(1, CHECKS + 1)]
    assert replace(plan, until=0.35).checks(1_000) == plan.checks(1_000)[:7]
    assert Plan(0.01, 10, 0.2).checks(30) == [1]


def test_looks_are_fewer_where_they_would_cost_much():
    picture, row, count = 11_000_000, 3_000, 12_000
    assert [Plan(epochs, 64, 0.1).stride(count, 1_000, picture) for epochs in (1, 4, 12)] == [4, 2, 1]
    assert Plan(1.0, 64, 0.1).stride(count, 1_000, row) == 1
    assert Plan(1.0, 64, 0.1, keep="best").stride(count, 1_000, picture) == 1  # each look is a candidate


def test_looks_left_out_change_nothing_but_the_curve(pair, home, monkeypatch, tmp_path):
    usual = trained(pair, *STEPS, LONG)
    monkeypatch.setattr(Plan, "stride", lambda *_: 5)
    permit, looks = after(99)
    with forgetful(monkeypatch, tmp_path / "fewer"):
        assert same(usual, trained(pair, *STEPS, LONG, permit=permit))
    assert len(looks) == 1 + CHECKS / 5 and looks[-1].epoch == LONG.values["epochs"]


def test_stopped_and_named_in_a_recipe_is_the_same_network(pair, home, monkeypatch, tmp_path):
    permit, looks = after(7)
    with pytest.raises(StoppedEarly) as found:
        trained(pair, *STEPS, LONG, permit=permit)
    assert found.value.until == pytest.approx(0.35) and looks[-1].step == 14
    named = LONG.with_values({"until": found.value.until})
    stopped = transform(*pair, recipe(*STEPS, named))[0]  # kept: nobody needs leave to train
    with forgetful(monkeypatch, tmp_path / "elsewhere"):
        assert same(stopped, trained(pair, *STEPS, named))


@pytest.mark.parametrize("keep", ["last", "best"])
@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_killed_and_gone_on_with_is_as_if_nothing_happened(keep, optimiser, pair, home, monkeypatch, tmp_path):
    step = LONG.with_values({"keep": keep, "optimiser": optimiser})
    with forgetful(monkeypatch, tmp_path / "unbroken"):
        whole = trained(pair, *STEPS, step)
    told: list = []

    def killed(fraction: float) -> None:
        told.append(fraction)
        if fraction > 0.6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(pair, *STEPS, step, permit=Permit(told=killed))
    again: list = []
    found = trained(pair, *STEPS, step, permit=Permit(told=again.append))
    assert same(found, whole)
    assert again[0] == pytest.approx(0.6, abs=0.04), "it went on from the last look, and did not begin anew"
    assert not (list(home.rglob("state.*"))), "where it stood is dropped at the end"


def test_a_stopped_training_can_go_on_to_its_end(pair, home, monkeypatch, tmp_path):
    with forgetful(monkeypatch, tmp_path / "unbroken"):
        whole = trained(pair, *STEPS, LONG)
    permit, _ = after(5)
    with pytest.raises(StoppedEarly):
        trained(pair, *STEPS, LONG, permit=permit)
    again: list = []
    assert same(trained(pair, *STEPS, LONG, permit=Permit(told=again.append)), whole)
    assert again[0] > 0.25


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_look(pair, home, monkeypatch):
    from core.trainers import fine_tune as module

    honest, calls = module.of_labels, [0]

    def breaking(data, values):
        inner = honest(data, values)

        def loss(outputs, y, x):
            calls[0] += torch.is_grad_enabled()
            return inner(outputs, y, x) * (math.nan if calls[0] > 13 else 1.0)

        return loss

    monkeypatch.setattr(module, "of_labels", breaking)
    step = training("fine-tune", epochs=10.0)
    with pytest.raises(StoppedEarly) as stopped:
        trained(pair, step)
    assert stopped.value.until == 0.3
    network, reports = transform(*pair, recipe(step.with_values({"until": 0.3})))
    assert reports[-1]["warning"] == stopped.value.note
    assert "no number any more at step 14, at a rate of 0.00" in reports[-1]["warning"]
    assert "after step 12 is kept" in reports[-1]["warning"] and reports[-1]["steps"] == 12
    assert all(torch.isfinite(tensor).all() for tensor in network.tensors.values())

    calls[0] = 13
    with pytest.raises(TemperError, match=r"at step 1, .* nothing was learned"):
        trained(pair, step, seed=1)


def test_a_rate_far_too_high_says_so_by_itself(pair, home):
    with permitted():
        try:
            network, _ = transform(*pair, recipe(training("fine-tune", optimiser="sgd", rate=0.3, epochs=20.0)))
        except TemperError as error:
            assert "Take a rate" in error.hint or "lower rate" in error.hint
        else:
            assert all(torch.isfinite(tensor).all() for tensor in network.tensors.values())


def test_one_example_and_a_class_that_is_missing(pair, home, monkeypatch):
    honest = handle._read

    def only(rows):
        def read(data, split):
            found = honest(data, split)
            kept_ = rows(found.y) if split == "fit" else slice(None)
            return replace(found, x=found.x[kept_], inputs=found.inputs[kept_], y=found.y[kept_])

        return read

    monkeypatch.setattr(handle, "_read", only(lambda y: slice(1)))
    with pytest.raises(TemperError, match="two examples at least; the fit split of 'breast-cancer' has 1"):
        trained(pair, training("fine-tune"), seed=1)
    monkeypatch.setattr(handle, "_read", only(lambda y: np.flatnonzero(y == y[0])))
    network = trained(pair, training("fine-tune"), seed=2)
    assert all(torch.isfinite(tensor).all() for tensor in network.tensors.values())


def test_held_back_examples_are_apart(pair):
    given = examples(pair[1], 0, hold=True)
    rows = {row.numpy().tobytes() for row in given.x}
    assert given.apart and not rows & {row.numpy().tobytes() for row in given.held_x}
    assert len(given.y) + len(given.held_y) == pair[1].split("fit").n
    assert len(examples(pair[1], 0, False, 50).y) == 50


def test_a_full_disk_is_one_sentence_and_loses_nothing(pair, home, monkeypatch):
    honest, writes = kept.write, [0]

    def full(folder, name, tensors, facts):
        writes[0] += 1
        if writes[0] > 4:
            monkeypatch.setattr("pathlib.Path.write_bytes", no_room)
        return honest(folder, name, tensors, facts)

    def no_room(self, data):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as inside:
        inside.setattr(kept, "write", full)
        with pytest.raises(TemperError, match=r"cannot be kept in .*: No space left on device"):
            trained(pair, *STEPS, LONG)
    monkeypatch.undo()
    monkeypatch.setenv("TEMPER_HOME", str(home))
    monkeypatch.setenv("TEMPER_THREADS", "1")
    again: list = []
    trained(pair, *STEPS, LONG, permit=Permit(told=again.append))
    assert again[0] == pytest.approx(9 / 40), "what was kept before the disk was full counts"
    assert not list(home.rglob(".*"))


@pytest.mark.parametrize("name", ["trained.json", "trained.safetensors"])
@pytest.mark.parametrize("content", [b"", b"{}", b"\x00" * 40])
def test_what_is_damaged_is_made_again(name, content, pair, home):
    step = training("fine-tune", epochs=1.0)
    whole = trained(pair, step)
    (place,) = (home / "trained").iterdir()
    (place / name).write_bytes(content)
    RESULTS.clear()
    with pytest.raises(Untrained):
        transform(*pair, recipe(step))
    assert same(trained(pair, step), whole)


def test_a_damaged_state_begins_anew(pair, home, monkeypatch):
    permit, _ = after(5)
    with pytest.raises(StoppedEarly):
        trained(pair, *STEPS, LONG, permit=permit)
    for path in home.rglob("state.json"):
        facts = json.loads(path.read_text())
        path.write_text(json.dumps({key: value for key, value in facts.items() if key != "looks"}))
    again: list = []
    trained(pair, *STEPS, LONG, permit=Permit(told=again.append))
    assert again[0] == pytest.approx(1 / 40)


def test_the_key_names_all_that_decides(pair, home):
    trained(pair, training("fine-tune", epochs=1.0))
    for other in (training("fine-tune", epochs=1.5), training("fine-tune", epochs=1.0, rate=3e-3)):
        with pytest.raises(Untrained):
            transform(*pair, recipe(other))
    for given in (
        recipe(training("fine-tune", epochs=1.0), seed=1),
        recipe(prune(0.1), training("fine-tune", epochs=1.0)),
    ):
        with pytest.raises(Untrained):
            transform(*pair, given)
    RESULTS.clear()
    transform(*pair, recipe(training("fine-tune", epochs=1.0)))


def waited(job: Training) -> threading.Thread:
    """Run a training as a page does, in a thread with a worker of its own."""

    def work() -> None:
        with workers(1) as hands:
            job.run(hands)

    job.ready()
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def until(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.02)


def test_in_a_worker_left_cancelled_killed_and_gone_on_with(pair, home, monkeypatch, tmp_path):
    """One long training, as a person would have it: begun, cancelled, its worker killed, left with what it has."""
    step = training("fine-tune", epochs=500.0, batch=8, rate=1e-3)  # 16,000 steps
    job = training_of(*pair, recipe(prune(0.5), step))
    assert job.standing().state == "ready" and not job.begun
    thread = waited(job)
    until(lambda: len(job.standing().looks) > 1)
    assert job.standing().fraction > 0
    job.cancel()
    thread.join(30)
    assert job.standing().state == "cancelled" and job.begun and job.result is None
    before = len(job.standing().looks)

    thread = waited(job)
    from multiprocessing import active_children

    until(lambda: len(job.standing().looks) > before)
    for child in active_children():
        os.kill(child.pid, signal.SIGKILL)
    until(lambda: len(job.standing().looks) > before + 1 or job.standing().state != "running")
    job.leave()
    thread.join(60)
    found = job.standing()
    assert found.state == "done" and found.recipe is not None
    share = found.recipe.only("train").steps[0].values["until"]
    assert 0 < share < 1
    network = transform(*pair, found.recipe)[0]
    assert not network.tensors[network.layers[0].weight][~network.masks[network.layers[0].weight]].any()
    fresh = Training(*pair, recipe(prune(0.5), step))  # another process would see it so
    assert fresh.standing().state == "done" and fresh.result == found.recipe
    assert [one.key for one in trainings.trainings(*pair)] == [job.key]
    assert job.reopen() and job.standing().state == "ready" and not job.reopen()


def test_seconds_become_epochs(pair, home):
    with workers(1) as hands:
        job = Training(*pair, recipe(training("fine-tune", batch=8)), seconds=1.0)
        job.ready()
        job.run(hands)
    done = job.standing()
    assert done.recipe is not None and done.recipe.only("train").steps[0].values["epochs"] != 2.0
    assert done.looks[-1].epoch == pytest.approx(done.recipe.only("train").steps[0].values["epochs"], rel=0.05)


def test_what_else_the_machine_does_counts_in_the_pace(pair, home, monkeypatch):
    """Of ten steps nine take a thousandth of a second, and one waits until the mean is a hundredth."""
    now, reads = 0.0, 0

    def clock() -> float:
        nonlocal now, reads
        reads += 1
        now += 0.001 if reads % 10 else 0.091
        return now

    monkeypatch.setattr(pace, "time", SimpleNamespace(perf_counter=clock))
    with pytest.raises(pace.Paced) as found:
        trained(pair, training("fine-tune", batch=8), permit=Permit(seconds=100.0))
    batches = len(examples(pair[1], 0, False, None).y) // 8
    assert found.value.epochs == pytest.approx(100 / (0.01 * batches), rel=0.2)


def test_nothing_around_a_recipe_trains(pair, home):
    """A grid, the steps one by one, the neighbours: what was not trained says so in a sentence."""
    model, data = pair
    given = recipe(prune(0.6), training("fine-tune", epochs=1.0))
    trained(pair, *given.steps)
    plan = Grid(given, (axis_from_text(given, "sparsity=0.5,0.6"),))
    sweep = Sweep(model, data, plan, exact=True)
    with workers(1) as hands:
        sweep.run(hands)
    said = {spot.recipe.steps[0].values["sparsity"]: spot.error for spot in sweep.spots.values()}
    assert not said[0.6] and "was not run on this machine" in said[0.5]

    turned = course(model, data, recipe(prune(0.6), *given.steps[1:], quantize(4, 8)))
    assert len(turned.stages) == 4 and turned.turned is not None
    assert turned.turned.stage is None and "was not run on this machine" in turned.turned.why

    assert len(neighbours(given)) > 0
    near = around(model, data, neighbourhood(given, (recipe(prune(0.3)),)))
    near.compute(lambda _: None)
    assert near.found is not None and near.left_out and all("was not run" in one for one in near.left_out)
