"""Labelled texts of a table: one column holds them, another the labels, others may name groups."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np

from core.data.archive import shown
from core.data.columns import Values
from core.data.intake import DataWish, Examples, Progress
from core.data.marks import Coded, GroupColumn, own_split, parts_of, sorted_groups, take_labels
from core.data.table import Table, take_rows
from core.data.targets import labelled
from core.errors import TemperError

LOOKED_AT = 1_000  # rows by which the column of texts is told


def read_texts(
    table: Table, names: tuple[str, ...], label: int, grouping: list[int], wish: DataWish, progress: Progress,
    notes: tuple[str, ...],
) -> Examples:  # fmt: skip
    """Texts `(N,)` as written, with their labels. Raises `TemperError` for a column without texts and empty ones."""
    text, said = _text_column(table, names, label, grouping, wish)
    own = own_split(names, label) if own_split(names, label) != text else None
    labels, parts = Coded(names[label]), Coded("" if own is None else names[own])
    groups, lines = [GroupColumn(names[k]) for k in grouping], array("I")
    texts: list[str] = []
    size = 0
    for piece in table.pieces():
        take_rows(lines, piece, table)
        take_labels(labels, piece.columns[label], wish)
        if own is not None:
            parts.take(piece.columns[own])
        for k, column in zip(grouping, groups, strict=True):
            column.take(piece.columns[k])
        found = _as_texts(piece.columns[text], names[text])
        size += sum(map(len, found))
        if size > wish.most_bytes:
            raise TemperError(
                f"The texts of {shown(table.name)} have more than {wish.most_bytes:,} characters.", "Give a part."
            )
        texts += found
        progress(piece.share)
    _check(texts, lines, names[text], table)
    part, own_note = (None, "") if own is None else parts_of(parts)
    y, classes, more = labelled(
        list(labels.known), labels.places(), wish, f"The label column {shown(names[label])}",
        lambda row: f"{table.unit} {lines[row]:,}",
    )  # fmt: skip
    x = np.empty(len(texts), object)
    x[:] = texts
    if grouping:
        more = (*more, f"Groups: {shown(', '.join(names[k] for k in grouping), 120)} (no feature).")
    every = tuple(filter(None, (*table.notes, *notes, said, own_note, *more)))
    found_groups = sorted_groups(groups, np.arange(len(x)), set())
    return Examples(x, y, classes, "text", False, (), {}, part, every, names[label], found_groups)


def _text_column(
    table: Table, names: tuple[str, ...], label: int, grouping: list[int], wish: DataWish
) -> tuple[int, str]:
    """The place of the texts, and a note where it was guessed: the column with the most different, longest ones."""
    if wish.text is not None:
        if wish.text not in names:
            raise TemperError(
                f"{shown(table.name)} has no text column {shown(wish.text)}; it has {shown(', '.join(names), 150)}."
            )
        if names.index(wish.text) == label:
            raise TemperError(
                f"{shown(wish.text)} is taken as the label column; it cannot be the text column too.",
                "Name the label column: --label.",
            )
        return names.index(wish.text), ""
    first = next(table.pieces(), None)
    if first is None:
        raise TemperError(f"{shown(table.name)} holds no rows.", "Give at least 4 texts with their labels.")
    others = [k for k in range(len(names)) if k != label and k not in grouping]
    weights = {k: _weight(first.columns[k]) for k in others}
    if not weights or not max(weights.values()):
        listed = shown(", ".join(names[k] for k in others), 120)
        raise TemperError(
            f"{shown(table.name)} has no column of texts beside the label {shown(names[label])}: {listed}.",
            "Give a table with texts, or name the label column: --label.",
        )
    best = max(weights, key=lambda k: weights[k])
    return best, f"The texts are the column {shown(names[best])}."


def _weight(values: Values) -> int:
    """How many characters the different words among the values have together; 0 for numbers."""
    if isinstance(values, np.ndarray):
        return 0
    return sum(len(value) for value in {value for value in values[:LOOKED_AT] if value and not _number(value)})


def _number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _as_texts(values: Values, name: str) -> list[str]:
    if isinstance(values, np.ndarray):
        raise TemperError(f"The text column {shown(name)} holds numbers, not texts.", "Name another: --text.")
    return ["" if value is None else value for value in values]


def _check(texts: Sequence[str], lines: Sequence[int], name: str, table: Table) -> None:
    empty = [place for place, text in enumerate(texts) if not text.strip()]
    if empty:
        raise TemperError(
            f"The text column {shown(name)} is empty {len(empty):,} times, as in {table.unit} {lines[empty[0]]:,}.",
            "Fill these texts in or leave their rows out.",
        )
    if texts and all(map(_number, texts)):
        raise TemperError(f"The text column {shown(name)} holds numbers, not texts.", "Name another: --text.")
    if texts and len(set(texts)) == 1:
        raise TemperError(
            f"All {len(texts):,} texts of the column {shown(name)} are alike: there is nothing to tell apart.",
            "Name the column that holds the texts: --text.",
        )
