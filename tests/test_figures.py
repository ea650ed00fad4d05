"""Contracts over every registered chart, and the look they share."""

from __future__ import annotations

import inspect
import json
import math
import re
import typing
from dataclasses import replace
from functools import cache

import calibrating
import deciding
import explained
import grouped
import harmed
import layered
import moving
import numpy as np
import pandas as pd
import plotly.io as pio
import pytest
import regression
import schooled
import searching
import setted
import stepped
import suiting
import tuning

from core.calibration.sets import Sets
from core.damage.cka import Alike
from core.damage.disparity import Disparities
from core.damage.groups import ByGroup
from core.damage.payers import Payers
from core.damage.why import Why
from core.decisions.verdict import Verdict
from core.deploy.timings import SIDES, Deadline, Machine, Speed, Timing
from core.engine.statistics import Flips
from core.figures import theme, words
from core.figures.allocation import Granted
from core.figures.confusion import NO_WIDTH, confusion_chart
from core.figures.deadline import deadline_chart
from core.figures.flips import flips_chart
from core.figures.latency import latency_chart
from core.figures.ledger import PARTS, ledger_chart
from core.figures.reliability import FEW, MARK, reliability_chart
from core.figures.speed import faster, speed_chart
from core.figures.theme import palette
from core.figures.trail import TrailPoint, trail_chart
from core.layers.course import Course
from core.layers.foretold import Foretold
from core.layers.layer_weights import LayerWeights
from core.layers.layerwise import Layerwise
from core.layers.sensitivity import Sensitivity
from core.metrics._confusion import confusion_matrix
from core.metrics._reliability import reliability
from core.recipe import Recipe
from core.registry import methods
from core.search.goal import Goal
from core.sweeps.front import Front, Spot
from core.sweeps.front import front as pareto
from core.sweeps.plan import Plan, axis_of
from core.task import NUMBERS, task_of_classes
from core.training.labelled import Labelled
from core.training.loop import Look
from core.training.rate_range import RateRange
from core.training.seeds import Seeds, spread
from core.types import Chart, Interval, Latency, Ledger, Outcome, Provenance, Quantity

CHARTS = {one.name: one for one in methods("chart")}
MODES = ("light", "dark")
DENSE = Ledger(1_640_000, 1_630_000, 0, 0, 10_000, 1_641_200, 1_510_000)
SMALL = Ledger(1_640_000, 190_000, 2_300, 14_200, 1_900, 210_100, 171_000)
MEASURED = Latency(0.54, 0.71, 11.0, 12.6)
FAST = Latency(0.29, 0.36, 6.8, 7.7)
SILENT = Latency(None, None, None, note="Simulated: W4A8 has no kernel here. W8A8 runs as int8.")
TRAIL = (
    TrailPoint("Original", 0.928, 0.923, 0.933, 1_640_000, "a"),
    TrailPoint("W8A8", 0.927, 0.922, 0.932, 420_000, "b"),
    TrailPoint("W4A8", 0.910, 0.904, 0.916, 208_000, "c"),
)


def made(n: int, classes: int, sharpness: float, seed: int = 0, shift: int | None = None) -> Outcome:
    """A synthetic outcome; with `shift` every prediction is the label moved by that many classes."""
    rng = np.random.default_rng(seed)
    labels = np.random.default_rng(99).integers(0, classes, n)
    logits = sharpness * (2 * np.eye(classes)[labels] + rng.normal(size=(n, classes)))
    if shift is not None:
        logits = 9.0 * np.eye(classes)[(labels + shift) % classes]
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    names = tuple(
        ["T-shirt/top", "Ankle boot <b>", "Coat & hat"][k] if k < 3 else f"class {k}" for k in range(classes)
    )
    return Outcome(
        logits.astype(np.float32),
        shares,
        labels,
        task_of_classes(names),
        Provenance("m", "d", f"r{seed}", "test", 0.0),
    )


def change(value: float) -> Quantity:
    return Quantity(value, "fraction", "measured", Interval(value - 0.01, value + 0.02), 170)


