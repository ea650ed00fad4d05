"""Damage done to files, and what a refusal has to be: shared by the tests of readers of data and of models."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from core.errors import TemperError

SECONDS = float(os.environ.get("TEMPER_FUZZ_SECONDS") or 0)
PATIENCE = pytest.mark.timeout(0 if SECONDS else 300)

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


def rounds(check: Callable[[Any], None], few: int, many: int) -> None:
    """`check` a few lists of changes, or many in each round of a run of `SECONDS`."""
    until, number = time.monotonic() + SECONDS, 0
    while number == 0 or time.monotonic() < until:
        limits = settings(
            max_examples=many if SECONDS else few,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        seeded(number)(limits(given(st.lists(changes, min_size=1, max_size=6))(lambda steps: check(steps))))()
        number += 1


def flipped(whole: bytes, times: int) -> Iterator[bytes]:
    """The same bytes with one to three bits flipped, so many times."""
    generator = np.random.default_rng(0)
    for _ in range(times):
        broken = bytearray(whole)
        for place in generator.integers(0, len(whole), generator.integers(1, 4)):
            broken[place] ^= 1 << generator.integers(8)
        yield bytes(broken)


def sentence(error: TemperError, lines: bool = False) -> TemperError:
    """One short sentence and a short hint, with nothing of a library's trace in it.

    With `lines`, the hint may be lines of code for the person to run.
    """
    for text in (error.message,) if lines else (error.message, error.hint):
        assert len(text) <= 400 and "\n" not in text and "Traceback" not in text, text
        assert "site-packages" not in text and "ONNXRuntimeError" not in text, text
        text.encode("utf-8")
    assert len(error.message) > 10 and error.message.endswith((".", "…")), error.message
    return error


def refusal(found: object, says: str = "") -> TemperError:
    """What a reader answered, which has to be a refusal that says this."""
    assert isinstance(found, TemperError), "expected a refusal"
    assert says.lower() in str(found).lower(), str(found)
    return found
