"""Metrics by group: each equals the metric of the subset, changes are paired, and chance is corrected for looking."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import prune, quantize, recipe
from grouped import NAMES, SITUATIONS, classified, outcome, priced, result, sorted_by, told
from scipy.stats import bootstrap, norm
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    log_loss,
    mean_absolute_error,
    roc_auc_score,
    root_mean_squared_error,
)
from statsmodels.stats.multitest import multipletests

from core.cli import main
from core.damage.groups import FEW, by_group, group_rows
from core.data.handle import load_split
from core.engine.evaluate import evaluate
from core.engine.statistics import interval_of
from core.errors import TemperError
from core.figures.groups import groups_chart
from core.models.samples import load_sample

REFERENCE = {
    "accuracy": lambda y, p: accuracy_score(y, p.argmax(1)),
    "macro_f1": lambda y, p: f1_score(y, p.argmax(1), average="macro"),
    "auroc": lambda y, p: roc_auc_score(y, p[:, 1]),
    "average_precision": lambda y, p: average_precision_score(y, p[:, 1]),
    "nll": lambda y, p: log_loss(y, p),
    "rmse": lambda y, p: root_mean_squared_error(y, p[:, 0]),
    "mae": lambda y, p: mean_absolute_error(y, p[:, 0]),
}


@pytest.mark.parametrize("measure", REFERENCE)
def test_each_group_is_the_metric_of_its_subset(measure):
    found = priced(700) if measure in ("rmse", "mae") else classified(700, hurt=1.0)
    of = np.random.default_rng(1).integers(0, 3, 700)
    groups = told(found, of, measure)
    for row, inside in zip((groups.every, *groups.groups), (of >= 0, of == 0, of == 1, of == 2), strict=True):
        y = found.original.labels[inside]
        before, after = (REFERENCE[measure](y, o.predicted[inside]) for o in (found.original, found.tempered))
        assert row.n == len(y)
        assert row.original.value == pytest.approx(before) and row.tempered.value == pytest.approx(after)
        assert row.change.value == pytest.approx(after - before, abs=1e-9)
        assert row.change.unit == row.tempered.unit
        assert (row.change.unit == "US dollars") == (measure in ("rmse", "mae"))
        subset = outcome(found.tempered.logits[inside], y, found.tempered.task)
        if measure not in ("auroc", "average_precision"):  # logits are kept as float32, which may tie two scores
            exact = interval_of(measure, subset)
            shown = row.tempered.interval
            assert (shown.low, shown.high) == pytest.approx((exact.low, exact.high), abs=1e-5 * exact.high)
    assert groups.every.name == "all" and [row.name for row in groups.groups] == list(NAMES)


def test_a_change_of_accuracy_is_judged_by_matched_pairs():
    found, of = classified(600, hurt=1.5), np.arange(600) % 3
    for k, row in enumerate(told(found, of, "accuracy").groups):
        was, now = (o.correct[of == k].astype(int) for o in (found.original, found.tempered))
        gained, lost = ((now - was) == 1).sum() + 0.5, ((now - was) == -1).sum() + 0.5
        n = row.n + 2  # Agresti and Min 2005: half a pair more of each kind
        half = norm.ppf(0.975) * np.sqrt(gained + lost - (gained - lost) ** 2 / n) / n
        assert row.change.interval.low == pytest.approx((gained - lost) / n - half)
        assert row.change.interval.high == pytest.approx((gained - lost) / n + half)


def test_a_change_of_errors_is_paired():
    found, of = priced(1_200), np.arange(1_200) % 3
    for k, row in enumerate(told(found, of, "mae").groups):
        y = found.original.labels[of == k]
        errors = [np.abs(o.values[of == k] - y) for o in (found.original, found.tempered)]
        made = bootstrap((errors[1] - errors[0],), np.mean, n_resamples=4_000, method="percentile", rng=0)
        wanted = made.confidence_interval.high - made.confidence_interval.low
        width = row.change.interval.high - row.change.interval.low
        # A width from 500 resamples varies by 4 % of itself (the density of the ends), four of these are allowed.
        assert width == pytest.approx(wanted, rel=0.17)
        unpaired = row.tempered.interval.high - row.tempered.interval.low
        assert row.change.interval.low < row.change.value < row.change.interval.high and width < unpaired


def chances(groups):
    """Two-sided probabilities from the side of each interval that faces zero, worked out apart."""
    found = []
    for row in groups.known:
        value, ends = row.change.value, row.change.interval
        near = ends.low if value > 0 else ends.high
        found.append(1.0 if value == 0 else 2 * norm.sf(norm.ppf(0.975) * abs(value) / abs(value - near)))
    return np.array(found)


@pytest.mark.parametrize("measure", ["accuracy", "nll", "rmse"])
def test_what_is_beyond_chance_is_holm_s_correction(measure):
    names, of = tuple(f"site {k}" for k in range(8)), np.arange(1_600) % 8
    spared = 0
    for seed in range(6):
        found = priced(1_600, seed) if measure == "rmse" else classified(1_600, seed, hurt=0.4 + 0.15 * (of % 4))
        groups = told(found, of, measure, names)
        raw = chances(groups)
        rejected = multipletests(raw, alpha=0.05, method="holm")[0]
        assert [row.sure for row in groups.known] == rejected.tolist()
        spared += int(((raw < 0.05) & ~rejected).sum())
    assert spared, "here and there chance alone would have been taken for an effect"


def test_few_examples_are_left_unsaid():
    of = np.repeat([0, 1, 2], [FEW - 1, FEW, 200 - 2 * FEW + 1])
    few, enough, rest = told(classified(200), of, "accuracy").groups
    assert (few.n, few.known, few.change, few.original, few.sure) == (FEW - 1, False, None, None, False)
    assert enough.n == FEW and enough.known and rest.known
    assert told(classified(200), of, "accuracy").known == (enough, rest)


@pytest.mark.parametrize("measure", ["auroc", "average_precision"])
def test_one_class_alone_cannot_be_ranked(measure):
    found = classified(200)
    of = np.where(found.tempered.labels == 1, 0, np.arange(200) % 2)
    both, one = told(found, of, measure, NAMES[:2]).groups
    assert both.known and not one.known and one.n > FEW
    assert all(row.known for row in told(found, of, "accuracy", NAMES[:2]).groups), "it can be right or wrong"


def test_a_group_without_an_example_is_one_of_none():
    groups = told(classified(100), np.zeros(100), "accuracy", ("here", "nowhere"))
    assert [(row.n, row.known) for row in groups.groups] == [(100, True), (0, False)]


def test_nothing_changed_is_nothing_sure():
    same = classified(300).original
    groups = told(result(same, same), np.arange(300) % 3, "accuracy")
    assert all(row.change.value == 0 and not row.sure for row in groups.groups)


def test_an_unknown_column_is_one_sentence():
    found = classified(60)
    data = sorted_by(np.zeros(60), found)
    with pytest.raises(TemperError, match=r"has no groups called 'shoe size'; it has: age\.$"):
        by_group(data, found, "shoe size", "accuracy")
    with pytest.raises(TemperError, match="No metric method is called 'accurcy'"):
        by_group(data, found, "age", "accurcy")


def test_rows_are_json_and_say_what_the_groups_say():
    groups = SITUATIONS["one of nine"]["found"]
    rows = json.loads(json.dumps(group_rows(groups), allow_nan=False))
    assert [row["group"] for row in rows] == ["all", *NAMES]
    assert rows[1]["result"] == groups.groups[0].tempered.value
    assert rows[1]["difference_interval"] == [
        groups.groups[0].change.interval.low,
        groups.groups[0].change.interval.high,
    ]
    assert rows[3] == {"group": NAMES[2], "n": 9, "sure": False} | dict.fromkeys(
        ("original", "result", "interval", "difference", "difference_interval")
    )


@pytest.mark.parametrize(("name", "measure"), [("sentiment", "accuracy"), ("credit-default", "auroc")])
def test_a_sample_s_groups_on_the_command_line(name, measure, capsys):
    model, data = load_sample(name)
    of = recipe(prune(0.5), quantize(4, 8))
    column = data.groups[0]
    asked = ["run", "--model", name, "--recipe", of.to_json(), "--by", column.title, "--measure", measure]
    assert main([*asked, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["groups"][column.title]
    after, split = evaluate(model, data, of).tempered, load_split(data, "evaluation")
    for k, row in enumerate(rows[1:]):
        inside = split.groups[column.title] == k
        assert row["n"] == inside.sum() > FEW
        assert row["result"] == pytest.approx(REFERENCE[measure](split.y[inside], after.predicted[inside]), abs=1e-6)
    assert main(asked) == 0
    printed = capsys.readouterr().out
    assert all(f"{column.title}: {row['group']}" in printed for row in rows)
    assert printed.count("beyond chance") == sum(row["sure"] for row in rows)


def test_the_chart_names_who_pays_most():
    groups = SITUATIONS["who pays"]["found"]
    chart = groups_chart(groups)
    worst = min(groups.known, key=lambda row: row.change.value)
    assert worst.sure and worst.name == NAMES[1]
    assert f"most for {worst.name}: " in chart.caption and "beyond chance" in chart.caption
    assert f"{100 * abs(worst.change.value):.1f}" in chart.caption
    values = {trace.uid: trace for trace in chart.figure.data}
    assert list(values["groups-tempered"].x) == pytest.approx(
        [100 * row.tempered.value for row in (groups.every, *groups.known)]
    )
    filled = [symbol == "diamond" for symbol in values["groups-change"].marker.symbol]
    assert filled == [row.sure for row in (groups.every, *groups.known)]


def test_names_are_safe_in_the_chart_and_few_are_in_the_table():
    chart = groups_chart(SITUATIONS["one of nine"]["found"])
    assert not any("<b>wise" in str(text) for text in chart.figure.layout.yaxis.ticktext)
    assert any("&lt;b&gt;wise" in str(text) for text in chart.figure.layout.yaxis.ticktext)
    ends = SITUATIONS["one of nine"]["found"].every.change.interval
    every = "no" if ends.low <= 0 <= ends.high else "yes"
    assert list(chart.table["Beyond chance"]) == [every, *chart.table["Beyond chance"][1:3], "too few"]
    assert chart.table["Tempered"].isna().tolist() == [False, False, False, True]


def test_nothing_beyond_chance_is_said_so():
    chart = groups_chart(SITUATIONS["the same twice"]["found"])
    assert "no group's change is beyond chance, 3 groups looked at" in chart.caption
    assert f"{FEW} examples" in groups_chart(SITUATIONS["all too few"]["found"]).caption


def test_a_metric_of_another_task_is_one_sentence_and_no_number():
    model, data = load_sample("credit-default")
    found = evaluate(model, data, recipe())
    with pytest.raises(TemperError, match="'rmse' does not speak of a binary model"):
        by_group(data, found, "sex", "rmse")


def test_a_measure_without_groups_is_refused(capsys):
    told = ["run", "--model", "credit-default", "--measure", "auroc", "--recipe", '{"version": 1, "steps": []}']
    assert main(told) == 2
    assert "--measure says what --by tells" in capsys.readouterr().err
