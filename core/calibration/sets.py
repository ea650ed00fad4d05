"""Conformal prediction sets: the classes that cannot be ruled out, so that the truth is among them as often as asked.

Thresholds come from examples that fitted nothing else, sets are judged on the evaluation split. LAC: Sadinle et al.
2019, doi 10.1080/01621459.2017.1395341; APS: Romano et al. 2020, arXiv 2006.02544; RAPS: Angelopoulos et al. 2021,
arXiv 2009.14193; by class or group (Mondrian): Vovk et al. 2005, doi 10.1007/b106715.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from core.blocks import by_blocks
from core.calibrators.conformal import rank
from core.decisions.decide import rate
from core.engine.statistics import LEVEL, NORMAL
from core.errors import TemperError
from core.types import Floats, Integers, Interval, Quantity

Score = Literal["lac", "aps", "raps"]
By = Literal["all", "class", "group"]
SCORES: tuple[Score, ...] = ("lac", "aps", "raps")
BY: tuple[By, ...] = ("all", "class", "group")
UNKNOWN = "not stated"  # of an example without a group
UNLIKE = 0.001  # chance of so few hits, for all thresholds together, below which the splits are called unlike


@dataclass(frozen=True)
class Rule:
    """How sets are made: the score, the share `level` that is to hold the truth, and for whom it is to hold.

    `randomised` lets a seeded draw decide whether the last class belongs to APS and RAPS sets, which makes them no
    larger than they must be. RAPS adds `penalty` for each class beyond the first `free`; both are given, not tuned
    on the examples that set the threshold, as that would break the guarantee. Raises `TemperError`.
    """

    score: Score = "aps"
    level: float = 0.9
    randomised: bool = False
    by: By = "all"
    penalty: float = 0.01
    free: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.score not in SCORES or self.by not in BY:
            raise TemperError(
                f"Sets are made by {', '.join(SCORES)} for {', '.join(BY)}; "
                f"got {self.score!r:.40} for {self.by!r:.40}."
            )
        if not (isinstance(self.level, int | float) and 0 < self.level < 1):
            raise TemperError(f"The share of sets with the truth must lie between 0 and 1; got {self.level!r:.40}.")
        if not (math.isfinite(self.penalty) and self.penalty >= 0 and self.free >= 0):
            raise TemperError(
                f"RAPS takes a penalty and a number of free classes of at least 0; "
                f"got {self.penalty} and {self.free}."
            )
        if self.randomised and self.score == "lac":
            raise TemperError("LAC has no last class to draw about.", "Randomise APS or RAPS.")


@dataclass(frozen=True)
class Examples:
    """What sets are made of: probabilities float64 `(N, C)`, labels and, where there are groups, theirs `(N,)`.

    A group below 0 is not stated.
    """

    probabilities: Floats
    labels: Integers
    groups: Integers | None = None

    def __post_init__(self) -> None:
        p, n = self.probabilities, len(self.labels)
        if p.ndim != 2 or p.shape[1] < 2 or self.labels.shape != (len(p),) or not n:
            raise TemperError(
                f"Sets need probabilities (N, C), C at least 2, with N labels; got {p.shape} and {self.labels.shape}."
            )
        if not (np.isfinite(p).all() and p.min() >= 0 and np.abs(p.sum(1) - 1).max() < 1e-6):
            raise TemperError("Sets need probabilities: rows of finite numbers, none below 0, that sum to 1.")
        if self.labels.min() < 0 or self.labels.max() >= p.shape[1]:
            raise TemperError(
                f"Sets need labels from 0 to {p.shape[1] - 1}; they run from {self.labels.min()} to "
                f"{self.labels.max()}."
            )
        if self.groups is not None and self.groups.shape != self.labels.shape:
            raise TemperError(f"Sets by group need a group an example; got {self.groups.shape} for {n}.")


@dataclass(frozen=True)
class Part:
    """A threshold, whom it is for, and on how many examples it rests; infinite where they are too few to rule out."""

    name: str
    threshold: float
    n: int


@dataclass(frozen=True)
class Sets:
    """The evaluation split's sets, and how they were made.

    `inside` bool `(N, C)` says which classes are in each example's set. `caveats` are sentences.
    """

    rule: Rule
    classes: tuple[str, ...]
    parts: tuple[Part, ...]
    inside: NDArray[np.bool_]
    labels: Integers
    groups: Integers | None = None
    group_names: tuple[str, ...] = ()
    caveats: tuple[str, ...] = field(default=())

    @property
    def n(self) -> int:
        """Number of examples judged."""
        return len(self.labels)

    @property
    def covered(self) -> NDArray[np.bool_]:
        """Whether each set holds the truth, `(N,)`."""
        return self.inside[np.arange(self.n), self.labels]

    @property
    def sizes(self) -> Integers:
        """Classes in each set, `(N,)`."""
        return self.inside.sum(1, dtype=np.int64)

    @property
    def histogram(self) -> Integers:
        """Number of sets of each size from 0 to C, `(C + 1,)`."""
        return np.bincount(self.sizes, minlength=self.inside.shape[1] + 1)

    @property
    def coverage(self) -> Quantity:
        """The share of sets with the truth, with Wilson's interval over these examples."""
        return rate(int(self.covered.sum()), self.n, "there is no example")

    @property
    def empty(self) -> Quantity:
        """The share of sets with no class at all."""
        return rate(int((self.sizes == 0).sum()), self.n, "there is no example")

    @property
    def single(self) -> Quantity:
        """The share of sets with one class."""
        return rate(int((self.sizes == 1).sum()), self.n, "there is no example")

    @property
    def mean_size(self) -> Quantity:
        """The mean number of classes in a set, with a normal interval."""
        mean, half = float(self.sizes.mean()), NORMAL * float(self.sizes.std()) / self.n**0.5
        return Quantity(mean, "classes", "measured", Interval(max(mean - half, 0.0), mean + half, LEVEL), self.n)

    @property
    def by_class(self) -> tuple[Quantity, ...]:
        """The share of sets with the truth among the examples of each class; no value where there are none."""
        return _shares(self.covered, self.labels, len(self.classes))

    @property
    def by_group(self) -> tuple[Quantity, ...]:
        """The same for each of `group_names`; empty where there are no groups."""
        return () if self.groups is None else _shares(self.covered, self.groups, len(self.group_names))


