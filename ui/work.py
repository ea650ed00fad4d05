"""Run the engine from a page: progress in a slot of fixed height, abandoned when the person moves on.

The progress call is where Streamlit stops a run that a newer slider value has overtaken, so an older
pass ends at its next chunk.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from html import escape
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from core.data.handle import DataHandle
from core.decisions.decide import Judged
from core.deploy.latency import known, latencies
from core.engine.compare import Comparison, compare
from core.engine.evaluate import calibration_outcomes, evaluate
from core.engine.lane import working
from core.engine.look import Look
from core.engine.network import Network
from core.engine.transform import transform
from core.figures.takeaway import sentence
from core.figures.trail import TrailPoint
from core.jobs.idle import IDLE, neighbours
from core.models.handle import ModelHandle
from core.models.samples import load_sample
from core.recipe import Recipe
from core.runs import keep
from core.types import Latency, Outcome, Quantity, Result
from ui.state import Sitting

TELLING = 0.15  # fraction done before which a time left would be a guess
KEPT = "kept"  # session key: the point kept last as a run, and whether with its latency
PATIENCE = 0.1  # seconds between two progress messages: more would cost more than the work


@dataclass(frozen=True)
class Point:
    """A recipe's result with everything said about it."""

    model: ModelHandle
    data: DataHandle
    recipe: Recipe
    result: Result
    comparison: Comparison
    seconds: float

    def network(self) -> Network:
        """The tempered network."""
        return transform(self.model, self.data, self.recipe)[0]


class Ticker:
    """Tells progress into a slot now and then: what is done, how much of it, the time left."""

    def __init__(self, slot: Any, verb: str) -> None:
        self.slot = slot
        self.verb = verb
        self.started = self.last = time.monotonic()

    def __call__(self, fraction: float) -> None:
        """`fraction` of the work is done. Streamlit ends a run here that a newer one has overtaken."""
        now = time.monotonic()
        if now - self.last < PATIENCE:
            return
        self.last = now
        left = (now - self.started) / max(fraction, 0.01) * (1 - fraction)
        rest = f", {left:.1f} s left" if fraction > TELLING else ""
        self.slot.progress(min(fraction, 1.0), f"{self.verb}: {100 * fraction:.0f} %{rest}")


def point(sample: str, recipe: Recipe, slot: Any, look: Look | None = None, kept: bool = True) -> Point:
    """Evaluate a recipe on a sample, reporting into `slot`; `look` receives estimates. Raises `TemperError`.

    The point is kept as a run, one visit each time the person comes to it, unless `kept` is False.
    """
    started = time.monotonic()
    progress = Ticker(slot, "Evaluating")
    model, data = load_sample(sample)
    with working(visitor()):
        IDLE.fill(visitor(), model, data, ())
        result = evaluate(model, data, recipe, progress, look)
        comparison = compare(result)
    seconds = time.monotonic() - started
    found = Point(model, data, recipe, result, comparison, seconds)
    if kept and recipe.simplified().steps and st.session_state.get(KEPT, ("", False))[0] != _named(found):
        # Most points are of a format that was timed before: then the run has its latency at once, however soon the
        # person goes on.
        pair = known(transform(model, data, recipe)[0], data)
        st.session_state[KEPT] = (_named(found), pair is not None)
        keep(result, recipe, comparison, pair, model.title)
    return found


def _named(found: Point) -> str:
    return " ".join((found.model.fingerprint, found.data.fingerprint, found.recipe.fingerprint))


def visitor() -> str:
    """Names this visit, for fair turns on the compute lane."""
    context = get_script_run_ctx()
    return context.session_id if context is not None else "nobody"


def work_ahead(found: Point, before: Recipe | None) -> None:
    """While the person thinks, evaluate the points around this one."""
    IDLE.fill(visitor(), found.model, found.data, neighbours(found.recipe, before))


def status(found: Point) -> str:
    """One quiet line of HTML: what the numbers rest on."""
    n = f"{found.result.tempered.n:,}"
    recalled = " (remembered)" if found.seconds < 0.02 else ""
    return (
        f"<div class='t-status' role='status'><span class='t-tag'>Measured</span>"
        f"<span>{escape(found.recipe.notation)}</span><span>all {n} evaluation examples</span>"
        f"<span>{found.seconds:.2f} s{recalled}</span></div>"
    )


def visit(now: Sitting, found: Point) -> int:
    """Note the original and this point on the trail; returns the point's place."""
    result, comparison, lead = found.result, found.comparison, found.data.task.facts.headline
    now.visit(_trail_point(Recipe(), lead, comparison.original[lead], result.original_bytes.packed), Recipe())
    return now.visit(_trail_point(found.recipe, lead, comparison.tempered[lead], result.bytes.packed), found.recipe)


def _trail_point(recipe: Recipe, measure: str, of: Quantity, size: int) -> TrailPoint:
    assert of.value is not None and of.interval is not None
    ends = of.interval.low, of.interval.high
    return TrailPoint(recipe.notation, of.value, *ends, size, recipe.fingerprint, measure, of.unit)


def takeaway(found: Point) -> str:
    """One sentence of what this point buys and costs, as HTML."""
    return escape(sentence(found.model.title, found.recipe, found.result, found.comparison))


def unrepaired(found: Point) -> Outcome | None:
    """The point's outcome without its repairs, None where it has none."""
    without = found.recipe.without("repair")
    if without == found.recipe:
        return None
    with working(visitor()):
        return evaluate(found.model, found.data, without).tempered


def judged(found: Point) -> Judged:
    """A binary point's outcomes on the split that chooses thresholds and on the one that judges them."""
    with working(visitor()):
        chosen = calibration_outcomes(found.model, found.data, found.recipe)
    return Judged(*chosen, found.result.original, found.result.tempered)


def speeds(found: Point) -> tuple[Latency, Latency]:
    """Latency of the original and of the tempered model, measured once a format."""
    with working(visitor()):
        network, _ = transform(found.model, found.data, found.recipe)
        pair = latencies(network, found.data)
    if st.session_state.get(KEPT) == (_named(found), False):  # kept as a run without its latency
        st.session_state[KEPT] = (_named(found), True)
        keep(found.result, found.recipe, found.comparison, pair, found.model.title, visit=False)
    return pair
