"""The door: progress is told, limits hold, an end in the middle is one sentence, and nothing half-written stays."""

from __future__ import annotations

import os
import signal
import stat
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from damage import sentence
from hostile_models import mlp, network, saved, weights, written

from core import door, intake
from core.door import Visit
from core.errors import TemperError
from core.wish import Wish


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    x = np.random.default_rng(0).standard_normal((200, 6)).astype(np.float32)
    np.savez(folder / "data.npz", x=x, y=np.arange(200) % 3)
    return str(saved(folder / "model.pt", mlp().state_dict())), str(folder / "data.npz")


@pytest.fixture
def home(tmp_path):
    return tmp_path / "models"


def refused(visit: Visit, says: str) -> TemperError:
    with pytest.raises(TemperError) as caught:
        visit.run()
    assert says in str(sentence(caught.value)), str(caught.value)
    assert not list(visit.home.glob(".coming-*")) and not list(visit.home.glob("*/card.json"))
    return caught.value


def test_a_pair_comes_in_and_its_progress_is_told(pair, home):
    told: list[tuple[float, str]] = []
    name = Visit(Wish(*pair), home).run(lambda done, what: told.append((done, what)))
    assert sorted(told) == told and told[0][1] == "Reading the model" and told[-1][1] == "Keeping it"
    held = {path.name for path in (home / name).iterdir()}
    assert {"card.json", "graph.onnx", "weights.safetensors", "calibration.npz", "evaluation.npz"} <= held
    assert Visit(Wish(*pair, title="Another title"), home).run() == name, "the same pair has the same name"
    assert '"Another title"' in (home / name / "card.json").read_text()
    assert [path.name for path in home.iterdir()] == [name]