def _shares(covered: NDArray[np.bool_], of: Integers, many: int) -> tuple[Quantity, ...]:
    hits, counts = np.bincount(of, covered, many), np.bincount(of, minlength=many)
    return tuple(rate(int(h), int(n), "no example here") for h, n in zip(hits, counts, strict=True))


def conformal_sets(
    calibration: Examples,
    evaluation: Examples,
    rule: Rule,
    classes: Sequence[str] = (),
    group_names: Sequence[str] = (),
) -> Sets:
    """The sets of `evaluation`, their thresholds from `calibration`. Raises `TemperError`.

    Each threshold is the ceil((n + 1) level)-th smallest score of its n examples. On exchangeable new ones the truth
    is then in the set in at least that share of cases, and where scores differ in at most 1 / (n + 1) more; with too
    few examples for that score to exist nothing can be ruled out. By class or group this holds within each.
    """
    many = calibration.probabilities.shape[1]
    if evaluation.probabilities.shape[1] != many:
        raise TemperError(
            f"Both splits must have the same classes; got {many} and {evaluation.probabilities.shape[1]}."
        )
    names = tuple(classes) or tuple(f"class {k}" for k in range(many))
    if len(names) != many:
        raise TemperError(f"Sets need a name for each of {many} classes; got {len(names)}.")
    told, (here, there) = _groups(calibration.groups, evaluation.groups, group_names)
    if rule.by == "group" and (here is None or there is None):
        raise TemperError("Sets by group need each example's group in both splits.", "Take all or class.")
    draws = np.random.default_rng(rule.seed)
    seen = scores(calibration.probabilities, rule, draws)
    own = seen[np.arange(len(seen)), calibration.labels]
    new = scores(evaluation.probabilities, rule, draws)
    if rule.by == "class":
        parts = tuple(_part(name, own[calibration.labels == k], rule.level) for k, name in enumerate(names))
        bound = np.array([part.threshold for part in parts])[None]
    elif rule.by == "group" and here is not None and there is not None:
        parts = tuple(_part(name, own[here == k], rule.level) for k, name in enumerate(told))
        bound = np.array([part.threshold for part in parts])[there][:, None]
    else:
        parts = (_part("all", own, rule.level),)
        bound = np.array([[parts[0].threshold]])
    made = Sets(rule, names, parts, new <= bound, evaluation.labels, there, told, _caveats(parts, rule))
    return replace(made, caveats=(*made.caveats, *_unlike(made)))


