"""What compression forgets first, in sentences."""

from __future__ import annotations

from core.damage.exemplars import Exemplars
from core.figures import words


def summary(found: Exemplars) -> str:
    """How many exemplars there are, and how often the original is right of them."""
    count, n = len(found.places), words.count(found.n)
    if not count:
        return f"No example of {n} is called otherwise by more than half of the {found.recipes} recipes."
    noun = "example is" if count == 1 else "examples are"
    text = f"{words.count(count)} of {n} {noun} called otherwise by more than half of the {found.recipes} recipes"
    if found.right is None or found.right_others is None:
        return f"{text}."
    return (
        f"{text}; the original is right of {words.percent(found.right.value)} of them and of "
        f"{words.percent(found.right_others.value)} of the others."
    )


def claim(found: Exemplars) -> str:
    """The claim that the original is less sure of them, tested."""
    told = found.claim
    if told is None:
        return f"{len(found.places)} exemplars are too few to test whether the original is less sure of them."
    less = told.exemplars < told.others and told.p < 0.05
    verdict = "The original is less sure of them" if less else "That the original is less sure of them is not shown"
    ends = told.below.interval
    between = f" ({ends.low:.2f} to {ends.high:.2f})" if ends else ""
    return (
        f"{verdict}: median margin {told.exemplars:.3f} against {told.others:.3f}; it is less sure of an "
        f"exemplar than of another example with probability {told.below.value:.2f}{between}, rank-sum p "
        f"{words.probability(told.p)}."
    )
