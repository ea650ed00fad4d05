"""A sweep's journal and the desk that finds sweeps again: nothing kept is lost, nothing damaged is believed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from conftest import ROOT
from sweeping import TINY, ByHand, Here, plan_of, quick, until

from core.models.samples import load_sample
from core.sweeps import desk as desk_module
from core.sweeps import journal as module
from core.sweeps import sweep as sweep_module
from core.sweeps.desk import KEPT, Desk
from core.sweeps.front import Spot
from core.sweeps.journal import Journal
from core.sweeps.sweep import Sweep
from core.types import Interval, Quantity


def spot_of(number: int, plan=TINY, value: float = 0.5) -> Spot:
    values = {
        "accuracy": Quantity(value, "fraction", "measured", Interval(value - 0.1, value + 0.1), 171),
        "flips": Quantity(3.0, "predictions", "estimated", None, 20),
    }
    drawn = {"accuracy": np.random.default_rng(number).random(50).astype(np.float32)}
    return Spot((number,), plan.recipes[number,], values, 171, 1_000, 2_000, "float", None, drawn)


def alike(one: Spot, other: Spot) -> bool:
    facts = [
        (s.place, s.recipe, dict(s.values), s.total, s.packed, s.file, s.kernel, s.latency, s.error)
        for s in (one, other)
    ]
    drawn = one.resampled.keys() == other.resampled.keys()
    return (
        facts[0] == facts[1]
        and drawn
        and all(np.array_equal(v, other.resampled[k]) for k, v in one.resampled.items())
    )


@pytest.fixture
def journal(small, tmp_path):
    return Journal.of(*small, TINY, tmp_path / "out.csv")


@pytest.fixture
def kept(journal):
    """A journal of four points, and its lines."""
    for number in range(4):
        assert journal.write(spot_of(number))
    return journal, journal.path.read_bytes().splitlines(keepends=True)


def places(journal) -> set[int]:
    return {place[0] for place in journal.read()}


def test_what_was_kept_comes_back(journal):
    assert journal.read() == {}
    failed = Spot((5,), TINY.recipes[5,], error="It failed.")
    nothing = Spot((4,), TINY.recipes[4,], {"accuracy": Quantity(None, "fraction", note="")}, 171)
    for spot in [spot_of(0), spot_of(1), failed, nothing]:
        assert journal.write(spot)
    found = journal.read()
    for spot in [spot_of(0), spot_of(1), failed, nothing]:
        assert alike(found[spot.place], spot)


def test_the_latest_of_a_place_counts(journal):
    for value in (0.1, 0.2, 0.3):
        journal.write(spot_of(2, value=value))
    assert journal.read()[2,].values["accuracy"].value == 0.3
    journal.remove()
    assert journal.read() == {}
    journal.remove()


def test_only_the_owner_may_read_it(kept):
    assert kept[0].path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("left", [1, 17, 300, -1])
def test_a_torn_last_line_is_left_out_and_the_next_one_kept(kept, left):
    journal, lines = kept
    journal.path.write_bytes(b"".join(lines[:3]) + lines[3][:left])
    assert places(journal) == {0, 1, 2} | ({3} if left == -1 else set())
    assert journal.write(spot_of(4))
    assert places(journal) == {0, 1, 2, 4} | ({3} if left == -1 else set())


def test_every_place_to_tear_a_line(kept):
    """No part of a line is taken for a point."""
    journal, lines = kept
    for left in range(0, len(lines[3]) - 1, 7):
        journal.path.write_bytes(b"".join(lines[:3]) + lines[3][:left])
        assert places(journal) == {0, 1, 2}


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: line.replace(b"0.5", b"0.6", 1),
        lambda line: bytes([line[0] ^ 1]) + line[1:],
        lambda line: line[:40] + b"\xff\xfe\x00" + line[43:],
        lambda line: b"\n",
        lambda line: os.urandom(500).replace(b"\n", b"") + b"\n",
        lambda line: b"\x00" * 4_096 + b"\n",
        lambda line: line[len(line) // 2 :],
        lambda line: line.replace(b" ", b"", 1),
    ],
)
def test_a_damaged_line_is_left_out(kept, damage):
    journal, lines = kept
    assert damage(lines[1]) != lines[1]
    journal.path.write_bytes(b"".join([lines[0], damage(lines[1]), *lines[2:]]))
    assert places(journal) == {0, 2, 3}


@pytest.mark.parametrize("content", ["[]", "7", "null", "{}", '{"place": [[1]]}', '"text"', "{", ""])
def test_a_line_that_is_whole_but_no_point_is_left_out(kept, content):
    journal, _ = kept
    line = module.fingerprint.of_bytes(content.encode()) + " " + content + "\n"
    with journal.path.open("a") as file:
        file.write(line)
    assert places(journal) == {0, 1, 2, 3}


def test_a_line_of_another_plan_is_left_out(kept, small):
    journal, _ = kept
    other = plan_of("sparsity=0.11,0.12")
    beside = Journal(journal.path, other)
    assert beside.write(spot_of(0, other))
    assert beside.write(Spot((17,), other.recipes[1,]))
    assert all(alike(spot, spot_of(place[0])) for place, spot in journal.read().items())
    assert places(journal) == {0, 1, 2, 3}
    assert places(beside) == {0}


def test_each_plan_model_and_code_has_a_file_of_its_own(small, tmp_path, monkeypatch):
    def name(model, plan) -> str:
        return Journal.of(*load_sample(model), plan, tmp_path / "out.csv").path.name

    other = plan_of("sparsity=0.1,0.2")
    names = [name("breast-cancer", TINY), name("fashion-small", TINY), name("breast-cancer", other)]
    assert names[0] == name("breast-cancer", TINY)
    monkeypatch.setattr(module, "code_version", lambda: "another")
    names.append(name("breast-cancer", TINY))
    assert len(set(names)) == 4
    assert all(one.startswith("out.csv.") and one.endswith(".partial") for one in names)


def test_nothing_is_kept_without_a_place(small, monkeypatch):
    monkeypatch.setenv("TEMPER_CACHE", "")
    journal = Journal.of(*small, TINY)
    assert journal.path is None
    assert not journal.write(spot_of(0))
    assert journal.read() == {}
    journal.remove()


def full(*_):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("trouble", ["full", "nearly full", "a folder in the way", "a file as folder"])
def test_a_disk_that_takes_nothing_is_no_error_and_is_said(small, tmp_path, monkeypatch, trouble):
    monkeypatch.setattr(sweep_module, "answer", quick)
    journal = Journal.of(*small, TINY, tmp_path / "out.csv")
    real = os.write
    if trouble == "full":
        monkeypatch.setattr(os, "write", full)
    elif trouble == "nearly full":
        monkeypatch.setattr(os, "write", lambda handle, line: real(handle, line[:20]))
    elif trouble == "a folder in the way":
        journal.path.mkdir()
    else:
        (tmp_path / "file").write_text("")
        journal = Journal.of(*small, TINY, tmp_path / "file" / "out.csv")
    sweep, told = Sweep(*small, TINY, True, journal), []
    sweep.run(Here(), told.append)
    monkeypatch.undo()
    assert sweep.standing().state == "done"
    assert all(spot.exact for spot in sweep.spots.values())
    assert len(sweep.spots) == 6
    assert "no room" in told[0].note and told[0].note.endswith(".")
    assert journal.read() == {}


def test_no_place_at_all_is_not_said_at_every_sweep(small, monkeypatch):
    monkeypatch.setattr(sweep_module, "answer", quick)
    sweep = Sweep(*small, TINY)
    sweep.run(Here())
    assert sweep.standing().note == ""


def test_two_processes_lose_no_line(small, tmp_path):
    path = tmp_path / "both.partial"
    code = (
        "import sys\nfrom pathlib import Path\n"
        "sys.path.insert(0, 'tests')\n"
        "import conftest\nfrom sweeping import TINY\nfrom test_journal import spot_of\n"
        "from core.sweeps.journal import Journal\n"
        "journal, start = Journal(Path(sys.argv[1]), TINY), int(sys.argv[2])\n"
        "print('ready', flush=True)\nsys.stdin.readline()\n"
        "for time in range(100):\n"
        "    assert journal.write(spot_of(start + time % 3, value=time / 1000))\n"
    )
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path), str(start)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for start in (0, 3)
    ]  # fmt: skip
    for process in both:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in both:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    lines = [line for line in path.read_bytes().split(b"\n") if line]
    assert len(lines) == 200
    assert all(module.fingerprint.of_bytes(line[17:]).encode() == line[:16] for line in lines)
    seen = [(spot["place"][0], spot["values"]["accuracy"][0]) for spot in (json.loads(line[17:]) for line in lines)]
    assert sorted(seen) == sorted((start + t % 3, t / 1000) for start in (0, 3) for t in range(100))
    found = Journal(path, TINY).read()
    assert {p[0]: s.values["accuracy"].value for p, s in found.items()} == {
        start + t % 3: t / 1000 for start in (0, 3) for t in (97, 98, 99)
    }


# Sweeps and their journals


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TEMPER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sweep_module, "answer", quick)
    return tmp_path / "cache"


def test_a_sweep_goes_on_from_its_journal(small, home):
    first = Sweep(*small, TINY, True)
    first.run(Here())
    lines = first.journal.path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 12, "a look and a measurement of each point"
    first.journal.path.write_bytes(b"".join(lines[:9]))
    second, hands = Sweep(*small, TINY, True), Here()
    assert second.standing().known == 6
    assert second.standing().exact == 3
    measured = {place for place, spot in second.spots.items() if spot.exact}
    second.run(hands)
    assert {task.place for task in hands.tasks} == set(TINY.recipes) - measured
    assert len(hands.tasks) == 3, "nor is anything looked at again"
    assert all(alike(first.spots[place], spot) for place, spot in second.spots.items())


def test_another_version_of_the_code_begins_anew(small, home, monkeypatch):
    Sweep(*small, TINY).run(Here())
    monkeypatch.setattr(module, "code_version", lambda: "another")
    assert Sweep(*small, TINY).spots == {}


# The desk


@pytest.fixture
def desk(home, monkeypatch):
    """A desk whose workers are done by hand."""
    hands = ByHand()

    @contextmanager
    def workers(*_):
        yield hands

    monkeypatch.setattr(desk_module, "workers", workers)
    desk = Desk()
    desk.hands = hands
    yield desk
    desk.stop()
    until(lambda: desk._turn.acquire(blocking=False))


def done(desk: Desk, *sweeps: Sweep) -> None:
    def finished() -> bool:
        desk.hands.finish()
        return all(sweep.standing().state == "done" for sweep in sweeps)

    until(finished)


OTHER = plan_of("sparsity=0.15,0.25")


def test_the_desk_finds_a_sweep_again(small, desk):
    sweep = desk.find(*small, TINY)
    assert desk.find(*small, plan_of("sparsity=0.1,0.2,0.3,0.4,0.5,0.6")) is sweep
    assert desk.find(*small, OTHER) is not sweep
    assert desk.find(*load_sample("fashion-small"), TINY) is not sweep
    assert (sweep.standing().state, sweep.alive) == ("ready", False)
    assert desk.hands.tasks == [], "finding starts nothing"


def test_the_desk_works_in_the_background(small, desk):
    sweep = desk.find(*small, TINY)
    desk.start(sweep)
    desk.hands.until(4)
    assert sweep.standing().state == "running"
    desk.start(sweep)
    assert desk.find(*small, TINY) is sweep
    done(desk, sweep)
    assert len(sweep.spots) == 6
    assert len([task for task in desk.hands.tasks if task.depth == 0]) == 6, "started twice, computed once"


def test_start_goes_on_after_a_pause(small, desk):
    sweep = desk.find(*small, TINY)
    desk.start(sweep)
    desk.hands.until(4)
    sweep.pause()
    desk.hands.finish()
    until(lambda: sweep.standing().known == 4)
    desk.start(sweep)
    desk.hands.until(1)
    done(desk, sweep)
    assert len(sweep.spots) == 6


def test_a_second_sweep_waits_its_turn(small, desk):
    first, second = desk.find(*small, TINY), desk.find(*small, OTHER)
    desk.start(first)
    desk.hands.until(4)
    desk.start(second)
    assert (first.standing().state, second.standing().state) == ("running", "queued")
    assert second.alive
    assert {task.recipe for task in desk.hands.tasks} <= set(TINY.recipes.values())
    done(desk, first, second)
    recipes = [task.recipe for task in desk.hands.tasks]
    started = [recipe in set(OTHER.recipes.values()) for recipe in recipes]
    assert started == sorted(started), "the second one began when the first was done"


def test_a_queued_sweep_can_be_cancelled(small, desk):
    first, second = desk.find(*small, TINY), desk.find(*small, OTHER)
    desk.start(first)
    desk.hands.until(4)
    desk.start(second)
    second.cancel()
    done(desk, first)
    assert (second.standing().state, second.spots) == ("cancelled", {})


def test_cancelled_and_started_again_at_once(small, desk):
    """Before the first run has noticed."""
    sweep = desk.find(*small, TINY)
    desk.start(sweep)
    desk.hands.until(4)
    sweep.cancel()
    desk.start(sweep)
    assert sweep.alive
    done(desk, sweep)
    assert len(sweep.spots) == 6


def test_a_new_desk_finds_what_was_kept(small, desk):
    sweep = desk.find(*small, TINY)
    desk.start(sweep)
    desk.hands.until(4)
    desk.hands.finish()
    until(lambda: sweep.standing().known == 4)
    restarted = Desk().find(*small, TINY)
    assert restarted is not sweep
    assert restarted.standing().state == "ready"
    assert set(restarted.spots) == set(sweep.spots)
    done(desk, sweep)
    again = Desk().find(*small, TINY)
    assert len(again.spots) == 6
    assert all(alike(again.spots[place], spot) for place, spot in sweep.spots.items())


def test_the_desk_remembers_some_and_forgets_none_that_runs(small, desk):
    running = desk.find(*small, TINY)
    desk.start(running)
    desk.hands.until(4)
    plans = [plan_of(f"sparsity=0.{number}") for number in range(10, 10 + KEPT + 4)]
    for plan in plans:
        desk.find(*small, plan)
    assert len(desk._sweeps) <= KEPT + 1
    assert desk.find(*small, TINY) is running
    done(desk, running)


def test_a_fault_ends_the_sweep_and_not_the_desk(small, desk, monkeypatch, caplog):
    def refuses(*_):
        raise OSError("no more processes")

    sweep, real = desk.find(*small, TINY), desk.hands.submit
    desk.hands.submit = refuses
    desk.start(sweep)
    until(lambda: sweep.standing().state == "failed")
    assert sweep.standing().note == "The sweep stopped on a fault."
    until(lambda: "no more processes" in caplog.text)
    desk.hands.submit = real
    desk.start(sweep)
    done(desk, sweep)


def test_a_stopped_desk_leaves_a_journal(small, desk):
    sweep = desk.find(*small, TINY)
    desk.start(sweep)
    desk.hands.until(4)
    desk.hands.finish(2)
    until(lambda: sweep.standing().known == 2)
    desk.stop()
    until(lambda: sweep.standing().state == "cancelled")
    assert set(Desk().find(*small, TINY).spots) == set(sweep.spots)