def scores(p: Floats, rule: Rule, draws: np.random.Generator | None = None) -> Floats:
    """How strange each class would be for each example, float64 `(N, C)`, of probabilities `(N, C)`.

    LAC: 1 - p. APS: the sum of all likelier classes' p, plus the class's own, or a drawn share of it where the rule
    is randomised, one draw an example. RAPS: as APS, plus the penalty for each rank beyond the free ones. Of equally
    likely classes the first counts as the likelier.
    """
    if rule.score == "lac":
        return 1 - p
    drawn = (draws or np.random.default_rng(rule.seed)).random((len(p), 1)) if rule.randomised else None

    def part(block: slice) -> Floats:
        mine = p[block]
        order = np.argsort(-mine, axis=1, kind="stable")
        rising = np.take_along_axis(mine, order, 1)
        total = np.cumsum(rising, 1)
        total /= total[:, -1:]  # all classes together are 1 to the last bit: rounding would part what is tied there
        if drawn is not None:
            total -= (1 - drawn[block]) * rising
        if rule.score == "raps":
            total += rule.penalty * np.maximum(0, np.arange(1, mine.shape[1] + 1) - rule.free)
        made = np.empty_like(mine)
        np.put_along_axis(made, order, total, 1)
        return made

    return np.concatenate(by_blocks(part, len(p), p.shape[1]))


def threshold(own: Floats, level: float) -> float:
    """The ceil((n + 1) level)-th smallest of the truths' scores `(n,)`, infinite where there are fewer."""
    place = rank(len(own), level)
    return float(np.partition(own, place - 1)[place - 1]) if place <= len(own) else math.inf


def _unlike(made: Sets) -> tuple[str, ...]:
    """A sentence where a threshold's sets miss the truth more often than chance allows.

    On exchangeable examples the number of hits is at least beta-binomial: the k-th of n scores is beta distributed.
    """
    if made.rule.by == "class":
        of = made.labels
    elif made.rule.by == "group" and made.groups is not None:
        of = made.groups
    else:
        of = np.zeros(made.n, np.int64)
    found = []
    for place, part in enumerate(made.parts):
        hits, k = made.covered[of == place], rank(part.n, made.rule.level)
        if k <= part.n and len(hits):
            chance = float(stats.betabinom.cdf(hits.sum(), len(hits), k, part.n + 1 - k))
            if chance < UNLIKE / len(made.parts):
                found.append(part.name)
    if not found:
        return ()
    where = "" if made.rule.by == "all" else f" for {', '.join(found[:3])}"
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return (
        f"Sets hold the truth less often than chance allows{where}{more}: the examples that set the threshold and "
        "those judged are not alike.",
    )


def _part(name: str, own: Floats, level: float) -> Part:
    return Part(name, threshold(own, level), len(own))


def _groups(
    here: Integers | None, there: Integers | None, names: Sequence[str]
) -> tuple[tuple[str, ...], tuple[Integers | None, Integers | None]]:
    """Names of groups, and those of both splits' examples with one of their own for what is not stated."""
    if here is None or there is None:
        return (), (None, None)
    both = np.concatenate([here, there]).astype(np.int64)
    told = tuple(names) or tuple(f"group {k}" for k in range(int(both.max()) + 1))
    if both.max() >= len(told):
        raise TemperError(f"Groups must lie below {len(told)}, the number of their names; got {both.max()}.")
    if (both < 0).any():
        both, told = np.where(both < 0, len(told), both), (*told, UNKNOWN)
    return told, (both[: len(here)], both[len(here) :])


def _caveats(parts: tuple[Part, ...], rule: Rule) -> tuple[str, ...]:
    open_ = [part for part in parts if part.threshold == math.inf]
    if not open_:
        return ()
    needed = next(n for n in range(1, 1_000_000) if rank(n, rule.level) <= n) if rule.level < 0.999999 else 1_000_000
    most = max(part.n for part in open_)
    if rule.by == "all":
        return (f"The threshold would need {needed:,} examples and has {most:,}: every set holds every class.",)
    of = ", ".join(part.name for part in open_[:3]) + (f" and {len(open_) - 3} more" if len(open_) > 3 else "")
    says = "is in every set" if rule.by == "class" else "gets every class"
    return (f"A threshold needs {needed:,} examples; {of} has at most {most:,}, so that it {says}.",)
