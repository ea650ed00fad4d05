"""Measure the speed of original and tempered, as the files they leave as, in turn in one run on this machine."""

from __future__ import annotations

import gc
import math
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from core.data.handle import DataHandle, load_split
from core.deploy.graph import INPUT, assemble
from core.deploy.latency import carried, integer_layers, multiplying, words
from core.deploy.resident import resident
from core.deploy.timings import SIDES, Machine, Resident, Side, Speed, Timing
from core.engine.lane import lane, rest
from core.engine.network import Network, load_network
from core.engine.runtime import integer_kernels_exact, session, threads
from core.errors import TemperError

BATCHES = (1, 8, 32)
# 368 calls are the fewest that bound a 99th percentile from above with 95 % (`timings.least_calls`).
CALLS, ROUNDS = 400, 10
WARM_UP = 10  # calls of a batch size at the head of a turn that are not counted
WARM_SHARE = 0.3  # of the time a batch size has in a turn, which warming up may take
LARGEST_BATCH, LONGEST = 1_024, 3_600.0  # examples; seconds
MOST_CALLS, MOST_ROUNDS = 100_000, 1_000
ROOM = 512 * 2**20  # bytes of one batch of inputs
DOT_PRODUCTS = ("avx_vnni", "avx512_vnni", "avx512_vbmi", "amx_int8", "asimddp", "i8mm")
Progress = Callable[[float], None]
Call = Callable[[NDArray[np.float32]], object]
Open = Callable[[onnx.ModelProto, int], Call]


@dataclass(frozen=True)
class Plan:
    """How to measure.

    `threads` a call may use, None for all; `batches` are examples a call. Each model has `rounds` turns, in all
    `calls` counted calls a batch size, fewer where `seconds` of timing would not hold them. Raises `TemperError`.
    """

    threads: int | None = None
    batches: tuple[int, ...] = BATCHES
    calls: int = CALLS
    rounds: int = ROUNDS
    seconds: float = 30.0

    def __post_init__(self) -> None:
        cores = threads()
        if self.threads is not None and not 1 <= self.threads <= cores:
            raise TemperError(f"Threads go from 1 to {cores} on this machine; got {self.threads}.")
        if not self.batches or not all(1 <= batch <= LARGEST_BATCH for batch in self.batches):
            given = ", ".join(map(str, self.batches)) or "none"
            raise TemperError(f"Batch sizes are whole numbers from 1 to {LARGEST_BATCH:,}; got {given:.60}.")
        if len(set(self.batches)) < len(self.batches):
            raise TemperError(f"Each batch size is given once; got {', '.join(map(str, self.batches)):.60}.")
        if not 2 <= self.rounds <= MOST_ROUNDS or not self.rounds <= self.calls <= MOST_CALLS:
            raise TemperError(
                f"A measurement takes 2 to {MOST_ROUNDS:,} rounds and at least a call in each, at most "
                f"{MOST_CALLS:,}; got {self.rounds} rounds and {self.calls} calls."
            )
        if not (math.isfinite(self.seconds) and 0 < self.seconds <= LONGEST):
            raise TemperError(f"The time for measuring is above 0 and up to {LONGEST:,.0f} s; got {self.seconds:g}.")

    @property
    def cores(self) -> int:
        """Threads each call uses."""
        return self.threads or threads()

    @property
    def slice(self) -> float:
        """Seconds a batch size has in one turn of one model."""
        return self.seconds / (self.rounds * len(SIDES) * len(self.batches))


def measure(network: Network, data: DataHandle, plan: Plan | None = None, progress: Progress | None = None) -> Speed:
    """Time the network beside its original, each as the ONNX file it leaves as.

    A format without a kernel here is timed all the same, as it would run, and `note` says so. `progress` gets the
    fraction done after every turn; what it raises ends the measurement and leaves the compute lane free. Raises
    `TemperError` where a batch cannot be run.
    """
    plan = plan or Plan()
    note = words(network)
    if carried(network):
        note = "The ONNX file keeps this format in 8-bit integers, so that int8 kernels run it: this is its speed."
    protos = {"original": assemble(load_network(network.model)), "tempered": assemble(network, compact=True)}
    if (not note or carried(network)) and network.activations:
        inside, layers = integer_layers(protos["tempered"]), multiplying(network)
        partly = "" if inside >= layers else f"{inside} of {layers} layers run in integers here."
        note = f"{note} {partly}".strip()
    return measure_files(protos["original"], protos["tempered"], data, plan, progress, note)


