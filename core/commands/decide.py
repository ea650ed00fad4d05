"""The decision of a binary task as JSON, for `python -m core run --costs`."""

from __future__ import annotations

from typing import Any

from core.decisions.decide import Decision, Judged, Rule
from core.decisions.refer import Referral
from core.decisions.thresholds import Costs
from core.decisions.verdict import SIDES, Side, verdict
from core.errors import TemperError
from core.types import Quantity


def costs_from_text(text: str) -> Costs:
    """Costs from `FALSE_ALARM:MISS`, such as `1:10`. Raises `TemperError`."""
    try:
        false_alarm, miss = (float(part) for part in text.split(":"))
    except ValueError:
        raise TemperError(
            f"Costs are two numbers, of a false alarm and of a miss, such as 1:10; got {text!r:.40}."
        ) from None
    return Costs(false_alarm, miss)


def decision_summary(judged: Judged, rule: Rule | None = None) -> dict[str, Any]:
    """The decision as plain values for JSON: rates are fractions, every number has its interval and n.

    A threshold of null belongs to the policy `never`. Raises `TemperError`.
    """
    rule = rule or Rule()
    found = verdict(judged, rule)
    return {
        "positive": judged.positive,
        "rule": {"how": rule.how, "chosen_on": "hand" if rule.how == "hand" else "calibration"}
        | ({"wish": rule.wish} if rule.how in ("sensitivity", "specificity") else {}),
        "costs": {"false_alarm": rule.costs.false_alarm, "miss": rule.costs.miss},
        "closed_form_threshold": rule.costs.threshold,
        "n": {"calibration": found.chosen_on, "evaluation": found.n},
        **{"result" if series == "tempered" else series: _side(found.of(series)) for series in SIDES},
        "difference": {name: _number(change) for name, change in found.changes.items()},
    }


def _side(side: Side) -> dict[str, Any]:
    parts = side.brier
    return {
        **_decision(side.decision),
        "at_closed_form": _decision(side.elkan),
        "auroc": _number(side.areas["auroc"]),
        "average_precision": _number(side.areas["average_precision"]),
        "brier_parts": {
            "score": parts.score,
            "miscalibration": parts.miscalibration,
            "discrimination": parts.discrimination,
            "uncertainty": parts.uncertainty,
            "climatology": parts.climatology,
            "skill": _number(parts.skill),
        },
        "aurc": side.aurc,
        "aurc_of_decision": side.selective.area,
        "referral": _referral(side.referral),
        "referral_for_wished_error": _referral(side.wished) if side.wished else None,
    }


def _decision(one: Decision) -> dict[str, Any]:
    rates = ("sensitivity", "specificity", "precision", "cost", "always", "never")
    return {
        "threshold": None if one.policy == "never" else one.threshold,
        "policy": one.policy,
        "counts": {name: getattr(one, name) for name in ("tp", "fp", "tn", "fn")},
        **{
            name if name not in ("always", "never") else f"cost_{name}": _number(getattr(one, name)) for name in rates
        },
    }


def _referral(one: Referral) -> dict[str, Any]:
    return {
        "referred": _number(one.referred),
        "error_of_decided": _number(one.risk),
        "error_of_all": _number(one.everyone),
    }


def _number(given: Quantity) -> dict[str, Any]:
    ends = given.interval
    found = {"value": given.value, "interval": [ends.low, ends.high] if ends else None, "n": given.n}
    return found | ({"note": given.note} if given.note else {})