OUTCOMES: dict[str, tuple[Outcome, Outcome, Outcome]] = {
    "two classes, 30": (made(30, 2, 1.0), made(30, 2, 2.0, 1), made(30, 2, 1.2, 1)),
    "ten classes, 1000": (made(1000, 10, 1.5), made(1000, 10, 3.0, 1), made(1000, 10, 1.0, 1)),
    "all correct": (made(40, 3, 1, shift=0),) * 3,
    "all wrong": (made(40, 3, 1, shift=0), made(40, 3, 1, 1, 1), made(40, 3, 1, 1, 1)),
    "fifty classes": (made(500, 50, 1.5), made(500, 50, 1.0, 1), made(500, 50, 1.0, 1)),
}
LEDGERS = {"smaller": (DENSE, SMALL), "same": (DENSE, DENSE), "larger": (SMALL, DENSE)}
LATENCIES = {
    "faster": (MEASURED, FAST),
    "words": (MEASURED, SILENT),
    "none": (MEASURED, None),
    "both": (SILENT, SILENT),
}
COUNTS = {
    "net loss": {"wrong_to_right": 95, "right_to_wrong": 212, "wrong_to_wrong": 61, "n": 10_000},
    "no flips": {"wrong_to_right": 0, "right_to_wrong": 0, "wrong_to_wrong": 0, "n": 170},
    "only gains": {"wrong_to_right": 7, "right_to_wrong": 0, "wrong_to_wrong": 0, "n": 30},
    "even": {"wrong_to_right": 5, "right_to_wrong": 5, "wrong_to_wrong": 1, "n": 30},
}
TRAILS = {
    "one": {"points": TRAIL[:1], "current": 0},
    "near": {"points": TRAIL[:2], "current": 1},
    "far": {"points": TRAIL, "current": 2},
}
TOGETHER = {
    case: {"labels": labels, "changes": [dict.fromkeys(("accuracy", "macro_f1", "ece"), change(v)) for v in values]}
    for case, labels, values in (("two", ("8 bits", "W4A8 · vector"), (-0.01, 0.2)), ("alike", "abc", (0.0,) * 3))
}
BALANCES = {
    case: {"counts": {s: np.array(c) for s, c in counts.items()}, "classes": tuple(f"kind {k}" for k in range(many))}
    for case, many, counts in (
        ("samples'", 10, {"calibration": [500] * 10, "evaluation": [1000] * 10}),
        ("uneven", 3, {"fit": [0, 4, 90], "calibration": [0, 3, 30], "evaluation": [1, 3, 30]}),
        ("hundred", 100, {"calibration": list(range(100)), "evaluation": list(range(100, 0, -1))}),
    )
}
TARGETS = {
    case: {"values": {split: np.asarray(part, float) for split, part in values.items()}}
    for case, values in (
        (
            "prices",
            {
                "fit": regression.prices(900, 1)[1],
                "calibration": regression.prices(300, 2)[1],
                "evaluation": regression.prices(600, 3)[1],
            },
        ),
        ("below zero", {"calibration": np.linspace(-3, 5, 40), "evaluation": np.linspace(-4, 4, 90)}),
        ("almost all one", {"calibration": [2.0] * 30, "evaluation": [2.0] * 60 + [7.5]}),
        ("all one", {"calibration": [0.0] * 4, "evaluation": [0.0] * 8}),
    )
}
REPEATED = {
    case: {"found": Seeds(tuple(range(len(a))), n, lead, {lead: spread(a, b), "agreement": spread(a[::-1], b)})}
    for case, n, lead, a, b in (
        ("helps", 10_000, "accuracy", (0.91, 0.92, 0.915), (0.88, 0.9, 0.89)),
        ("all alike", 171, "accuracy", (0.9,) * 5, (0.9,) * 5),
        ("prices", 900, "rmse", (612.0, 630.5), (601.0, 655.0)),
    )
}
MACHINE = Machine("A processor", 2, 2, (), True, "Linux", {})


def timed(
    share: float, scale: float, calls: int = 40, batches: tuple[int, ...] = (1, 8, 32), note: str = ""
) -> Speed:
    """Made times of `calls` a round: tempered takes `share` of the original's, `scale` ms at the fastest."""
    rng = np.random.default_rng(5)
    timings = []
    for batch in batches:
        for side, factor in zip(SIDES, (1.0, share), strict=True):
            rounds = (scale * batch * factor * (1 + rng.gamma(1, 0.1, calls)) for _ in range(10))
            timings.append(Timing(side, batch, tuple(rounds)))
    return Speed(tuple(timings), MACHINE, {}, note)


SPEEDS = {
    "in time": (timed(0.4, 0.3), Deadline.at_rate(30)),
    "half late": (timed(0.5, 33.0), Deadline.at_rate(30)),
    "never": (timed(2.0, 40.0, calls=1, batches=(8,)), Deadline(0.02)),
    "alike": (timed(1.0, 0.004, calls=200, batches=(1,), note=SILENT.note), Deadline(0.0045)),
}
PLAN = Plan(Recipe(), (axis_of(Recipe(), "weight_bits", (32, 8, 4)), axis_of(Recipe(), "sparsity", (0.0, 0.5, 0.9))))


