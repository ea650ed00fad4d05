"""A result as plain values: what `python -m core run --json` prints and what the screen reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.engine.compare import shown_by
from core.engine.statistics import detectable, difference, flips, mcnemar
from core.metrics._confusion import confusion_matrix
from core.recipe import Recipe
from core.registry import method
from core.sweeps.front import Front, Spot
from core.types import Latency, Ledger, Outcome, Result


def summary(result: Result, recipe: Recipe, latencies: tuple[Latency, Latency], seconds: float) -> dict[str, Any]:
    """The machine-readable form of a result: rates as fractions, times in milliseconds, sizes in bytes."""
    before, after = result.original, result.tempered
    facts = after.task.facts
    differences = {name: difference(name, before, after) for name in facts.stated}
    lead = differences[facts.headline]
    return {
        "model": result.model,
        "data": result.data,
        "n": after.n,
        "recipe": recipe.to_dict(),
        "original": _one(before, result.original_bytes, latencies[0]),
        "result": _one(after, result.bytes, latencies[1]),
        "task": after.task.to_dict(),
        "difference": {
            facts.headline: lead.value,
            "interval": _pair(lead.interval),
            **(_flips(before, after) if after.task.decides else {"detectable": shown_by(lead)}),
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


def _flips(before: Outcome, after: Outcome) -> dict[str, Any]:
    change = flips(before, after)
    test = mcnemar(change)
    return {
        "flips": change.flips,
        "wrong_to_right": change.wrong_to_right,
        "right_to_wrong": change.right_to_wrong,
        "mcnemar_p": test.mid_p,
        "mcnemar_exact_p": test.exact_p,
        "detectable": detectable(change),
    }


def front_rows(spots: Sequence[Spot], found: Front, measure: str) -> list[dict[str, Any]]:
    """The members of a front as JSON values, in order of their bytes, with the measure it is the front of."""
    by_place = {spot.place: spot for spot in spots}
    return [
        {
            "label": by_place[place].label,
            "recipe": by_place[place].recipe.to_dict(),
            measure: by_place[place].values[measure].value,
            "packed_bytes": by_place[place].packed,
            "share": found.share[place],
            "certain": place in found.certain,
        }
        for place in found.members
    ]


def _one(outcome: Outcome, size: Ledger, latency: Latency) -> dict[str, Any]:
    measured = {"p50": latency.p50, "p95": latency.p95, "batch": latency.batch}
    values = {name: method("metric", name).function.of(outcome) for name in outcome.task.facts.stated}
    return {
        **values,
        **({"confusion": confusion_matrix(outcome).tolist()} if outcome.task.decides else {}),
        "bytes": {"dense": size.dense, "packed": size.packed, "file": size.file, "compressed": size.compressed},
        "latency_ms": None if latency.p50 is None else measured,
        "latency_note": latency.note,
        "latency_batch_size": latency.batch_size,
        "latency_threads": latency.threads,
    }


def _pair(interval: Any) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]
