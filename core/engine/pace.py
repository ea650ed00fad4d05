"""How many examples a call of this model takes best on this machine: measured once on a pass that is made anyway.

The outputs of ONNX Runtime do not depend on how many examples a call takes, so the probe wastes nothing: it is the
first part of the first whole pass. What it found is remembered here and on disk, by model, kind of arithmetic,
threads, processor and library.
"""

from __future__ import annotations

import contextlib
import platform
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core import fingerprint
from core.engine.runtime import CHUNK, Progress, run, threads, usual_chunk
from core.engine.store import folder

CANDIDATES = (CHUNK, 25, 50, 200, 400)  # what is usual first
PORTION = 400  # examples that a candidate is timed on in each round
ROUNDS = 3
WORTH = 0.97  # another chunk is taken where it needs less than this share of the usual one's time

_known: dict[str, int] = {}


def _name(model: str, arithmetic: str) -> str:
    parts = [model, arithmetic, threads(), platform.processor() or platform.machine(), version("onnxruntime")]
    return fingerprint.of_json(parts)


def _path(name: str) -> Path | None:
    home = folder()
    return None if home is None else home / f"{name}.chunk"


def chunk_of(model: str, arithmetic: str) -> int | None:
    """The remembered chunk of a model (by fingerprint) in `float` or `integer` arithmetic, or None."""
    name = _name(model, arithmetic)
    path = _path(name)
    if name not in _known and path is not None:
        with contextlib.suppress(OSError, ValueError):
            kept = int(path.read_text(encoding="ascii"))
            if kept in CANDIDATES:
                _known[name] = kept
    return _known.get(name)


def run_and_learn(
    predict: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    inputs: NDArray[np.float32],
    model: str,
    arithmetic: str,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """`run` at the best chunk; where it is not known and the set is large enough, the pass finds it on its way."""
    chosen = chunk_of(model, arithmetic)
    probed = PORTION * len(CANDIDATES) * ROUNDS
    usual = usual_chunk(inputs.shape[1:])
    if chosen is not None or len(inputs) < probed + PORTION or usual < CHUNK:
        return run(predict, inputs, progress, chosen or usual)
    parts, start = [], 0
    best = dict.fromkeys(CANDIDATES, float("inf"))

    def told(fraction: float, done: int, size: int) -> None:
        if progress is not None:
            progress((done + fraction * size) / len(inputs))

    for turn in range(ROUNDS):
        for chunk in CANDIDATES:
            portion = inputs[start : start + PORTION]
            began = time.perf_counter()
            parts.append(run(predict, portion, None, chunk))
            seconds = time.perf_counter() - began
            if turn:  # the first round warms up
                best[chunk] = min(best[chunk], seconds)
            start += PORTION
            told(1.0, start - PORTION, PORTION)
    fastest = min(best, key=lambda chunk: best[chunk])
    _remember(_name(model, arithmetic), fastest if best[fastest] < WORTH * best[CHUNK] else CHUNK)
    rest = inputs[start:]
    parts.append(run(predict, rest, lambda f: told(f, start, len(rest)), chunk_of(model, arithmetic) or CHUNK))
    return np.concatenate(parts)


def _remember(name: str, chunk: int) -> None:
    _known[name] = chunk
    path = _path(name)
    if path is None:
        return
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".partial", delete=False) as file:
            file.write(str(chunk))
        Path(file.name).replace(path)
