"""Searches: budgets are kept, seeds repeat, nothing is lost, and the evaluation set never chooses."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from concurrent.futures import BrokenExecutor
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT
from searching import GOAL, TRIALS, found, made, ran, recipes, search_on
from sweeping import LONG, ByHand, Here, finish_all

from core import fingerprint
from core.data.handle import load_split, split_for_fitting
from core.engine.evaluate import evaluate
from core.engine.memory import RESULTS
from core.errors import TemperError
from core.models.samples import load_sample
from core.search import attempt as attempt_module
from core.search.budgets import goal_of, original_bytes
from core.search.goal import Goal
from core.search.rehearse import rehearsal
from core.search.search import Search, search_of
from core.search.search_table import search_table
from core.search.space import Space
from core.sweeps.front import gain

ALL = 13  # trials: ten of them random, the last ones learned from those


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A search in one go: what every interrupted one has to come to."""
    return ran(search_on(tmp_path_factory.mktemp("whole") / "s.journal", ALL))


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    """Only the journals that a test names, and no waiting for the disk."""
    monkeypatch.setenv("TEMPER_HOME", "")
    monkeypatch.setattr("os.fsync", lambda _: None)


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "s.journal"


@pytest.mark.parametrize("sample", ["breast-cancer", "diamonds", "spam-mail"])
def test_recipes_are_chosen_on_halves_of_the_calibration_split(sample):
    _, data = load_sample(sample)
    stand_in, calibration = rehearsal(data), load_split(data, "calibration")
    fits, chooses = split_for_fitting(stand_in), load_split(stand_in, "evaluation")
    assert data.split("evaluation").path not in {split.path for split in stand_in.splits}
    assert (len(fits.y), len(chooses.y)) == tuple(split.n for split in stand_in.splits)
    both = np.concatenate([fits.y, chooses.y])
    assert sorted(both.tolist()) == sorted(calibration.y.tolist())
    rows = [fingerprint.of_bytes(np.ascontiguousarray(row).tobytes()) for row in calibration.inputs]
    halves = [
        fingerprint.of_bytes(np.ascontiguousarray(row).tobytes()) for part in (fits, chooses) for row in part.inputs
    ]
    assert sorted(rows) == sorted(halves)
    if data.task.decides:
        each = [np.bincount(part.y, minlength=len(data.classes)) for part in (fits, chooses)]
        assert abs(each[0] - each[1]).max() <= 1
    assert stand_in.fingerprint != data.fingerprint
    with pytest.raises(TemperError, match="only judges"):
        split_for_fitting(stand_in, "evaluation")


def test_too_few_examples_are_refused(small):
    model, data = small
    few = tuple(replace(split, n=12) if split.name == "calibration" else split for split in data.splits)
    with pytest.raises(TemperError, match="12 examples there and 40 are needed"):
        search_on(None, pair=(model, replace(data, splits=few)), goal=Goal("accuracy", 1_000))


def test_a_trial_is_what_evaluation_of_the_stand_in_says(whole, small):
    model, data = small
    one = next(t for t in whole.tried if t.lost)
    result = evaluate(model, rehearsal(data), one.spot.recipe)
    lost = result.original.correct.mean() - result.tempered.correct.mean()
    assert one.lost == pytest.approx(lost, abs=1e-12)
    assert one.spot.packed == result.bytes.packed
    moved = result.original.correct.astype(float) - result.tempered.correct
    assert one.spread == pytest.approx(moved.std() / np.sqrt(len(moved)), rel=0.25)  # the bootstrap's 1,000 draws


def test_budgets_are_kept(whole):
    goal, best = whole.goal, whole.best
    inside = [t for t in whole.tried if goal.keeps(t)]
    assert best in inside and 0 < len(inside) < len(whole.tried)
    assert all(t.spot.packed <= goal.most_bytes and t.lost + t.spread <= goal.most_lost for t in inside)
    assert all(t.spot.packed > goal.most_bytes or t.lost + t.spread > goal.most_lost
               for t in whole.tried if t not in inside)  # fmt: skip
    assert best.spot.packed == min(t.spot.packed for t in inside)
    places = {t.spot.place for t in inside}
    assert set(whole.front.members) <= places
    assert all(goal.keeps(one) for one in whole.chosen)


