"""What timed calls say: quantiles with intervals, throughput, the share in time, and how two models compare."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from scipy import special

from core.engine.statistics import LEVEL, wilson
from core.errors import TemperError
from core.types import Floats, Interval, Quantity

Side = Literal["original", "tempered"]
SIDES: tuple[Side, ...] = ("original", "tempered")
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
LONGEST_DEADLINE = 3_600_000.0  # milliseconds: an hour


def quantile(values: Floats, q: float) -> Quantity:
    """The `q` quantile of call times `(N,)` in milliseconds: a call that was seen, the ceil(N q)-th shortest.

    The interval is between two calls that were seen, too: of N independent calls the number below the true quantile
    is binomial (Hahn and Meeker 1991, Statistical intervals, 5.2). With few calls no call is long enough to bound a
    high quantile; then there is no interval and `note` says how many calls it takes.
    """
    ordered = np.sort(np.asarray(values, np.float64))
    n = len(ordered)
    value = float(ordered[_place(n, q)])
    bounds = ranks(n, q)
    if bounds is None:
        return Quantity(value, "ms", "measured", None, n, f"An interval takes {least_calls(q)} calls; here are {n}.")
    low, high = bounds
    return Quantity(value, "ms", "measured", Interval(float(ordered[low - 1]), float(ordered[high - 1]), LEVEL), n)


def _place(n: int, q: float) -> int:
    """Index of the ceil(n q)-th of n; the smallest error of the product must not pass to the next."""
    return min(n - 1, max(0, math.ceil(n * q - 1e-9) - 1))


def ranks(n: int, q: float) -> tuple[int, int] | None:
    """Ranks, from 1, of the two ordered calls between which the `q` quantile lies with 95 %; None with too few."""
    tail = (1 - LEVEL) / 2
    below = special.bdtr(np.arange(n + 1), n, q)  # P(at most k of n lie below the quantile)
    low = int(np.searchsorted(below, tail, "right"))  # the largest rank with P(at most rank - 1) within the tail
    high = int(np.searchsorted(below, 1 - tail, "left")) + 1
    return None if low < 1 or high > n else (low, high)


def least_calls(q: float) -> int:
    """How many calls an interval of the `q` quantile takes: 6 for the median, 72 for p95, 368 for p99."""
    rarer = max(q, 1 - q)
    n = max(2, math.ceil(math.log((1 - LEVEL) / 2) / math.log(rarer)) - 1)
    while ranks(n, q) is None:
        n += 1
    return n


@dataclass(frozen=True)
class Deadline:
    """How long a call may take, in milliseconds, and the frames a second it follows from, if any."""

    milliseconds: float
    frames: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.milliseconds) and 0 < self.milliseconds <= LONGEST_DEADLINE):
            raise TemperError(
                f"A deadline is a number of milliseconds above 0 and up to an hour; got {self.milliseconds:g}."
            )

    @classmethod
    def at_rate(cls, frames: float) -> Deadline:
        """The time between two frames at `frames` a second. Raises `TemperError`."""
        if not (math.isfinite(frames) and 1_000 / LONGEST_DEADLINE <= frames <= 1e6):
            raise TemperError(f"A rate is a number of frames a second above 0, such as 30; got {frames:g}.")
        return cls(1_000 / frames, frames)

    @property
    def words(self) -> str:
        """Such as `at 30 frames a second` or `within 5 ms`."""
        if self.frames is None:
            return f"within {self.milliseconds:g} ms"
        return f"at {self.frames:g} frame{'' if self.frames == 1 else 's'} a second"


@dataclass(frozen=True)
class Timing:
    """Counted calls of one model at one batch size: milliseconds of each, an array `(n,)` for each round."""

    side: Side
    batch: int
    rounds: tuple[Floats, ...]

    def __post_init__(self) -> None:
        for calls in self.rounds:
            calls.setflags(write=False)

    @property
    def calls(self) -> Floats:
        """Milliseconds of every call of every round, float64 `(N,)`, in the order they were made."""
        return np.concatenate(self.rounds)

    @property
    def n(self) -> int:
        """Number of counted calls."""
        return sum(map(len, self.rounds))

    @property
    def longest(self) -> float:
        """Milliseconds of the longest counted call."""
        return float(self.calls.max())

    def quantile(self, q: float) -> Quantity:
        """A quantile in milliseconds, see `quantile`."""
        return quantile(self.calls, q)

    @property
    def throughput(self) -> Quantity:
        """Examples a second, calls one after the other: the median of the rounds with its interval."""
        rates = np.array([1_000 * self.batch * len(calls) / calls.sum() for calls in self.rounds])
        return _of_rounds(rates, "examples/s")

    def within(self, deadline: Deadline) -> Quantity:
        """The share of calls that took no longer than the deadline, with Wilson's interval."""
        calls = self.calls
        kept = int((calls <= deadline.milliseconds).sum())
        low, high = (float(end) for end in wilson(float(kept), float(len(calls))))
        return Quantity(kept / len(calls), "fraction", "measured", Interval(low, high, LEVEL), len(calls))


