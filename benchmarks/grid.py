"""The 70-point grid of the Trade-offs page against 70 bare passes."""

from __future__ import annotations

import time

from benchmarks.rows import Row, paired
from core.data.handle import load_split
from core.deploy.graph import assemble
from core.engine.network import load_network
from core.engine.runtime import predictor, run
from core.jobs.workers import workers
from core.models.samples import load_sample
from core.recipe import Recipe, Step
from core.sweeps.front import front
from core.sweeps.journal import Journal
from core.sweeps.plan import Plan, axis_from_text
from core.sweeps.sweep import Sweep

AXES = ("sparsity=0:0.9:0.1", "weight_bits=2,3,4,5,6,8,32")


def rows() -> list[Row]:
    """Sparsity x weight bits at 8 and at 32 activation bits, exact on the front, the workers' start included."""
    model, data = load_sample("fashion-resnet")
    inputs, proto = load_split(data, "evaluation").inputs, assemble(load_network(model))
    bare = paired(lambda: run(predictor(proto), inputs), lambda: None)[0]
    found = []
    for bits in (8, 32):
        base = Recipe((Step.of("quantize", "uniform", {"weight_bits": 8, "activation_bits": bits}),))
        plan = Plan(base, tuple(axis_from_text(base, text) for text in AXES))
        sweep = Sweep(model, data, plan, journal=Journal(None, plan))
        started, first, whole = time.perf_counter(), 0.0, 0.0
        marks: list[tuple[float, int]] = []
        with workers() as hands:
            sweep.run(hands, lambda s, start=started, seen=marks: seen.append((time.perf_counter() - start, s.known)))  # type: ignore[misc]
        first, whole = marks[0][0], next(at for at, known in marks if known == len(plan.recipes))
        seconds = marks[-1][0]
        standing, members = sweep.standing(), front(list(sweep.spots.values()), sweep.measure)
        points = standing.points
        what = (
            f"{points} points, W2 to W32 at A{bits}: {standing.exact} measured, {len(members.members)} on the front"
        )
        baseline = f"{points} bare float passes"
        found.append(Row(what, 1_000 * seconds, points * bare, baseline))
        found.append(Row(f"the same from the first answer of a worker (it starts for {first:.1f} s)",
                         1_000 * (seconds - first), points * bare, baseline))  # fmt: skip
        found.append(Row("the same until every point has its estimate", 1_000 * whole, points * bare, baseline))
    return found
