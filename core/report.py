"""One HTML file that holds a result: takeaway, figures, charts, recipe, how to reproduce it; it opens offline."""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version

from core import report_page as page
from core.damage.groups import by_group
from core.damage.payers import payers
from core.data.handle import DataHandle
from core.engine import store
from core.engine.compare import Comparison
from core.figures import said, words
from core.figures.actual import actual_chart
from core.figures.confusion import confusion_chart
from core.figures.coverage import coverage_chart
from core.figures.flips import flips_chart
from core.figures.latency import latency_chart
from core.figures.ledger import ledger_chart
from core.figures.payers import payers_chart
from core.figures.plain import account
from core.figures.reliability import reliability_chart
from core.figures.residuals import residuals_chart
from core.figures.takeaway import sentence
from core.metrics._bins import BINS
from core.models.handle import ModelHandle
from core.recipe import Recipe, Step
from core.registry import Param, Value, method
from core.types import Chart, Latency, Quantity, Result

LIBRARIES = ("torch", "onnxruntime", "onnx", "numpy", "plotly")


@dataclass(frozen=True)
class Extra:
    """One more section of a report: plain words, which the report makes safe for HTML itself."""

    title: str
    rows: Sequence[tuple[str, str]]
    note: str = ""


def report(
    result: Result,
    recipe: Recipe,
    comparison: Comparison,
    latencies: tuple[Latency, Latency] | None,
    model: ModelHandle,
    data: DataHandle,
    *,
    fingerprints: Mapping[str, str] | None = None,
    extra: Sequence[Extra] = (),
    made: datetime | None = None,
) -> str:
    """The report as one HTML document of about 2 MB, most of it the charts' own script.

    `fingerprints` are named lines beside those of model, data and recipe; `extra` are sections after the charts,
    such as the check of an exported artifact. `made` is the moment stated, now by default.
    """
    recipe = recipe.simplified()
    moment = (made or datetime.now().astimezone()).strftime("%d %B %Y, %H:%M %Z").strip()
    lead = sentence(model.title, recipe, result, comparison).removesuffix(" Move a slider.")
    facts = (f"{data.title}", f"{words.count(result.tempered.n)} evaluation examples", moment)
    parts = [
        page.head(f"{model.title}: {recipe.notation}", lead, facts),
        *(page.warning(text) for text in result.warnings),
        page.cards(_cards(result, comparison, latencies)),
        page.section("In plain words", page.paragraph(_plain(result, comparison, latencies, data))),
        page.section("Figures", _figures(comparison, result), "figures"),
        *_charts(result, comparison, latencies),
        *(page.section(one.title, page.facts(one.rows) + page.note(one.note)) for one in extra),
        page.section("Recipe", _recipe(recipe)),
        page.section("How to reproduce", _reproduce(model.id, recipe)),
        page.section("How to read this", page.listed(_notes(result, recipe, comparison, latencies))),
        page.section("What it rests on", page.facts(_rests(result, recipe, model, data, fingerprints or {}))),
    ]
    return page.document(f"{model.title}: {recipe.notation}", parts)


def _plain(result: Result, found: Comparison, latencies: tuple[Latency, Latency] | None, data: DataHandle) -> str:
    """The paragraph for people who were not there."""
    lead, decides = found.task.facts.headline, found.task.decides
    groups = by_group(data, result, data.groups[0].title, lead) if data.groups else None
    told = account(result, found, payers(result) if decides else None, groups, latencies)
    return " ".join(one.text for one in told)


def _value(quantity: Quantity) -> float:
    assert quantity.value is not None
    return quantity.value


def _title(name: str) -> str:
    return f"{said.title(name)}, {BINS} bins" if name == "ece" else said.title(name)


def _shown(quantity: Quantity) -> str:
    return said.value(quantity.value, quantity.unit).removesuffix(f"{words.SPACE}nats")


def _change(quantity: Quantity) -> str:
    bounds = quantity.interval
    ends = (quantity.value, *((bounds.low, bounds.high) if bounds else ()))
    told = [said.moved(x, quantity.unit) for x in ends]
    unit = f"{words.SPACE}points" if quantity.unit == "fraction" else ""
    return f"{told[0]}{unit}" + (f" [{told[1]}, {told[2]}]" if bounds else "")


