"""Predictions kept on disk: a point visited once, also yesterday, costs nothing again.

Entries are named by what produced them and by the version of the code, the libraries and the processor. Writing is
atomic, two processes may share the folder, a damaged entry is dropped and made again, the least recently used
entries leave when the folder grows beyond its limit, and a full or read-only disk is no error.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import tempfile
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core import fingerprint
from core.engine.runtime import integer_kernels_exact

LIMIT = 400 * 2**20  # bytes: about a thousand points of 10,000 examples and ten classes
PRODUCERS = (  # packages that decide a logit
    "data", "deploy", "engine", "losses", "models", "pruners", "quantizers", "repairs", "trainers", "training",
)  # fmt: skip


def folder() -> Path | None:
    """Where entries lie: `TEMPER_CACHE`, or the system's place for caches; None when `TEMPER_CACHE` is empty."""
    named = os.environ.get("TEMPER_CACHE")
    if named is not None:
        return Path(named) if named else None
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "temper"


@cache
def code_version() -> str:
    """Names everything beside the inputs that a logit depends on."""
    core = Path(__file__).resolve().parents[1]
    sources = [path for package in PRODUCERS for path in sorted((core / package).glob("*.py"))]
    libraries = [version(name) for name in ("torch", "onnxruntime", "onnx", "numpy")]
    machine = [platform.machine(), integer_kernels_exact()]
    return fingerprint.of_json([[fingerprint.of_file(path) for path in sources], libraries, machine])


def _path(key: tuple[str, ...]) -> Path | None:
    home = folder()
    return None if home is None else home / f"{fingerprint.of_json([*key, code_version()])}.logits"


def load(key: tuple[str, ...]) -> NDArray[np.float32] | None:
    """The kept logits `(N, C)`, or None. An entry that cannot be read is removed."""
    path = _path(key)
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            stated = file.read(fingerprint.LENGTH)
            content = file.read()
        if fingerprint.of_bytes(content).encode() != stated:
            raise ValueError("damaged")
        rows, columns = np.frombuffer(content, "<i8", 2)
        found = np.frombuffer(content, "<f4", offset=16).reshape(rows, columns).astype(np.float32)
        os.utime(path)
        return found
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        with contextlib.suppress(OSError):
            path.unlink()
        return None


def has(key: tuple[str, ...]) -> bool:
    """Whether there is an entry of this name; only reading it tells whether it is whole."""
    path = _path(key)
    return path is not None and path.exists()


def save(key: tuple[str, ...], logits: NDArray[np.float32]) -> None:
    """Keep logits `(N, C)`. Never raises: without room there is nothing to keep."""
    path = _path(key)
    if path is None:
        return
    content = np.array(logits.shape, "<i8").tobytes() + np.ascontiguousarray(logits, "<f4").tobytes()
    partial = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".partial", delete=False) as file:
            partial = Path(file.name)
            file.write(fingerprint.of_bytes(content).encode() + content)
        partial.replace(path)
        _trim(path.parent)
    except OSError:
        if partial is not None:
            with contextlib.suppress(OSError):
                partial.unlink()


def _trim(home: Path) -> None:
    """Remove the least recently used entries beyond the limit; another process may be doing the same."""
    entries = []
    for path in home.glob("*.logits"):
        with contextlib.suppress(OSError):
            state = path.stat()
            entries.append((state.st_mtime, state.st_size, path))
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= LIMIT:
            return
        with contextlib.suppress(OSError):
            path.unlink()
        total -= size