def spot(row: int, column: int, accuracy: float | None, exact: bool = True, error: str = "") -> Spot:
    """A made point of `PLAN`, smaller the further down and right; without an accuracy nothing is known of it."""
    how = "measured" if exact else "estimated"
    values = {}
    if accuracy is not None:
        interval = Interval(accuracy - 0.01, accuracy + 0.01)
        values["accuracy"] = Quantity(accuracy, "fraction", how, interval, 10_000 if exact else 512)
    packed, latency = 1_640_000 // (1 + 3 * row + column), 0.5 if row == 0 else None
    recipe = PLAN.recipes[row, column]
    return Spot((row, column), recipe, values, 10_000, packed, packed + 1_200, latency=latency, error=error)


SPOTS = {
    "none yet": [spot(0, 0, None), spot(2, 2, None, error="The session could not be opened: out of memory.")],
    "one": [spot(1, 1, 0.92)],
    "all alike": [spot(i, j, 0.92) for i in range(3) for j in range(3)],
    "one collapsed": [
        *(spot(0, j, 0.934 - 0.002 * j) for j in range(3)),
        *(spot(1, j, 0.931 - 0.004 * j, exact=j == 1) for j in range(3)),
        spot(2, 0, 0.88), spot(2, 1, None, error="The recipe cannot be applied."), spot(2, 2, 0.1),
    ],
}  # fmt: skip


TRIED = tuple(10.0**-place for place in (5, 4, 3, 2, 1))
RATES = {
    "falls": {"found": RateRange(TRIED, (2.0, 1.5, 0.9, 0.7, 3.0), (2.0, 1.8, 1.4, 1.1, 2.0), 1e-3, "least")},
    "never falls": {"found": RateRange(TRIED[:3], (1e-4, 2e-4, 9e-4), (1e-4, 1.2e-4, 4e-4), 1e-5, "rise")},
    "one step": {"found": RateRange(TRIED[:1], (1.0,), (1.0,), 1e-5, "rise")},
}