def _cards(
    result: Result, found: Comparison, latencies: tuple[Latency, Latency] | None
) -> list[tuple[str, str, str, str]]:
    """Title, big number, what it was, what changed."""
    cards = [
        (_title(name), _shown(found.tempered[name]), f"was {_shown(found.original[name])}",
         _change(found.change[name]))
        for name in found.task.facts.shown
    ]  # fmt: skip
    before, after = result.original_bytes.packed, result.bytes.packed
    cards.append(("Packed size", words.size(after), f"was {words.size(before)}", words.ratio(before, after)))
    if latencies is not None and latencies[1].p50 is not None and latencies[0].p50 is not None:
        was, now = latencies[0].p50, latencies[1].p50
        change = (
            f"{was / now:.1f}{words.TIMES} faster" if was > 1.05 * now else f"{now / was:.1f}{words.TIMES} slower"
        )
        cards.append(("Latency, one example", words.milliseconds(now), f"was {words.milliseconds(was)}",
                      "as fast, within noise" if was / 1.05 < now < 1.05 * was else change))  # fmt: skip
    else:
        cards.append(("Latency, one example", "no number", "simulated" if latencies else "not measured", ""))
    changed = found.flips
    verdict = "beyond chance" if found.significant else "within chance"
    if changed and found.test:
        cards.append(("Predictions that flipped", words.count(changed.flips), f"of {words.count(changed.n)}",
                      f"{verdict}, mid-p {_p(found.test.mid_p)}"))  # fmt: skip
    least, unit = _least(found)
    cards.append(("Least that would show", least, f"{unit} of {said.name(found.task.facts.headline)}",
                  "with 80 % power"))  # fmt: skip
    return cards


def _least(found: Comparison) -> tuple[str, str]:
    """The smallest difference of the headline that the set could have shown, and its unit."""
    unit = found.change[found.task.facts.headline].unit
    return said.moved(found.detectable, unit).lstrip("+"), said.moved_unit(unit)


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _figures(found: Comparison, result: Result) -> str:
    """The same numbers as a table, each with its interval."""

    def with_interval(quantity: Quantity) -> str:
        bounds, unit = quantity.interval, quantity.unit
        if bounds is None:
            return _shown(quantity)
        end = said.value(bounds.high, unit).removesuffix(f"{words.SPACE}nats")
        return f"{_shown(quantity)} ({said.number(bounds.low, unit)} to {end})"

    rows = [
        (_title(name), with_interval(found.original[name]), with_interval(found.tempered[name]),
         _change(found.change[name]))
        for name in found.task.facts.stated
    ]  # fmt: skip
    for title, part in (("Packed size", "packed"), ("File", "file"), ("Compressed file", "compressed")):
        before, after = getattr(result.original_bytes, part), getattr(result.bytes, part)
        rows.append((title, words.size(before), words.size(after), words.ratio(before, after)))
    test = found.test
    about = (
        f" McNemar's test of the two accuracies: mid-p {_p(test.mid_p)}, exact {_p(test.exact_p)}. NLL in nats; "
        "Brier score summed over classes."
        if test
        else ""
    )
    return page.table(("Figure", "Original", "Tempered", "Change"), rows) + page.note(f"Intervals at 95 %.{about}")


def _charts(result: Result, found: Comparison, latencies: tuple[Latency, Latency] | None) -> list[str]:
    drawn: list[tuple[str, Chart]] = []
    if changed := found.flips:
        drawn += [
            ("Reliability", reliability_chart(result.original, result.uncalibrated, result.tempered)),
            ("Confusion", confusion_chart(result.original, result.tempered)),
            ("Who changed sides", flips_chart(
                changed.wrong_to_right, changed.right_to_wrong, changed.wrong_to_wrong, changed.n)),
            ("Who pays, by class", payers_chart(payers(result))),
        ]  # fmt: skip
    else:
        drawn += [
            ("Predicted against actual", actual_chart(result.original, result.tempered)),
            ("Coverage", coverage_chart(result.original, result.uncalibrated, result.tempered)),
            ("Residuals", residuals_chart(result.original, result.tempered)),
        ]
    drawn.append(("Size", ledger_chart(result.original_bytes, result.bytes)))
    if latencies is not None:
        drawn.append(("Latency", latency_chart(*latencies)))
    return [page.chart(title, f"chart-{place}", chart) for place, (title, chart) in enumerate(drawn, 1)]


def _recipe(recipe: Recipe) -> str:
    lines = [_in_words(step) for step in recipe.steps] or ["No step: this is the original."]
    return page.listed(lines, ordered=bool(recipe.steps)) + page.folded("As JSON", page.code(recipe.to_json()))


