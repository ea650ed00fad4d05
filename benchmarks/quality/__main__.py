"""`python -m benchmarks.quality [SAMPLE ...]`: compare, print, and write benchmarks/QUALITY.md and QUALITY.json.

Finished rows are kept under `.work/bench-quality`, so that a run that was broken off goes on; a changed file or
version makes what depends on it anew. With samples named, only these are compared and nothing is written.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import platform
import sys
import time
import warnings
from pathlib import Path

os.environ["TEMPER_CACHE"] = ""  # only what this run keeps by its own names counts
os.environ["TEMPER_AHEAD"] = "0"

PEERS = ("torchao", "torchao_quantize", "onnxruntime_static", "torch_pruning", "torch_prune")
HERE = Path(__file__).resolve().parent
COMMAND = "make bench-quality"


def main() -> None:
    """Compare every sample in every row."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    import torch

    from benchmarks.quality.compared import compared, original
    from benchmarks.quality.made import versions
    from benchmarks.quality.report import RULES, section, tally
    from benchmarks.quality.rows import ROWS, SAMPLES
    from benchmarks.quality.subject import Subject
    from benchmarks.rows import processor
    from core.engine.memory import RESULTS, SCORES
    from core.engine.runtime import threads

    torch.set_num_threads(threads())  # the engine asks for one; the peers compute in PyTorch
    started, asked = time.time(), tuple(sys.argv[1:]) or SAMPLES
    unknown = [name for name in asked if name not in SAMPLES]
    if unknown:
        sys.exit(f"temper: The comparison knows no sample {unknown[0]!r}; there are: {', '.join(SAMPLES)}.")
    libraries = {name: importlib.import_module(f"benchmarks.quality.{name}").offers for name in PEERS}
    sections, rows, originals = [], [], {}
    for sample in asked:
        subject = Subject.of(sample)
        found = []
        for row in (row for row in ROWS if subject.has_norms or not row.repaired):
            found.append(compared(row, subject, libraries))
            print(f"temper: {sample}, {row.title}: {time.time() - started:,.0f} s", file=sys.stderr, flush=True)
        originals[sample] = original(subject)
        facts = subject.data.task.facts.headline
        unit = subject.data.task.unit_of("target") if not subject.data.task.decides else "fraction"
        sections.append(section(sample, found, originals[sample], unit, facts.upper() if facts == "rmse" else facts))
        rows += found
        RESULTS.clear()
        SCORES.clear()
    used = ", ".join(f"{name} {number}" for name, number in versions().items())
    on = f"{processor()}, {threads()} threads, Python {platform.python_version()}"
    made = f"`{COMMAND}`, {time.strftime('%Y-%m-%d')}, on {on}; {used}."
    text = "\n\n".join(["# Compared with other libraries", made, tally(rows), RULES.rstrip(), *sections]) + "\n"
    print(text)
    if asked != SAMPLES:
        return
    facts = {"command": COMMAND, "date": time.strftime("%Y-%m-%d"), "machine": on, "versions": versions()}
    facts |= {"untouched": {name: vars(one) for name, one in originals.items()}}
    facts |= {"rows": [row.to_dict() for row in rows]}
    (HERE.parent / "QUALITY.md").write_text(text, encoding="utf-8")
    (HERE.parent / "QUALITY.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
