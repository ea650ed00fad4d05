"""Grids of recipes and their Pareto front, against definitions written out by hand."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from conftest import prune, quantize, recipe
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import TemperError
from core.recipe import Recipe, Step, from_json
from core.sweeps.front import CERTAIN, Front, Spot, better_high, front, gain
from core.sweeps.plan import POINT_LIMIT, Axis, Plan, axis_from_text, axis_of
from core.sweeps.table import spots_table
from core.task import FACTS
from core.types import Interval, Quantity

EMPTY = Recipe()
MEASURES = sorted({name for facts in FACTS.values() for name in facts.traded})


def spot(number: int, cost: float, value: float, measure: str, half: float | None = None, draws=None) -> Spot:
    """Measured, or with a half width of its interval estimated."""
    how, interval = ("measured", None) if half is None else ("estimated", Interval(value - half, value + half))
    values = {name: Quantity(value, "", how, interval, 100) for name in {"accuracy", measure}}
    resampled = {} if draws is None else {measure: np.asarray(draws, np.float32)}
    return Spot((number,), EMPTY, values, 100, int(cost), int(cost), latency=float(cost), resampled=resampled)


@st.composite
def clouds(draw, resamples: int = 0):
    """Points with few distinct costs and values, so that ties abound."""
    measure = draw(st.sampled_from(MEASURES))
    few = st.integers(0, 4)
    count = draw(st.integers(0, 9))
    found = []
    for number in range(count):
        half = draw(st.none() if resamples else st.sampled_from([None, None, 0, 1, 2]))
        drawn = draw(st.lists(few, min_size=resamples, max_size=resamples)) if resamples else None
        found.append(spot(number, draw(few) + 1, draw(few), measure, half, drawn))
    return measure, found


def beaten(index: int, costs: list[float], gains: list[float], order: list[int]) -> bool:
    """Whether another is as good at no more cost, or alike and earlier in `order`."""
    return any(
        (c < costs[index] and g >= gains[index])
        or (c == costs[index] and g > gains[index])
        or (c == costs[index] and g == gains[index] and order[other] < order[index])
        for other, (c, g) in enumerate(zip(costs, gains, strict=True))
        if other != index
    )


@settings(deadline=None)
@given(clouds(), st.sampled_from(["packed", "file", "latency"]))
def test_front_is_what_nothing_beats(cloud, by):
    measure, spots = cloud
    found = front(spots, measure, by)
    exact = [s for s in spots if s.exact]
    costs, gains = [s.size(by) for s in exact], [gain(s, measure)[1] for s in exact]
    expected = {s.place for i, s in enumerate(exact) if not beaten(i, costs, gains, list(range(len(exact))))}
    assert set(found.members) == expected and len(found.members) == len(expected)
    by_place = {s.place: s for s in spots}
    along = [by_place[m] for m in found.members]
    assert all(a.size(by) < b.size(by) for a, b in pairwise(along))
    assert all(gain(a, measure)[1] < gain(b, measure)[1] for a, b in pairwise(along))
    assert found.share == dict.fromkeys(found.members, 1.0) and found.certain == found.members
    still = {
        s.place
        for s in spots
        if not s.exact and all(gain(s, measure)[2] > gain(e, measure)[1] for e in exact if e.size(by) <= s.size(by))
    }
    assert set(found.open) == still


@settings(deadline=None)
@given(clouds(resamples=6))
def test_share_counts_the_resampled_sets(cloud):
    measure, spots = cloud
    found = front(spots, measure)
    sign = 1 if better_high(measure) else -1
    costs = [s.packed for s in spots]
    ranked = sorted(range(len(spots)), key=lambda i: (-gain(spots[i], measure)[1], i))
    order = [ranked.index(i) for i in range(len(spots))]
    for i, one in enumerate(spots):
        if one.place not in found.members:
            assert one.place not in found.share
            continue
        columns = [[sign * float(s.resampled[measure][b]) for s in spots] for b in range(6)]
        expected = np.mean([not beaten(i, costs, column, order) for column in columns])
        assert found.share[one.place] == pytest.approx(expected) and 0 <= found.share[one.place] <= 1
    assert found.certain == tuple(m for m in found.members if found.share[m] >= CERTAIN)


@settings(deadline=None)
@given(clouds(), st.integers(1, 5))
def test_share_is_one_where_resamples_repeat_the_value(cloud, resamples):
    measure, spots = cloud
    same = [
        spot(s.place[0], s.packed, s.values[measure].value, measure, None, [s.values[measure].value] * resamples)
        for s in spots
    ]
    assert set(front(same, measure).share.values()) <= {1.0}


def test_a_point_without_resamples_stands_at_its_value():
    sure = spot(0, 1, 2, "accuracy")
    unsure = spot(1, 2, 3, "accuracy", None, [1, 2, 3, 4])
    assert front([unsure, sure], "accuracy").share == {(0,): 1.0, (1,): 0.5}


def test_what_has_no_value_or_cost_is_left_out():
    whole = spot(0, 5, 1, "ece")
    nothing = Spot((1,), EMPTY, {"accuracy": Quantity(None, "", note="n")}, 10, 1, 1)
    broken = Spot((2,), EMPTY, {"accuracy": Quantity(math.nan, "")}, 10, 1, 1)
    unsized = Spot((3,), EMPTY, {"accuracy": Quantity(0.9, "")}, 10)
    failed = Spot((4,), EMPTY, error="It failed.")
    every = [whole, nothing, broken, unsized, failed]
    assert front(every, "accuracy").members == ((0,),)
    assert front(every, "ece").members == ((0,),)
    assert front(every, "nll") == Front((), {}, ()) == front([], "nll")


# Plans


def grid(*texts: str, base: Recipe = EMPTY) -> Plan:
    return Plan(base, tuple(axis_from_text(base, text) for text in texts))


@settings(deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=3))
def test_order_visits_each_place_once_from_coarse_to_fine(lengths):
    names = [("sparsity", [0.1 * i for i in range(5)]), ("weight_bits", [32, 8, 6, 4, 3])]
    names += [("percentile", [95, 96, 97, 98, 99])]
    base = recipe(quantize(8, 8, range="percentile"))
    plan = Plan(base, tuple(axis_of(base, n, v[:k]) for (n, v), k in zip(names, lengths, strict=False)))
    order = list(plan.order())
    assert sorted(order) == sorted(plan.recipes) and len(set(order)) == math.prod(lengths)
    assert order[0] == (0,) * len(lengths)
    if len(order) > 1:
        assert order[1] == tuple(k - 1 for k in lengths)
    spans = np.maximum(np.array(lengths) - 1, 1)
    nearest = [
        min(float((((np.array(p) - q) / spans) ** 2).sum()) for q in order[:i]) for i, p in enumerate(order) if i
    ]
    corners = {p for p in order if all(i in (0, k - 1) for i, k in zip(p, lengths, strict=True))}
    assert set(order[: len(corners)]) == corners
    assert all(a >= b - 1e-12 for a, b in pairwise(nearest[len(corners) - 1 :])), "never coarser again"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("sparsity=0:0.9:0.1", (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)),
        ("sparsity = 0.9 : 0 : -0.3", (0.9, 0.6, 0.3, 0.0)),
        ("sparsity=0:0.95:0.3", (0.0, 0.3, 0.6, 0.9)),
        ("sparsity=0.5:0.5:0.1", (0.5,)),
        ("weight_bits=2:4:1", (2, 3, 4)),
        ("weight_bits=32, 8,4.0", (32, 8, 4)),
        ("granularity=tensor,channel", ("tensor", "channel")),
        ("uniform.weight_bits=8", (8,)),
        ("random.sparsity=0.5,0.25", (0.5, 0.25)),
    ],
)
def test_axis_reads_ranges_and_lists(text, values):
    axis = axis_from_text(EMPTY, text)
    assert axis.values == values
    assert [type(v) for v in axis.values] == [type(v) for v in values]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sparsty=0.5", "'sparsty'"),
        ("uniform.sparsity=0.5", "'uniform.sparsity'"),
        ("mass=1,2", "'mass'"),
        ("sparsity=0.5,1.5", "1.5"),
        ("weight_bits=7.5", "7.5"),
        ("weight_bits=four", "'four'"),
        ("granularity=3", "3"),
        ("sparsity=0.5,0.50", "twice"),
        ("sparsity=0:0.5:1e-12", "at most 2,000"),
        ("sparsity=0:0.00000000005:0.00000000001", "twice"),
        ("sparsity=", "name=first:last:step"),
        ("=0.5", "name=first:last:step"),
        ("sparsity", "name=first:last:step"),
        ("", "name=first:last:step"),
        ("sparsity=0.5,,0.6", "''"),
        ("sparsity=0:0.9:0", "leads from first to last"),
        ("sparsity=0:0.9:-0.1", "leads from first to last"),
        ("sparsity=0.9:0:0.1", "leads from first to last"),
        ("sparsity=0:0.9", "leads from first to last"),
        ("sparsity=0:0.9:0.1:2", "leads from first to last"),
        ("sparsity=0:x:0.1", "leads from first to last"),
        ("sparsity=nan:0.9:0.1", "leads from first to last"),
        ("sparsity=0:0.9:nan", "leads from first to last"),
        ("sparsity=0:inf:0.1", "leads from first to last"),
        ("sparsity=0:0.9:inf", "leads from first to last"),
        ("sparsity=nan", "nan"),
        ("sparsity=inf", "inf"),
        ("sparsity=1e400", "inf"),
        ("x" * 9_000 + "=1", "..."),
        ("sparsity=0.5:" + "9" * 5_000 + ":1", "first to last"),
    ],
)
def test_a_wrong_axis_is_one_sentence(text, said):
    with pytest.raises(TemperError) as raised:
        axis_from_text(EMPTY, text)
    message = raised.value.message
    assert said in message and message.endswith(".") and "\n" not in message and len(message) < 600


def test_a_misspelt_parameter_gets_its_neighbour():
    with pytest.raises(TemperError) as raised:
        axis_from_text(EMPTY, "random.sparsty=0.5")
    assert "'sparsity'" in raised.value.hint


@pytest.mark.parametrize(
    "texts", [(), ("sparsity=0.5", "sparsity=0.6"), ("sparsity=0:0.98:0.01", "percentile=95:100:0.1")]
)
def test_a_plan_has_some_points_but_not_too_many(texts):
    base = recipe(quantize(8, 8, range="percentile"))
    with pytest.raises(TemperError, match=f"{POINT_LIMIT:,}|at least one parameter"):
        grid(*texts, base=base)


def test_an_axis_that_changes_nothing_is_refused():
    with pytest.raises(TemperError, match="changes nothing unless range is percentile"):
        grid("percentile=99,99.9")
    with pytest.raises(TemperError, match="changes nothing"):
        grid("percentile=99,99.9", "range=minmax,mse")
    both = grid("range=minmax,percentile", "percentile=99,99.9", base=recipe(quantize(8, 8)))
    assert len({r.fingerprint for r in both.recipes.values()}) == 3
    assert both.recipes[1, 0].steps[0].values["percentile"] == 99.0


def test_a_base_step_keeps_its_other_parameters():
    base = recipe(prune(0.3, "random"), quantize(4, 8, scheme="affine", granularity="tensor"), seed=7)
    plan = grid("weight_bits=3,2", "sparsity=0.5", base=base)
    assert all(r.seed == 7 for r in plan.recipes.values())
    for place, bits in (((0, 0), 3), ((1, 0), 2)):
        pruned, quantized = plan.recipes[place].steps
        assert (pruned.method, pruned.values["sparsity"]) == ("random", 0.5)
        assert quantized.values == base.steps[1].values | {"weight_bits": bits}


def test_a_missing_step_joins_at_rest_in_its_place():
    base = recipe(Step.of("calibrate", "temperature"))
    axis = axis_of(base, "weight_bits", [4])
    joined = axis.set(base, 4)
    assert [s.kind for s in joined.steps] == ["quantize", "calibrate"]
    assert joined.steps[0].values["activation_bits"] == 32, "at rest"
    pruned = axis_of(base, "sparsity", [0.5]).set(joined, 0.5)
    assert [s.kind for s in pruned.steps] == ["prune", "quantize", "calibrate"]
    assert axis.set(base, 32).simplified() == base.simplified()
    assert grid("sparsity=0,0.5", "weight_bits=32,8").recipes[0, 0] == EMPTY


def test_labels_and_titles_read_well():
    sparsity, bits = axis_from_text(EMPTY, "sparsity=0,0.25,0.125"), axis_from_text(EMPTY, "weight_bits=32,4")
    assert (sparsity.title, sparsity.labels) == ("Sparsity, %", ("0", "25", "12.5"))
    assert (bits.title, bits.labels) == ("Weight bits", ("32", "4"))
    assert axis_from_text(EMPTY, "granularity=tensor").labels == ("Per tensor",)


def test_a_bare_parameter_means_the_usual_method():
    assert axis_from_text(EMPTY, "sparsity=0,0.5").method == "magnitude-global"
    assert axis_from_text(EMPTY, "weight_bits=8").method == "uniform"
    assert grid("sparsity=0,0.5").recipes[1,] == recipe(prune(0.5))


def test_a_plan_is_named_by_its_recipes():
    assert grid("sparsity=0,0.5").fingerprint == grid("sparsity=0,0.50").fingerprint
    assert grid("sparsity=0,0.5").fingerprint != grid("sparsity=0,0.6").fingerprint


# The table


def test_table_has_a_row_a_point_and_leaves_out_what_is_unknown():
    plan = grid("sparsity=0,0.5", "weight_bits=8,4")
    measured = Spot(
        (1, 1), plan.recipes[1, 1], {"accuracy": Quantity(0.9, "", "measured", Interval(0.8, 0.95), 100)},
        100, 1_000, 1_200, latency=0.5,
    )  # fmt: skip
    estimated = Spot((1, 0), plan.recipes[1, 0], {"accuracy": Quantity(0.8, "", "estimated", None, 10)}, 100)
    failed = Spot((0, 1), plan.recipes[0, 1], error="It failed, twice.")
    waiting = Spot((0, 0), plan.recipes[0, 0])
    spots = [measured, estimated, failed, waiting]
    table = spots_table(plan, spots, front(spots, "accuracy"))
    assert table["state"].tolist() == ["measured", "estimated", "failed", "waiting"]
    assert table["sparsity"].tolist() == [0.5, 0.5, 0.0, 0.0] and table["weight_bits"].tolist() == [4, 8, 4, 8]
    assert table["on_front"].tolist() == [True, False, False, False]
    assert [from_json(text) for text in table["recipe"]] == [s.recipe for s in spots]
    first = table.iloc[0]
    assert (first["accuracy"], first["accuracy_low"], first["accuracy_high"]) == (0.9, 0.8, 0.95)
    assert (first["packed_bytes"], first["file_bytes"], first["latency_ms"], first["front_share"]) == (
        1_000, 1_200, 0.5, 1.0,
    )  # fmt: skip
    assert table["n"].isna().tolist() == [False, False, True, True]
    assert table["accuracy"].isna().tolist() == [False, False, True, True]
    assert table["error"].tolist() == ["", "", "It failed, twice.", ""]
    assert table.columns.is_unique and all(c.isidentifier() and c.islower() for c in table.columns)


def test_table_survives_a_file(tmp_path):
    pandas = pytest.importorskip("pandas")
    plan = grid("sparsity=0,0.5", "granularity=channel,tensor")
    spots = [Spot(place, r) for place, r in plan.recipes.items()]
    table = spots_table(plan, spots)
    table.to_parquet(tmp_path / "t.parquet")
    pandas.testing.assert_frame_equal(pandas.read_parquet(tmp_path / "t.parquet"), table)
    assert len(spots_table(plan, [])) == 0
    assert list(spots_table(plan, []).columns) == list(table.columns)


def test_two_parameters_of_one_name_are_told_apart():
    axes = (Axis("prune", "random", "sparsity", (0.1,)), Axis("prune", "magnitude-global", "sparsity", (0.2,)))
    table = spots_table(Plan(EMPTY, axes), [Spot((0, 0), EMPTY)])
    assert table[["random_sparsity", "magnitude_global_sparsity"]].iloc[0].tolist() == [0.1, 0.2]
