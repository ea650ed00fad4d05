"""What the charts of numbers draw is what the outcomes say: cells, residuals, coverage, axes and words."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import plotly.io as pio
import pytest
from regression import SITUATIONS, outcome, prices, result
from scipy.stats import binom
from streamlit.testing.v1 import AppTest

from core.engine.numbers import decimals, worst, worst_table
from core.figures import words
from core.figures._numbers import Scale, rounded, scale_of, short
from core.figures.actual import FEW, actual_chart
from core.figures.coverage import chance, coverage_chart
from core.figures.residuals import BAND, residuals_chart
from core.registry import method
from core.task import LEVEL, LEVELS
from core.types import Chart

CALIBRATED = SITUATIONS["prices, calibrated"]


def by_uid(chart: Chart) -> dict:
    return {trace.uid: trace for trace in chart.figure.data}


@pytest.mark.parametrize("case", list(SITUATIONS))
def test_every_example_is_in_a_cell_or_a_point(case):
    original, _, tempered = SITUATIONS[case]
    chart = actual_chart(original, tempered)
    traces = by_uid(chart)
    for series, one in (("original", original), ("tempered", tempered)):
        cells, points = traces[f"cells-{series}"], traces[f"points-{series}"]
        shown = ~np.isnan(np.array(cells.z, float))
        assert np.array(cells.text)[shown].sum() + len(points.x) == one.n
        assert not shown.any() or np.array(cells.text)[shown].min() >= FEW
    layout = chart.figure.layout
    assert layout.xaxis.range == layout.xaxis2.range == layout.yaxis.range == layout.yaxis2.range
    assert chart.table.groupby("Model")["Examples"].sum().tolist() == [original.n, original.n]


def test_cells_and_points_stand_where_the_examples_are():
    original, _, tempered = CALIBRATED
    traces = by_uid(actual_chart(original, tempered))
    edges = np.array(traces["cells-tempered"].x)
    actual, predicted = np.log10(tempered.labels), np.log10(tempered.values)
    expected = np.histogram2d(np.clip(predicted, edges[0], edges[-1]), np.clip(actual, edges[0], edges[-1]), edges)[0]
    counts = np.array(traces["cells-tempered"].text)
    # A value that lies on an edge up to rounding may fall to either side.
    assert np.abs(counts - np.where(expected >= FEW, expected, 0)).sum() <= 2 * FEW
    points = traces["points-tempered"]
    places = [int(text.rsplit(" ", 1)[1]) for text in points.text]
    inside = (predicted[places] > edges[0]) & (predicted[places] < edges[-1])
    assert np.array(points.x)[inside] == pytest.approx(actual[places][inside])
    assert np.array(points.y)[inside] == pytest.approx(predicted[places][inside])


def test_ten_thousand_examples_stay_light():
    outputs, labels = prices(10_000)
    chart = actual_chart(outcome(outputs, labels), outcome(outputs * 1.01, labels))
    assert sum(len(by_uid(chart)[f"points-{series}"].x) for series in ("original", "tempered")) < 2_000
    assert len(pio.to_json(chart.figure)) < 400_000  # a point each would be 2 MB


def test_a_model_gone_wild_does_not_squeeze_the_original():
    original, _, tempered = SITUATIONS["wild after"]
    chart = actual_chart(original, tempered)
    low, high = chart.figure.layout.xaxis.range
    span = float(max(original.labels.max(), original.values.max()) - original.labels.min())
    assert high - low < 3 * span
    assert any("lie beyond" in a.text for a in chart.figure.layout.annotations)
    assert "704" in chart.caption, "and the numbers hide nothing"


@pytest.mark.parametrize("case", list(SITUATIONS))
def test_captions_state_the_registered_metrics(case):
    original, uncalibrated, tempered = SITUATIONS[case]
    mae, coverage = (method("metric", name).function for name in ("mae", "coverage"))
    assert words.amount(mae.of(tempered), tempered.task.unit) in actual_chart(original, tempered).caption
    said = coverage_chart(original, uncalibrated, tempered).caption
    assert words.percent(coverage.of(tempered)) in said
    if case == "prices, calibrated":
        assert words.percent(coverage.of(uncalibrated)) in said
        assert f"{tempered.predicted[:, 18].mean() / uncalibrated.predicted[:, 18].mean():.2f}×" in said
    assert ("states no intervals" in said) == (not uncalibrated.predicted[:, 1:].any())


@pytest.mark.parametrize("case", list(SITUATIONS))
def test_coverage_is_counted(case):
    original, uncalibrated, tempered = SITUATIONS[case]
    chart = coverage_chart(original, uncalibrated, tempered)
    traces = by_uid(chart)
    for series, one in (("original", original), ("tempered", tempered), ("uncalibrated", uncalibrated)):
        line = traces[f"share-{series}"]
        if series == "uncalibrated" and uncalibrated is tempered:
            assert len(line.x) == 0
            continue
        for place, level in enumerate(LEVELS):
            low, high = (one.values + side * one.predicted[:, 1 + place] for side in (-1, 1))
            inside = np.mean([a <= y <= b for a, y, b in zip(low, one.labels, high, strict=True)])
            assert line.x[place] == level
            # The ends may round to the label itself where the interval ends there.
            assert line.y[place] == pytest.approx(inside, abs=1.001 / one.n if not one.predicted[:, 1:].any() else 0)
            assert traces[f"width-{series}"].y[place] == pytest.approx((high - low).mean(), rel=1e-9)
    rows = chart.table[chart.table["Model"] == "Tempered"]
    assert rows["Held, %"].to_numpy() == pytest.approx(100 * np.array(traces["share-tempered"].y))
    assert rows["Level, %"].tolist() == [round(100 * level) for level in LEVELS]


@pytest.mark.parametrize("n", [1, 25, 400, 8_000])
def test_the_grey_band_is_the_binomials(n):
    low, high = chance(n)
    for place, level in enumerate(LEVELS):
        assert low[place] * n == pytest.approx(binom.ppf(0.025, n, level))
        assert high[place] * n == pytest.approx(binom.ppf(0.975, n, level))


def test_conformal_coverage_is_within_chance_and_the_networks_own_is_not():
    """The prices of the demonstration: the calibration split adds its own chance, so the band is doubled."""
    original, uncalibrated, tempered = CALIBRATED
    low, high = (end[LEVELS.index(LEVEL)] for end in chance(original.n))
    coverage = method("metric", "coverage").function
    assert LEVEL - 3 * (LEVEL - low) < coverage.of(tempered) < LEVEL + 3 * (high - LEVEL)
    assert coverage.of(uncalibrated) < LEVEL - 10 * (LEVEL - low)


@pytest.mark.parametrize("case", list(SITUATIONS))
def test_residuals_are_those_of_the_examples(case):
    original, _, tempered = SITUATIONS[case]
    chart = residuals_chart(original, tempered)
    traces = by_uid(chart)
    for series, one in (("original", original), ("tempered", tempered)):
        left = one.labels - one.values
        bars = traces[f"distribution-{series}"]
        edges, share = np.array(bars.x)[::2], np.array(bars.y)[1:-1:2]
        inside = ((left >= edges[0]) & (left <= edges[-1])).mean()
        assert share.sum() == pytest.approx(100 * inside)
        rows = chart.table[chart.table["Model"] == ("Original" if series == "original" else "Tempered")]
        assert rows["Examples"].iloc[0] == rows["Examples"].iloc[1:].sum() == one.n
        columns = [name for name in chart.table.columns if "residual" in name]
        expected = np.quantile(left, (BAND[0], 0.5, BAND[1]))
        assert rows[columns].iloc[0].to_numpy(float) == pytest.approx(expected, rel=1e-4)
    assert traces["low-original"].xaxis == traces["low-tempered"].xaxis


def test_the_spread_of_heteroscedastic_residuals_grows():
    original, _, tempered = CALIBRATED
    rows = residuals_chart(original, tempered).table
    rows = rows[(rows["Model"] == "Original") & (rows["Predicted values"] != "all")]
    width = rows["5 % of residuals above, US dollars"] - rows["5 % of residuals below, US dollars"]
    assert rows["Median predicted, US dollars"].is_monotonic_increasing
    assert width.iloc[-1] > 3 * width.iloc[0]
    parts = np.array_split(np.argsort(original.values, kind="stable"), len(rows))
    for part, median in zip(parts, rows["Median residual, US dollars"], strict=True):
        assert median == pytest.approx(np.median((original.labels - original.values)[part]), abs=0.5)


@pytest.mark.parametrize("draw", [actual_chart, residuals_chart, coverage_chart])
def test_a_target_cannot_write_markup(draw):
    task = replace(CALIBRATED[0].task, target="<b>price", unit="<i>dollars")
    three = [replace(one, task=task) for one in CALIBRATED]
    chart = draw(*three) if draw is coverage_chart else draw(three[0], three[2])
    figure = json.loads(pio.to_json(chart.figure))
    layout = figure["layout"]
    layout.pop("template")
    text = json.dumps([layout, [trace.get("text") for trace in figure["data"] if trace["type"] == "scatter"]])
    assert "<b>price" not in text and "<i>dollars" not in text
    assert "&lt;" in text


def test_an_axis_has_round_ticks_inside_its_range():
    for low, high in ((0.0, 1.0), (-3.2e-5, 7e-5), (1e6, 1.3e6), (-1e9, 5e8)):
        ticks = Scale(low, high, False).axis("")["tickvals"]
        assert 2 <= len(ticks) <= 7 and min(ticks) >= low - 1e-9 * (high - low)
        assert max(ticks) <= high + 1e-9 * (high - low)
    ticks = Scale(4.4, 6.2, True).axis("", 3)
    assert ticks["ticktext"] == ["50k", "200k", "1M"]
    assert [short(v) for v in (0.0, 0.002, -250.0, 5_000.0, 20_000.0, 1.5e6, 2e9)] == [
        "0", "0.002", "−250", "5,000", "20k", "1.5M", "2G",
    ]  # fmt: skip


def test_an_axis_of_decades_takes_what_is_not_positive_to_its_end():
    scale = scale_of(np.logspace(0, 3, 200), np.array([-5.0, 20.0]))
    assert scale.logarithmic
    assert scale.along(np.array([-5.0, 0.0, 100.0])) == pytest.approx([scale.low, scale.low, 2.0])
    assert scale.beyond(np.array([-5.0, 0.0, 100.0])).tolist() == [True, True, False]
    assert not scale_of(np.linspace(-1, 1e4, 50), np.zeros(3)).logarithmic


def test_rows_of_worst_examples_are_the_examples():
    original, _, tempered = CALIBRATED
    both = result(original, tempered)
    for by in ("grew", "moved"):
        rows, found = worst_table(both, 5, by), worst(both, 5, by)
        assert rows["Row"].tolist() == [one.place for one in found]
        assert rows["Actual price, US dollars"].tolist() == [round(one.actual) for one in found]
        change = rows["Tempered says, US dollars"] - rows["Original says, US dollars"]
        assert rows["Change, US dollars"].to_numpy() == pytest.approx(change.to_numpy(), abs=1)
    assert rounded(np.array([240_000.4, 1.23456789, -0.0012345678, 0.0])).tolist() == [240_000, 1.2346, -0.0012346, 0]
    assert (decimals(np.array([240_000.0])), decimals(np.array([0.0123])), decimals(np.zeros(3))) == (0, 5, 6)


def _section(case: str) -> None:
    from types import SimpleNamespace

    from regression import SITUATIONS, result

    from core.models.samples import load_sample
    from ui.numbers import coverage, numbers

    original, uncalibrated, tempered = SITUATIONS[case]
    data = load_sample("diamonds")[1]  # only its rows are looked at, for the features of the worst examples
    found = SimpleNamespace(result=result(original, tempered, uncalibrated), data=data, network=lambda: None)
    coverage(found, "light")
    numbers(found, "light")


@pytest.mark.parametrize("case", list(SITUATIONS))
def test_the_section_draws(case):
    page = AppTest.from_function(_section, args=(case,), default_timeout=60).run()
    assert not page.exception
    original, _, tempered = SITUATIONS[case]
    some = worst_table(result(original, tempered), 12)
    # Each chart's table stands behind its button; the examples follow where there are any.
    tables = [one.value for one in page.dataframe]
    assert len(tables) >= 3 + (len(some) > 0)
    if len(some):
        assert any("Row" in table and table["Row"].tolist() == some["Row"].tolist() for table in tables)
