"""Work done in advance, and the size of a call found on the way: neither may change a number or be in the way."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from conftest import prune, quantize, recipe

from core.engine import pace
from core.engine.lane import LANE
from core.jobs import idle
from core.jobs.idle import Idle, neighbours
from core.recipe import Recipe, Step
from core.registry import method

SHOWN = recipe(prune(0.5), quantize(4, 8), Step.of("calibrate", "temperature"))


def test_neighbours_are_one_step_of_one_slider_away():
    found = neighbours(SHOWN)
    assert len(set(found)) == len(found) == 6
    for one in found:
        changed = [
            (name, old.values[name], new.values[name])
            for old, new in zip(SHOWN.steps, one.steps, strict=True)
            for name in old.values
            if old.values[name] != new.values[name]
        ]
        assert len(changed) == 1
        assert changed[0][0] in ("sparsity", "weight_bits", "activation_bits")
    assert {round(one.steps[0].values["sparsity"], 2) for one in found} == {0.49, 0.5, 0.51}


def test_further_the_same_way_comes_first():
    way = [one.steps[0].values["sparsity"] for one in neighbours(SHOWN, recipe(prune(0.4), *SHOWN.steps[1:]))[:2]]
    assert way == [0.51, 0.52]
    back = [one.steps[0].values["sparsity"] for one in neighbours(SHOWN, recipe(prune(0.6), *SHOWN.steps[1:]))[:2]]
    assert back == [0.49, 0.48]


@pytest.mark.parametrize("end", [0.0, 0.99])
def test_neighbours_stay_within_the_sliders(end):
    of = Recipe((Step.of("prune", "magnitude-global", {"sparsity": end}), quantize(2, 32)))
    for one in neighbours(of):
        assert one == one.simplified()
        for step in one.steps:
            method(step.kind, step.method).complete(step.values)  # raises for a value out of range
    assert neighbours(Recipe()) == []


@pytest.fixture
def ahead(monkeypatch):
    monkeypatch.setenv("TEMPER_AHEAD", "1")
    monkeypatch.setattr(idle, "QUIET", 0.01)
    return Idle()


def until(condition) -> bool:
    """Whether it comes true within a minute: a limit against hanging, not a measurement."""
    for _ in range(1_200):
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_points_are_evaluated_in_advance(ahead, small, monkeypatch):
    done = []
    monkeypatch.setattr(idle, "evaluate", lambda *a: done.append(a[2]))
    monkeypatch.setattr(idle, "compare", lambda *_: None)
    wanted = neighbours(SHOWN)
    ahead.fill("somebody", *small, wanted)
    assert until(lambda: len(done) == len(wanted))
    assert done == wanted


def test_nothing_in_advance_while_a_person_computes(ahead, small, monkeypatch):
    done = []
    monkeypatch.setattr(idle, "evaluate", lambda *a: done.append(a[2]))
    monkeypatch.setattr(idle, "compare", lambda *_: None)
    with LANE.hold():
        ahead.fill("somebody", *small, neighbours(SHOWN))
        time.sleep(0.3)
        assert not done
    assert until(lambda: done)


def test_a_new_question_ends_the_pass_and_the_list(ahead, small, monkeypatch):
    begun, ended, go_on = [], [], threading.Event()

    def passing(model, data, of, progress):
        begun.append(of)
        assert go_on.wait(60)
        try:
            progress(0.5)
        except BaseException as error:
            ended.append(type(error).__name__)
            raise

    monkeypatch.setattr(idle, "evaluate", passing)
    monkeypatch.setattr(idle, "compare", lambda *_: None)
    ahead.fill("somebody", *small, neighbours(SHOWN))
    assert until(lambda: begun)
    ahead.fill("somebody", *small, [])
    go_on.set()
    assert until(lambda: ended)
    time.sleep(0.2)
    assert len(begun) == 1


def test_a_fault_ends_nothing(ahead, small, monkeypatch):
    done = []

    def broken(model, data, of, progress):
        done.append(of)
        raise RuntimeError("a fault")

    monkeypatch.setattr(idle, "evaluate", broken)
    ahead.fill("somebody", *small, neighbours(SHOWN))
    assert until(lambda: len(done) == 6)


def test_it_can_be_turned_off(small, monkeypatch):
    monkeypatch.setenv("TEMPER_AHEAD", "0")
    quiet = Idle()
    quiet.fill("somebody", *small, neighbours(SHOWN))
    assert quiet._thread is None


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("TEMPER_CACHE", str(tmp_path))
    monkeypatch.setattr(pace, "_known", {})
    return tmp_path


def test_the_probe_is_the_pass_itself(kept):
    inputs = np.arange(9_000, dtype=np.float32)[:, None]
    sizes, told = [], []

    def predict(chunk):
        sizes.append(len(chunk))
        time.sleep(0.002)  # a call costs, an example does not: the largest chunk is best
        return 2 * chunk

    found = pace.run_and_learn(predict, inputs, "model", "float", told.append)
    assert np.array_equal(found, 2 * inputs), "every example once, in order"
    assert sum(sizes) == len(inputs)
    assert told == sorted(told) and told[-1] == 1
    assert pace.chunk_of("model", "float") == max(pace.CANDIDATES)
    assert pace.chunk_of("model", "integer") is None
    pace._known.clear()
    assert pace.chunk_of("model", "float") == max(pace.CANDIDATES), "remembered on disk"


def test_a_damaged_note_is_no_chunk(kept):
    inputs = np.zeros((9_000, 1), np.float32)
    pace.run_and_learn(lambda chunk: chunk, inputs, "model", "float")
    (note,) = kept.glob("*.chunk")
    for text in ("", "many", "7", "-100", "99999999999999999999"):
        note.write_text(text)
        pace._known.clear()
        assert pace.chunk_of("model", "float") is None


def test_a_small_set_is_not_probed(kept):
    sizes = []
    pace.run_and_learn(lambda c: sizes.append(len(c)) or c, np.zeros((171, 1), np.float32), "model", "float")
    assert set(sizes) <= {pace.CHUNK, 71}
    assert pace.chunk_of("model", "float") is None