def situations(name: str) -> dict[str, dict[str, typing.Any]]:
    """Arguments for a chart, found by the types it declares, so that a new chart of known types tests itself."""
    function = CHARTS[name].function
    hints = typing.get_type_hints(function)
    needed = [p.name for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    kinds = {key: hints[key] for key in needed}
    if all(kind is Outcome for kind in kinds.values()):
        place = {"original": 0, "uncalibrated": 1, "tempered": 2, "outcome": 2}
        suited = regression.SITUATIONS if CHARTS[name].tasks == NUMBERS else OUTCOMES
        return {case: {key: three[place[key]] for key in needed} for case, three in suited.items()}
    if all(kind is Ledger for kind in kinds.values()):
        return {case: dict(zip(needed, pair, strict=True)) for case, pair in LEDGERS.items()}
    if Speed in kinds.values():
        return {case: dict(zip(needed, pair, strict=False)) for case, pair in SPEEDS.items()}
    if Latency in kinds.values():
        return {case: dict(zip(needed, pair, strict=True)) for case, pair in LATENCIES.items()}
    if Verdict in kinds.values():
        return deciding.SITUATIONS
    if ByGroup in kinds.values():
        return grouped.SITUATIONS
    if Sets in kinds.values():
        return setted.SITUATIONS
    if Labelled in kinds.values():
        return moving.LABELLED
    if Course in kinds.values():
        return stepped.SITUATIONS
    if "looks" in kinds and typing.get_args(kinds["looks"]) == (Look,):
        return schooled.SITUATIONS
    if Plan in kinds.values():
        grids = {case: {s.place: s for s in some} for case, some in SPOTS.items()}
        known_so_far = {"plan": PLAN, "measure": "accuracy"}
        return {
            case: known_so_far | {"spots": some, "front": pareto(SPOTS[case], "accuracy")}
            for case, some in grids.items()
        }
    if {Why, Alike} & set(kinds.values()):
        return explained.situations(name)
    if Foretold in kinds.values():
        return layered.FORETOLD
    made = {
        Layerwise: layered.MAPS, LayerWeights: layered.WEIGHTS, Sensitivity: layered.ALONE, Granted: layered.GRANTED
    }  # fmt: skip
    for kind, known in made.items():
        if kind in kinds.values():
            return known
    if (known := calibrating.situations(kinds)) is not None:
        return known
    for kind, known in ((Payers, harmed.PAYERS), (Disparities, harmed.DISPARITIES), (Flips, harmed.SETTLED)):
        if kind in kinds.values():
            return known
    if (known := suiting.situations(set(needed))) is not None:
        return known
    if set(needed) == set(tuning.SITUATIONS["some"]):
        return tuning.SITUATIONS
    if Goal in kinds.values():
        return searching.SITUATIONS
    if Front in kinds.values():
        asked = {"original": spot(0, 0, 0.934), "measure": "accuracy", "by": "packed", "plan": PLAN}
        return {case: asked | {"spots": some, "front": pareto(some, "accuracy")} for case, some in SPOTS.items()}
    if Seeds in kinds.values():
        return REPEATED
    if RateRange in kinds.values():
        return RATES
    for known in (COUNTS, TRAILS, TOGETHER, BALANCES, TARGETS):
        if set(needed) == set(next(iter(known.values()))):
            return known
    raise AssertionError(f"chart '{name}' takes {kinds}: add an example of that to tests/test_figures.py")


CASES = [(name, case) for name in CHARTS for case in situations(name)]


@cache
def drawn(name: str, case: str, mode: str = "light") -> Chart:
    return CHARTS[name].function(**situations(name)[case], mode=mode)


@cache
def drawing(name: str, case: str, mode: str) -> dict[str, typing.Any]:
    """The figure as the browser gets it. Nobody may change it: every rule reads the same one."""
    return spec(drawn(name, case, mode))


def spec(chart: Chart) -> dict[str, typing.Any]:
    return json.loads(pio.to_json(chart.figure, remove_uids=False))


def texts(chart: Chart) -> list[str]:
    """Every word that a person can read on or beside the chart."""
    on_figure = [a["text"] for a in spec(chart)["layout"].get("annotations", [])]
    return [chart.alt, chart.caption, *on_figure, *map(str, chart.table.to_numpy().ravel()), *chart.table.columns]


def contrast(one: str, other: str) -> float:
    """WCAG contrast ratio of two `#RRGGBB` colours, written apart from the code under test."""
    lights = []
    for colour in (one, other):
        linear = []
        for place in (1, 3, 5):
            c = int(colour[place : place + 2], 16) / 255
            linear.append(c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4)
        lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def test_every_chart_is_registered_with_words() -> None:
    assert {"reliability", "confusion", "ledger", "trail", "latency", "flips", "heat", "tradeoff"} <= set(CHARTS)
    assert {"speed", "deadline"} <= set(CHARTS)
    for one in CHARTS.values():
        assert one.title and one.summary.endswith(".") and one.reference


@pytest.mark.parametrize(("name", "case"), CASES)
def test_alt_and_caption_say_numbers(name: str, case: str) -> None:
    chart = drawn(name, case)
    assert re.search(r"\d", chart.alt) and chart.alt.endswith(".")
    assert chart.caption.endswith(".") and ". " not in chart.caption and "\n" not in chart.caption
    assert re.search(r"\d", chart.caption) or "no cell" in chart.caption or case in ("both", "faster")


@pytest.mark.parametrize(("name", "case"), CASES)
def test_nothing_reads_nan(name: str, case: str) -> None:
    chart = drawn(name, case)
    for text in texts(chart):
        assert not re.search(r"\b(nan|inf|None)\b", text, re.IGNORECASE), text
    assert len(chart.table) > 0
    numbers = chart.table.select_dtypes("number").to_numpy(np.float64, na_value=0)  # what is missing is no number
    assert np.isfinite(numbers).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("name", "case"), CASES)
def test_figure_keeps_the_house_rules(name: str, case: str, mode: str) -> None:
    figure = drawing(name, case, mode)
    uids = [trace["uid"] for trace in figure["data"]]
    assert len(set(uids)) == len(uids)
    layout = figure["layout"]
    assert layout["height"] > 0 and "width" not in layout and "title" not in layout and "frames" not in figure
    look = layout["template"]["layout"]
    assert look["paper_bgcolor"] == look["plot_bgcolor"] == "rgba(0,0,0,0)"
    assert "Source Sans" in look["font"]["family"] and look["font"]["color"] == palette(mode).text


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("name", "case"), CASES)
def test_no_trace_takes_a_default_colour(name: str, case: str, mode: str) -> None:
    allowed = {colour.upper() for colour in vars(palette(mode)).values()} | {"#000000", "#FFFFFF"}
    opaque = {tuple(int(c[i : i + 2], 16) for i in (1, 3, 5)) for c in allowed}
    for trace in drawing(name, case, mode)["data"]:
        if trace["type"] == "heatmap":
            colours = [pair[1] for pair in trace["colorscale"]]
        elif trace.get("mode") == "lines":
            colours = [trace["line"]["color"]]
        else:
            colours = [trace["marker"]["color"]]
            assert "lines" not in trace.get("mode", "") or trace["line"]["color"]
        for colour in colours:
            found = re.match(r"rgba\((\d+),(\d+),(\d+)", colour)
            if found:
                assert tuple(map(int, found.groups())) in opaque, (trace["uid"], colour)
            else:
                assert colour.upper() in allowed, (trace["uid"], colour)


