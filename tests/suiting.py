"""Situations of the pictures of data and of what wrong data do, made by hand."""

from __future__ import annotations

from typing import Any

from core.data.spoiled import RIGHT, Wrong
from core.training.suitability.distance import Distance
from core.training.wrong_data import Arm
from core.types import Interval, Quantity


def distance(auc: float, frechet: float) -> Distance:
    found = Quantity(auc, "fraction", "measured", Interval(max(0.0, auc - 0.03), min(1.0, auc + 0.03)), 400)
    chance = tuple(0.46 + 0.004 * place for place in range(19))
    return Distance(found, chance, frechet, tuple(0.1 + 0.01 * place for place in range(19)), 12, 0.97, 200)


def moved(value: float, unit: str = "fraction") -> Quantity:
    return Quantity(value, unit, "measured", Interval(value - 0.01, value + 0.012), 170)


def arm(wrong: Wrong, title: str, value: float, unit: str = "fraction", lead: str = "accuracy") -> Arm:
    worse = None if wrong.kind == "right" else {lead: moved(value - 0.02, unit)}
    return Arm(wrong, title, 200, {lead: (0.9 + value, 0.91 + value)}, {lead: moved(value, unit)}, worse)


ARMS = [arm(RIGHT, "the right data", 0.02), arm(Wrong("labels"), "30 % of the labels shuffled", -0.03),
        arm(Wrong("missing"), "without Shirt <b> & coats of every kind", -0.1)]  # fmt: skip
PRICES = [arm(RIGHT, "the right data", -20.0, "", "rmse"), arm(Wrong("noise"), "all inputs noise", 900.0, "", "rmse")]
DISTANCES = {
    "as chance": {"distance": distance(0.5, 0.15)},
    "far": {"distance": distance(1.0, 40.0)},
    "nothing": {"distance": distance(0.5, 0.0)},
}
WRONG: dict[str, dict[str, Any]] = {
    "three": {"arms": ARMS, "before": {"accuracy": 0.905}, "lead": "accuracy"},
    "right alone": {"arms": ARMS[:1], "before": {"accuracy": 0.905}, "lead": "accuracy"},
    "none yet": {"arms": [], "before": {}, "lead": "accuracy"},
    "numbers": {"arms": PRICES, "before": {"rmse": 500.0}, "lead": "rmse"},
}


def situations(needed: set[str]) -> dict[str, dict[str, Any]] | None:
    """Those of a chart by what it needs."""
    return next((some for some in (DISTANCES, WRONG) if needed == set(next(iter(some.values())))), None)
