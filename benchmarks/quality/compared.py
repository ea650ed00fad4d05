"""One sample in one row: every library's offers judged, the best peer found, ours chosen and set beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.quality import ours
from benchmarks.quality.made import Made, Missing, Offer, kept
from benchmarks.quality.rows import Row
from benchmarks.quality.subject import Subject
from core.engine.compare import SIGNIFICANT
from core.engine.statistics import difference, flips, mcnemar
from core.metrics._measure import Measure
from core.recipe import Recipe
from core.registry import method
from core.types import Outcome

TOLERATED = 1.01  # bytes of ours over the best peer's: five bytes a grid more or less are no difference
Offers = Callable[[Row, Subject], list[Offer]]


@dataclass(frozen=True)
class Judged:
    """What one variant of one library came to. `value` is accuracy or RMSE, `sure` ECE or the intervals' coverage.

    `ranked` is False where some layers stayed as they were, so that it is not what the row asks for.
    """

    library: str
    variant: str
    how: str
    value: float
    sure: float
    bytes: int
    ranked: bool
    note: str = ""


@dataclass(frozen=True)
class Compared:
    """A row of the table. `difference` is ours less the best peer's, with its 95 % interval."""

    sample: str
    row: str
    peers: tuple[Judged, ...]
    missing: tuple[Missing, ...]
    plain: Judged
    chosen: Judged
    recipe: dict[str, Any]
    best: Judged | None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    mid_p: float | None = None
    higher_is_better: bool = True

    @property
    def gain(self) -> float:
        """How much better ours is than the best peer, in the metric's unit: below zero is worse."""
        assert self.difference is not None
        return self.difference if self.higher_is_better else -self.difference

    @property
    def significant(self) -> bool:
        """Whether the difference is beyond chance: McNemar's mid-p, else the paired interval."""
        if self.mid_p is not None:
            return self.mid_p < SIGNIFICANT
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a file."""
        return asdict(self)


def headline(subject: Subject) -> Measure:
    """The metric by which a sample's models are ranked."""
    return method("metric", subject.data.task.facts.headline).function


def _judge(subject: Subject, made: Made, names: tuple[str, str, str]) -> tuple[Judged, Outcome]:
    outcome = subject.outcome(made.logits, "/".join(names[:2]))
    sure = method("metric", "ece" if subject.data.task.decides else "coverage").function
    found = headline(subject).of(outcome), sure.of(outcome)
    return Judged(*names, *found, made.bytes, made.whole, made.note), outcome


def _peers(
    row: Row, subject: Subject, libraries: dict[str, Offers]
) -> tuple[list[tuple[Judged, Outcome]], list[Missing]]:
    found, missing = [], []
    for file, offers in libraries.items():
        for offer in offers(row, subject):
            if isinstance(offer, Missing):
                missing.append(offer)
                continue
            key = [subject.model.fingerprint, subject.data.fingerprint, asdict(row), offer.library, offer.name]
            try:
                made = kept(file, key, offer.make)
            except Exception as error:  # a library may fail in its own ways; the table then says how
                missing.append(Missing(offer.library, f"{offer.name} failed: {_short(error)}"))
                continue
            found.append(_judge(subject, made, (offer.library, offer.name, offer.how)))
    return found, missing


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 120 else f"{text[:117]}..."


def compared(row: Row, subject: Subject, libraries: dict[str, Offers]) -> Compared:
    """A row's comparison on one sample.

    The best peer is picked on the evaluation split, which favours the peers; ours never is.
    """
    measure = headline(subject)
    sign = 1 if measure.higher_is_better else -1
    peers, missing = _peers(row, subject, libraries)
    ranked = [pair for pair in peers if pair[0].ranked]
    best = max(ranked, key=lambda pair: (sign * pair[0].value, -pair[0].bytes), default=None)
    budget = int(best[0].bytes * TOLERATED) if best else 0
    default, recipe = ours.fitting(row, subject)[0], ours.choose(row, subject, budget)
    plain, _ = _judge(subject, ours.judged(default, subject), (ours.LIBRARY, "plain default", ours.told(default)))
    chosen, outcome = _judge(subject, ours.judged(recipe, subject), (ours.LIBRARY, "chosen", ours.told(recipe)))
    parts = (
        subject.model.id,
        row.id,
        tuple(judged for judged, _ in peers),
        tuple(missing),
        plain,
        chosen,
        recipe.to_dict(),
        best[0] if best else None,
    )
    if best is None:
        return Compared(*parts, higher_is_better=measure.higher_is_better)
    moved = difference(subject.data.task.facts.headline, best[1], outcome)
    p = mcnemar(flips(best[1], outcome)).mid_p if subject.data.task.decides else None
    between = moved.interval
    assert moved.value is not None and between is not None
    return Compared(*parts, moved.value, between.low, between.high, p, measure.higher_is_better)


def original(subject: Subject) -> Judged:
    """The untouched model."""
    return _judge(subject, ours.judged(Recipe(), subject), (ours.LIBRARY, "untouched", ""))[0]
