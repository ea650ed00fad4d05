"""Runs as tables: a row a run for CSV and JSON, and several runs side by side."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from core.errors import TemperError
from core.registry import method
from core.run import SIZES, Run
from core.task import FACTS


def moment(seconds: float) -> str:
    """A time as ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def table(runs: Iterable[Run]) -> pd.DataFrame:
    """One row a run, in the order given, named for machines.

    Columns: `id`, `name`, `note`, `time` and `first` (ISO 8601, UTC), `visits`, `model` and `data` with their
    fingerprints, `notation`, `recipe` (JSON), `n`, each metric of the result with `_low`, `_high`, `_original`,
    `_change`, `_change_low` and `_change_high` (fractions, nats), `flips`, `mcnemar_p`, `detectable`, bytes and
    milliseconds of both sides, `code` and `versions`. What is not known is missing.
    """
    every = list(runs)
    metrics = [f"{name}{ending}" for name in measures(every) for ending in _ENDINGS]
    return pd.DataFrame([_row(run) for run in every], columns=[*_IDENTITY, *metrics, *_REST])


def measures(runs: Iterable[Run]) -> tuple[str, ...]:
    """The metrics that any of the runs keeps, each once; those of classes where there is no run."""
    found = dict.fromkeys(name for run in runs for name in run.measures)
    return tuple(found) or FACTS["multi-class"].stated


def _row(run: Run) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": run.id, "name": run.name, "note": run.note, "time": moment(run.time), "first": moment(run.first),
        "visits": run.visits, "model": run.model, "model_fingerprint": run.model_fingerprint, "data": run.data,
        "data_fingerprint": run.data_fingerprint, "notation": run.notation, "recipe": run.recipe,
        "recipe_fingerprint": run.recipe_fingerprint, "n": run.n,
    }  # fmt: skip
    for name in run.measures:
        for side, ending in (("result", ""), ("original", "_original"), ("change", "_change")):
            value, low, high = run.figures[side][name]
            row[f"{name}{ending}"] = value
            if side != "original":
                row |= {f"{name}{ending}_low": low, f"{name}{ending}_high": high}
    row |= {"flips": (run.figures["flips"] or {}).get("flips"), "mcnemar_p": run.figures["mcnemar_p"]}
    row["detectable"] = run.figures["detectable"]
    for part in SIZES:
        row |= {f"{part}_bytes": run.bytes(part), f"{part}_bytes_original": run.bytes(part, "original")}
    row |= {"latency_ms": run.p50(), "latency_ms_original": run.p50("original")}
    versions = json.dumps(dict(run.versions), sort_keys=True)
    return row | {"code": run.code, "versions": versions}


_ENDINGS = ("", "_low", "_high", "_original", "_change", "_change_low", "_change_high")
_IDENTITY = [
    "id", "name", "note", "time", "first", "visits", "model", "model_fingerprint", "data", "data_fingerprint",
    "notation", "recipe", "recipe_fingerprint", "n",
]  # fmt: skip
_REST = [
    "flips", "mcnemar_p", "detectable",
    *(f"{part}_bytes{side}" for part in SIZES for side in ("", "_original")),
    "latency_ms", "latency_ms_original", "code", "versions",
]  # fmt: skip


def to_csv(runs: Iterable[Run]) -> str:
    """The table as CSV. A cell that a spreadsheet would run as a formula starts with an apostrophe."""
    found = table(runs)
    for column in ("name", "note"):
        found[column] = [
            f"'{text}" if isinstance(text, str) and text[:1] in ("=", "+", "-", "@", "\t") else text
            for text in found[column]
        ]
    return found.to_csv(index=False)


def to_json(runs: Iterable[Run]) -> str:
    """A JSON array, an object a run with every figure, the recipe as an object; what is not finite is null."""
    found = []
    for run in runs:
        values = asdict(run)
        values |= {"time": moment(run.time), "first": moment(run.first), "recipe": json.loads(run.recipe)}
        found.append(_finite(values))
    return json.dumps(found, indent=2, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def comparable(runs: Sequence[Run]) -> bool:
    """Whether all runs are of one model on one data set, so that they share an original."""
    return len({(run.model_fingerprint, run.data_fingerprint) for run in runs}) <= 1


def labels(runs: Sequence[Run]) -> list[str]:
    """A different short name for each run: its label, with model, time or number where that is not enough."""
    found = [run.label for run in runs]
    if len(set(found)) < len(found) and not comparable(runs):
        found = [f"{label}, {run.title}" for label, run in zip(found, runs, strict=True)]
    seen: dict[str, int] = {}
    for place, label in enumerate(found):
        seen[label] = seen.get(label, 0) + 1
        if seen[label] > 1:
            found[place] = f"{label} ({seen[label]})"
    return found


def compare(runs: Sequence[Run]) -> pd.DataFrame:
    """Two or more runs side by side: a row a figure, for machines.

    Columns: `figure`, `unit`, then for each run (by its label) the value, and `LABEL, change`, `LABEL, low` and
    `LABEL, high`: the paired difference from the run's own original with its 95 % interval where there is one.
    Raises `TemperError` for fewer than two runs.
    """
    if len(runs) < 2:
        raise TemperError(f"A comparison needs at least two runs; got {len(runs)}.", "Select another one.")
    rows = []
    shared = [name for name in measures(runs) if all(name in run.measures for run in runs)]
    for name in shared:
        row: dict[str, Any] = {"figure": method("metric", name).title, "unit": runs[0].quantity(name).unit}
        for label, run in zip(labels(runs), runs, strict=True):
            change, low, high = run.figures["change"][name]
            row |= {label: run.quantity(name).value, f"{label}, change": change}
            row |= {f"{label}, low": low, f"{label}, high": high}
        rows.append(row)
    for title, unit, of in (
        ("Packed size", "bytes", lambda run, side: run.bytes("packed", side)),
        ("File", "bytes", lambda run, side: run.bytes("file", side)),
        ("Latency, one example", "ms", lambda run, side: run.p50(side)),
    ):
        row = {"figure": title, "unit": unit}
        for label, run in zip(labels(runs), runs, strict=True):
            after, before = of(run, "result"), of(run, "original")
            row |= {label: after, f"{label}, change": None if after is None or before is None else after - before}
            row |= {f"{label}, low": None, f"{label}, high": None}
        rows.append(row)
    return pd.DataFrame(rows)
