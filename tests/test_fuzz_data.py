"""Damaged files, made by the thousand: every reader answers with examples or with a sentence.

`TEMPER_FUZZ_SECONDS=600 pytest tests/test_fuzz_data.py` spends that many seconds on each reader.
"""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
from damage import PATIENCE, damaged, rounds
from hostile_data import VALID, arrays, judged, npy, zipped

FEW, MANY = 40, 500  # damaged files a reader by default, and in each round of a long run
pytestmark = PATIENCE


def inside(name: str):
    """An .npz whose zip is sound while one array in it is damaged: a checksum would stop damage from outside."""

    def make(folder, content=None):
        x, y = arrays()
        entries = {"x.npy": npy(x), "y.npy": npy(y), "classes.npy": npy(np.array(["a", "b", "c"]))}
        if content is None:
            return entries[name]
        return zipped(folder / "data.npz", {**entries, name: content}, zipfile.ZIP_STORED)

    return make


INSIDE = {f"inside-{name}": inside(name) for name in ("x.npy", "y.npy", "classes.npy")}


@pytest.mark.parametrize("kind", [*VALID, *INSIDE])
def test_whatever_is_damaged_is_read_or_refused(kind, tmp_path):
    path, file = VALID[kind](tmp_path) if kind in VALID else (tmp_path, tmp_path)
    whole = file.read_bytes() if kind in VALID else INSIDE[kind](tmp_path)

    def check(steps):
        content = damaged(whole, steps)
        if kind in INSIDE:
            judged(INSIDE[kind](tmp_path, content))
        else:
            file.write_bytes(content)
            judged(path)

    rounds(check, FEW, MANY)


def test_damage_is_done():
    steps = [("flip", 0.0, 0), ("insert", 0.5, b"--"), ("cut", 0.9, 9), ("repeat", 0.0, 2), ("end", 0.99, 0)]
    assert damaged(b"abcdef", steps) == b"`b`bc--d"
