"""How the columns of a table become numbers: what a stream of values says about each, and the encoding it gets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.data.archive import shown
from core.errors import TemperError

MOST_VALUES = 50  # different texts of a column that still are categories
LONGEST_VALUE = 200  # characters of a category; longer is prose
MISSING = {"", "na", "n/a", "nan", "null", "none", "?", "-"}
GREATEST = float(np.finfo(np.float32).max)
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T].*)?|\d{1,2}:\d{2}(:\d{2}.*)?")

Values = Sequence[str | None] | NDArray[np.float64]  # a piece of a column: texts, or numbers with NaN where missing
Encoding = Mapping[str, Any]


class Column:
    """What was seen of one column so far; `look` takes a piece, `encoding` decides."""

    def __init__(self, name: str) -> None:
        self.name, self.numbers, self.words, self.missing, self.infinite = name, 0, 0, 0, 0
        self.first: dict[str, tuple[str, int]] = {}  # of words, missing, infinite: the value and its line
        self.values: set[str] = set()  # different values, not many more than fit

    def look(self, values: Values, lines: Sequence[int]) -> None:
        """Take values in, those of the given lines."""
        if not isinstance(values, np.ndarray):
            if len(self.values) <= MOST_VALUES:
                self.values.update(value for value in values if value is not None)
            try:
                found = np.array(list(map(float, values)), np.float64)  # type: ignore[arg-type]
            except (TypeError, ValueError):  # a text or nothing among them
                found = self._look_closely(values, lines)
        else:
            found = values
        missing, infinite = np.isnan(found), np.abs(found) > GREATEST
        for kind, which in (("missing", missing), ("infinite", infinite)):
            if which.any():
                row = int(which.argmax())
                self.first.setdefault(kind, (str(found[row]), lines[row]))
        self.missing += int(missing.sum())
        self.infinite += int(infinite.sum())
        self.numbers += len(found) - int(missing.sum())

    def _look_closely(self, values: Sequence[str | None], lines: Sequence[int]) -> NDArray[np.float64]:
        """The numbers among the values; texts and gaps are counted here."""
        found = []
        for value, line in zip(values, lines, strict=True):
            if value is None or value.strip().lower() in MISSING:
                self.missing += 1
                self.first.setdefault("missing", ("", line))
                continue
            try:
                found.append(float(value))
            except ValueError:
                self.words += 1
                self.first.setdefault("words", (value, line))
        return np.array(found, np.float64)

    def encoding(self, unit: str) -> dict[str, Any]:
        """How this column becomes numbers; `unit` is 'line' or 'row'. Raises `TemperError` where it cannot."""
        name = f"Column {shown(self.name)}"
        if self.missing:
            raise TemperError(
                f"{name} lacks {self.missing:,} value{'s' * (self.missing > 1)}, the first in {unit} "
                f"{self.first['missing'][1]:,}.",
                "Fill them, for example with the column's median, or leave those rows or the column out.",
            )
        if self.infinite:
            raise TemperError(
                f"{name} holds {self.infinite:,} value{'s' * (self.infinite > 1)} infinite or beyond float32, the "
                f"first in {unit} {self.first['infinite'][1]:,}.",
                "Replace them or leave those rows out.",
            )
        if not self.words:
            return {"kind": "number"}
        word, line = self.first["words"]
        if self.numbers >= self.words:
            raise TemperError(
                f"{name} holds numbers, but {shown(word)} in {unit} {line:,} ({self.words:,} such texts in all).",
                "Correct them, or leave the column out.",
            )
        if all(_DATE.fullmatch(value.strip()) for value in self.values):
            raise TemperError(
                f"{name} holds dates or times such as {shown(word)}, which are no features by themselves.",
                "Leave it out, or turn it into numbers such as the month or the days since a date.",
            )
        if len(self.values) > MOST_VALUES or any(len(value) > LONGEST_VALUE for value in self.values):
            raise TemperError(
                f"{name} holds text with more than {MOST_VALUES} different values, such as {shown(word)}.",
                "A model that reads texts needs its tokenizer (--tokenizer); else leave the column out or encode it "
                "as numbers.",
            )
        if {value.strip().lower() for value in self.values} <= {"true", "false"}:
            return {"kind": "boolean", "values": ["false", "true"]}
        return {"kind": "one-hot", "values": sorted(self.values)}


def features(encodings: Mapping[str, Encoding]) -> tuple[str, ...]:
    """Names of the numbers that the columns become: one a column, or one a category."""
    return tuple(
        name
        for column, encoding in encodings.items()
        for name in (
            [f"{column}={value}" for value in encoding["values"]] if encoding["kind"] == "one-hot" else [column]
        )
    )


def write(values: Values, kept: NDArray[np.int64], encoding: Encoding, out: NDArray[np.float32]) -> None:
    """Write the kept rows of a piece of a column into `out`, float32 `(kept, 1)` or one column a category."""
    if isinstance(values, np.ndarray):
        out[:, 0] = values[kept]
        return
    chosen: Sequence[Any] = values if len(kept) == len(values) else [values[k] for k in kept.tolist()]
    if encoding["kind"] == "number":
        out[:, 0] = np.array(list(map(float, chosen)))
    elif encoding["kind"] == "boolean":
        out[:, 0] = [value.strip().lower() == "true" for value in chosen]
    else:
        place = {value: k for k, value in enumerate(encoding["values"])}
        out[:] = 0
        out[np.arange(len(chosen)), [place[value] for value in chosen]] = 1
