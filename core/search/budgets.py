"""Budgets as people say them, made into a goal: a share of the original's bytes, points lost, a worst value."""

from __future__ import annotations

from core.data.handle import DataHandle
from core.deploy.devices import device
from core.engine.evaluate import evaluate, size
from core.engine.network import load_network
from core.errors import TemperError
from core.models.handle import ModelHandle
from core.recipe import Recipe
from core.registry import method
from core.search.goal import Goal
from core.search.rehearse import rehearsal

PERCENT = 100  # of a rate's points, and of a share


def goal_of(
    model: ModelHandle,
    data: DataHandle,
    most_bytes: int | None = None,
    lost: float | None = None,
    limit: float | None = None,
    most_ms: float | None = None,
    on: str = "",
) -> Goal:
    """The goal over the task's leading metric.

    `lost` is in points where the metric is a rate, else in per cent of the original's value on the examples that
    choose; `limit` in per cent of a rate, else in the metric's unit. Raises `TemperError`.
    """
    lead = data.task.facts.headline
    declared = method("metric", lead).function
    rate = declared.unit == "fraction"
    if on:
        device(on)
    if lost is not None and lost:
        before = 1.0 if rate else abs(float(declared.of(evaluate(model, rehearsal(data), Recipe()).original)))
        lost = lost / PERCENT * before
    if limit is not None and rate:
        if not 0 <= limit <= PERCENT:
            raise TemperError(f"The worst {declared_title(lead)} is a number from 0 to 100 per cent; got {limit:g}.")
        limit /= PERCENT
    return Goal(lead, most_bytes, lost, limit, most_ms, on)


def declared_title(measure: str) -> str:
    """The metric's name for people, in small letters."""
    return method("metric", measure).title.lower()


def original_bytes(model: ModelHandle) -> int:
    """Packed bytes of the untouched model."""
    return size(load_network(model)).packed
