"""Refer the least sure to a person, for any number of classes: the threshold from one split, its worth on another.

Geifman and El-Yaniv 2017, arXiv 1705.08500. How sure a call is, is the probability of the predicted class.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.decisions.refer import ALL, Referral, Selective, at_risk, by_sureness, judge_referral
from core.types import Outcome


@dataclass(frozen=True)
class Referring:
    """Curves on the evaluation split, uncalibrated and calibrated, with the cut-offs that the wish asks for.

    Each cut-off, a confidence, was chosen on the calibration split so that at most `wish` of what it decides there is
    wrong; `none` and `chosen` judge it on the evaluation split. `reachable` says whether any cut-off did.
    """

    wish: float
    before: Selective
    after: Selective
    none: Referral
    chosen: Referral
    reachable: tuple[bool, bool]


def surest(outcome: Outcome) -> Selective:
    """The risk-coverage curve of an outcome's predicted classes."""
    return by_sureness(outcome.confidence, ~outcome.correct)


def referring(before: tuple[Outcome, Outcome], after: tuple[Outcome, Outcome], wish: float) -> Referring:
    """`before` and `after` calibrating: each on the calibration split, then on the evaluation split.

    Raises `TemperError` unless the wish is a share.
    """
    cuts = [at_risk(surest(one[0]), wish) for one in (before, after)]
    curves = [surest(one[1]) for one in (before, after)]
    judged = [judge_referral(curve, ALL if cut is None else cut) for curve, cut in zip(curves, cuts, strict=True)]
    return Referring(wish, curves[0], curves[1], judged[0], judged[1], (cuts[0] is not None, cuts[1] is not None))
