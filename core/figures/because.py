"""What explanations of one example in two networks come to, in words."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from core.damage.cka import NOISE
from core.damage.why import DRAWS, Distance, Why
from core.figures import words

LETTERS = 40
LIKE = 0.5  # rank correlation above which a map of weights drawn anew still looks like the original's


def target(found: Why) -> str:
    """What the score speaks for: a class in quotation marks, or a number's name."""
    name = words.cut(found.label, LETTERS)
    return f"'{name}'" if found.target is not None else (found.label and name) or "the number"


def noisy(found: Why) -> float:
    """The largest share of the attribution that noise moves."""
    return max(_moved(found.noise), default=0.0)


def sentence(found: Why) -> str:
    """How far the maps are apart, against noise."""
    scores = f"a score of {words.amount(found.before)} before and {words.amount(found.after)} after"
    moved = found.between.moved
    if moved is None:
        empty = [name for name, one in (("original", found.original), ("tempered", found.tempered))
                 if not one.values.any()]  # fmt: skip
        return f"Nothing speaks for {target(found)} in the {' and the '.join(empty)} network's map, with {scores}."
    rank = "" if found.between.rank is None else f" (rank correlation {_number(1 - found.between.rank)})"
    least = noisy(found)
    against = "more than" if moved > least else "no more than"
    return (
        f"{words.percent(moved)} of the attribution for {target(found)} lies elsewhere in the tempered network"
        f"{rank}, {against} the {words.percent(least)} that noise of {words.percent(NOISE, 0)} in the weights moves."
    )


def beside(found: Why) -> str:
    """The share that moved, beside what noise and weights drawn anew move."""
    moved = found.between.moved
    parts = [
        f"{name} {_span(some)}"
        for name, some in ((f"noise of {words.percent(NOISE, 0)} moves", _moved(found.noise)),
                           ("weights drawn anew move", _moved(found.redrawn)))
        if some
    ]  # fmt: skip
    rest = f", where {' and '.join(parts)}" if parts else ""
    if moved is None:
        return f"0 of 2 maps can be compared: one is all zero{rest}."
    return f"In the tempered network {words.percent(moved)} of the attribution lies elsewhere{rest}."


def _moved(distances: Sequence[Distance]) -> list[float]:
    return [one.moved for one in distances if one.moved is not None]


def _span(values: list[float]) -> str:
    low, high = words.percent(min(values)), words.percent(max(values))
    return low if low == high else f"{low} to {high}"


def sanity(found: Why) -> str:
    """What becomes of the original's map once the weights are drawn anew (Adebayo et al. 2018)."""
    moved = _moved(found.redrawn)
    ranks = [1 - one.rank for one in found.redrawn if one.rank is not None]
    empty = f" In {DRAWS - len(moved)} of {DRAWS} draws the map is all zero." if len(moved) < DRAWS else ""
    if not moved or not ranks:
        return f"With weights drawn anew the map is empty in {DRAWS - len(moved)} of {DRAWS} draws: it needs them."
    said = f"{words.percent(median(moved))} of the map moves, rank correlation {_number(median(ranks))}"
    if median(ranks) > LIKE:
        return (
            f"With weights drawn anew {said}: the map hardly depends on what was learned and explains little.{empty}"
        )
    return f"With weights drawn anew {said}: the map depends on what was learned.{empty}"


def how(found: Why) -> str:
    """What was explained, and the choices made."""
    name = target(found)
    score = f"the logit of {name} less the mean of the others'" if found.target is not None else name
    unit = "" if found.target is not None else found.unit
    parts = [
        f"Score: {score}, {words.amount(found.before, unit)} before and {words.amount(found.after, unit)} after, "
        "without confidence calibration.",
        f"{found.title}: {found.original.where}.",
    ]
    if found.original.total is not None and found.tempered.total is not None:
        parts.append(
            f"The parts should add up to {words.amount(found.original.total)} and "
            f"{words.amount(found.tempered.total)}; they miss that by {words.amount(abs(found.original.gap or 0.0))} "
            f"and {words.amount(abs(found.tempered.gap or 0.0))}."
        )
    if found.original.as_run:
        parts.append("Both networks as they run, activations rounded.")
    else:
        parts.append(
            "Gradients go through rounded weights and through activations that are clipped as they run but not "
            "rounded, since rounding has no gradient: the tempered score is "
            f"{words.amount(found.tempered.through)} there."
        )
    return " ".join(parts)


def distances(found: Why) -> str:
    """What the distance is and what it is held against."""
    anew = "" if found.redrawn else " Weights drawn anew are left out until they are asked for."
    return (
        "Each map is divided by the sum of its absolute values; the share is half the sum of what then differs, a "
        f"part's positive and negative attribution being two places. Noise: {DRAWS} draws of normal noise of "
        f"{words.percent(NOISE, 0)} of each layer's standard deviation on the original's weights, about what "
        f"rounding to 8 bits does. Drawn anew: {DRAWS} draws of all weights from each layer's mean and deviation "
        f"(Adebayo et al. 2018).{anew}"
    )


def line(one: Distance) -> str:
    """A distance in words, for hovering."""
    share = "no map" if one.moved is None else f"{words.percent(one.moved)} elsewhere"
    return share if one.rank is None else f"{share}, rank correlation {_number(1 - one.rank)}"


def _number(value: float) -> str:
    return f"{value:.2f}".replace("-", words.MINUS)
