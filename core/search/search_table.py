"""The trials of a search as one table: what chose beside what judged, named for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from core.search.goal import Goal, Tried
from core.sweeps.front import better_high, front
from core.sweeps.table import spots_table


def search_table(
    goal: Goal, tried: Sequence[Tried], judged: Mapping[str, Tried], measures: Sequence[str] = ()
) -> pd.DataFrame:
    """One row a trial, in order.

    Columns: `trial`, those of `spots_table` with the measures named `choosing_...`, since they were measured on the
    choosing half of the calibration split, `within_budgets`, `lost` and `lost_error` in the measure's unit,
    `modelled_ms`, and for recipes that were judged `evaluation_MEASURE`, `evaluation_lost` with `_low` and `_high`.
    """
    inside = [one for one in tried if goal.keeps(one)]
    found = front([one.spot for one in inside], goal.measure)
    table = spots_table(None, [one.spot for one in tried], found, measures or [goal.measure])
    table = table.drop(columns=["kernel", "latency_ms", "front_share"])
    names = [
        name for measure in measures or [goal.measure] for name in (measure, f"{measure}_low", f"{measure}_high")
    ]
    table = table.rename(columns={name: f"choosing_{name}" for name in names})
    table.insert(0, "trial", pd.Series([one.spot.place[0] for one in tried], dtype="Int64"))
    error = table.pop("error")
    table["within_budgets"] = pd.Series([goal.keeps(one) for one in tried], dtype="boolean")
    known = [one if not one.spot.error else None for one in tried]
    table["lost"] = _real([one.lost if one else None for one in known])
    table["lost_error"] = _real([one.spread if one else None for one in known])
    table["modelled_ms"] = _real([one.modelled if one else None for one in known])
    verdicts = [judged.get(one.spot.recipe.fingerprint) for one in tried]
    said = [one if one and not one.spot.error else None for one in verdicts]
    table[f"evaluation_{goal.measure}"] = _real([v.spot.values[goal.measure].value if v else None for v in said])
    table["evaluation_lost"] = _real([v.lost if v else None for v in said])
    ends = [v.lost_ends(better_high(goal.measure)) if v else None for v in said]
    low, high = [e[0] if e else None for e in ends], [e[1] if e else None for e in ends]
    table["evaluation_lost_low"], table["evaluation_lost_high"] = _real(low), _real(high)
    table["error"] = error
    return table


def _real(values: list[float | None]) -> pd.Series:
    return pd.Series(values, dtype="Float64")
