"""Every metric by group: who gains and who pays, with intervals, on the same examples before and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from core.data.handle import DataHandle, SplitName, load_split
from core.engine.compare import stated
from core.engine.many import SIGNIFICANT, chance, holm
from core.engine.memory import RESULTS
from core.engine.statistics import difference
from core.errors import TemperError
from core.registry import method
from core.types import Integers, Outcome, Quantity, Result

FEW = 10  # examples of a group below which nothing is said of it


@dataclass(frozen=True)
class Group:
    """One group: its name, its number of examples, and a metric of both models with the paired change.

    The quantities are None where the group has fewer than `FEW` examples or, of a ranking, one class only.
    """

    name: str
    n: int
    original: Quantity | None
    tempered: Quantity | None
    change: Quantity | None
    sure: bool = False  # whether the change stands after Holm's correction for all groups; of all examples, by itself

    @property
    def known(self) -> bool:
        """Whether anything is said of the group."""
        return self.change is not None


@dataclass(frozen=True)
class ByGroup:
    """A metric by the groups of one column, and of all examples together, which is the first row."""

    title: str
    measure: str
    every: Group
    groups: tuple[Group, ...]

    @property
    def known(self) -> tuple[Group, ...]:
        """The groups of which something is said."""
        return tuple(group for group in self.groups if group.known)


def by_group(data: DataHandle, result: Result, title: str, measure: str) -> ByGroup:
    """A stated metric of a result by the groups of the column `title` of the evaluation split, remembered.

    Intervals are those of the group's own examples; changes are paired. Whether a change is sure is told by its
    normal deviate after Holm's correction over the groups (Holm 1979). Raises `TemperError` for an unknown
    column and for a metric of another task.
    """
    task = result.tempered.task
    if task.kind not in method("metric", measure).tasks:
        raise TemperError(
            f"'{measure}' does not speak of a {task.kind} model, as '{data.id}' is.",
            f"Take {', '.join(task.facts.stated)}.",
        )
    made = result.tempered.provenance
    key = ("groups", made.model, made.data, made.recipe, title, measure)
    return RESULTS.remember(key, lambda: _by_group(data, result, title, measure), lambda _: 5_000)


def _by_group(data: DataHandle, result: Result, title: str, measure: str) -> ByGroup:
    names, of = column_of(data, title, "evaluation")
    before, after = result.original, result.tempered
    rows = [_group(name, before, after, of == place, measure) for place, name in enumerate(names)]
    every = _group("all", before, after, np.ones(len(of), bool), measure)
    alone = every.change is not None and chance(every.change) <= SIGNIFICANT
    return ByGroup(title, measure, replace(every, sure=alone), tuple(_corrected(rows)))


def column_of(data: DataHandle, title: str, name: SplitName) -> tuple[tuple[str, ...], Integers]:
    """The groups' names of a column, and each example's group on a split, int64 `(N,)`. Raises `TemperError`."""
    column = next((one for one in data.groups if one.title == title), None)
    of = load_split(data, name).groups.get(title)
    if column is None or of is None:
        have = ", ".join(one.title for one in data.groups) or "none"
        raise TemperError(f"The data set '{data.id}' has no groups called {title!r:.60}; it has: {have}.")
    return column.names, of


def _group(name: str, before: Outcome, after: Outcome, inside: NDArray[np.bool_], measure: str) -> Group:
    n = int(inside.sum())
    ranked = measure in ("auroc", "average_precision") and len(np.unique(after.labels[inside])) < 2
    if n < FEW or ranked:
        return Group(name, n, None, None, None)
    old, new = part(before, inside), part(after, inside)
    return Group(name, n, stated(measure, old), stated(measure, new), difference(measure, old, new))


def part(outcome: Outcome, inside: NDArray[np.bool_]) -> Outcome:
    """An outcome's examples where `inside` `(N,)`."""
    return replace(
        outcome, logits=outcome.logits[inside], predicted=outcome.predicted[inside], labels=outcome.labels[inside]
    )


def _corrected(rows: list[Group]) -> list[Group]:
    """The groups with `sure` set, by Holm's correction for all that are known."""
    known = [(k, row.change) for k, row in enumerate(rows) if row.change is not None]
    for (k, _), sure in zip(known, holm([chance(change) for _, change in known]), strict=True):
        rows[k] = replace(rows[k], sure=sure)
    return rows


def group_rows(found: ByGroup) -> list[Mapping[str, object]]:
    """The groups as JSON values: rates as fractions, None where nothing is said."""

    def ends(quantity: Quantity | None) -> list[float] | None:
        return [quantity.interval.low, quantity.interval.high] if quantity and quantity.interval else None

    return [
        {
            "group": row.name,
            "n": row.n,
            "original": row.original.value if row.original else None,
            "result": row.tempered.value if row.tempered else None,
            "interval": ends(row.tempered),
            "difference": row.change.value if row.change else None,
            "difference_interval": ends(row.change),
            "sure": row.sure,
        }
        for row in (found.every, *found.groups)
    ]
