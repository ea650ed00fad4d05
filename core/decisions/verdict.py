"""Everything said about a binary decision: both models, thresholds from calibration, all judged on evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.decisions.brier_parts import BrierParts, brier_parts
from core.decisions.decide import (
    Decision,
    Judged,
    Rule,
    cost_difference,
    curve_of,
    judge,
    scores,
    share_difference,
    truth,
)
from core.decisions.refer import Referral, Selective, at_risk, at_share, judge_referral, selective
from core.decisions.thresholds import Curve
from core.engine.memory import RESULTS
from core.engine.statistics import interval_of
from core.registry import method
from core.types import Outcome, Quantity

AREAS = ("auroc", "average_precision")
Series = Literal["original", "tempered"]
SIDES: tuple[Series, ...] = ("original", "tempered")


@dataclass(frozen=True)
class Side:
    """One model: its curve, its decision and what else is known of it, all on the evaluation split.

    `elkan` is the same model judged at the closed form of the costs. `aurc` is the area under the risk-coverage curve
    of calling each example by its likelier class. `selective` and `referral` are of the calls
    that `decision` makes; `wished` is the smallest share to refer for the wished error, None where none does.
    """

    curve: Curve
    decision: Decision
    elkan: Decision
    areas: dict[str, Quantity]
    brier: BrierParts
    aurc: float
    selective: Selective
    referral: Referral
    wished: Referral | None


@dataclass(frozen=True)
class Verdict:
    """Original and tempered under one rule; `changes` are paired differences, tempered - original.

    Keys of `changes`: cost, sensitivity, specificity. `share` is what was asked to be referred, `risk` the most
    that may be wrong of what is decided.
    """

    judged: Judged
    rule: Rule
    share: float
    risk: float
    original: Side
    tempered: Side
    changes: dict[str, Quantity]

    def of(self, series: Series) -> Side:
        """One of the two models."""
        return self.original if series == "original" else self.tempered

    @property
    def chosen_on(self) -> int:
        """Number of calibration examples."""
        return self.judged.original_calibration.n

    @property
    def n(self) -> int:
        """Number of evaluation examples."""
        return self.judged.original.n


def verdict(judged: Judged, rule: Rule | None = None, share: float = 0.1, risk: float = 0.05) -> Verdict:
    """Choose on the calibration split and judge on the evaluation split; remembered by what it is made of.

    `share` of the calibration examples, the least sure, is referred; `risk` is the error wished for among those
    decided. Raises `TemperError`, for example where a rule needs a class that the calibration split lacks.
    """
    rule = rule or Rule()
    key = ("verdict", *judged.key, rule, share, risk)
    return RESULTS.remember(key, lambda: _verdict(judged, rule, share, risk), lambda found: 60 * found.n)


def _verdict(judged: Judged, rule: Rule, share: float, risk: float) -> Verdict:
    pairs = ((judged.original_calibration, judged.original), (judged.tempered_calibration, judged.tempered))
    original, tempered = (_side(judged, chooses, judges, rule, share, risk) for chooses, judges in pairs)
    at = original.decision.threshold, tempered.decision.threshold
    before, after = judged.original, judged.tempered
    positive = truth(after)
    changes = {
        "cost": cost_difference(before, after, at, rule.costs),
        "sensitivity": share_difference(before, after, at, positive),
        "specificity": share_difference(before, after, at, ~positive),
    }
    return Verdict(judged, rule, share, risk, original, tempered, changes)


def _side(judged: Judged, chooses: Outcome, judges: Outcome, rule: Rule, share: float, risk: float) -> Side:
    """What does not hang on the rule is remembered by itself: a slider moves the rest only."""
    made = (*judged.key, judges is judged.tempered)
    parts = RESULTS.remember(("verdict-parts", *made), lambda: _parts(chooses, judges), lambda _: 80 * judges.n)
    seen, curve, areas, brier, aurc = parts
    at = rule.choose(seen)
    seen_calls = selective(scores(chooses), truth(chooses), at)
    calls = selective(scores(judges), truth(judges), at)
    wished = at_risk(seen_calls, risk)
    return Side(
        curve,
        judge(judges, at, rule.costs),
        judge(judges, rule.costs.threshold, rule.costs),
        areas,
        brier,
        aurc,
        calls,
        judge_referral(calls, at_share(seen_calls, share)),
        None if wished is None else judge_referral(calls, wished),
    )


def _parts(chooses: Outcome, judges: Outcome) -> tuple[Curve, Curve, dict[str, Quantity], BrierParts, float]:
    areas = {}
    for name in AREAS:
        measure = method("metric", name).function
        areas[name] = Quantity(measure.of(judges), measure.unit, "measured", interval_of(name, judges), judges.n)
    climatology = float(np.mean(truth(chooses)))
    parts = brier_parts(scores(judges), truth(judges), climatology)
    return curve_of(chooses), curve_of(judges), areas, parts, selective(scores(judges), truth(judges)).area
