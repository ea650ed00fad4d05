"""A binary decision in sentences: what is called when, what that rests on, what referring would take."""

from __future__ import annotations

from core.decisions.verdict import Side, Verdict
from core.figures import words
from core.figures._binary import calls, probability, share
from core.types import Quantity

LONG = 40  # letters of a class name
FOUND = {
    "cheapest": "Each threshold is the cheapest on {n} calibration examples",
    "hand": "The threshold was set by hand",
    "sensitivity": "Each threshold is the highest that catches {wish} of {name} on {n} calibration examples",
    "specificity": "Each threshold is the lowest that leaves {wish} of {other} alone on {n} calibration examples",
}


def sentence(given: Verdict) -> str:
    """What both models do."""
    name = words.cut(given.judged.positive, LONG)
    after, before = given.tempered.decision, given.original.decision
    if after.threshold == before.threshold:
        return f"Each model {calls(after, name)}."
    was = f"from {probability(before.threshold)} on" if before.policy == "threshold" else before.policy
    return f"Tempered {calls(after, name)}; the original, {was}."


def footing(given: Verdict) -> str:
    """What the thresholds rest on and where they were judged."""
    found = FOUND[given.rule.how].format(
        n=words.count(given.chosen_on),
        wish=words.percent(given.rule.wish),
        name=words.cut(given.judged.positive, LONG),
        other=words.cut(given.judged.negative, LONG),
    )
    return f"{found}; every number is of the {words.count(given.n)} evaluation examples, which chose nothing."


def elsewhere(given: Verdict) -> str:
    """What the closed form of the costs and the two policies without a model would cost."""
    after, before = given.tempered, given.original
    return (
        f"Calibrated probabilities are cheapest cut at {probability(given.rule.costs.threshold)}: there tempered "
        f"costs {_cost(after.elkan.cost)} an example, the original {_cost(before.elkan.cost)}. Calling "
        f"{words.cut(given.judged.positive, LONG)} always costs {_cost(after.decision.always)}, never "
        f"{_cost(after.decision.never)}."
    )


def wished(given: Verdict) -> str:
    """How many to refer for the wished error, by the calibration split, and what that gives on evaluation."""
    asked = f"For at most {words.percent(given.risk)} wrong of what is decided"
    return f"{asked}: {_wished(given.tempered, 'tempered')}; {_wished(given.original, 'the original')}."


def _wished(side: Side, name: str) -> str:
    made = side.wished
    if made is None:
        return f"no share that {name} could refer reaches it on the calibration split"
    if made.risk.value is None or made.risk.interval is None:
        return f"{name} would refer everything"
    ends = words.interval(made.risk.interval.low, made.risk.interval.high)
    return f"{name} refers {share(made.referred)} and is wrong in {share(made.risk)} of the rest ({ends})"


def _cost(given: Quantity) -> str:
    return words.NOTHING if given.value is None else f"{given.value:.3f}"
