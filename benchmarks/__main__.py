"""`python -m benchmarks [SECTION ...]`: measure, print, and write benchmarks/RESULTS.md.

Without a name every section is measured; with names only these, and the others stay as they were. Every row is a
ratio of medians, both sides taking turns in one run on one machine. Takes some twenty minutes in all.
"""

from __future__ import annotations

import importlib
import os
import platform
import re
import sys
import time
from pathlib import Path

import torch

from benchmarks.coverage import SAMPLES, coverage, picture, unit
from benchmarks.rows import Row, load, processor
from core.engine.memory import RESULTS, SCORES
from core.engine.runtime import threads

RESULTS_FILE = Path(__file__).with_name("RESULTS.md")
PICTURE = Path(__file__).parents[1] / "docs" / "coverage.png"
TABLES = {
    "speed": "One point",
    "grid": "A grid of 70 points",
    "sensitivity": "Layer sensitivity",
    "logits": "Calibration figures of many classes",
    "training": "An epoch of training",
    "calibration": "Calibrations of many classes",
    "browser": "In the browser",
    "beside": "While a training runs",
}
HEAD = "# Measured ratios\n\n`make bench`. Medians of both sides taking turns in one run; below 1 is faster.\n\n"
COVERAGE = "How often the estimates' intervals hold"


def table(rows: list[Row]) -> str:
    """Rows as a table."""
    lines = ["| what | ratio | ours, ms | baseline, ms | baseline |", "|---|---:|---:|---:|---|"]
    lines += [
        f"| {r.what} | {r.ours / r.baseline:.3f} | {r.ours:,.2f} | {r.baseline:,.2f} | {r.baseline_is} |"
        for r in rows
    ]
    return "\n".join(lines)


def section(name: str) -> str:
    """Measure one section and return its text."""
    os.environ["TEMPER_CACHE"] = ""  # nothing kept from yesterday
    os.environ["TEMPER_AHEAD"] = "0"
    RESULTS.clear()
    SCORES.clear()
    busy, day = load(), time.strftime("%Y-%m-%d")
    on = f"{processor()}, {threads()} threads, Python {platform.python_version()}, torch {torch.__version__}"
    head = f"Measured {day} on {on}, with a load of {busy:.1f} before the start.\n"
    if name == "coverage":
        return f"## {COVERAGE}\n\n{head}\n{_coverage()}"
    module = importlib.import_module(f"benchmarks.{name}")
    more = f"\n{module.remarks()}\n" if hasattr(module, "remarks") else ""
    return f"## {TABLES[name]}\n\n{head}\n{table(module.rows())}\n{more}"


def _coverage() -> str:
    lines = [
        "How often the interval shown held the exact value of this set, and its median half-width, over 200",
        "recipes a sample. Looks share the 5 % between them, so that all looks together should hold 95 %.",
        "Rates in points; small loss: recipes that lose at most 2 points of accuracy, or add at most 2 % to the",
        "RMSE. A set as small as breast-cancer's is evaluated whole on the screen; here looks are forced on it.",
        "",
        "| sample | measure | examples seen | held | half-width | with small loss |",
        "|---|---|---:|---:|---:|---:|",
    ]
    rows = [row for sample in SAMPLES for row in coverage(sample)]
    for row in rows:
        scale = 100 if unit(row.measure) == "fraction" else 1
        widths = [f"{scale * w:.3g}" if row.look else "" for w in (row.half_width, row.half_width_small_loss)]
        seen = f"{row.look:,}" if row.look else "all looks"
        lines.append(
            f"| {row.sample} | {row.measure} | {seen} | {100 * row.covered:.1f} % | {widths[0]} | {widths[1]} |"
        )
    picture(rows, PICTURE)
    return "\n".join(lines) + "\n\n![Share of exact values inside the intervals shown](../docs/coverage.png)\n"


def main() -> None:
    """Measure the sections named and write the report."""
    names = sys.argv[1:] or [*TABLES, "coverage"]
    titles = TABLES | {"coverage": COVERAGE}
    unknown = [name for name in names if name not in titles]
    if unknown:
        sys.exit(f"temper: There is no section {unknown[0]!r}; there are: {', '.join(titles)}.")
    kept = RESULTS_FILE.read_text(encoding="utf-8") if RESULTS_FILE.exists() else ""
    parts = {
        part.split("\n", 1)[0]: part for part in re.split(r"^(?=## )", kept, flags=re.M) if part.startswith("## ")
    }
    for name in names:
        text = section(name).rstrip() + "\n"
        print(text, flush=True)
        parts[f"## {titles[name]}"] = text
        ordered = [parts[f"## {title}"] for title in titles.values() if f"## {title}" in parts]
        head = (
            "# Measured ratios\n\n`make bench`. Medians of both sides taking turns in one run; below 1 is faster.\n\n"
        )
        RESULTS_FILE.write_text(head + "\n".join(ordered), encoding="utf-8")


if __name__ == "__main__":
    main()