@pytest.mark.parametrize("name", list(CHARTS))
def test_traces_and_their_order_never_change(name: str) -> None:
    orders = {
        tuple(t["uid"] for t in drawing(name, case, mode)["data"]) for case in situations(name) for mode in MODES
    }
    assert len(orders) == 1


@pytest.mark.parametrize("mode", MODES)
def test_contrast_of_the_palette(mode: str) -> None:
    p = palette(mode)
    for ground in (p.background, p.surface):
        for name in ("text", "muted"):
            assert contrast(getattr(p, name), ground) >= 4.5, name
        for name in ("accent", "original", "tempered", "green", "purple", "grey"):
            assert contrast(getattr(p, name), ground) >= 3, name
    assert contrast(p.accent, p.background) >= 4.5  # links are text


@pytest.mark.parametrize("mode", MODES)
def test_counts_read_on_every_cell_colour(mode: str) -> None:
    for scale in (theme.sequential(mode), theme.diverging(mode)):
        for share in np.linspace(0, 1, 41):
            colour = theme.at(scale, float(share))
            assert contrast(colour, theme.ink(colour)) >= 4.5


@pytest.mark.parametrize("mode", MODES)
def test_original_and_tempered_look_the_same_everywhere(mode: str) -> None:
    p = palette(mode)
    seen = {"original": 0, "tempered": 0}
    for name, case in CASES:
        for trace in drawing(name, case, mode)["data"]:
            part, _, series = trace["uid"].rpartition("-")
            own = part not in {part for part, _ in PARTS[1:]} | {"ideal", "cells", "targets"}
            if series not in seen or not own:
                continue
            seen[series] += 1
            other = p.tempered if series == "original" else p.original
            text = json.dumps({key: trace.get(key) for key in ("marker", "line")}).upper()
            assert p.of(series) in text and other not in text, trace["uid"]
            if trace["type"] == "bar":
                hollow = trace["marker"]["color"].startswith("rgba")
                assert hollow == (series == "original")
    assert min(seen.values()) >= 10
    assert (
        theme.SYMBOLS["original"] != theme.SYMBOLS["tempered"]
        and theme.DASHES["original"] != theme.DASHES["tempered"]
    )


def by_uid(chart: Chart) -> dict[str, typing.Any]:
    return {trace.uid: trace for trace in chart.figure.data}


@pytest.mark.parametrize("mass", ["width", "mass"])
@pytest.mark.parametrize("case", list(OUTCOMES))
def test_reliability_table_is_what_is_drawn(case: str, mass: typing.Literal["width", "mass"]) -> None:
    chart = reliability_chart(*OUTCOMES[case], bins=12, mass=mass)
    for place, series in ((0, "original"), (2, "tempered")):
        outcome = OUTCOMES[case][place]
        rows = chart.table[chart.table["Model"] == series.title()]
        assert rows["Examples"].sum() == outcome.n
        points = by_uid(chart)[f"points-{series}"]
        np.testing.assert_allclose(100 * np.asarray(points.x, float), rows["Mean confidence, %"])
        np.testing.assert_allclose(100 * np.asarray(points.y, float), rows["Accuracy, %"])
        assert list(points.marker.size) == [MARK[few] for few in rows["Examples"] < FEW]
        gaps = (rows["Examples"] * (rows["Accuracy, %"] - rows["Mean confidence, %"]).abs()).sum() / outcome.n
        assert gaps / 100 == pytest.approx(reliability(outcome, 12, mass).ece)


def test_reliability_says_which_way_the_model_errs() -> None:
    original, over, _ = OUTCOMES["ten classes, 1000"]
    assert reliability_chart(original, over, over).caption.startswith("Over-confident")
    wrong = OUTCOMES["all wrong"][1]
    assert "ECE" in reliability_chart(wrong, wrong, wrong).caption
    flat = made(1000, 10, 0.4, 1)
    assert reliability_chart(original, flat, flat).caption.startswith("Under-confident")
    assert "calibration brings" in reliability_chart(original, over, made(1000, 10, 1.8, 1)).caption
    assert "calibration" not in reliability_chart(original, over, over).caption


def test_few_bins_are_small_marks_and_not_joined() -> None:
    chart = drawn("reliability", "two classes, 30")
    rows = chart.table[chart.table["Model"] == "Tempered"]
    assert (rows["Examples"] < 10).any()
    assert len(by_uid(chart)["line-tempered"].x) == (rows["Examples"] >= 10).sum()


