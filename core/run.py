"""One run: a recipe on one model and data set as it was measured, and its row in the file of runs."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from core import fingerprint
from core.engine import store
from core.engine.compare import Comparison
from core.engine.statistics import Flips, mcnemar
from core.recipe import Recipe, from_json
from core.registry import method
from core.task import Task
from core.types import Interval, Latency, Quantity, Result

SIZES = ("dense", "packed", "file", "compressed")
Side = Literal["original", "result", "change"]
SIDES: tuple[Side, ...] = ("original", "result", "change")


@dataclass(frozen=True)
class Run:
    """One recipe on one model and data set, as it was measured.

    `time` is the last visit and `first` the first one, seconds since 1970. `figures` holds `original`, `result` and
    `change`, each metric as `[value, low, high]` (fractions, NLL in nats), `bytes` of both sides, `flips`,
    `mcnemar_p` and `detectable`. `latency` holds both sides' milliseconds, None until it was measured.
    """

    id: str
    first: float
    time: float
    visits: int
    model: str
    model_fingerprint: str
    title: str
    data: str
    data_fingerprint: str
    recipe: str
    recipe_fingerprint: str
    notation: str
    n: int
    figures: Mapping[str, Any]
    latency: Mapping[str, Mapping[str, Any]] | None
    versions: Mapping[str, str]
    code: str
    name: str | None = None
    note: str = ""

    @property
    def label(self) -> str:
        """The name a person gave, else the recipe in the field's notation."""
        return self.name or self.notation

    def quantity(self, measure: str, side: Side = "result") -> Quantity:
        """A metric of one side, or its paired change, with the interval."""
        value, low, high = self.figures[side][measure]
        unit = method("metric", measure).function.unit
        return Quantity(value, self.task.unit_of(unit), "measured", Interval(low, high), self.n)

    @property
    def task(self) -> Task:
        """What the model was asked for, without the classes; runs from before there were tasks are of classes."""
        stated = dict(self.figures.get("task") or {"kind": "multi-class"})
        return Task(stated["kind"], target=stated.get("target", ""), unit=stated.get("unit", ""))

    @property
    def measures(self) -> tuple[str, ...]:
        """The metrics that were kept."""
        return tuple(self.figures["original"])

    def bytes(self, part: str = "packed", side: Side = "result") -> int:
        """Bytes of one side: `dense`, `packed`, `file` or `compressed`."""
        return int(self.figures["bytes"][side][part])

    def p50(self, side: Side = "result") -> float | None:
        """Milliseconds for one example, None where this format has no kernel or nothing was measured."""
        return None if self.latency is None else self.latency[side]["p50"]

    def compared(self) -> Comparison:
        """Everything that was said about the run's two models, but the recalls."""
        sides = {side: {name: self.quantity(name, side) for name in self.measures} for side in SIDES}
        changed = Flips(**self.figures["flips"]) if self.figures.get("flips") else None
        test = mcnemar(changed) if changed else None
        least = self.figures["detectable"]
        return Comparison(self.task, sides["original"], sides["result"], sides["change"], least, changed, test)

    def parsed(self) -> Recipe:
        """The recipe. Raises `TemperError` where this Temper has no such method any more."""
        return from_json(self.recipe)


COLUMNS = tuple(one.name for one in fields(Run))
DOCUMENTS = ("figures", "latency", "versions")  # columns that hold JSON


def made(
    result: Result, recipe: Recipe, comparison: Comparison, latencies: tuple[Latency, Latency] | None, title: str = ""
) -> Run:
    """The run that a result is, at this moment, without name and note."""
    recipe, of = recipe.simplified(), result.tempered.provenance
    code = store.code_version()
    sides = {"original": comparison.original, "result": comparison.tempered, "change": comparison.change}
    figures: dict[str, Any] = {side: {name: _triple(one) for name, one in q.items()} for side, q in sides.items()}
    ledgers = {"original": result.original_bytes, "result": result.bytes}
    figures["bytes"] = {side: {part: getattr(ledger, part) for part in SIZES} for side, ledger in ledgers.items()}
    figures["task"] = comparison.task.to_dict()
    figures["flips"] = asdict(comparison.flips) if comparison.flips else None
    figures["mcnemar_p"] = comparison.test.mid_p if comparison.test else None
    figures["detectable"] = comparison.detectable
    return Run(
        id=fingerprint.of_json([of.model, of.data, recipe.fingerprint, code]),
        first=time.time(), time=time.time(), visits=1, model=result.model, model_fingerprint=of.model,
        title=title or result.model, data=result.data, data_fingerprint=of.data,
        recipe=json.dumps(recipe.to_dict(), separators=(",", ":")), recipe_fingerprint=recipe.fingerprint,
        notation=recipe.notation, n=result.tempered.n, figures=figures, latency=_latency(latencies),
        versions=dict(of.versions), code=code,
    )  # fmt: skip


def _triple(quantity: Quantity) -> list[float | None]:
    bounds = quantity.interval
    return [quantity.value, bounds.low if bounds else None, bounds.high if bounds else None]


def _latency(pair: tuple[Latency, Latency] | None) -> dict[str, Any] | None:
    return None if pair is None else {"original": asdict(pair[0]), "result": asdict(pair[1])}


def of_row(values: dict[str, Any]) -> Run | None:
    """The run of a row of the file, None where someone else has written into it what is no run."""
    try:
        for name in DOCUMENTS:
            values[name] = None if values[name] is None else json.loads(values[name])
        run = Run(**values)
        for side in SIDES:
            for name in run.measures:
                triple = run.figures[side][name]
                if len(triple) != 3 or not isinstance(triple[0], float):
                    return None
        counts = [run.bytes(), run.bytes(side="original"), run.p50() or 0.0, run.p50("original") or 0.0]
        if run.task.decides:
            counts.append(Flips(**run.figures["flips"]).flips)
        sound = all(count >= 0 for count in counts) and run.n > 0 and run.time > 0
        return run if sound and run.label.strip() else None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None
