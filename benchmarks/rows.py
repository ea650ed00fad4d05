"""What every benchmark shares: a ratio of medians, both sides taking turns in one run on one machine."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROUNDS = 5


@dataclass(frozen=True)
class Row:
    """One measured ratio: ours over the baseline, both in milliseconds."""

    what: str
    ours: float
    baseline: float
    baseline_is: str

    @property
    def ratio(self) -> float:
        """Ours as a multiple of the baseline; below 1 is faster."""
        return self.ours / self.baseline


def paired(
    ours: Callable[[], object], baseline: Callable[[], object], rounds: int = ROUNDS, uncounted: int = 1
) -> tuple[float, float]:
    """Median milliseconds of both, taking turns, after some uncounted turns each."""
    seen: tuple[list[float], list[float]] = ([], [])
    for turn in range(uncounted + rounds):
        for place, call in enumerate((ours, baseline)):
            started = time.perf_counter()
            call()
            if turn >= uncounted:
                seen[place].append(1_000 * (time.perf_counter() - started))
    return statistics.median(seen[0]), statistics.median(seen[1])


def processor() -> str:
    """The processor's name, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def load() -> float:
    """How many processes wanted to run over the last minute: above the number of cores, timings are doubtful."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