@pytest.mark.parametrize("case", list(OUTCOMES))
def test_confusion_table_and_targets_agree_with_the_matrices(case: str) -> None:
    original, _, tempered = OUTCOMES[case]
    before, after = confusion_matrix(original), confusion_matrix(tempered)
    assert before.sum() == original.n and before.trace() == original.correct.sum()
    chart = confusion_chart(original, tempered)
    traces = by_uid(chart)
    for part, matrix in (("original", before), ("tempered", after), ("difference", after - before)):
        for true, predicted, count in traces[f"targets-{part}"].customdata:
            assert matrix[true, predicted] == count
    assert chart.table["Original, examples"].tolist() == [c[2] for c in traces["targets-original"].customdata]
    assert chart.table["Change, examples"].tolist() == [c[2] for c in traces["targets-difference"].customdata]


def test_each_cell_is_drawn_and_written_once() -> None:
    original, _, tempered = OUTCOMES["ten classes, 1000"]
    traces = by_uid(confusion_chart(original, tempered))
    for part in ("original", "tempered", "difference"):
        pair = [traces[f"cells-{part}-{colour}"] for colour in ("#000000", "#FFFFFF")]
        drawn_cells = sum(np.array([[v is not None for v in row] for row in one.z], int) for one in pair)
        assert (drawn_cells == 1).all()
        for one in pair:
            assert all(
                not text.strip(NO_WIDTH) or value is not None
                for t, z in zip(one.text, one.z, strict=True)
                for text, value in zip(t, z, strict=True)
            )


def test_selected_cell_is_outlined_in_every_panel() -> None:
    original, _, tempered = OUTCOMES["ten classes, 1000"]
    shapes = spec(confusion_chart(original, tempered, selected=(6, 0)))["layout"]["shapes"]
    assert [(s["x0"], s["y0"]) for s in shapes] == [(-0.5, 5.5)] * 3
    assert len({s["xref"] for s in shapes}) == 3


def test_class_names_cannot_write_markup() -> None:
    ticks = spec(drawn("confusion", "ten classes, 1000"))["layout"]["yaxis"]["ticktext"]
    assert "Ankle boot &lt;b&gt;" in ticks


def test_ledger_parts_add_up_on_the_bars_and_in_the_table() -> None:
    chart = ledger_chart(DENSE, SMALL)
    traces = by_uid(chart)
    assert sum(traces[f"{part}-tempered"].x[0] for part, _ in PARTS) == SMALL.packed
    entries = chart.table.set_index("Entry")
    assert entries.loc["Packed, all parts", "Tempered, bytes"] == SMALL.packed
    for part, name in PARTS:
        assert entries.loc[name, "Tempered, bytes"] == traces[f"{part}-tempered"].x[0]
    assert "7.9× smaller" in " ".join(texts(chart))
    assert "larger" in ledger_chart(SMALL, DENSE).caption.lower()


@pytest.mark.parametrize("current", [0, 1, 2])
def test_trail_points_lead_back(current: int) -> None:
    chart = trail_chart(TRAIL, current)
    traces = by_uid(chart)
    places = [*traces["trail-original"].customdata, *traces["trail-tempered"].customdata]
    assert places == [0, 1, 2]
    assert traces["trail-here"].x[0] == TRAIL[current].bytes
    assert chart.table["On screen"].tolist().index("yes") == current
    assert spec(chart)["layout"]["xaxis"]["type"] == "log"
    assert spec(trail_chart(TRAIL[:2], 0))["layout"]["xaxis"]["type"] == "linear"


def boxes(chart: Chart, width: float, height: float) -> list[tuple[float, float, float, float]]:
    """The trail's labels as left, bottom, right and top in pixels of a panel of that size, roughly."""
    layout = spec(chart)["layout"]
    (left, right), (bottom, top) = layout["xaxis"]["range"], layout["yaxis"]["range"]
    found = []
    for one in layout["annotations"]:
        share = one["x"] if one["xref"] == "x domain" else (one["x"] - left) / (right - left)
        wide = 6.5 * len(one["text"].replace("<b>", "").replace("</b>", "")) * one["font"]["size"] / 13
        x = share * width + one["xshift"] - (wide if one["xanchor"] == "right" else 0)
        y = (one["y"] - bottom) / (top - bottom) * height + one["yshift"]
        y -= 15 if one["yanchor"] == "top" else 0
        found.append((x, y, x + wide, y + 15))
    return found


