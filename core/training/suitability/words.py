"""A row in words: its first values by name."""

from __future__ import annotations

from html import escape

from core.data.handle import DataHandle, SplitName, load_split
from core.engine.unusual import feature_names, said

MOST = 8  # values


def row_said(data: DataHandle, split: SplitName, place: int) -> str:
    """The first values of a row of a table, escaped for HTML."""
    row = load_split(data, split).x[place]
    names = feature_names(data)[:MOST]
    return ", ".join(f"{escape(name)} {escape(said(data, k, float(row[k])))}" for k, name in enumerate(names))
