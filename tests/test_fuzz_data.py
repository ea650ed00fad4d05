"""Damaged files, made by the thousand: every reader answers with examples or with a sentence.

`TEMPER_FUZZ_SECONDS=600 pytest tests/test_fuzz_data.py` spends that many seconds on each reader.
"""

from __future__ import annotations

import os
import time
import zipfile

import numpy as np
import pytest
from hostile_data import VALID, arrays, judged, npy, zipped
from hypothesis import HealthCheck, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

SECONDS = float(os.environ.get("TEMPER_FUZZ_SECONDS") or 0)
FEW, MANY = 40, 500  # damaged files a reader by default, and in each round of a long run
pytestmark = pytest.mark.timeout(0 if SECONDS else 300)

TELLING = (
    b"", b"\x00", b"\xff" * 4, b"\xff" * 8, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x00" * 8, b"\x80",
    b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"\x93NUMPY", b"'|O'", b"'<U1'", b"'>f8'", b"(0,)", b"(99999999,)",
    b"True", b"nan", b"inf", b"1e999", b"-1", b'"', b",", b"\n", b"\r", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"../",
    b"IDAT", b"IHDR", b"PAR1",
)  # fmt: skip
places = st.floats(0, 1, exclude_max=True)
changes = st.one_of(
    st.tuples(st.just("flip"), places, st.integers(0, 7)),
    st.tuples(st.just("write"), places, st.sampled_from(TELLING) | st.binary(max_size=16)),
    st.tuples(st.just("insert"), places, st.sampled_from(TELLING) | st.binary(max_size=16)),
    st.tuples(st.just("cut"), places, st.integers(1, 64)),
    st.tuples(st.just("repeat"), places, st.integers(1, 300)),
    st.tuples(st.just("end"), places, st.just(0)),
)


def damaged(whole: bytes, steps) -> bytes:
    content = bytearray(whole)
    for kind, where, what in steps:
        at = int(where * len(content))
        if kind == "flip" and content:
            content[at] ^= 1 << what
        elif kind == "write":
            content[at : at + len(what)] = what
        elif kind == "insert":
            content[at:at] = what
        elif kind == "cut":
            del content[at : at + what]
        elif kind == "repeat":
            content[at:at] = content[at : at + what]
        elif kind == "end":
            del content[at:]
    return bytes(content)


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

    until, number = time.monotonic() + SECONDS, 0
    while number == 0 or time.monotonic() < until:
        limits = settings(
            max_examples=MANY if SECONDS else FEW,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        seeded(number)(limits(given(st.lists(changes, min_size=1, max_size=6))(lambda steps: check(steps))))()
        number += 1


def test_damage_is_done():
    steps = [("flip", 0.0, 0), ("insert", 0.5, b"--"), ("cut", 0.9, 9), ("repeat", 0.0, 2), ("end", 0.99, 0)]
    assert damaged(b"abcdef", steps) == b"`b`bc--d"
