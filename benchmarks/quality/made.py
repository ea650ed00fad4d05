"""What a library offers for a row, what came of it, and how that is kept so that a broken-off run goes on."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core import fingerprint

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FOLDER = ROOT / ".work" / "bench-quality"  # ignored by git
LIBRARIES = ("torch", "torchao", "onnxruntime", "onnx", "torch-pruning", "numpy")
OURS = "ours"
DECIDING = ("data", "deploy", "engine", "models", "pruners", "quantizers", "repairs")  # packages that make a logit


@dataclass(frozen=True)
class Made:
    """Outputs `(N, C)` on the evaluation split and bytes; `whole` is False where some layers stayed as they were."""

    logits: NDArray[np.float32]
    bytes: int
    whole: bool = True
    note: str = ""


@dataclass(frozen=True)
class Variant:
    """One way in which a library can do what a row asks; `how` completes "it works by"."""

    library: str
    name: str
    how: str
    make: Callable[[], Made]


@dataclass(frozen=True)
class Missing:
    """Why a library cannot do what a row asks."""

    library: str
    why: str


Offer = Variant | Missing


@cache
def versions() -> dict[str, str]:
    """Versions of the libraries that are compared, those that are installed."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    return found


@cache
def _code(library: str) -> str:
    """Names the code that decides a library's results: the engine for ours, the library's file for a peer."""
    if library == OURS:
        sources = [path for package in DECIDING for path in sorted((ROOT / "core" / package).glob("*.py"))]
    else:
        sources = [HERE / name for name in (f"{library}.py", "torch_prune.py", "subject.py", "sized.py")]
    return fingerprint.of_json([[fingerprint.of_file(path) for path in sources], versions()])


def kept(library: str, key: list[Any], make: Callable[[], Made]) -> Made:
    """What `make` gives, from the folder where this very thing was made before by the same code and versions."""
    path = FOLDER / f"{fingerprint.of_json([*key, _code(library)])}.npz"
    if path.exists():
        with np.load(path, allow_pickle=False) as found:
            facts = json.loads(str(found["facts"]))
            return Made(found["logits"], **facts)
    made = make()
    facts = json.dumps({"bytes": int(made.bytes), "whole": made.whole, "note": made.note})
    content = io.BytesIO()
    np.savez(content, logits=made.logits, facts=np.array(facts))
    FOLDER.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_bytes(content.getvalue())
    partial.replace(path)
    return made
