"""Layer sensitivity against one bare pass for every layer and bit-width, which is what it costs without reuse."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from benchmarks.rows import Row
from core.data.handle import load_split
from core.deploy.graph import assemble
from core.engine.memory import RESULTS
from core.engine.network import load_network
from core.engine.runtime import predictor, run
from core.layers.sensitivity import BITS, sensitivity
from core.models.samples import load_sample

ROUNDS = 3
PASSES = 5  # bare passes before and after each round: one alone is too short beside half a minute


def rows() -> list[Row]:
    """The sensitivity of fashion-resnet at five bit-widths. Measures anew only while nothing is kept on disk."""
    model, data = load_sample("fashion-resnet")
    inputs = load_split(data, "evaluation").inputs
    network = load_network(model)
    proto = assemble(network)
    settings = len(network.layers) * len(BITS)

    def milliseconds(call: Callable[[], object]) -> float:
        started = time.perf_counter()
        call()
        return 1_000 * (time.perf_counter() - started)

    def bare() -> list[float]:
        return [milliseconds(lambda: run(predictor(proto), inputs)) for _ in range(PASSES)]

    def ours() -> float:
        RESULTS.clear()
        return milliseconds(lambda: sensitivity(model, data))

    bare()
    seen, passes = [], bare()
    for _ in range(ROUNDS):
        seen.append(ours())
        passes += bare()
    what = f"layer sensitivity, {len(network.layers)} layers at {len(BITS)} bit-widths, exact"
    baseline = settings * statistics.median(passes)
    return [Row(what, statistics.median(seen), baseline, f"{settings} bare float passes")]
