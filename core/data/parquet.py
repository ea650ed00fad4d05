"""Labelled rows of a Parquet file, its sizes checked in the footer before anything is unpacked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from core.data.archive import MOST_RATIO, RATIO_FROM, broken, shown
from core.data.columns import Values
from core.data.intake import DataWish, Examples, Progress
from core.data.table import CELLS, MOST_BYTES, MOST_COLUMNS, MOST_ROWS, Piece, Table, read_table
from core.errors import TemperError

MOST_UNPACKED = 4 * 2**30
MOST_NAMES = 64 * 2**20  # bytes of a footer's longest text


@contextmanager
def _sound(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        with broken(path, "Parquet file"):
            yield
    except (pa.ArrowException, TypeError, KeyError) as error:
        with broken(path, "Parquet file"):
            raise ValueError(str(error).splitlines()[0] if str(error) else type(error).__name__) from error


def read_parquet(path: Path, wish: DataWish, progress: Progress) -> Examples:
    """Labelled rows of a Parquet file: float32 `(N, F)`. Raises `TemperError`, naming the row, counted from 1."""
    import pyarrow.parquet as pq

    with _sound(path):
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise TemperError(f"{shown(path.name)} has {size:,} bytes; at most {MOST_BYTES:,} are read.")
        footer = pq.read_metadata(path)
        _check_sizes(path.name, size, footer)
        schema = footer.schema.to_arrow_schema()
        texts = []
        for field in schema:
            kind = _kind(field.type)
            if not kind:
                raise TemperError(
                    f"Column {shown(field.name)} is of the type {shown(field.type)}; expected are numbers and texts.",
                    "Leave it out or turn it into numbers.",
                )
            if kind == "text":
                texts.append(field.name)
        names = tuple(str(name) for name in schema.names)
    order = sorted(range(len(names)), key=lambda k: not names[k].startswith("__index_level_"))[: len(names)]
    table = Table(path.name, tuple(names[k] for k in order), lambda: _pieces(path, order, texts), "row")
    return read_table(table, wish, progress)


def _check_sizes(name: str, size: int, footer: Any) -> None:
    unpacked = sum(footer.row_group(k).total_byte_size for k in range(footer.num_row_groups))
    if footer.num_columns > MOST_COLUMNS or not 0 <= footer.num_rows <= MOST_ROWS:
        raise TemperError(
            f"{shown(name)} has {footer.num_rows:,} rows and {footer.num_columns:,} columns; at most {MOST_ROWS:,} "
            f"and {MOST_COLUMNS:,} are read.",
            "Give a part of it.",
        )
    if unpacked > MOST_UNPACKED or (unpacked > RATIO_FROM and unpacked > MOST_RATIO * size):
        raise TemperError(f"{shown(name)} would unpack to {unpacked:,} bytes from {size:,}.", "Give a part of it.")


def _kind(of: Any) -> str:
    """'number', 'text' or, for what is neither, nothing."""
    from pyarrow import types

    if types.is_dictionary(of):
        return _kind(of.value_type)
    if types.is_string(of) or types.is_large_string(of):
        return "text"
    plain = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal, types.is_null)
    return "number" if any(is_one(of) for is_one in plain) else "text" if _is_time(of) else ""


def _is_time(of: Any) -> bool:
    from pyarrow import types

    return types.is_date(of) or types.is_timestamp(of) or types.is_time(of)


def _pieces(path: Path, order: list[int], texts: list[str]) -> Iterator[Piece]:
    """Rows in pieces; texts arrive as dictionaries, so that a long one repeated is held once."""
    import pyarrow.parquet as pq

    with _sound(path), pq.ParquetFile(
        path, read_dictionary=texts, pre_buffer=False, page_checksum_verification=True,
        thrift_string_size_limit=MOST_NAMES, thrift_container_size_limit=MOST_ROWS,
    ) as file:  # fmt: skip
        n, start = max(1, file.metadata.num_rows), 1
        for batch in file.iter_batches(batch_size=max(1, CELLS // len(order)), use_threads=False):
            lines = range(start, start + batch.num_rows)
            start += batch.num_rows
            yield Piece(lines, [_values(batch.column(k)) for k in order], min(1.0, start / n))


def _values(column: Any) -> Values:
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        known = [None if value is None else str(value) for value in column.dictionary.to_pylist()]
        return [None if k is None else known[k] for k in column.indices.to_pylist()]
    if _is_time(column.type):
        return [None if value is None else str(value) for value in column.cast(pa.string()).to_pylist()]
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return column.to_pylist()
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)
