"""Labelled rows of a CSV file or any other table read in pieces: columns become features, one of them the label."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.data.archive import broken, shown
from core.data.columns import MOST_VALUES, Column, Values, features, write
from core.data.intake import DataWish, Examples, Progress
from core.data.marks import Coded, GroupColumn, own_split, parts_of, sorted_groups, take_labels
from core.data.splits import strata_of, stratified_part
from core.data.targets import labelled
from core.errors import TemperError

MOST_BYTES = 2**30  # of a CSV file
MOST_ROWS, MOST_COLUMNS = 5_000_000, 5_000
MOST_FEATURES = 20_000  # once texts are one column a category
MOST_LINE = 8 * 2**20  # bytes
CELLS = 200_000  # in one piece
LABELS = ("label", "target", "class", "y")
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


@dataclass(frozen=True)
class Piece:
    """Some rows: the line (or row) each began in, the values column by column, the share of the file read."""

    lines: Sequence[int]
    columns: Sequence[Values]
    share: float


@dataclass(frozen=True)
class Table:
    """A table to be read as often as needed: its name, its columns' names, and what opens it."""

    name: str
    columns: tuple[str, ...]
    pieces: Callable[[], Iterator[Piece]]
    unit: str = "line"
    notes: tuple[str, ...] = ()


def read_csv(path: Path, wish: DataWish, progress: Progress) -> Examples:
    """Labelled rows of a CSV file with a header: float32 `(N, F)`. Raises `TemperError`, naming the line."""
    with broken(path, "CSV file"):
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise TemperError(
                f"{shown(path.name)} has {size:,} bytes; at most {MOST_BYTES:,} are read.", "Give a part of it."
            )
        columns, separator = _header(path)
        _check_text(path)
    words = () if separator == "," else (f"Values are separated by {SEPARATORS[separator]}.",)
    table = Table(path.name, columns, lambda: _pieces(path, separator, len(columns), size), "line", words)
    return read_table(table, wish, progress)


def _header(path: Path) -> tuple[tuple[str, ...], str]:
    """Names of the columns and what separates values, from the first line alone."""
    with path.open("rb") as stream:
        line = stream.readline(MOST_LINE + 1)
    if len(line) > MOST_LINE:
        raise TemperError(f"The first line of {shown(path.name)} has more than {MOST_LINE:,} bytes.", "Is it a CSV?")
    try:
        text = line.decode("utf-8-sig").rstrip("\r\n").split("\r")[0]
    except UnicodeDecodeError:
        raise _not_utf8(path, 1) from None
    separator = max(SEPARATORS, key=text.count)
    try:
        names = next(csv.reader([text], delimiter=separator, strict=True, skipinitialspace=True), [])
    except csv.Error as error:
        raise TemperError(
            f"Line 1 of {shown(path.name)} cannot be read as names of columns: {error}.", "Put all names on one line."
        ) from None
    return tuple(name.strip() for name in names), separator


def _not_utf8(path: Path, line: int) -> TemperError:
    return TemperError(
        f"{shown(path.name)} is not UTF-8 in line {line:,}.", "Save it as UTF-8: iconv -f latin1 -t utf-8 IN > OUT."
    )


def _check_text(path: Path) -> None:
    """Read all bytes once: they must be UTF-8 in lines of a bearable length, or parsers would fail without a line."""
    decoder, line, since = codecs.getincrementaldecoder("utf-8")(), 1, 0
    with path.open("rb") as stream:
        while True:
            block = stream.read(2**22)
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                raise _not_utf8(path, line + block.count(b"\n", 0, error.start)) from None
            if not block:
                return
            values = np.frombuffer(block, np.uint8)
            zero = block.find(b"\0")
            if zero >= 0:
                at = line + block.count(b"\n", 0, zero)
                raise TemperError(
                    f"{shown(path.name)} holds a zero byte in line {at:,}.",
                    "Is it a text file? Save it as UTF-8.",
                )
            ends = np.flatnonzero((values == 10) | (values == 13))
            longest = int(np.diff(ends, prepend=-1 - since).max()) if len(ends) else since + len(block)
            since = len(block) - 1 - int(ends[-1]) if len(ends) else since + len(block)
            line += block.count(b"\n")
            if max(longest, since) > MOST_LINE:
                raise TemperError(
                    f"{shown(path.name)} has a line of more than {MOST_LINE:,} bytes near line {line:,}."
                )