def _in_words(step: Step) -> str:
    declared = method(step.kind, step.method)
    told = [
        f"{one.title.lower()} {_setting(one, step.values[one.name])}"
        for one in declared.parameters
        if one.shown_when is None or step.values.get(one.shown_when[0]) == one.shown_when[1]
    ]
    settings = f" ({', '.join(told)})" if told else ""
    named = {one.name: one for one in declared.by_layer}
    apart = [
        f"{layer} {', '.join(f'{named[n].title.lower()} {_setting(named[n], v)}' for n, v in own.items())}"
        for layer, own in step.own.items()
    ]
    rest = f" Apart from the others: {'; '.join(apart)}." if apart else ""
    return f"{declared.title}{settings}: {declared.summary[:1].lower()}{declared.summary[1:]}{rest}"


def _setting(param: Param, value: Value) -> str:
    if param.choices:
        words_for = param.label(value)
        return words_for[:1].lower() + words_for[1:]
    if param.unit == "fraction" and isinstance(value, int | float):
        return f"{100 * value:g}{words.SPACE}%"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _reproduce(model_id: str, recipe: Recipe) -> str:
    given = shlex.quote(json.dumps(recipe.to_dict(), separators=(",", ":")))
    command = f"python -m core run --model {shlex.quote(model_id)} --recipe {given}"
    return (
        page.paragraph("In Temper's folder, with the libraries named below:")
        + page.code(command)
        + page.paragraph(
            "It prints every figure of this report. Model, data, recipe and seed determine them; another processor "
            "may round differently and move a few examples, and a latency belongs to the machine it was measured on."
        )
        + page.paragraph("The same state in the dashboard: open the Studio with")
        + page.code(f"?model={model_id}&recipe={recipe.to_link()}")
    )


def _notes(result: Result, recipe: Recipe, found: Comparison, latencies: tuple[Latency, Latency] | None) -> list[str]:
    n = words.count(result.tempered.n)
    measured = ", ".join(said.name(name) for name in found.task.facts.stated)
    notes = [f"Measured: {measured}{', confusion and flips' if found.flips else ''}, on all {n} examples of the "
             "evaluation split, from the ONNX graph that would ship. Bytes are those of packed buffers."]  # fmt: skip
    if latencies is None:
        notes.append("Latency was not measured for this report.")
    elif latencies[1].p50 is None:
        notes.append(f"Not shown: a latency of the tempered model. {latencies[1].note}")
    else:
        threads = latencies[1].threads
        notes.append(f"Latency was measured on this machine ({platform.machine()}), both models in turn, on "
                     f"{threads} thread{'s' if threads > 1 else ''}. {latencies[1].note}".strip())  # fmt: skip
    kinds = {step.kind for step in recipe.steps}
    if "calibrate" in kinds:
        notes.append("The confidence calibration was fitted on the calibration split and is judged here on the "
                     "evaluation split, which it never saw.")  # fmt: skip
    if any(int(step.values.get("activation_bits") or 32) < 32 for step in recipe.steps):
        notes.append("Ranges of activations were set on examples of the calibration split.")
    if not kinds & {"calibrate"} and len(notes) == 2:
        notes.append("Nothing was fitted: the calibration split was not used.")
    if found.flips:
        notes.append(f"ECE in {BINS} bins of equal width is biased upwards where bins hold few examples; its "
                     "interval and NLL stand beside it.")  # fmt: skip
    least = " ".join(_least(found)).strip()
    notes.append(f"Within chance does not mean equal: this set of {n} would show a difference of {least} or "
                 "more in 80 of 100 cases.")  # fmt: skip
    notes.append("Where this recipe was chosen by looking at these very figures, they flatter it: judge it on fresh "
                 "data before you ship.")  # fmt: skip
    return notes


def _rests(
    result: Result, recipe: Recipe, model: ModelHandle, data: DataHandle, more: Mapping[str, str]
) -> list[tuple[str, str]]:
    licence = ", ".join(filter(None, (data.licence, data.attribution)))
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return [
        ("Model", f"{model.title} ({model.id}), {model.fingerprint}"),
        ("Data", f"{data.title} ({data.id}), {data.fingerprint}"),
        *([("Licence of the data", licence)] if licence else []),
        ("Recipe", f"{recipe.notation}, {recipe.fingerprint}, seed {recipe.seed}"),
        *more.items(),
        ("Computed with", f"{result.tempered.provenance.backend}; {libraries}; Python {platform.python_version()}"),
        ("Code", f"Temper {store.code_version()}"),
    ]


def file_name(model_id: str, recipe: Recipe, ending: str = "report.html") -> str:
    """A name for a download that every file system takes."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in model_id)[:60]
    return f"{kept}-{recipe.fingerprint[:8]}-{ending}"
