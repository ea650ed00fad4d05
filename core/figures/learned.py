"""One sentence of what a training brought."""

from __future__ import annotations

from collections.abc import Sequence

from core.figures import said, words
from core.training.gain import Gain
from core.training.loop import Look


def learned_sentence(found: Gain, looks: Sequence[Look], where: str = "") -> str:
    """For example: '60 s of learning on CPU, 2 cores, brought accuracy from 91.3 % to 92.7 %: +1.4 points [...]'."""
    lead = found.task.facts.headline
    unit = found.task.unit_of(said.unit_of(lead))
    change, left = found.change[lead], found.left[lead]
    time = f"{looks[-1].seconds:.0f} s and {looks[-1].epoch:.3g} epochs of learning" if looks else "Learning"
    time += f" on {where}" + ("," if "," in where else "") if where else ""
    sure = change.interval is not None and not change.interval.low <= 0 <= change.interval.high
    moved = f"{said.moved(change.value, unit)} {said.moved_unit(unit)}".strip()
    went = (
        f"brought {said.name(lead)} from {said.value(found.before[lead], unit)} to "
        f"{said.value(found.after[lead], unit)}: {moved}"
    )
    if change.interval is not None:
        ends = (said.moved(end, unit) for end in (change.interval.low, change.interval.high))
        went += f" [{', '.join(ends)}]"
    went += "" if sure else ", which chance alone could have done"
    gap = f"{said.moved(left.value, unit)} {said.moved_unit(unit)}".strip()
    return f"{time} {went}. Against the original: {gap}, on {words.count(found.n)} evaluation examples."
