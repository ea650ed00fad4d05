"""A result as plain values: what `python -m core run --json` prints and what the screen reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.engine.front import Front, Spot
from core.engine.statistics import detectable, difference, flips, mcnemar
from core.metrics._confusion import confusion_matrix
from core.recipe import Recipe
from core.registry import method
from core.types import Latency, Ledger, Outcome, Result

STATED = ("accuracy", "macro_f1", "ece", "nll", "brier")


def summary(result: Result, recipe: Recipe, latencies: tuple[Latency, Latency], seconds: float) -> dict[str, Any]:
    """The machine-readable form of a result: rates as fractions, times in milliseconds, sizes in bytes."""
    before, after = result.original, result.tempered
    change = flips(before, after)
    test = mcnemar(change)
    differences = {name: difference(name, before, after) for name in STATED}
    return {
        "model": result.model,
        "data": result.data,
        "n": after.n,
        "recipe": recipe.to_dict(),
        "original": _one(before, result.original_bytes, latencies[0]),
        "result": _one(after, result.bytes, latencies[1]),
        "difference": {
            "accuracy": differences["accuracy"].value,
            "interval": _pair(differences["accuracy"].interval),
            "flips": change.flips,
            "wrong_to_right": change.wrong_to_right,
            "right_to_wrong": change.right_to_wrong,
            "mcnemar_p": test.mid_p,
            "mcnemar_exact_p": test.exact_p,
            "detectable": detectable(change),
            "metrics": {
                name: {"difference": d.value, "interval": _pair(d.interval)} for name, d in differences.items()
            },
        },
        "fitted": [dict(learned) for learned in result.fitted],
        "warnings": list(result.warnings),
        "provenance": {
            "model": after.provenance.model,
            "data": after.provenance.data,
            "recipe": recipe.fingerprint,
            "seed": recipe.seed,
            "backend": after.provenance.backend,
            "versions": dict(after.provenance.versions),
            "seconds": seconds,
        },
        "estimated": False,
    }


def front_rows(spots: Sequence[Spot], found: Front) -> list[dict[str, Any]]:
    """The members of a front as JSON values, in order of their bytes; accuracy as a fraction."""
    by_place = {spot.place: spot for spot in spots}
    return [
        {
            "label": by_place[place].label,
            "recipe": by_place[place].recipe.to_dict(),
            "accuracy": by_place[place].values["accuracy"].value,
            "packed_bytes": by_place[place].packed,
            "share": found.share[place],
            "certain": place in found.certain,
        }
        for place in found.members
    ]


def _one(outcome: Outcome, size: Ledger, latency: Latency) -> dict[str, Any]:
    measured = {"p50": latency.p50, "p95": latency.p95, "batch": latency.batch}
    values = {name: method("metric", name).function.value(outcome.probabilities, outcome.labels) for name in STATED}
    return {
        **values,
        "confusion": confusion_matrix(outcome).tolist(),
        "bytes": {"dense": size.dense, "packed": size.packed, "file": size.file, "compressed": size.compressed},
        "latency_ms": None if latency.p50 is None else measured,
        "latency_note": latency.note,
        "latency_batch_size": latency.batch_size,
        "latency_threads": latency.threads,
    }


def _pair(interval: Any) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]
