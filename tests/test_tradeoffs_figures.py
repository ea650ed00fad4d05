"""What the two charts of a grid draw and say: each point once, in its place, and never more than is known."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import plotly.io as pio
import pytest
from conftest import recipe

from core.figures import said as units
from core.figures import words
from core.figures._spots import Scale
from core.figures.heat import heat_chart
from core.figures.theme import palette
from core.figures.tradeoff import tradeoff_chart
from core.sweeps.front import Spot, front
from core.sweeps.plan import Plan, axis_from_text
from core.task import FACTS, Task
from core.types import Chart, Interval, Quantity

EMPTY = recipe()
MEASURES = sorted({name for facts in FACTS.values() for name in facts.traded})
HOUSES = Task("regression", target="price", unit="US dollars")
PLAN = Plan(EMPTY, (axis_from_text(EMPTY, "weight_bits=32,8,6,4,2"), axis_from_text(EMPTY, "sparsity=0:0.9:0.1")))
BROKEN = {(4, j) for j in range(10)}
ESTIMATED = {(i, j) for i in range(4) for j in (1, 4)}
FAILED, WAITING = (2, 9), (3, 9)


def made(place: tuple[int, ...], accuracy: float, exact: bool, packed: int, latency: float | None) -> Spot:
    how, n, half = ("measured", 10_000, 0.005) if exact else ("estimated", 512, 0.012)
    wrong = 1 - accuracy
    numbers = {"accuracy": accuracy, "macro_f1": accuracy - 0.001, "ece": wrong / 2, "nll": 3 * wrong}
    numbers |= {"flips": round(10_000 * wrong), "auroc": accuracy, "average_precision": accuracy, "brier": wrong}
    numbers |= {"r2": accuracy, "mae": 70_000 * wrong, "rmse": 90_000 * wrong}
    numbers |= {"interval_score": 250_000 * wrong}
    assert set(numbers) == set(MEASURES)
    values = {
        name: Quantity(
            value, HOUSES.unit_of(units.unit_of(name)), how, Interval(value - half * value, value + half * value), n
        )
        for name, value in numbers.items()
    }
    noise = np.random.default_rng(sum(place)).normal(0, 0.001, 50)
    resampled = {name: (value * (1 + noise)).astype(np.float32) for name, value in numbers.items()} if exact else {}
    kernel = "float" if latency else ""
    return Spot(
        place, PLAN.recipes.get(place, EMPTY), values, 10_000, packed, packed + 1_200, kernel, latency, resampled
    )


def sweep() -> dict[tuple[int, ...], Spot]:
    found = {}
    for place, tempered in PLAN.recipes.items():
        i, j = place
        accuracy = 0.1 if place in BROKEN else 0.934 - 0.004 * i**2 - 0.0004 * j**2
        packed = int(1_640_000 * (PLAN.axes[0].values[i] / 32) * (1 - 0.09 * j))
        found[place] = made(place, accuracy, place not in ESTIMATED, packed, 0.5 - 0.1 * i if i < 2 else None)
        if place == FAILED:
            found[place] = Spot(place, tempered, error="The session could not be opened: out of memory.")
        if place == WAITING:
            found[place] = Spot(place, tempered)
    return found


SPOTS = sweep()
LISTED = list(SPOTS.values())
KNOWN = [s for s in LISTED if s.known]
ORIGINAL = dataclasses.replace(made((), 0.934, True, 1_640_000, 0.54), recipe=EMPTY)


def spec(chart: Chart) -> dict:
    return json.loads(pio.to_json(chart.figure, remove_uids=False))


def by_uid(chart: Chart) -> dict:
    return {trace.uid: trace for trace in chart.figure.data}


def notes(chart: Chart) -> str:
    return " ".join(a.text for a in chart.figure.layout.annotations).replace(words.SPACE, " ")


def said(chart: Chart) -> str:
    return chart.caption.replace(words.SPACE, " ")


def boxes(trace) -> int:
    """How many boxes a line with gaps holds."""
    return sum(value is None for value in trace.x)


# The grid


def test_every_cell_is_drawn_and_clickable_once():
    chart = heat_chart(PLAN, SPOTS, "accuracy", front=front(LISTED, "accuracy"))
    traces = by_uid(chart)
    drawn = sum(
        np.array([[v is not None for v in row] for row in trace.z], int)
        for uid, trace in traces.items()
        if uid.startswith("cells-")
    )
    assert drawn.shape == (5, 10) and (drawn == 1).all()
    targets = traces["targets"]
    assert [tuple(place) for place in targets.customdata] == list(PLAN.recipes)
    assert [(i, j) for i, j in zip(targets.y, targets.x, strict=True)] == list(PLAN.recipes)
    written = {}
    for colour in ("#000000", "#FFFFFF"):
        for i, row in enumerate(traces[f"cells-{colour}"].text):
            written |= {(i, j): text for j, text in enumerate(row) if text}
    assert set(written) == {s.place for s in KNOWN}
    assert {place for place, text in written.items() if text.startswith("≈")} == ESTIMATED
    assert written[0, 0] == "93.4" and written[0, 1] == "≈93.4"
    assert list(zip(traces["failed"].y, traces["failed"].x, strict=True)) == [FAILED]
    assert list(zip(traces["waiting"].y, traces["waiting"].x, strict=True)) == [WAITING]


def test_better_cells_are_stronger_whichever_way_is_better():
    for measure in MEASURES:
        traces = by_uid(heat_chart(PLAN, SPOTS, measure))
        shares = np.zeros((5, 10))
        for colour in ("#000000", "#FFFFFF"):
            shares += np.array([[v or 0 for v in row] for row in traces[f"cells-{colour}"].z], float)
        assert shares[0, 0] == pytest.approx(1) and shares[4].max() < 0.25 and shares[4].min() >= 0.15
        assert (np.diff(shares[0]) <= 1e-9).all()


def test_one_broken_corner_does_not_flatten_the_rest():
    values = [*np.linspace(90, 93, 40), 10, 11]
    accuracy, ece = Scale.of("accuracy"), Scale.of("ece")
    low, high = accuracy.focus(values, 1.0)
    assert high == 93 and 80 < low <= 90
    low, high = ece.focus([100 - v for v in values], 1.0)
    assert low == 7 and 10 <= high < 20
    assert accuracy.focus([*np.linspace(10, 90, 40)], 1.0) == (10, 90), "an even spread is shown whole"
    assert accuracy.focus([50.0] * 4, 1.0) == (48, 50)
    chart = heat_chart(PLAN, SPOTS, "accuracy")
    assert "with 10 points below" in said(chart)
    assert "below" not in said(heat_chart(PLAN, {p: s for p, s in SPOTS.items() if p not in BROKEN}, "accuracy"))


def test_marks_of_the_front_the_limits_and_the_recipe_on_screen():
    found = front(LISTED, "accuracy")
    allowed = {s.place for s in LISTED if s.packed and s.packed < 500_000}
    traces = by_uid(heat_chart(PLAN, SPOTS, "accuracy", front=found, allowed=allowed, here=(1, 3)))
    assert boxes(traces["front-certain"]) == len(found.certain) > 0
    assert boxes(traces["front-uncertain"]) == len(found.members) - len(found.certain)
    assert traces["front-certain"].line.dash == "solid" != traces["front-uncertain"].line.dash
    assert boxes(traces["veil"]) == 50 - len(allowed)
    assert boxes(traces["inset"]) == 4 * len(ESTIMATED)
    assert list(traces["here"].x)[:2] == [2.5, 3.5]
    plain = by_uid(heat_chart(PLAN, SPOTS, "accuracy"))
    assert not any(boxes(plain[uid]) for uid in ("front-certain", "front-uncertain", "veil", "here"))


def test_hover_says_all_that_is_known():
    targets = by_uid(heat_chart(PLAN, SPOTS, "accuracy", front=front(LISTED, "accuracy")))["targets"]
    hovers = {tuple(p): t.replace(words.SPACE, " ") for p, t in zip(targets.customdata, targets.text, strict=True)}
    for part in (
        "<b>untouched</b>", "accuracy 93.4 % [92.9 to 93.9 %]", "macro F1", "ECE", "NLL 0.198 [",
        "Brier score 0.066 [", "AUROC 0.934 [0.929 to 0.939]", "flips 660 [", "1.64 MB packed", "0.50 ms",
        "RMSE 5,940 US dollars [5,910 to 5,970 US dollars]", "measured on 10,000 examples",
    ):  # fmt: skip
        assert part in hovers[0, 0], part
    assert "≈ accuracy" in hovers[0, 1] and "estimated from 512 of 10,000" in hovers[0, 1]
    assert "out of memory" in hovers[FAILED] and "not evaluated yet" in hovers[WAITING]
    assert any("of resampled test sets" in text for text in hovers.values())


def test_a_slice_of_three_axes_and_either_direction():
    axes = (axis_from_text(EMPTY, "granularity=channel,tensor"), *PLAN.axes)
    plan = Plan(EMPTY, axes)
    spots = {(1, *place): dataclasses.replace(spot, place=(1, *place)) for place, spot in SPOTS.items()}
    targets = by_uid(heat_chart(plan, spots, "accuracy", down=1, across=2))["targets"]
    assert {tuple(p) for p in targets.customdata} == set(spots)
    turned = by_uid(heat_chart(PLAN, SPOTS, "accuracy", down=1, across=0))["targets"]
    assert [tuple(p) for p in turned.customdata][:6] == [(0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (0, 1)]
    assert list(turned.x)[:6] == [0, 1, 2, 3, 4, 0]


def test_one_axis_is_one_row():
    plan = Plan(EMPTY, (axis_from_text(EMPTY, "sparsity=0,0.5"),))
    spots = {(j,): made((j,), 0.9 - 0.1 * j, True, 1000 - j, None) for j in range(2)}
    chart = heat_chart(plan, spots, "accuracy", front=front(list(spots.values()), "accuracy"))
    assert by_uid(chart)["targets"].customdata == ([0], [1]) or list(by_uid(chart)["targets"].customdata) == [
        [0],
        [1],
    ]
    assert len(by_uid(chart)["cells-#000000"].z) == 1


def test_numbers_only_where_they_fit():
    wide = Plan(EMPTY, (PLAN.axes[0], axis_from_text(EMPTY, "sparsity=0:0.98:0.02")))
    spots = {place: made(place, 0.9, True, 1000, None) for place in wide.recipes}
    traces = by_uid(heat_chart(wide, spots, "accuracy"))
    assert not any(text for row in traces["cells-#000000"].text for text in row)
    assert len(traces["targets"].x) == 250


def test_a_grid_without_points_still_has_its_frame():
    chart = heat_chart(PLAN, {}, "accuracy")
    assert said(chart) == "0 of 50 points are known so far."
    assert len(chart.table) == 50 and set(chart.table["state"]) == {"waiting"}
    assert len(by_uid(chart)["waiting"].x) == 50


def test_the_grids_caption_names_the_best_and_the_smallest_near_it():
    text = said(heat_chart(PLAN, SPOTS, "accuracy"))
    assert text.startswith("Best is untouched with 93.4 %; ")
    near = [s for s in KNOWN if s.values["accuracy"].value >= 0.934 - 0.01]
    least = min(near, key=lambda s: s.packed)
    assert f"{len(near)} of {len(KNOWN)} known points stay within 1 point" in text
    assert least.label in text.replace(words.SPACE, " ")


# The trade-off


@pytest.mark.parametrize("by", ["packed", "file", "latency"])
@pytest.mark.parametrize("measure", MEASURES)
def test_each_point_with_a_cost_is_drawn_once(measure, by):
    found = front(LISTED, measure, by)
    allowed = {(i, j) for i, j in SPOTS if j % 3}
    for limits in (None, allowed):
        chart = tradeoff_chart(LISTED, found, ORIGINAL, measure, by, allowed=limits)
        places = [tuple(p) for t in chart.figure.data if t.customdata is not None for p in t.customdata]
        assert sorted(places) == sorted(s.place for s in KNOWN if s.size(by) is not None)
        traces = by_uid(chart)
        sure = [tuple(p) for p in traces["front-certain"].customdata]
        assert set(sure) == {m for m in found.certain if limits is None or m in limits} - {
            tuple(p) for p in traces["beyond"].customdata
        }
        low, high = spec(chart)["layout"]["yaxis"]["range"]
        assert all(low <= y <= high for t in chart.figure.data if t.customdata is not None for y in t.y)


@pytest.mark.parametrize("measure", ["accuracy", "ece"])
def test_stairs_show_what_is_attainable(measure):
    found = front(LISTED, measure)
    chart = tradeoff_chart(LISTED, found, ORIGINAL, measure, "packed")
    stairs = by_uid(chart)["stairs"]
    members = [SPOTS[m] for m in found.members]
    x, y = list(stairs.x), list(stairs.y)
    assert x[:-1:2] == x[1::2] == [m.packed for m in members]
    assert y[1::2] == pytest.approx([Scale.of(measure).shown(m) for m in members])
    for step in range(1, len(members)):
        assert y[2 * step] == y[2 * step - 1], "level up to the next member"
    better = np.diff(y[1::2])
    assert (better > 0).all() if measure == "accuracy" else (better < 0).all()
    low, high = chart.figure.layout.yaxis.range
    assert y[0] == (low if measure == "accuracy" else high)
    assert y[-1] == y[-2] and x[-1] == pytest.approx(10 ** chart.figure.layout.xaxis.range[1])


def test_collapsed_points_stand_at_the_edge_and_are_counted():
    chart = tradeoff_chart(LISTED, front(LISTED, "accuracy"), ORIGINAL, "accuracy", "packed")
    assert {tuple(p) for p in by_uid(chart)["beyond"].customdata} == BROKEN
    assert "10 points lie below" in notes(chart)
    assert chart.figure.layout.yaxis.range[0] > 70
    upwards = tradeoff_chart(LISTED, front(LISTED, "ece"), ORIGINAL, "ece", "packed")
    assert "10 points lie above" in notes(upwards)


def test_points_without_latency_are_left_out_and_counted():
    chart = tradeoff_chart(LISTED, front(LISTED, "accuracy", "latency"), ORIGINAL, "accuracy", "latency")
    left = sum(s.latency is None for s in KNOWN)
    assert f"{left} points have no kernel here, so no latency" in said(chart)
    assert "× faster" in said(chart) or "same speed" in said(chart)
    assert spec(chart)["layout"]["xaxis"]["type"] == "linear"
    nothing = [dataclasses.replace(s, latency=None) for s in LISTED]
    ran = sum(s.latency is not None for s in KNOWN)
    empty = tradeoff_chart(nothing, front(nothing, "accuracy", "latency"), ORIGINAL, "accuracy", "latency")
    assert "No points to show yet." in notes(empty) and "no kernel here" in said(empty)
    assert f"{ran} points have no latency yet" in said(empty)


def test_the_axis_of_bytes_is_logarithmic_where_it_is_wide():
    assert (
        spec(tradeoff_chart(LISTED, front(LISTED, "accuracy"), None, "accuracy", "packed"))["layout"]["xaxis"]["type"]
        == "log"
    )
    near = [s for s in LISTED if s.place[0] == 0 and s.place[1] < 5]
    assert (
        spec(tradeoff_chart(near, front(near, "accuracy"), None, "accuracy", "packed"))["layout"]["xaxis"]["type"]
        == "linear"
    )


def test_the_caption_counts_the_front_and_names_the_best():
    found = front(LISTED, "accuracy")
    exact = [s for s in KNOWN if s.exact]
    text = said(tradeoff_chart(LISTED, found, ORIGINAL, "accuracy", "packed", best=(1, 5)))
    assert text.startswith(f"{len(found.members)} of {len(exact)} measured points are on the front, ")
    assert f"{len(found.certain)} of them surely (in 95 % of resampled test sets)" in text
    assert SPOTS[1, 5].label.replace(words.SPACE, " ") in text and "× smaller" in text
    limited = tradeoff_chart(LISTED, found, ORIGINAL, "accuracy", "packed", best=(1, 5), allowed={(1, 5)})
    assert "the best within the limits is" in said(limited)
    unsampled = [dataclasses.replace(s, resampled={}) for s in LISTED]
    assert "surely" not in said(
        tradeoff_chart(unsampled, front(unsampled, "accuracy"), ORIGINAL, "accuracy", "packed")
    )


def test_best_and_here_are_marked():
    chart = tradeoff_chart(
        LISTED, front(LISTED, "accuracy"), ORIGINAL, "accuracy", "packed", best=(1, 5), here=(3, 2)
    )
    traces = by_uid(chart)
    assert traces["best"].x == (SPOTS[1, 5].packed,) and traces["here"].x == (SPOTS[3, 2].packed,)
    assert SPOTS[1, 5].label in " ".join(a.text for a in chart.figure.layout.annotations)
    assert "in the Studio" in notes(chart)
    gone = tradeoff_chart(LISTED, front(LISTED, "accuracy"), ORIGINAL, "accuracy", "packed", best=FAILED, here=(9, 9))
    assert not by_uid(gone)["best"].x and "in the Studio" not in notes(gone)


def test_faint_points_are_outside_the_limits():
    allowed = {s.place for s in KNOWN if s.place[1] > 4}
    traces = by_uid(
        tradeoff_chart(LISTED, front(LISTED, "accuracy"), ORIGINAL, "accuracy", "packed", allowed=allowed)
    )
    faint = [tuple(p) for uid in traces if uid.startswith("faint-") for p in traces[uid].customdata]
    assert faint and not set(faint) & allowed
    assert all(traces[uid].marker.opacity < 0.5 for uid in traces if uid.startswith("faint-"))
    assert set(map(tuple, traces["estimated"].customdata)) <= allowed & ESTIMATED


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("spots", [[], [SPOTS[1, 1]], [SPOTS[1, 2]], [SPOTS[WAITING]]], ids=str)
@pytest.mark.parametrize("original", [None, ORIGINAL])
def test_few_points_make_a_framed_figure(spots, original, mode):
    for measure in MEASURES:
        for by in ("packed", "latency"):
            chart = tradeoff_chart(spots, front(spots, measure, by), original, measure, by, mode=mode, best=(1, 2))
            layout = spec(chart)["layout"]
            for axis in ("xaxis", "yaxis"):
                low, high = layout[axis]["range"]
                assert low < high and np.isfinite([low, high]).all()
            assert chart.caption.endswith(".") and not re.search(r"\b(nan|inf)\b", chart.caption + chart.alt)
            assert len(chart.table) == len(spots)


def test_equal_points_have_a_range():
    alike = [made((0, j), 0.9, True, 1000, 0.5) for j in range(4)]
    chart = tradeoff_chart(alike, front(alike, "accuracy"), None, "accuracy", "packed")
    low, high = chart.figure.layout.yaxis.range
    assert high - low >= 2 and said(chart).startswith("1 of 4 measured points is on the front")


def test_names_cannot_write_markup():
    wild = dataclasses.replace(SPOTS[FAILED], error="<b>no</b> " * 50)
    text = by_uid(heat_chart(PLAN, {FAILED: wild}, "accuracy"))["targets"].text
    hover = next(t for t in text if "no" in t and "lt;" in t)
    assert "<b>no" not in hover


def test_table_names_the_parameters_where_the_plan_is_given():
    found = front(LISTED, "accuracy")
    table = tradeoff_chart(LISTED, found, ORIGINAL, "accuracy", "packed", plan=PLAN).table
    assert {"weight_bits", "sparsity", "front_share"} <= set(table.columns) and len(table) == 50
    assert table["on_front"].sum() == len(found.members)
    assert table.equals(heat_chart(PLAN, SPOTS, "accuracy", front=found).table)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_the_worst_cell_differs_from_an_empty_one(mode):
    from core.figures.heat import PALEST
    from core.figures.theme import at, luminance, sequential

    p = palette(mode)
    worst = at(sequential(mode), PALEST)
    for ground in (p.background, p.surface):
        lighter, darker = sorted((luminance(worst) + 0.05, luminance(ground) + 0.05), reverse=True)
        assert worst != ground and lighter / darker > 1.1