@pytest.mark.parametrize("width", [225, 420])
@pytest.mark.parametrize("change", [-0.004, -0.0014, -0.0006, -0.0001, 0.0, 0.0001, 0.0006, 0.0014, 0.004])
def test_the_trails_labels_stand_apart(change: float, width: int) -> None:
    """Whatever the sizes and however many points: neither on each other nor on the mark of the point on screen."""
    for size in (400, 1_500, 6_000, 11_000, 13_000, 15_000, 15_500, 16_000, 40_000):
        here = TrailPoint("W4A8", 0.82 + change, 0.811 + change, 0.829 + change, size, "b")
        others = [TrailPoint(f"{n}", 0.82 - n / 3e4, 0.811, 0.829, 15_500 // (n + 1), f"o{n}") for n in range(1, 6)]
        for more in ([], others):
            chart = trail_chart((TrailPoint("Original", 0.82, 0.811, 0.829, 15_500, "a"), here, *more), 1)
            label, line = sorted(boxes(chart, width, 200), key=lambda box: box[2] - box[0])
            assert label[2] <= line[0] or line[2] <= label[0] or label[3] <= line[1] or line[3] <= label[1], size
            layout = spec(chart)["layout"]
            (left, right), (bottom, top) = layout["xaxis"]["range"], layout["yaxis"]["range"]
            at = math.log10(size) if layout["xaxis"]["type"] == "log" else size
            x, y = (at - left) / (right - left) * width, (here.shown - bottom) / (top - bottom) * 200
            across, up = max(line[0] - x, x - line[2], 0), max(line[1] - y, y - line[3], 0)
            assert math.hypot(across, up) > 8, size
            assert line[0] >= 0 and line[2] <= width
            assert layout["xaxis"]["type"] == "log" or 3 <= len(layout["xaxis"]["tickvals"]) <= 6


def test_a_calibration_that_changes_little_leaves_the_ece() -> None:
    original, over, _ = OUTCOMES["ten classes, 1000"]
    shares = over.probabilities.copy()
    shares[0] = 0.999_9 * shares[0] + 0.000_01
    said = reliability_chart(original, over, replace(over, predicted=shares)).caption
    assert re.search(r"confidence calibration leaves ECE at [\d.]+\u00a0%\.$", said), said


@pytest.mark.parametrize("tempered", [SILENT, None])
def test_no_bar_without_a_measurement(tempered: Latency | None) -> None:
    chart = latency_chart(MEASURED, tempered)
    traces = by_uid(chart)
    for row in (1, 2):
        assert traces[f"latency-{row}-tempered"].x[0] is None
        assert traces[f"latency-{row}-original"].x[0] is not None
    said = " ".join(texts(chart)).replace("<br>", " ")
    assert (tempered.note if tempered else "Not measured.") in said
    assert "faster" not in said and "slower" not in said


def test_latency_whisker_ends_at_p95() -> None:
    one = by_uid(latency_chart(MEASURED, FAST))["latency-2-tempered"]
    assert FAST.batch_p95 is not None
    assert one.x[0] + one.error_x.array[0] == pytest.approx(FAST.batch_p95)
    assert "1.9× faster" in latency_chart(MEASURED, FAST).caption
    assert "as fast as" in latency_chart(MEASURED, MEASURED).caption


@pytest.mark.parametrize("case", list(SPEEDS))
def test_speed_marks_are_the_tables(case: str) -> None:
    speed, _ = SPEEDS[case]
    chart = speed_chart(speed)
    for series in SIDES:
        rows = chart.table[chart.table["Model"] == series.title()]
        assert list(rows["Batch"]) == list(speed.batches)
        for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            wanted = [np.quantile(speed.of(series, b).calls, q, method="inverted_cdf") for b in speed.batches]
            np.testing.assert_allclose(by_uid(chart)[f"speed-{name}-{series}"].x, wanted)
            np.testing.assert_allclose(rows[f"{name}, ms"], wanted)
        line = by_uid(chart)[f"speed-range-{series}"].x
        assert line[0] == by_uid(chart)[f"speed-p50-{series}"].x[0]
        assert line[1] == by_uid(chart)[f"speed-p99-{series}"].x[0]
    axis = spec(chart)["layout"]["xaxis"]
    drawn_at = [x for trace in chart.figure.data for x in trace.x if x is not None]
    assert axis["range"][0] < math.log10(min(drawn_at)) <= math.log10(max(drawn_at)) < axis["range"][1]
    assert axis["tickvals"], "an axis without numbers says nothing"


def test_speed_says_faster_only_where_the_interval_does() -> None:
    assert "is 2.5× faster (" in speed_chart(timed(0.4, 0.3)).caption
    assert "is 2.0× slower (" in speed_chart(timed(2.0, 0.3)).caption
    assert "not surely faster or slower" in speed_chart(SPEEDS["alike"][0]).caption
    assert SILENT.note[1:20] in speed_chart(SPEEDS["alike"][0]).caption
    assert faster(Quantity(2.0, "times", "measured", Interval(0.9, 3.0))).startswith("not surely")
    assert "too few rounds" in faster(Quantity(2.0, "times"))
    slower = faster(Quantity(0.5, "times", "measured", Interval(0.4, 0.8)))
    assert slower == "2.0× slower (1.25 to 2.5)"


@pytest.mark.parametrize("case", list(SPEEDS))
def test_deadline_line_and_shares_are_the_calls(case: str) -> None:
    speed, deadline = SPEEDS[case]
    chart = deadline_chart(speed, deadline)
    for series in SIDES:
        calls = speed.of(series, speed.batches[0]).calls
        share = 100 * np.mean(calls <= deadline.milliseconds)
        traces = by_uid(chart)
        mark, line = traces[f"deadline-share-{series}"], traces[f"deadline-calls-{series}"]
        assert (mark.x[0], mark.y[0]) == (deadline.milliseconds, pytest.approx(share))
        assert chart.table.set_index("Model").loc[series.title(), "In time, %"] == pytest.approx(share)
        x, y = np.asarray(line.x), np.asarray(line.y)
        assert (np.diff(x) >= 0).all() and (np.diff(y) >= 0).all() and (y[0], y[-1]) == (0, 100)
        step = np.searchsorted(x, deadline.milliseconds, "right") - 1  # the line passes through the mark
        assert (0 if step < 0 else y[step]) == pytest.approx(share, abs=100 / 600)
        assert calls.max() in x
    assert spec(chart)["layout"]["shapes"][0]["x0"] == deadline.milliseconds


def test_deadline_says_the_rate_and_never_rounds_to_all() -> None:
    late = np.r_[np.full(4999, 10.0), 40.0]
    speed = Speed(tuple(Timing(side, 1, (late.copy(),)) for side in SIDES), MACHINE)
    said = deadline_chart(speed, Deadline.at_rate(30)).caption.replace(words.SPACE, " ")
    assert said.startswith("At 30 frames a second: > 99.9 % in time (95 % interval 99.9 to > 99.9 %)")
    assert "the longest took 40.0 ms and 40.0 ms" in said
    assert "Within 0.02" in deadline_chart(*SPEEDS["never"]).caption


@pytest.mark.parametrize("case", list(COUNTS))
def test_flips_net_is_gains_minus_losses(case: str) -> None:
    given = COUNTS[case]
    chart = flips_chart(**given)
    traces = by_uid(chart)
    assert traces["flips-original"].x[0] == -given["right_to_wrong"] <= 0 <= traces["flips-tempered"].x[0]
    net = given["wrong_to_right"] - given["right_to_wrong"]
    assert traces["flips-net"].x[0] == net == chart.table.set_index("Change").loc["Net", "Examples"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (words.percent(0.92812), "92.8 %"),
        (words.percent(0.99999), "> 99.9 %"),
        (words.percent(0.0001), "< 0.1 %"),
        (words.percent(1.0), "100.0 %"),
        (words.percent(0.0), "0.0 %"),
        (words.percent(math.nan), "–"),
        (words.points(-0.0131), "−1.3"),
        (words.points(0.0042), "+0.42"),
        (words.points(0.00999), "+1.0"),
        (words.points(0.0), "0"),
        (words.signed(-0.0001, 3), "0.000"),
        (words.size(999), "999 B"),
        (words.size(1_000), "1.00 kB"),
        (words.size(208_400), "208 kB"),
        (words.size(999_600), "1.00 MB"),
        (words.ratio(1_640_000, 208_400), "7.9× smaller"),
        (words.ratio(100, 150), "1.50× larger"),
        (words.ratio(100, 100), "same size"),
        (words.ratio(0, 100), "–"),
        (words.milliseconds(0.294), "0.29 ms"),
        (words.milliseconds(12.61), "12.6 ms"),
        (words.milliseconds(1498.2), "1,498 ms"),
        (words.milliseconds(0.001), "1.0 µs"),
        (words.milliseconds(0.0412), "41 µs"),
        (words.milliseconds(None), "–"),
        (words.count(10_000), "10,000"),
        (words.interval(0.9231, 0.9338), "92.3 to 93.4 %"),
        (words.tick(500_000), "500 kB"),
        (words.name("a very long name of a class", 11), "a ver…class"),
    ],
)
def test_numbers_read_well(written: str, expected: str) -> None:
    assert written.replace(words.SPACE, " ") == expected


def test_table_is_a_frame_with_distinct_columns() -> None:
    for name, case in CASES:
        table = drawn(name, case).table
        assert isinstance(table, pd.DataFrame) and table.columns.is_unique
