"""The store on disk: it returns what was kept, and never a wrong number, whatever happens to its files."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, prune, recipe

from core.engine import evaluate as module
from core.engine import store
from core.engine.evaluate import evaluate
from core.engine.memory import RESULTS
from core.registry import PACKAGES, STEP_KINDS

KEY = ("network", "data", "evaluation")
LOGITS = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TEMPER_CACHE", str(tmp_path / "cache"))
    RESULTS.clear()
    yield tmp_path / "cache"
    RESULTS.clear()


def test_what_was_kept_comes_back_bit_for_bit(home):
    assert store.load(KEY) is None
    store.save(KEY, LOGITS)
    assert np.array_equal(store.load(KEY), LOGITS)
    assert store.load(("other", *KEY[1:])) is None
    assert not list(home.glob("*.partial"))


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "nonsense"])
def test_a_damaged_entry_is_dropped(home, damage):
    store.save(KEY, LOGITS)
    path = next(home.glob("*.logits"))
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes({"cut": content[:-40], "changed": content, "empty": b"", "nonsense": b"x" * 400}[damage])
    assert store.load(KEY) is None
    assert not path.exists()
    store.save(KEY, LOGITS)
    assert np.array_equal(store.load(KEY), LOGITS)


def test_other_code_finds_nothing(home, monkeypatch):
    store.save(KEY, LOGITS)
    monkeypatch.setattr(store, "code_version", lambda: "another")
    assert store.load(KEY) is None


def test_the_least_recently_used_leave_first(home, monkeypatch):
    import os

    size = LOGITS.nbytes + 40
    monkeypatch.setattr(store, "LIMIT", 3 * size)
    for age, name in enumerate("abc"):
        store.save((name,), LOGITS)
        os.utime(store._path((name,)), (age, age))
    store.load(("a",))  # used again: now the most recent
    store.save(("d",), LOGITS)
    assert [store.load((name,)) is not None for name in "abcd"] == [True, False, True, True]


def test_a_place_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TEMPER_CACHE", str(tmp_path / "file"))
    store.save(KEY, LOGITS)
    assert store.load(KEY) is None


def test_a_full_disk_is_no_error(home, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.tempfile, "NamedTemporaryFile", full)
    store.save(KEY, LOGITS)
    assert store.load(KEY) is None


def test_a_point_of_yesterday_runs_no_network(home, small, monkeypatch):
    first = evaluate(*small, recipe(prune(0.37)))
    RESULTS.clear()
    monkeypatch.setattr(module, "run_and_learn", lambda *_: pytest.fail("the network ran again"))
    again = evaluate(*small, recipe(prune(0.37)))
    assert np.array_equal(first.tempered.logits, again.tempered.logits)


def test_two_processes_share_the_folder(home):
    code = (
        "import numpy as np\nfrom core.engine import store\n"
        "for i in range(60):\n"
        "    logits = np.full((40, 3), i % 7, np.float32)\n"
        "    store.save((str(i % 7),), logits)\n"
        "    found = store.load((str((i + 3) % 7),))\n"
        "    assert found is None or (found == (i + 3) % 7).all()\n"
    )
    both = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE) for _ in range(2)]
    for process in both:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said.decode()
    for i in range(7):
        assert (store.load((str(i),)) == i).all()


def test_every_package_whose_methods_change_a_network_names_the_code_version():
    changing = {package.removeprefix("core.") for kind, package in PACKAGES.items() if kind in STEP_KINDS}
    assert changing - {"calibrators"} <= set(store.PRODUCERS)  # what is kept are logits before calibration
