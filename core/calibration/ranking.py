"""Confidence calibrations in the order of a measure, each with its paired difference to none and to the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from core.calibration.calibration_lab import NONE, Entry
from core.engine.many import SIGNIFICANT, chance, holm
from core.engine.memory import RESULTS
from core.engine.runtime import Progress
from core.engine.statistics import Flips, difference, flips, interval_of
from core.errors import TemperError
from core.registry import method
from core.task import LEVEL, TaskKind
from core.types import Outcome, Quantity

JUDGES: dict[str, tuple[str, ...]] = {
    "classes": (
        "nll", "brier", "ece", "ece_equal_mass", "ece_debiased", "ece_smooth", "ks_calibration", "mce",
        "classwise_ece_mean", "classwise_ece_sum", "sharpness", "accuracy",
    ),
    "numbers": ("interval_score", "coverage", "interval_width"),
}  # fmt: skip


def judges(kind: TaskKind) -> tuple[str, ...]:
    """The measures that calibrations of a task can be ranked by, the proper score first."""
    return JUDGES["numbers" if kind == "regression" else "classes"]


@dataclass(frozen=True)
class Standing:
    """One entry judged by one measure; differences are this one minus the other, on the same examples.

    `flips` counts predicted classes that differ from the uncalibrated model's, None for numbers; `accuracy` is the
    paired change of accuracy, None where no class changed. `sure` says whether the difference to none stands after
    Holm's correction for all methods, `behind` whether that to the best does with every pair of methods counted,
    since the same numbers chose the best.
    """

    entry: Entry
    value: Quantity
    from_none: Quantity
    from_best: Quantity
    flips: Flips | None
    accuracy: Quantity | None
    sure: bool = False
    behind: bool = False


@dataclass(frozen=True)
class Ranking:
    """Entries by a measure, the best first; `failed` are those that could not be fitted."""

    measure: str
    rows: tuple[Standing, ...]
    failed: tuple[Entry, ...]

    @property
    def best(self) -> Standing:
        """The first."""
        return self.rows[0]

    @property
    def tied(self) -> tuple[Standing, ...]:
        """The others whose difference to the best is within chance."""
        return tuple(row for row in self.rows[1:] if not row.behind)

    def find(self, name: str) -> Standing | None:
        """The row of a method, None where there is none."""
        return next((row for row in self.rows if row.entry.name == name), None)


def rank(
    entries: Sequence[Entry], measure: str, key: tuple[str, ...] = (), progress: Progress | None = None
) -> Ranking:
    """Rank the entries on the evaluation split, where none was fitted. `key` names the material, to be remembered.

    Coverage is best where it is nearest to the level claimed. Raises `TemperError` where nothing could be judged.
    """
    kept = [(entry, entry.outcome) for entry in entries if entry.outcome is not None]
    none = next((outcome for entry, outcome in kept if entry.name == NONE), None)
    if none is None:
        raise TemperError("A ranking needs the uncalibrated model beside the calibrations; got none.")
    values = {entry.name: _value(measure, outcome) for entry, outcome in kept}
    kept.sort(key=lambda pair: badness(measure, values[pair[0].name]))
    best = kept[0]
    rows = []
    for place, (entry, outcome) in enumerate(kept):
        if progress is not None:
            progress(place / len(kept))

        def judge(entry: Entry = entry, outcome: Outcome = outcome) -> Standing:
            return _standing(measure, entry, outcome, none, best[1], values[entry.name])

        if key:
            place_of = ("ranked", *key, measure, entry.name, best[0].name)
            rows.append(RESULTS.remember(place_of, judge, lambda _: 2_000))
        else:
            rows.append(judge())
    return Ranking(measure, corrected(rows), tuple(entry for entry in entries if entry.outcome is None))


def corrected(rows: Sequence[Standing]) -> tuple[Standing, ...]:
    """The rows with `sure` and `behind` set for as many as there are.

    Of the uncalibrated model, which was not chosen, one answer holds: it is behind the best, or the others behind it,
    where the difference to none is sure.
    """
    others = [k for k, row in enumerate(rows) if row.entry.name != NONE]
    sure = dict(zip(others, holm([chance(rows[k].from_none) for k in others]), strict=True))
    pairs = max(1, len(others) * (len(others) - 1) // 2)
    found = []
    for k, row in enumerate(rows):
        if NONE in (row.entry.name, rows[0].entry.name):
            behind = k > 0 and sure.get(k if row.entry.name != NONE else 0, False)
        else:
            behind = k > 0 and chance(row.from_best) <= SIGNIFICANT / pairs
        found.append(replace(row, sure=sure.get(k, False), behind=behind))
    return tuple(found)


def _value(measure: str, outcome: Outcome) -> float:
    return float(method("metric", measure).function.of(outcome))


def badness(measure: str, value: float) -> float:
    """What calibrations are sorted by, the smallest first."""
    if measure == "coverage":
        return abs(value - LEVEL)
    return -value if method("metric", measure).function.higher_is_better else value


def _standing(measure: str, entry: Entry, outcome: Outcome, none: Outcome, best: Outcome, value: float) -> Standing:
    unit = outcome.task.unit_of(method("metric", measure).function.unit)
    quantity = Quantity(value, unit, "measured", interval_of(measure, outcome), outcome.n)
    changed = flips(none, outcome) if outcome.task.decides else None
    accuracy = difference("accuracy", none, outcome) if changed and changed.flips else None
    from_none = difference(measure, none, outcome)
    from_best = from_none if best is none else difference(measure, best, outcome)
    return Standing(entry, quantity, from_none, from_best, changed, accuracy)
