"""Damaged model files, made by the thousand: every reader answers with a model or with a sentence.

`TEMPER_FUZZ_SECONDS=600 pytest tests/test_fuzz_models.py` spends that many seconds on each reader. ONNX is parsed by
native code, which may crash: its damaged files are read by child processes, as behind the door. What a child leaves
behind must be a model or a sentence for every file, and where it crashed, a new one goes on after that file.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT
from damage import PATIENCE, SECONDS, damaged, rounds
from hostile_models import VALID, judged, rewritten

FEW, MANY = 150, 400  # damaged files a reader by default, and in each round of a long run
NATIVE = 60  # damaged ONNX files by default
pytestmark = PATIENCE

CHILD = """
import sys, json, resource, warnings
warnings.simplefilter("ignore")
sys.path[:0] = [{root!r}, {root!r} + "/tests"]
resource.setrlimit(resource.RLIMIT_DATA, (3 << 30, 3 << 30))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
from hostile_models import judged
for path in sys.argv[1:]:
    judged(path)
    print(json.dumps(path), flush=True)
"""


@pytest.mark.parametrize("kind", [kind for kind in VALID if kind != "onnx"])
def test_whatever_is_damaged_is_read_or_refused(kind, tmp_path):
    path = VALID[kind](tmp_path)
    whole = path.read_bytes()

    def check(steps):
        path.write_bytes(damaged(whole, steps))
        judged(path)

    rounds(check, FEW, MANY)


@pytest.mark.parametrize(("kind", "ending"), [("pt", "data.pkl"), ("pt2", "models/model.json"),
                                              ("pt2", "model_weights_config.json")])  # fmt: skip
def test_damage_inside_a_sound_archive(kind, ending, tmp_path):
    """A checksum would stop damage from outside, so the archive is made anew around a damaged entry."""
    path = VALID[kind](tmp_path)
    whole = path.read_bytes()

    def check(steps):
        def change(entries):
            name = next(name for name in entries if name.endswith(ending))
            entries[name] = damaged(entries[name], steps)

        path.write_bytes(whole)
        judged(rewritten(path, change))

    rounds(check, FEW, MANY)


def some_damage(generator: random.Random):
    """A few changes as the strategy of the other tests makes them."""
    kinds = [
        lambda: ("flip", generator.random(), generator.randrange(8)),
        lambda: ("write", generator.random(), generator.randbytes(generator.randrange(9))),
        lambda: ("insert", generator.random(), generator.randbytes(generator.randrange(9))),
        lambda: ("cut", generator.random(), generator.randint(1, 30)),
        lambda: ("repeat", generator.random(), generator.randint(1, 100)),
    ]
    return [generator.choice(kinds)() for _ in range(generator.randint(1, 3))]


def read_in_children(paths: list[Path]) -> int:
    """Read them all, a new child after each crash; the number of crashes."""
    crashes = 0
    while paths:
        done = subprocess.run(
            [sys.executable, "-c", CHILD.format(root=str(ROOT)), *map(str, paths)], capture_output=True, text=True,
            timeout=600, check=False,
        )  # fmt: skip
        read = len([line for line in done.stdout.splitlines() if json.loads(line)])
        assert done.returncode <= 0, done.stderr[-2000:]
        if done.returncode == 0:
            assert read == len(paths)
            return crashes
        crashes += 1
        paths = paths[read + 1 :]
    return crashes


def test_damaged_onnx_files_in_child_processes(tmp_path):
    whole, generator = VALID["onnx"](tmp_path).read_bytes(), random.Random(0)
    until, first = time.monotonic() + SECONDS, True
    while first or time.monotonic() < until:
        paths = []
        for number in range(MANY if SECONDS else NATIVE):
            paths.append(tmp_path / f"{number}.onnx")
            paths[-1].write_bytes(damaged(whole, some_damage(generator)))
        crashes = read_in_children(paths)
        assert crashes < len(paths) / 20, "the parser should refuse, not fall over"
        first = False


def test_a_crash_is_one_file_only(tmp_path, monkeypatch):
    crash = "import os\nif 'b.onnx' in path: os.abort()\n    judged(path)"
    monkeypatch.setattr(
        sys.modules[__name__], "CHILD", CHILD.replace("judged(path)", crash.replace("\nif", "\n    if"))
    )
    paths = [tmp_path / f"{name}.onnx" for name in "abc"]
    for path in paths:
        path.write_bytes(b"?")
    assert read_in_children(paths) == 1
