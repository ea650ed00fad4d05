"""`make bench-learning`, or `python -m benchmarks.learning [SEEDS]`: five seeds take over an hour on two cores.

What is done is kept in benchmarks/LEARNING.json, so that an interrupted run goes on; benchmarks/LEARNING.md follows
from it and is written after every training. Intervals over seeds are Student's, at 95 %: they speak of the order of
the examples and of the weights drawn at the start, not of other evaluation examples.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.learning import moved, recovered, runs, taught
from benchmarks.rows import processor
from core.engine.runtime import threads

TABLE = runs.KEPT.with_suffix(".md")


def main(seeds: int) -> None:
    """Measure what is not kept yet, and write the tables."""
    os.environ["TEMPER_AHEAD"] = "0"
    found = runs.kept()
    with tempfile.TemporaryDirectory() as home:
        os.environ["TEMPER_HOME"] = home  # nothing trained elsewhere may answer
        recovered.pace(found)
        found.setdefault("machine", _machine())
        asked = [*taught.runs(seeds), *moved.runs(seeds), *recovered.runs(found, seeds)]
        runs.measure(asked, found, lambda: _write(found))
        _write(found)


def _machine() -> str:
    return f"{time.strftime('%Y-%m-%d')}, {processor()}, {threads()} cores, torch {torch.__version__}"


def _write(found: dict[str, Any]) -> None:
    head = [
        "# What learning brings",
        "",
        f"`python -m benchmarks.learning`, {found['machine']}. On the evaluation split, which nothing was fitted to "
        "or chosen by; the mean over five seeds (or as many as are said) with its 95 % interval.",
    ]
    parts = ["\n".join(head), recovered.written(found), taught.written(found), moved.written(found)]
    Path(TABLE).write_text("\n\n".join(parts) + "\n", "utf-8")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