def test_what_chose_is_judged_once_on_evaluation(whole, small):
    model, data = small
    assert set(whole.judged) == {t.spot.recipe.fingerprint for t in whole.chosen}
    verdict = whole.judged[whole.best.spot.recipe.fingerprint]
    result = evaluate(model, data, whole.best.spot.recipe)
    assert verdict.spot.values["accuracy"].value == result.tempered.correct.mean()
    assert verdict.spot.total == data.split("evaluation").n
    hands = Here()
    again = Search(model, data, whole.space, whole.goal, ALL, path=whole._trials.path)
    again.run(hands)
    assert not hands.tasks and again.judged.keys() == whole.judged.keys()


def test_where_nothing_keeps_the_budgets_the_nearest_is_judged():
    search = ran(search_on(None, 5, goal=Goal("accuracy", 10, 0.0)))
    assert search.best is None and len(search.judged) == 1
    assert search.chosen[0] is search.goal.nearest(search.tried)


def test_the_same_seed_tries_the_same_recipes(whole):
    assert found(ran(search_on(None, 7))) == found(whole)[:7]
    assert recipes(ran(search_on(None, 9, seed=1)))[-4:] != recipes(whole)[5:9]


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_a_search_that_was_stopped_goes_on_as_if_it_had_not_been(journal, sampler):
    straight = ran(search_on(None, 13, sampler=sampler))
    for trials in (3, 12, 13):
        last = ran(search_on(journal, trials, sampler=sampler))
        assert len(last.tried) == trials
    assert found(last) == found(straight)


def test_a_killed_process_loses_only_the_trial_it_was_at(journal, whole):
    script = (
        "import os, signal, sys\nsys.path[:0] = ['tests', '.']\nimport pathlib\n"
        "from searching import search_on, ran\nfrom core.search import search as module\n"
        "old = module.attempt\n"
        "def attempt(task):\n"
        "    if task.index == 5:\n        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return old(task)\n"
        "module.attempt = attempt\n"
        f"ran(search_on(pathlib.Path({str(journal)!r}), {ALL}))\n"
    )
    died = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, timeout=LONG)
    assert died.returncode == -signal.SIGKILL, died.stderr[-500:]
    with journal.open("ab") as file:
        file.write(b'{"op_code": 6, "wor')  # and a line that was never finished
    before = search_on(journal, ALL)
    assert len(before.tried) == 5 and not before.standing().note
    assert found(ran(before)) == found(whole)


