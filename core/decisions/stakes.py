"""What the two errors mean and cost by a model's card: where a decision's controls stand at rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.decisions.thresholds import Costs
from core.errors import TemperError

Stories = tuple[str, str]  # what a false alarm and what a miss means, or nothing


def costs_of_card(card: Mapping[str, Any]) -> tuple[Costs, Stories]:
    """The card's `costs` entry: `false_alarm` and `miss`, numbers, and what they mean, `false_alarm_is`, `miss_is`.

    Costs of 1 and 1 without words where the card has none. Raises `TemperError` where the entry is not of this form.
    """
    stated = card.get("costs", {})
    if not isinstance(stated, Mapping):
        raise TemperError(f"A card's costs are an object with false_alarm and miss; got {stated!r:.60}.")
    costs = Costs(stated.get("false_alarm", 1.0), stated.get("miss", 1.0))
    return costs, (str(stated.get("false_alarm_is", "")), str(stated.get("miss_is", "")))