def _of_rounds(values: Floats, unit: str) -> Quantity:
    """The median over rounds. Calls of a round share the machine's mood, rounds are nearly independent."""
    bounds, ordered = ranks(len(values), 0.5), np.sort(values)
    interval = Interval(float(ordered[bounds[0] - 1]), float(ordered[bounds[1] - 1]), LEVEL) if bounds else None
    note = "" if bounds else f"An interval takes {least_calls(0.5)} rounds; here are {len(values)}."
    return Quantity(float(np.median(values)), unit, "measured", interval, len(values), note)


@dataclass(frozen=True)
class Resident:
    """Bytes of memory a fresh process held at its peak, and before it loaded the model: the runtime's own share.

    None with a `note` where the system does not tell.
    """

    peak: int | None
    runtime: int | None
    note: str = ""


@dataclass(frozen=True)
class Machine:
    """Where it was measured. `extensions` names the processor's integer dot products; `exact` whether int8 is."""

    processor: str
    cores: int
    threads: int
    extensions: tuple[str, ...]
    exact: bool
    system: str
    versions: Mapping[str, str]

    @property
    def integers(self) -> str:
        """Whether integer kernels exist and are exact, as one sentence."""
        named = f" ({', '.join(self.extensions)})" if self.extensions else ""
        if not self.exact:
            return "Integer kernels here saturate, so 8 bits are simulated in float."
        if self.extensions:
            return f"Integer kernels are exact and have instructions of their own here{named}."
        return "Integer kernels are exact here, without instructions of their own."


@dataclass(frozen=True)
class Speed:
    """Original and tempered timed in turn in one run.

    `note` says why the tempered format has no kernel here, '' where it has; `resident` is by side. `seconds` is how
    long it all took.
    """

    timings: tuple[Timing, ...]
    machine: Machine
    resident: Mapping[Side, Resident] = field(default_factory=dict)
    note: str = ""
    seconds: float = 0.0

    @property
    def batches(self) -> tuple[int, ...]:
        """The batch sizes, in the order they were asked for."""
        return tuple(dict.fromkeys(one.batch for one in self.timings))

    def of(self, side: Side, batch: int) -> Timing:
        """The calls of one model at one batch size. Raises `TemperError` for a size that was not timed."""
        for one in self.timings:
            if (one.side, one.batch) == (side, batch):
                return one
        timed = ", ".join(map(str, self.batches))
        raise TemperError(f"No batch of {batch} was timed; there are: {timed}.")

    def ratio(self, batch: int) -> Quantity:
        """How many times as fast tempered is: original over tempered median time, round by round.

        The median over rounds with its interval; above 1 tempered is faster.
        """
        before, after = self.of("original", batch).rounds, self.of("tempered", batch).rounds
        pairs = zip(before, after, strict=True)
        return _of_rounds(np.array([np.median(a) / np.median(b) for a, b in pairs]), "times")

    def to_dict(self, deadline: Deadline | None = None) -> dict[str, Any]:
        """Every figure as plain JSON values; times in milliseconds, memory in bytes, shares as fractions."""
        found: dict[str, Any] = {"note": self.note, "seconds": self.seconds, "machine": _machine(self.machine)}
        found["batches"] = [
            {"batch": batch, "ratio": _plain(self.ratio(batch))}
            | {side: _timing(self.of(side, batch), deadline) for side in SIDES}
            for batch in self.batches
        ]
        found["memory"] = {
            side: {"peak": one.peak, "runtime": one.runtime, "note": one.note} for side, one in self.resident.items()
        }
        if deadline is not None:
            found["deadline"] = {"milliseconds": deadline.milliseconds, "frames": deadline.frames}
        return found


def _machine(one: Machine) -> dict[str, Any]:
    return {
        "processor": one.processor, "cores": one.cores, "threads": one.threads, "system": one.system,
        "integer_instructions": list(one.extensions), "integer_kernels_exact": one.exact,
        "versions": dict(one.versions),
    }  # fmt: skip


def _timing(one: Timing, deadline: Deadline | None) -> dict[str, Any]:
    found = {name: _plain(one.quantile(q)) for name, q in QUANTILES.items()}
    if deadline is not None:
        found["in_time"] = _plain(one.within(deadline))
    return {"calls": one.n, **found, "longest": one.longest, "throughput": _plain(one.throughput)}


def _plain(one: Quantity) -> dict[str, Any]:
    bounds = one.interval
    return {"value": one.value, "interval": [bounds.low, bounds.high] if bounds else None, "note": one.note}