@pytest.mark.parametrize("how", ["a line is no JSON", "a value was changed", "a line is gone"])
def test_a_damaged_journal_is_set_aside(journal, how):
    ran(search_on(journal, 4))
    other = journal.with_name("other.journal")
    ran(search_on(other, 2, seed=3))
    lines = journal.read_bytes().splitlines(keepends=True)
    if how == "a line is no JSON":
        lines[len(lines) // 2] = b"\x00\xff{{{\n"
    elif how == "a line is gone":
        del lines[next(i for i, line in enumerate(lines) if b"weight_bits" in line)]
    else:
        place = next(i for i, line in enumerate(lines) if b'"values":[' in line and b"null" not in line)
        told = json.loads(lines[place])
        told["values"][0] = 0.999
        lines[place] = json.dumps(told).encode() + b"\n"
    journal.write_bytes(b"".join(lines))
    search = search_on(journal, 4)
    assert not search.tried and "damaged" in search.standing().note
    ran(search)
    assert len(search.tried) == 4 and "set aside as s.journal.damaged-1" in search.standing().note
    assert journal.with_name("s.journal.damaged-1").read_bytes() == b"".join(lines)
    assert len(search_on(other, 2, seed=3).tried) == 2
    assert len(search_on(journal, 4).tried) == 4


def test_a_full_disk_costs_nothing_but_the_memory(journal, whole, monkeypatch):
    from optuna.storages.journal import JournalFileBackend

    ran(search_on(journal, 3))
    written, old = [0], JournalFileBackend.append_logs

    def full(self, logs):
        written[0] += 1
        if written[0] > 30:
            raise OSError(28, "No space left on device")
        old(self, logs)

    monkeypatch.setattr(JournalFileBackend, "append_logs", full)
    search = ran(search_on(journal, ALL))
    assert "no room" in search.standing().note and search.standing().state == "done"
    assert found(search) == found(whole)
    assert search.judged.keys() >= whole.judged.keys()  # and what was the front after three trials
    monkeypatch.undo()
    assert found(search_on(journal, ALL)) == found(whole)[: len(search_on(journal, ALL).tried)]


def test_only_one_process_writes_a_journal(journal):
    first, second = search_on(journal, 2), search_on(journal, 2)
    first._trials.begin()
    with pytest.raises(TemperError, match="Another Temper is at this very search"):
        second.run(Here())
    assert second.standing().state == "failed"
    first._trials.end()
    second.ready()
    assert len(ran(second).tried) == 2


def poisoned(data, folder):
    """The same data with evaluation labels that say the opposite."""
    loaded = load_split(data, "evaluation")
    path = folder / "evaluation.npz"
    np.savez(path, x=loaded.x, y=1 - loaded.y)
    wrong = replace(data.split("evaluation"), path=path, fingerprint=fingerprint.of_file(path))
    return replace(data, splits=tuple(wrong if s.name == "evaluation" else s for s in data.splits))


@pytest.mark.parametrize("how", ["wrong labels", "no file"])
def test_the_evaluation_split_never_chooses(whole, small, tmp_path, monkeypatch, how):
    model, data = small
    if how == "wrong labels":
        other = poisoned(data, tmp_path)
    else:
        gone = replace(data.split("evaluation"), path=tmp_path / "gone.npz", fingerprint="0" * 40)
        other = replace(data, splits=tuple(gone if s.name == "evaluation" else s for s in data.splits))
    RESULTS.clear()
    monkeypatch.setattr(attempt_module, "handles", lambda _: (model, other))
    search = ran(search_on(None, ALL, pair=(model, other), goal=whole.goal))
    assert found(search) == found(whole)
    assert [t.spot.recipe for t in search.chosen] == [t.spot.recipe for t in whole.chosen]
    verdict = search.judged[search.best.spot.recipe.fingerprint]
    if how == "wrong labels":
        honest = whole.judged[whole.best.spot.recipe.fingerprint].spot.values["accuracy"].value
        assert verdict.spot.values["accuracy"].value == pytest.approx(1 - honest)
    else:
        assert "gone.npz" in verdict.spot.error
        assert not search.goal.holds(verdict)


def test_pause_resume_and_cancel(journal):
    search, hands = search_on(journal, 6), ByHand()
    thread = threading.Thread(target=search.run, args=(hands,), daemon=True)
    thread.start()
    hands.until(1)
    search.pause()
    assert search.standing().state == "paused"
    hands.finish()
    while not search.tried:
        thread.join(0.01)
    thread.join(0.1)
    assert thread.is_alive() and not hands.waiting  # nothing was started meanwhile
    search.resume()
    hands.until(1)
    search.cancel()
    thread.join(LONG)
    assert not thread.is_alive() and hands.stops == 1
    assert search.standing().state == "cancelled" and len(search.tried) == 1
    search.ready()
    thread = threading.Thread(target=search.run, args=(hands,), daemon=True)
    thread.start()
    finish_all(hands, thread)
    assert search.standing().state == "done" and found(search) == found(ran(search_on(None, 6)))


def test_a_worker_that_dies_costs_one_trial():
    class Dying(Here):
        def submit(self, call, *arguments):
            if arguments[0].index == 2:
                raise BrokenExecutor
            return super().submit(call, *arguments)

    hands = Dying()
    search = search_on(None, 5)
    search.run(hands)
    assert "too little memory" in search.tried[2].spot.error and hands.stops == 3
    assert [bool(t.spot.error) for t in search.tried] == [False, False, True, False, False]
    assert search_table(search.goal, search.tried, search.judged)["error"].astype(bool).sum() == 1


def test_a_trial_gives_way_between_chunks(small, monkeypatch):
    passed = []
    monkeypatch.setattr(attempt_module, "wait_at_gate", lambda: passed.append("gate"))
    monkeypatch.setattr(attempt_module, "rest", lambda: passed.append("rest"))
    RESULTS.clear()
    ran(search_on(None, 1))
    assert passed.count("gate") > passed.count("rest") > 0


def test_time_ends_a_search(monkeypatch):
    from core.search import search as module

    clock = iter(range(10_000))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    search = ran(search_on(None, 50, seconds=20.0))
    assert 0 < len(search.tried) < 50 and search.standing().state == "done"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"trials": 0}, "1 to 5,000 trials"),
        ({"seconds": 0.0}, "time of a search"),
        ({"seconds": float("nan")}, "time"),
    ],
)
def test_limits_are_checked(given, words):
    with pytest.raises(TemperError, match=words):
        search_on(None, **{"trials": 3, **given})