def measure_files(
    original: onnx.ModelProto,
    tempered: onnx.ModelProto,
    data: DataHandle,
    plan: Plan | None = None,
    progress: Progress | None = None,
    note: str = "",
) -> Speed:
    """Time two ONNX models with one input, such as exported artifacts, on evaluation examples. See `measure`."""
    plan = plan or Plan()
    started = time.perf_counter()
    images = load_split(data, "evaluation").inputs
    if images[:1].nbytes * max(plan.batches) > ROOM:
        raise TemperError(
            f"A batch of {max(plan.batches)} takes more than {ROOM // 2**20} MB of inputs here.", "Use smaller ones."
        )
    batches = [images[np.arange(size) % len(images)] for size in plan.batches]
    told = progress or (lambda _: None)
    protos = (original, tempered)
    timings = take_turns(protos, batches, plan, lambda done: told(0.95 * done))
    found: dict[Side, Resident] = {}
    for side, proto in zip(SIDES, protos, strict=True):
        with lane():
            content, simulate = proto.SerializeToString(), not integer_kernels_exact()
            found[side] = resident(content, (1, *images.shape[1:]), plan.cores, simulate)
        told(0.975 if side == "original" else 1.0)
    return Speed(timings, machine(plan.cores), found, note, time.perf_counter() - started)


def take_turns(
    protos: Sequence[onnx.ModelProto],
    batches: Sequence[NDArray[np.float32]],
    plan: Plan,
    progress: Progress,
    opened: Open | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[Timing, ...]:
    """The counted calls of original and tempered, `protos` in this order, at every batch size.

    They take turns, and who begins alternates, so that a machine that warms or slows does so for both. In a turn a
    model is opened anew and alone: a session's waiting threads spin, which would slow the other.
    """
    seen: dict[tuple[Side, int], list[list[float]]] = {(s, len(x)): [] for s in SIDES for x in batches}
    for turn in range(plan.rounds):
        each = -(-plan.calls // plan.rounds)
        pairs = list(zip(SIDES, protos, strict=True))
        for place, (side, proto) in enumerate(pairs if turn % 2 == 0 else pairs[::-1]):
            with lane(), _steady():
                call = (opened or _open)(proto, plan.cores)
                for x in batches:
                    seen[side, len(x)].append(_timed(call, x, each, plan.slice, clock))
                del call
            rest()
            progress((2 * turn + place + 1) / (2 * plan.rounds))
    return tuple(
        Timing(side, size, tuple(np.array(calls) for calls in rounds)) for (side, size), rounds in seen.items()
    )


def _open(proto: onnx.ModelProto, cores: int) -> Call:
    running = session(proto, cores=cores)
    names = [output.name for output in running.get_outputs()]
    entry = proto.graph.input[0].name or INPUT
    return lambda x: running.run(names, {entry: x})


def _timed(call: Call, x: NDArray[np.float32], calls: int, seconds: float, clock: Callable[[], float]) -> list[float]:
    """Milliseconds of each counted call: up to `calls` of them in `seconds`, warming up included, at least one."""
    begun = clock()
    for _ in range(WARM_UP):
        try:
            call(x)
        except Exception as error:  # ONNX Runtime's errors have no common class of their own
            said = next(iter(str(error).splitlines()), type(error).__name__)
            raise TemperError(f"A batch of {len(x)} cannot be run here: {said:.200}.") from error
        if clock() - begun >= WARM_SHARE * seconds:
            break
    seen: list[float] = []
    while len(seen) < calls and (not seen or clock() - begun < seconds):
        started = clock()
        call(x)
        seen.append(1_000 * (clock() - started))
    return seen


@contextmanager
def _steady() -> Iterator[None]:
    """Without Python's garbage collector, whose pauses would be this dashboard's, not the model's."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def machine(cores: int) -> Machine:
    """This machine, for a measurement on `cores` threads."""
    said = _processor()
    flags = set(said.get("flags", said.get("Features", "")).split())
    name = said.get("model name") or platform.processor() or platform.machine()
    libraries = {one: version(one) for one in ("onnxruntime", "numpy")}
    return Machine(
        processor=name,
        cores=threads(),
        threads=cores,
        extensions=tuple(one for one in DOT_PRODUCTS if one in flags),
        exact=integer_kernels_exact(),
        system=f"{platform.system()} {platform.machine()}",
        versions={"python": platform.python_version(), **libraries},
    )


def _processor() -> dict[str, str]:
    """What Linux says of the first core; nothing elsewhere."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
