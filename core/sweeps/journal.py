"""What a sweep has found so far, kept on disk line by line, so that nothing is lost when the server stops.

One file a sweep, in the store's folder, named by model, data, recipes and the version of the code. Each line carries
its own checksum: a torn or damaged line is left out and its point computed again. A full disk is no error.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core import fingerprint
from core.data.handle import DataHandle
from core.engine.store import code_version, folder
from core.errors import TemperError
from core.models.handle import ModelHandle
from core.recipe import from_dict
from core.sweeps.front import Spot
from core.sweeps.plan import Plan
from core.types import Interval, Quantity


@dataclass(frozen=True)
class Journal:
    """The file of one sweep; `path` is None where nothing is kept."""

    path: Path | None
    plan: Plan

    @classmethod
    def of(cls, model: ModelHandle, data: DataHandle, plan: Plan, path: Path | None = None) -> Journal:
        """The journal of a plan on a model, in the store's folder or at `path` under a name of its own."""
        name = fingerprint.of_json([model.fingerprint, data.fingerprint, plan.fingerprint, code_version()])
        if path is not None:
            return cls(path.with_name(f"{path.name}.{name}.partial"), plan)
        home = folder()
        return cls(None if home is None else home / "sweeps" / f"{name}.jsonl", plan)

    def read(self) -> dict[tuple[int, ...], Spot]:
        """Every point kept, the latest of each place."""
        if self.path is None:
            return {}
        found = {}
        try:
            lines = self.path.read_bytes().splitlines()
        except OSError:
            return {}
        for line in lines:
            with contextlib.suppress(ValueError, KeyError, TypeError, TemperError):
                stated, _, content = line.partition(b" ")
                if fingerprint.of_bytes(content).encode() != stated:
                    continue
                spot = from_plain(json.loads(content))
                if self.plan.recipes.get(spot.place) == spot.recipe:
                    found[spot.place] = spot
        return found

    def write(self, spot: Spot) -> bool:
        """Keep a point; False where there is no room or no place."""
        if self.path is None:
            return False
        content = json.dumps(to_plain(spot), separators=(",", ":")).encode()
        line = fingerprint.of_bytes(content).encode() + b" " + content + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_CREAT | os.O_APPEND | os.O_RDWR, 0o600)
            try:
                end = os.lseek(handle, 0, os.SEEK_END)
                if end and os.pread(handle, 1, end - 1) != b"\n":
                    line = b"\n" + line  # the last line was torn: leave it alone
                return os.write(handle, line) == len(line)
            finally:
                os.close(handle)
        except OSError:
            return False

    def remove(self) -> None:
        """Forget the sweep."""
        if self.path is not None:
            with contextlib.suppress(OSError):
                self.path.unlink()


def to_plain(spot: Spot) -> dict[str, Any]:
    """A point as JSON values."""
    values = {
        name: [q.value, q.unit, q.how, [q.interval.low, q.interval.high] if q.interval else None, q.n]
        for name, q in spot.values.items()
    }
    drawn = {
        name: base64.b64encode(np.ascontiguousarray(v, "<f4").tobytes()).decode()
        for name, v in spot.resampled.items()
    }
    return {
        "place": list(spot.place),
        "recipe": spot.recipe.to_dict(),
        "values": values,
        "total": spot.total,
        "packed": spot.packed,
        "file": spot.file,
        "kernel": spot.kernel,
        "resampled": drawn,
        "error": spot.error,
    }


def from_plain(kept: dict[str, Any]) -> Spot:
    """A point from its JSON values. Raises `KeyError`, `TypeError`, `ValueError` or `TemperError`."""

    def quantity(parts: list[Any]) -> Quantity:
        value, unit, how, ends, n = parts
        return Quantity(value, unit, how, Interval(*ends) if ends else None, n)

    return Spot(
        place=tuple(kept["place"]),
        recipe=from_dict(kept["recipe"]),
        values={name: quantity(parts) for name, parts in kept["values"].items()},
        total=kept["total"],
        packed=kept["packed"],
        file=kept["file"],
        kernel=kept["kernel"],
        resampled={name: np.frombuffer(base64.b64decode(text), "<f4") for name, text in kept["resampled"].items()},
        error=kept["error"],
    )