def test_goals_are_checked(small):
    for given in ({"most_bytes": 0}, {"most_lost": -1.0}, {"limit": float("nan")}, {"most_ms": 1.0}, {"device": "x"}):
        with pytest.raises(TemperError):
            Goal("accuracy", **given)
    with pytest.raises(TemperError, match="No device"):
        goal_of(*small, most_ms=1.0, on="toaster")
    with pytest.raises(TemperError, match="0 to 100"):
        goal_of(*small, limit=930)


def test_points_of_a_rate_and_per_cent_of_an_error(small):
    assert goal_of(*small, lost=0.5, limit=93).most_lost == pytest.approx(0.005)
    assert goal_of(*small, limit=93).limit == pytest.approx(0.93)
    model, data = load_sample("diamonds")
    result = evaluate(model, rehearsal(data), Space.of(model, "regression").recipe(lambda _, values: values[0]))
    error = np.sqrt(((result.original.values - result.original.labels) ** 2).mean())
    goal = goal_of(model, data, lost=1.0, limit=600)
    assert goal.most_lost == pytest.approx(0.01 * error) and goal.limit == 600 and goal.measure == "rmse"


def test_the_best_is_the_smallest_within_or_the_most_accurate_where_nothing_bounds_the_loss():
    assert GOAL.best(TRIALS) is max((t for t in TRIALS if t.lost + t.spread <= 0.005), key=lambda t: -t.spot.packed)
    free = Goal("accuracy", 250_000)
    assert free.best(TRIALS).spot.values["accuracy"].value == max(
        gain(t.spot, "accuracy")[1] for t in TRIALS if t.spot.packed <= 250_000
    )
    at_least = Goal("accuracy", None, None, 0.92)
    assert at_least.best(TRIALS).spot.packed == min(t.spot.packed for t in TRIALS if -t.lost + 0.93 >= 0.92)
    assert GOAL.best([made(0, 0, 0, error="no")]) is None


def test_time_on_a_device_is_a_budget(small):
    model, data = small
    free = ran(search_on(None, 8, goal=goal_of(model, data, most_ms=1e6, on="raspberry-pi-4")))
    times = sorted({t.modelled for t in free.tried})
    assert len(times) > 1 and all(free.goal.keeps(t) for t in free.tried)
    tight = replace(free.goal, most_ms=times[0])
    assert {t.modelled for t in free.tried if tight.keeps(t)} == {times[0]}


def test_a_search_is_found_again(small, monkeypatch, tmp_path):
    monkeypatch.setenv("TEMPER_HOME", str(tmp_path))
    model, data = small
    space, goal = Space.of(model, data.task.kind), Goal("accuracy", original_bytes(model))
    search = search_of(model, data, space, goal)
    assert search_of(model, data, space, goal) is search
    assert search_of(model, data, space, replace(goal, most_bytes=7)) is not search
    search.trials = 2
    ran(search)
    kept = [path.name for path in (tmp_path / "searches").glob("*.journal")]
    assert kept == [f"{search.key}.journal"]
    search.forget()
    assert not search.tried and not list((tmp_path / "searches").glob("*.journal"))


def test_nothing_is_kept_without_a_home(small, monkeypatch):
    monkeypatch.setenv("TEMPER_HOME", "")
    search = ran(search_on(None, 2))
    assert search._trials.path is None and len(search.tried) == 2 and not search.standing().note


def test_the_table_says_what_chose_and_what_judged(whole):
    table = search_table(whole.goal, whole.tried, whole.judged, whole.data.task.listed)
    assert table["trial"].tolist() == list(range(ALL))
    assert table["choosing_accuracy"].tolist() == [t.spot.values["accuracy"].value for t in whole.tried]
    best = table[table["recipe"] == json.dumps(whole.best.spot.recipe.to_dict(), separators=(",", ":"))].iloc[0]
    verdict = whole.judged[whole.best.spot.recipe.fingerprint]
    assert best["evaluation_accuracy"] == verdict.spot.values["accuracy"].value
    assert best["evaluation_lost_low"] <= best["evaluation_lost"] <= best["evaluation_lost_high"]
    never = table[~table["recipe"].isin([json.dumps(v.spot.recipe.to_dict(), separators=(",", ":"))
                                         for v in whole.judged.values()])]  # fmt: skip
    assert never["evaluation_accuracy"].isna().all() and len(never)