def test_two_at_once_do_not_disturb_each_other(pair, home, tmp_path):
    bad = tmp_path / "bad.pt"
    bad.write_bytes(b"PK\3\4" + bytes(500))
    ended: dict[str, object] = {}

    def go(key: str, model: str) -> None:
        try:
            ended[key] = Visit(Wish(model, pair[1]), home).run()
        except TemperError as error:
            ended[key] = sentence(error)

    threads = [threading.Thread(target=go, args=pair) for pair in (("a", pair[0]), ("b", pair[0]), ("c", str(bad)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert isinstance(ended["a"], str) and ended["a"] == ended["b"]
    assert isinstance(ended["c"], TemperError)
    assert [path.name for path in home.iterdir()] == [ended["a"]]


def test_cancelling(pair, home):
    visit = Visit(Wish(*pair), home)
    threading.Timer(0.4, visit.cancel).start()
    began = time.monotonic()
    refused(visit, "cancelled")
    assert time.monotonic() - began < 5
    visit = Visit(Wish(*pair), home)
    visit.cancel()
    refused(visit, "cancelled")


def test_a_limit_of_time(pair, home, monkeypatch):
    monkeypatch.setenv("TEMPER_LOAD_SECONDS", "0.3")
    refused(Visit(Wish(*pair), home), "longer than 0")


@pytest.mark.parametrize("gigabytes", ["0.01", "0.05", "0.12"])
def test_a_limit_of_memory(pair, home, monkeypatch, gigabytes):
    monkeypatch.setenv("TEMPER_LOAD_MEMORY", gigabytes)
    refused(Visit(Wish(*pair), home), "GB of memory")


def test_limits_that_make_no_sense_are_the_usual_ones(monkeypatch):
    for text in ("", "many", "-1", "nan", "inf", "1e99"):
        monkeypatch.setenv("TEMPER_LOAD_SECONDS", text)
        assert door._limit("TEMPER_LOAD_SECONDS", 900.0) == 900.0


BOMBS = {
    "ConstantOfShape": [("ConstantOfShape", ["many"], ["h"]), ("ReduceSum", ["h"], ["s"], {"keepdims": 0})],
    "Expand": [("Expand", ["one", "many"], ["h"]), ("ReduceSum", ["h"], ["s"], {"keepdims": 0})],
    "Tile": [("Tile", ["row", "repeats"], ["h"]), ("ReduceSum", ["h"], ["s"], {"keepdims": 0})],
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_few_bytes_that_take_terabytes(kind, pair, home, tmp_path):
    constants = {
        **weights(), "many": np.array([10**6, 10**6]), "one": np.float32(1), "row": np.ones((1, 1), "f4"),
        "repeats": np.array([10**6, 10**6]),
    }  # fmt: skip
    made = network(
        [*BOMBS[kind], ("Gemm", ["x", "w", "b"], ["g"], {"transB": 1}), ("Add", ["g", "s"], ["y"])], constants
    )
    refused(Visit(Wish(str(written(tmp_path / "m.onnx", made)), pair[1]), home), "memory")


def stand_in(monkeypatch, tmp_path: Path, lines: str) -> None:
    """Another program in place of the reader."""
    path = tmp_path / "reader"
    path.write_text(f"#!{sys.executable}\nimport os, sys, time, json\ntask = json.load(sys.stdin)\n{lines}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(door.sys, "executable", str(path))


def test_a_process_that_is_killed_in_the_middle(pair, home, tmp_path, monkeypatch):
    home.mkdir()
    stand_in(
        monkeypatch, tmp_path,
        "os.mkdir(os.path.join(task['home'], f'.coming-{os.getpid()}-abc'))\n"
        "print(json.dumps({'done': 0.9, 'what': 'Keeping it'}), flush=True)\nos.kill(os.getpid(), 9)",
    )  # fmt: skip
    refused(Visit(Wish(*pair), home), "ended the process")


@pytest.mark.parametrize(
    "lines",
    ["os.abort()", "sys.exit(3)", "print('null\\n[]\\n7\\n{}')", "print('x' * 3_000_000)",
     "print(json.dumps({'error': 'x'}))", "print(json.dumps({'id': 7}))"],
)  # fmt: skip
def test_a_process_that_ends_without_an_answer(lines, pair, home, tmp_path, monkeypatch):
    stand_in(monkeypatch, tmp_path, lines)
    refused(Visit(Wish(*pair), home), "ended the process")


def test_noise_of_libraries_does_not_break_the_answer(pair, home, tmp_path, monkeypatch):
    told: list[float] = []
    stand_in(
        monkeypatch, tmp_path,
        "print('warning: hello')\nprint('{broken')\nsys.stdout.buffer.write(b'\\xff\\xfe\\n'); sys.stdout.flush()\n"
        "print(json.dumps({'done': 7, 'what': 'x'}))\nprint(json.dumps({'id': 'found'}))\nprint('bye')",
    )  # fmt: skip
    assert Visit(Wish(*pair), home).run(lambda done, _: told.append(done)) == "found"
    assert told == [1.0]


def test_a_reader_that_closes_its_ears(pair, home, tmp_path, monkeypatch):
    path = tmp_path / "reader"
    path.write_text(f"#!{sys.executable}\nimport os\nos.close(0)\nos._exit(1)\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(door.sys, "executable", str(path))
    refused(Visit(Wish(*pair, title="x" * 10**6), home), "ended the process")


def test_an_error_in_what_listens_ends_the_task(pair, home):
    visit = Visit(Wish(*pair), home)

    def angry(_done: float, _what: str) -> None:
        raise RuntimeError("the page is gone")

    with pytest.raises(RuntimeError, match="the page is gone"):
        visit.run(angry)
    assert visit._process is not None and visit._process.returncode == -signal.SIGKILL


def test_old_leavings_are_cleared_and_fresh_ones_left(tmp_path):
    old, fresh = tmp_path / ".coming-1-old", tmp_path / ".coming-2-fresh"
    for path in (old, fresh):
        path.mkdir()
        (path / "weights.safetensors").write_bytes(b"x")
    os.utime(old, (time.time() - 2 * intake.STALE,) * 2)
    intake._clear(tmp_path)
    assert not old.exists() and fresh.exists()


def test_names_that_are_not_utf8_come_through(pair, home, tmp_path):
    name = os.fsdecode(b"\xff\xfe.pt")
    try:
        (tmp_path / name).write_bytes(Path(pair[0]).read_bytes()[:300])
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    refused(Visit(Wish(str(tmp_path / name), pair[1]), home), "no whole PyTorch file")
    (tmp_path / name).write_bytes(Path(pair[0]).read_bytes())
    assert Visit(Wish(str(tmp_path / name), pair[1]), home).run()