def _pieces(path: Path, separator: str, width: int, size: int) -> Iterator[Piece]:
    step, rows, lines = max(1, CELLS // width), [], []
    with broken(path, "CSV file"), path.open("rb") as raw:
        text = io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")
        reader = csv.reader(text, delimiter=separator, strict=True, skipinitialspace=True)
        try:
            next(reader)
            line = reader.line_num + 1
            for row in reader:
                if row:
                    if len(row) != width:
                        raise TemperError(
                            f"Line {line:,} of {shown(path.name)} holds {len(row):,} values; the first line names "
                            f"{width:,} columns.",
                            "Correct that line; values with separators or line ends need quotes.",
                        )
                    rows.append(row)
                    lines.append(line)
                line = reader.line_num + 1
                if len(rows) >= step:
                    yield Piece(lines, list(zip(*rows, strict=True)), raw.tell() / size)
                    rows, lines = [], []
        except csv.Error as error:
            raise TemperError(
                f"Line {reader.line_num:,} of {shown(path.name)} cannot be read: {shown(error, 100)}.",
                "Check the quotes of that line.",
            ) from None
        if rows:
            yield Piece(lines, list(zip(*rows, strict=True)), 1.0)


def read_table(table: Table, wish: DataWish, progress: Progress) -> Examples:
    """Labelled rows as float32 `(N, F)`: once over the table to decide, once to read. Raises `TemperError`."""
    names = _checked_names(table)
    label, notes = _label(table, names, wish)
    left_out = {0} if not names[0] or names[0].startswith("__index_level_") else set()
    if left_out and label != 0:
        notes.append("The first column has no name of its own and was left out, as an index.")
    if not set(range(len(names))) - {label} - left_out:
        raise TemperError(f"{shown(table.name)} holds a label and no other column.", "Add columns with features.")
    grouping = [_named(table, names, name) for name in wish.groups]
    if label in grouping:
        raise TemperError(f"{shown(names[label])} is the label column; it cannot be a group column too.")
    if wish.texts or wish.text is not None:
        from core.data.text_table import read_texts

        return read_texts(table, names, label, grouping, wish, progress, tuple(notes))
    own = own_split(names, label)
    used = [k for k in range(len(names)) if k != label and k not in left_out]
    found = _survey(table, names, used, label, own, grouping, wish, progress)
    seen, lines = found.seen, found.lines
    part = None
    if own is not None:
        part, own_note = parts_of(found.own)
        notes.append(own_note)
        if part is not None:
            used.remove(own)
    y, classes, more = labelled(
        list(found.label.known), found.label.places(), wish, f"The label column {shown(names[label])}",
        lambda row: f"{table.unit} {lines[row]:,}",
    )  # fmt: skip
    used, more_notes = _features_of(table, used, grouping, seen, wish)
    notes += more_notes
    encodings = {names[k]: seen[k].encoding(table.unit) for k in used}
    named = features(encodings)
    if len(named) > MOST_FEATURES:
        raise TemperError(f"Encoded, the table has {len(named):,} features; at most {MOST_FEATURES:,} are read.")
    if not named:
        raise TemperError(f"{shown(table.name)} holds no column of features beside {shown(', '.join(names))}.")
    keep = wish.most_bytes // (4 * len(named))
    if keep < min(4, len(y)):
        raise TemperError(f"Fewer than four rows of {len(named):,} features fit in {wish.most_bytes:,} bytes.")
    strata = strata_of(y)
    chosen = stratified_part(strata if part is None else strata * 3 + part, keep, wish.seed)
    if len(chosen) < len(y):
        notes.append(f"{len(chosen):,} of {len(y):,} rows were kept, in proportion, to fit memory.")
    x, filled, before = np.empty((len(chosen), len(named)), np.float32), 0, 0
    widths = [len(e["values"]) if e["kind"] == "one-hot" else 1 for e in encodings.values()]
    starts = np.concatenate([[0], np.cumsum(widths)])
    for piece in table.pieces():
        end = int(np.searchsorted(chosen, before + len(piece.lines)))
        rows = chosen[filled:end] - before
        for k, start, width in zip(used, starts, widths, strict=False):
            write(piece.columns[k], rows, encodings[names[k]], x[filled:end, start : start + width])
        filled, before = end, before + len(piece.lines)
        progress(0.5 + 0.5 * piece.share)
    if filled != len(chosen):
        raise TemperError(f"{shown(table.name)} changed while it was read.", "Try again.")
    part = None if part is None else part[chosen]
    return Examples(
        x, y[chosen], classes, "table", False, named, encodings, part, (*table.notes, *notes, *more), names[label],
        sorted_groups(found.groups, chosen, {names[k] for k in used}),
    )  # fmt: skip


def _features_of(
    table: Table, used: list[int], grouping: list[int], seen: dict[int, Column], wish: DataWish
) -> tuple[list[int], list[str]]:
    """Which columns are features: of those that group, as many as the network has room for; a note says which."""
    if not grouping:
        return used, []
    widths: dict[int, int] = {}
    for k in used:
        try:
            widths[k] = len(features({"": seen[k].encoding(table.unit)}))
        except TemperError:
            if k not in grouping:
                raise
    may = [k for k in grouping if k in widths]
    room = wish.input_shape[0] if wish.input_shape is not None and len(wish.input_shape) == 1 else None
    base = sum(width for k, width in widths.items() if k not in grouping)
    every = [set(some) for n in range(len(may), -1, -1) for some in itertools.combinations(may, n)]
    fitting = [some for some in every if room == base + sum(widths[k] for k in some)]
    if len(fitting) > 1:
        told = " or ".join(shown(", ".join(names_of(some, seen)) or "none", 60) for some in fitting[:3])
        raise TemperError(
            f"The network has room for some of the group columns as features, {told}, and nothing says which.",
            "Name as groups only columns that it does not read, and copies of those that it does.",
        )
    read = fitting[0] if fitting else set(may)
    listed = [f"{shown(seen[k].name)} ({'also a feature' if k in read else 'no feature'})" for k in grouping]
    return [k for k in used if k not in grouping or k in read], [f"Groups: {', '.join(listed)}."]


def names_of(columns: Iterable[int], seen: dict[int, Column]) -> list[str]:
    """Names of some columns, in their order."""
    return [seen[k].name for k in sorted(columns)]


def _checked_names(table: Table) -> tuple[str, ...]:
    names, file = table.columns, shown(table.name)
    if len(names) > MOST_COLUMNS:
        raise TemperError(f"{file} has {len(names):,} columns; at most {MOST_COLUMNS:,} are read.", "Leave some out.")
    if len(names) < 2:
        raise TemperError(f"{file} has {len(names)} column; features and a label are needed.", "Is it a table?")
    lone = next((k for k, name in enumerate(names) if not name and k), None)
    if lone is not None:
        raise TemperError(f"Column {lone + 1:,} of {file} has no name.", "Name every column in the first line.")
    if len(set(names)) < len(names):
        double = next(name for k, name in enumerate(names) if name in names[:k])
        raise TemperError(f"{file} has two columns called {shown(double)}.", "Give each column a name of its own.")
    try:
        numbers = [float(name) for name in names if name]
    except ValueError:
        return names
    if numbers != [float(k) for k in range(int(numbers[0]), int(numbers[0]) + len(numbers))]:
        raise TemperError(
            f"The first line of {file} should name the columns; it holds numbers only.", "Add a line with names."
        )
    return names


def _label(table: Table, names: tuple[str, ...], wish: DataWish) -> tuple[int, list[str]]:
    """The place of the label column, and a note where it was guessed."""
    if wish.label is not None:
        return _named(table, names, wish.label), []
    lower = [name.lower() for name in names]
    guess = next((lower.index(name) for name in LABELS if name in lower), len(names) - 1)
    return guess, [f"The label is the column {shown(names[guess])}."]


def _named(table: Table, names: tuple[str, ...], wanted: str) -> int:
    """The place of the column of this name. Raises `TemperError` where there is none."""
    if wanted not in names:
        raise TemperError(
            f"{shown(table.name)} has no column {shown(wanted)}; it has {shown(', '.join(names), 150)}."
        )
    return names.index(wanted)


@dataclass
class _Surveyed:
    """What one look over the table found: columns, labels, parts, groups, and the line each row began in."""

    seen: dict[int, Column]
    label: Coded
    own: Coded
    groups: list[GroupColumn]
    lines: array


def _survey(
    table: Table, names: tuple[str, ...], used: list[int], label: int, own: int | None, grouping: list[int],
    wish: DataWish, progress: Progress,
) -> _Surveyed:  # fmt: skip
    found = _Surveyed(
        {k: Column(names[k]) for k in {*used, *([] if own is None else [own])}}, Coded(names[label]),
        Coded("" if own is None else names[own]), [GroupColumn(names[k]) for k in grouping], array("I"),
    )  # fmt: skip
    for piece in table.pieces():
        take_rows(found.lines, piece, table)
        take_labels(found.label, piece.columns[label], wish)
        if own is not None and len(found.own.known) <= MOST_VALUES:  # beyond, it is a feature
            found.own.take(piece.columns[own])
        for k, column in zip(grouping, found.groups, strict=True):
            column.take(piece.columns[k])
        for k, column_seen in found.seen.items():
            column_seen.look(piece.columns[k], piece.lines)
        progress(0.5 * piece.share)
    return found


def take_rows(lines: array, piece: Piece, table: Table) -> None:
    """Note the lines of a piece. Raises `TemperError` where the table has too many."""
    if len(lines) + len(piece.lines) > MOST_ROWS:
        raise TemperError(f"{shown(table.name)} has more than {MOST_ROWS:,} rows.", "Give a part of them.")
    lines.extend(piece.lines)
