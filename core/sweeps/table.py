"""The points of a grid as one table: a row a point, named for machines."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from core.errors import TemperError
from core.sweeps.front import Front, Spot
from core.sweeps.plan import Plan


def state(spot: Spot) -> str:
    """How far a point is: `measured`, `estimated`, `failed` or `waiting`."""
    if spot.known:
        return "measured" if spot.exact else "estimated"
    return "failed" if spot.error else "waiting"


def spots_table(
    plan: Plan | None, spots: Iterable[Spot], front: Front | None = None, measures: Sequence[str] = ()
) -> pd.DataFrame:
    """One row a point, in the order given; what is not known is missing, never zero.

    Columns: the plan's parameters, `label`, `recipe` (JSON), `state`, `n` of `total` examples, each of `measures`,
    or each that any point knows, with `_low` and `_high` (fractions, nats, counts or the unit of the numbers
    predicted), `packed_bytes`, `file_bytes`, `kernel`, `latency_ms`, `on_front`, `front_share` (of resampled
    evaluation sets, members only) and `error`.
    """
    rows = list(spots)
    columns: dict[str, pd.Series] = {}
    if plan:
        for position, name in enumerate(parameter_columns(plan)):
            values = [plan.axes[position].values[spot.place[position]] for spot in rows]
            columns[name] = pd.Series(values, dtype=object).convert_dtypes()
    columns["label"] = pd.Series([spot.label for spot in rows], dtype=str)
    compact = [json.dumps(spot.recipe.to_dict(), separators=(",", ":")) for spot in rows]
    columns["recipe"] = pd.Series(compact, dtype=str)
    columns["state"] = pd.Series([state(spot) for spot in rows], dtype=str)
    columns["n"] = _whole([spot.seen if spot.known else None for spot in rows])
    columns["total"] = _whole([spot.total or None for spot in rows])
    for measure in measures or dict.fromkeys(name for spot in rows for name in spot.values):
        found = [spot.values.get(measure) for spot in rows]
        columns[measure] = _real([one.value if one else None for one in found])
        columns[f"{measure}_low"] = _real([one.interval.low if one and one.interval else None for one in found])
        columns[f"{measure}_high"] = _real([one.interval.high if one and one.interval else None for one in found])
    columns["packed_bytes"] = _whole([spot.packed for spot in rows])
    columns["file_bytes"] = _whole([spot.file for spot in rows])
    columns["kernel"] = pd.Series([spot.kernel for spot in rows], dtype=str)
    columns["latency_ms"] = _real([spot.latency for spot in rows])
    members = set(front.members) if front else set()
    columns["on_front"] = pd.Series([spot.place in members if front else None for spot in rows], dtype="boolean")
    columns["front_share"] = _real([front.share.get(spot.place) if front else None for spot in rows])
    columns["error"] = pd.Series([spot.error for spot in rows], dtype=str)
    return pd.DataFrame(columns)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as `.parquet`, else as CSV, whole or not at all. Raises `TemperError` where there is no room."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.absolute().parent, suffix=path.suffix, delete=False) as file:
            partial = Path(file.name)
        try:
            if path.suffix == ".parquet":
                table.to_parquet(partial, index=False)
            else:
                table.to_csv(partial, index=False)
            partial.chmod(0o644)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise TemperError(f"The table cannot be written to {path}: {error.strerror or error}.") from error


def parameter_columns(plan: Plan) -> list[str]:
    """The columns of the plan's parameters: their names, with the method's where two share one."""
    names = [axis.name for axis in plan.axes]
    full = [f"{axis.method}_{axis.name}" if names.count(axis.name) > 1 else axis.name for axis in plan.axes]
    return [name.replace("-", "_") for name in full]


def _whole(values: list[int | None]) -> pd.Series:
    return pd.Series(values, dtype="Int64")


def _real(values: list[float | None]) -> pd.Series:
    return pd.Series(values, dtype="Float64")
