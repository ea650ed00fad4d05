"""What a training brought, how far it is from the original, and what to do next, in words."""

from __future__ import annotations

from collections.abc import Sequence

from core.figures import said, words
from core.registry import method
from core.training.gain import Gain
from core.training.loop import Look
from core.types import Quantity

BACK = (0.005, 0.995)  # shares of what was lost that are said in per cent


def learned_sentence(found: Gain, looks: Sequence[Look]) -> str:
    """For example: '60 s and 3 epochs of learning brought accuracy from 88.3 % to 92.7 %: +4.4 points [...], 86 % of
    what was lost. Against the original: -0.7 points [...], on 2,000 evaluation examples.'"""
    lead = found.task.facts.headline
    unit = found.task.unit_of(said.unit_of(lead))
    change = found.change[lead]
    time = f"{looks[-1].seconds:.0f} s and {looks[-1].epoch:.3g} epochs of learning" if looks else "Learning"
    now = said.value(found.after[lead], unit)
    went = f"{time} brought {said.name(lead)} from {said.value(found.before[lead], unit)} to {now}"
    went += f": {_moved(change, unit)}{_back(found, lead)}"
    if not change.value:
        went = f"{time} left {said.name(lead)} at {now}"
    n = f"on {words.count(found.n)} evaluation examples"
    if found.before == found.original:
        return f"{went}, {n}."
    return f"{went}. Against the original: {_moved(found.left[lead], unit)}, {n}."


def next_step(found: Gain, calibrated: bool) -> str:
    """What to try where something is still amiss, else nothing; `calibrated` says whether the recipe calibrates."""
    lead = found.task.facts.headline
    if _worse(lead, found.change[lead]):
        return "It has lost by learning: take a lower rate, fewer epochs, or keep the best on held-back examples."
    ece = found.change.get("ece")
    if ece is not None and _worse("ece", ece) and not calibrated:
        return "Its confidence is further off than before. A calibration in the Studio brings it back into line."
    if _worse(lead, found.left[lead]):
        return "It is still behind the original: find a rate, give it more time, or let Tune find the settings."
    return ""


def _worse(name: str, change: Quantity) -> bool:
    """Whether a change is for the worse, and more than chance."""
    higher = method("metric", name).function.higher_is_better
    return _sure(change) and ((change.value or 0.0) < 0) == higher


def _sure(change: Quantity) -> bool:
    return change.interval is not None and not change.interval.low <= 0 <= change.interval.high


def _moved(change: Quantity, unit: str) -> str:
    text = f"{said.moved(change.value, unit)} {said.moved_unit(unit)}".strip()
    if change.interval is not None:
        text += f" [{said.moved(change.interval.low, unit)}, {said.moved(change.interval.high, unit)}]"
    return text if _sure(change) else f"{text}, no more than chance"


def _back(found: Gain, lead: str) -> str:
    """Which share of what was lost is back, where some surely is."""
    lost, won = found.original[lead] - found.before[lead], found.after[lead] - found.before[lead]
    if not _sure(found.change[lead]) or _worse(lead, found.change[lead]) or lost * won <= 0:
        return ""
    share = won / lost
    return f", {words.percent(share, 0)} of what was lost" if BACK[0] < share < BACK[1] else ", all that was lost"
