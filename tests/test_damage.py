"""Damage: flips, classes, gaps between groups, repair, exemplars and labels against plain definitions and "
"simulation."""

from __future__ import annotations

import threading
from dataclasses import replace

import grouped
import harmed
import numpy as np
import pytest
from conftest import prune, quantize, recipe
from scipy import stats
from sklearn.metrics import precision_score, recall_score
from statsmodels.stats.multitest import multipletests

from core.damage.around import Around, around
from core.damage.disparity import OF, disparities, gap_of
from core.damage.exemplars import doubt, exemplars
from core.damage.flipped import WAYS, examples_at, flipped, flips_table, lead, margin, ways
from core.damage.groups import FEW
from core.damage.neighbourhood import MOST, neighbourhood
from core.damage.payers import payers, precision_change
from core.damage.settle import labels_needed, more_examples, more_labels
from core.data.handle import load_split
from core.decisions.decide import Judged, scores
from core.decisions.parity import GOALS, repair
from core.engine.evaluate import calibration_outcomes, evaluate
from core.engine.many import holm
from core.engine.quantiles import LEVELS, quantiles
from core.engine.statistics import Flips, detectable, detectable_at, flips, mcnemar, wilson
from core.errors import TemperError
from core.figures.disparity import disparity_chart
from core.models.samples import load_sample
from core.recipe import Recipe, Step
from core.types import Interval, Quantity

HURT = harmed.hurt(900)


def test_flips_are_sorted_by_how_sure_the_original_was():
    before, after = HURT.original, HURT.tempered
    found = ways(HURT)
    counted = flips(before, after)
    assert [len(found[way]) for way in WAYS] == [
        counted.right_to_wrong, counted.wrong_to_right, counted.wrong_to_wrong,
    ]  # fmt: skip
    assert min(len(found[way]) for way in WAYS) > 3, "the situation holds every kind"
    top = np.sort(before.probabilities, 1)
    np.testing.assert_allclose(lead(before), top[:, -1] - top[:, -2])
    for way in WAYS:
        assert (np.diff(lead(before)[found[way]]) <= 0).all()
        for one in flipped(HURT, way, 5, skip=1):
            assert (
                one.original == before.logits[one.index].argmax() != after.logits[one.index].argmax() == one.tempered
            )
            right = one.original == one.label, one.tempered == one.label
            assert right == {"lost": (True, False), "gained": (False, True), "other": (False, False)}[way]
    table = flips_table(HURT)
    assert len(table) == counted.flips and (table["Original says"] != table["Tempered says"]).all()
    for outcome in (before, after):
        signed = margin(outcome)
        assert ((signed > 0) == outcome.correct).all()
        np.testing.assert_allclose(np.abs(signed[outcome.correct]), lead(outcome)[outcome.correct])


def test_classes_are_recall_and_precision_and_holm_counts_all_of_them():
    y, before, after = HURT.original.labels, HURT.original.predictions, HURT.tempered.predictions
    found = payers(HURT)
    for k, one in enumerate(found.classes):
        for rate, score in ((one.recall, recall_score), (one.precision, precision_score)):
            was, now = (score(y, of, labels=[k], average=None)[0] for of in (before, after))
            assert (rate.original.value, rate.tempered.value) == pytest.approx((was, now))
            assert rate.change.value == pytest.approx(now - was)
            assert rate.change.interval.low <= now - was <= rate.change.interval.high
        of = y == k
        gained, lost = ((before != y) & (after == y))[of].sum(), ((before == y) & (after != y))[of].sum()
        assert one.recall.chance == mcnemar(Flips(0, int(gained), int(lost), 0, int(of.sum()))).mid_p
    chances = [rate.chance for one in found.classes for rate in (one.recall, one.precision)]
    sure = [rate.sure for one in found.classes for rate in (one.recall, one.precision)]
    assert found.compared == 8 and sure == multipletests(chances, 0.05, "holm")[0].tolist() and any(sure)
    assert found.most.name == found.by_loss[0].name == "class 3", "the class that was hurt"
    assert holm([0.02, 0.04, 0.03]) == [False] * 3 and holm([0.01, 0.04, 0.02]) == [True] * 3
    flat = harmed.PAYERS["never called"]["payers"]
    assert [one.precision.change.value is None for one in flat.classes] == [False, True, True] and flat.compared == 4


@pytest.mark.parametrize(("n", "right"), [(60, 0.7), (400, 0.95)])
def test_a_change_of_precision_is_held_by_its_interval(n, right):
    """Two models' calls overlap in most examples; the true precisions differ by nothing, or by ten points."""
    for apart in (0.0, 0.1):
        random, held, wide, loose = np.random.default_rng(5), 0, 0.0, 0.0
        for _ in range(1_000):
            true = random.random(n) < 0.5
            # A model calls a share `right` of the true and so many of the others that its precision is known.
            chance = random.random(n)
            was = np.where(true, chance < right, chance < right * 0.25 / 0.75)
            noise = np.where(random.random(n) < 0.8, chance, random.random(n))
            after = 0.75 - apart
            now = np.where(true, noise < right, noise < right * (1 - after) / after)
            if not (was.any() and now.any()):
                continue
            ends = precision_change(true, was, now).interval
            held += ends.low <= -apart <= ends.high
            wide += ends.high - ends.low
            loose += np.hypot(*(np.subtract(*wilson(true[of].sum(), of.sum())) for of in (was, now)))
        # Three standard errors of 1,000 trials at 95 % are 2.1 points. Of few calls it holds more than that, but it
        # is far narrower than if the two models had been judged on different examples.
        assert held / 1_000 >= 0.929, (apart, held)
        assert wide < 0.75 * loose, (wide, loose)


def parted(found, seed=2):
    of = np.random.default_rng(seed).integers(0, 3, found.tempered.n)
    return of, disparities(grouped.sorted_by(of, found), found, "age")


def test_gaps_are_fairlearns_between_groups():
    binary, many, numbers = harmed.hurt(800, 2), harmed.hurt(800, 5), grouped.priced(500)
    for found in (binary, many, numbers):
        of, told = parted(found)
        assert tuple(gap.name for gap in told.gaps) == OF[found.tempered.task.kind]
        for gap in told.gaps:
            for side, outcome in ((gap.original, found.original), (gap.tempered, found.tempered)):
                y, p = outcome.labels, outcome.predicted
                rates = []
                for k in range(3):
                    inside = of == k
                    if gap.name in ("mae", "bias"):
                        off = p[inside, 0] - y[inside]
                        rates.append(np.abs(off).mean() if gap.name == "mae" else off.mean())
                    elif gap.name == "accuracy":
                        rates.append((p.argmax(1) == y)[inside].mean())
                    else:
                        part = inside & {"selection": y >= 0, "tpr": y == 1, "fpr": y == 0}[gap.name]
                        rates.append((p.argmax(1) == 1)[part].mean())
                assert side.gap.value == pytest.approx(max(rates) - min(rates))
                assert (side.low_rate, side.high_rate) == pytest.approx((min(rates), max(rates)))
                assert (side.low, side.high) == (grouped.NAMES[np.argmin(rates)], grouped.NAMES[np.argmax(rates)])
                assert side.gap.interval.low <= side.gap.value <= side.gap.interval.high
            assert gap.change.value == pytest.approx(gap.tempered.gap.value - gap.original.gap.value)


def test_the_changes_of_gaps_are_corrected_for_their_number(monkeypatch):
    """Four gaps: changes at the edge of chance by themselves are none of four; a clear one stays."""
    from core.damage import disparity

    found = harmed.hurt(90, 2)
    for clear in (False, True):

        def edge(name, *rest, clear=clear, made=disparity.gap_of):
            change = Quantity(0.1, "fraction", "measured", Interval(0.09 if clear and name == "fpr" else 0.001, 0.2))
            return replace(made(name, *rest), change=change)

        monkeypatch.setattr(disparity, "gap_of", edge)
        made = replace(found.tempered.provenance, recipe=f"edge {clear}")
        _, told = parted(replace(found, tempered=replace(found.tempered, provenance=made)))
        assert [gap.name for gap in told.gaps if gap.sure] == (["fpr"] if clear else [])
        caption = disparity_chart(told).caption
        assert ("No gap changed beyond chance" in caption) != clear and "Holm's correction for 4 gaps" in caption
        monkeypatch.undo()


def test_a_gaps_interval_holds_and_chance_makes_gaps():
    """Three groups of known rates, two models that agree in most: the true gaps and their change are held."""
    rates, names, held = np.array([0.9, 0.8, 0.7]), tuple("abc"), np.zeros(3)
    of = np.arange(600) % 3
    for turn in range(150):
        random = np.random.default_rng(turn)
        draw = random.random(600)
        other = np.where(random.random(600) < 0.7, draw, random.random(600))
        before, after = (draw < rates[of]).astype(float), (other < (rates - [0, 0, 0.1])[of]).astype(float)
        gap = gap_of("accuracy", before, after, of, np.ones(600, bool), names, "fraction")
        for k, (quantity, truth) in enumerate(((gap.original.gap, 0.2), (gap.tempered.gap, 0.3), (gap.change, 0.1))):
            held[k] += quantity.interval.low <= truth <= quantity.interval.high
    assert (held >= 150 * 0.95 - 3 * np.sqrt(150 * 0.95 * 0.05)).all(), held
    # Without any difference between the groups the bar is passed in 5 % of sets.
    passed = reached = 0
    for turn in range(150):
        flat = (np.random.default_rng(1_000 + turn).random(300) < 0.8).astype(float)
        gap = gap_of("accuracy", flat, flat, np.arange(300) % 3, np.ones(300, bool), names, "fraction")
        passed += gap.tempered.gap.value > gap.chance
        reached += gap.tempered.gap.interval.low == 0
        assert (gap.change.interval.low, gap.change.interval.high) == (0, 0)
    assert passed <= 150 * 0.05 + 3 * np.sqrt(150 * 0.05 * 0.95)
    assert reached > 75, "resampled anew a gap is wider than it was seen: moved back, the interval reaches zero"


def test_small_groups_are_left_out_of_a_gap_and_named():
    found = harmed.hurt(600, 2)
    of = np.where(np.arange(600) < FEW - 1, 2, np.arange(600) % 2)
    told = disparities(grouped.sorted_by(of, found), found, "age")
    assert all(gap.left == (grouped.NAMES[2],) and gap.groups == 2 for gap in told.gaps)
    other = harmed.hurt(600, 2)  # of another recipe: what is remembered is named by it
    alone = disparities(grouped.sorted_by(np.zeros(600), other), other, "age")
    assert all(gap.change is None and gap.groups == 1 for gap in alone.gaps)
    with pytest.raises(TemperError, match="has no groups called 'sex'"):
        disparities(grouped.sorted_by(of, found), found, "sex")


@pytest.fixture(scope="module")
def credit():
    model, data = load_sample("credit-default")
    asked = recipe(prune(0.5), quantize(4, 8))
    result = evaluate(model, data, asked)
    return data, Judged(*calibration_outcomes(model, data, asked), result.original, result.tempered)


@pytest.mark.parametrize("goal", GOALS)
def test_thresholds_per_group_are_chosen_on_calibration_and_judged_on_evaluation(credit, goal):
    data, judged = credit
    found = repair(data, judged, "sex", goal)
    known, after = judged.tempered_calibration, judged.tempered
    seen, of = (load_split(data, name).groups["sex"] for name in ("calibration", "evaluation"))

    def counted(y):
        return {"selection": y >= 0, "tpr": y == after.task.positive, "fpr": y != after.task.positive}[goal]

    rates = [(scores(known) >= 0.5)[counted(known.labels)].mean()]
    assert found.target == pytest.approx(rates[0])
    for k, cut in enumerate(found.cuts):
        part = scores(known)[counted(known.labels) & (seen == k)]
        assert cut.n == len(part) and not cut.kept
        reached = (part >= cut.threshold).mean()
        possible = np.arange(len(part) + 1) / len(part)
        assert abs(reached - found.target) == pytest.approx(np.abs(possible - found.target).min(), abs=1e-9)
    at = np.array([cut.threshold for cut in found.cuts])[of]
    calls = scores(after) >= at
    truth = after.labels == after.task.positive
    assert found.repaired.value == pytest.approx((calls == truth).mean())
    assert found.price.value == pytest.approx((calls == truth).mean() - after.correct.mean())
    parts = [calls[counted(after.labels) & (of == k)].mean() for k in range(2)]
    assert found.gap.tempered.gap.value == pytest.approx(abs(parts[0] - parts[1]))
    assert found.price.interval.low <= found.price.value <= found.price.interval.high


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("difference", [0.002, 0.01, 0.1])
def test_labels_needed_is_detectable_the_other_way_round(rate, difference):
    n = labels_needed(rate, difference)
    assert detectable_at(max(rate, difference), n) <= difference * (1 + 1e-6)
    assert detectable_at(max(rate, difference), n - 1) > difference * (1 - 1e-6)


def test_the_labels_needed_show_it_in_four_of_five_sets():
    rate, difference = 0.2, 0.06
    n = labels_needed(rate, difference)
    random = np.random.default_rng(7)
    gained, lost, _ = random.multinomial(n, [(rate + difference) / 2, (rate - difference) / 2, 1 - rate], 2_000).T
    shown = [mcnemar(Flips(0, int(up), int(down), 0, n)).mid_p < 0.05 for up, down in zip(gained, lost, strict=True)]
    assert np.mean(shown) == pytest.approx(
        0.8, abs=0.03
    )  # three errors of 2,000 sets, and Connor's own approximation


def test_more_labels_of_what_was_seen():
    seen = Flips(130, 40, 90, 0, 1_000)
    assert more_labels(seen) == 0 and abs(50 / 1_000) >= detectable(seen)
    unsure = Flips(110, 50, 60, 0, 1_000)
    assert more_labels(unsure) == labels_needed(0.11, 0.01) - 1_000 > 0
    assert more_labels(Flips(60, 30, 30, 0, 500)) is None
    with pytest.raises(TemperError, match="above 0"):
        labels_needed(0.1, 0.0)
    assert (
        more_examples(Quantity(0.5, "", n=100), 1.0) == 300 and more_examples(Quantity(0.0, "", n=100), 1.0) is None
    )


def test_quantiles_are_held_by_their_intervals():
    truth = stats.expon.ppf(LEVELS)
    held = np.zeros(len(LEVELS))
    for turn in range(400):
        found = quantiles(np.random.default_rng(turn).exponential(size=700))
        held += [q.interval.low <= t <= q.interval.high for q, t in zip(found, truth, strict=True)]
    assert (held / 400 >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 400)).all() and (held / 400 <= 0.995).all()
    assert quantiles(np.arange(20.0))[-1].interval is None, (
        "of 20 values none is known to lie beyond the 99 % quantile"
    )


def test_doubt_is_the_rank_sum_test():
    random = np.random.default_rng(3)
    for m, n, digits in ((7, 40, 9), (30, 25, 1), (5, 5, 0)):  # rounding makes ties
        one, other = random.normal(0, 1, m).round(digits), random.normal(0.8, 1, n).round(digits)
        found, peer = doubt(one, other), stats.mannwhitneyu(one, other, method="asymptotic")
        assert found.p == pytest.approx(peer.pvalue)
        assert found.below.value == pytest.approx(1 - peer.statistic / (m * n))
        assert found.below.interval.low <= found.below.value <= found.below.interval.high
        assert (found.exemplars, found.others) == (np.median(one), np.median(other))
    apart = doubt(np.zeros(6), np.ones(9))
    assert apart.below.value == 1 and 0.5 < apart.below.interval.low < 1 == apart.below.interval.high
    assert doubt(np.ones(6), np.ones(9)).p == 1


def test_exemplars_are_what_most_recipes_flip():
    original = HURT.original
    random = np.random.default_rng(4)
    unsure = lead(original) < 0.4
    calls = []
    for _ in range(5):
        moved = random.random(original.n) < np.where(unsure, 0.6, 0.05)
        calls.append(np.where(moved, (original.predictions + 1) % 4, original.predictions))
    found = exemplars(original, calls)
    times = sum(one != original.predictions for one in calls)
    assert sorted(found.places) == np.flatnonzero(times >= 3).tolist()
    assert (np.diff(times[found.places]) <= 0).all()
    inside = np.isin(np.arange(original.n), found.places)
    assert found.right.value == original.correct[inside].mean()
    assert found.right_others.value == original.correct[~inside].mean()
    assert found.claim.exemplars == np.median(lead(original)[inside]) < found.claim.others
    assert found.claim.p < 1e-6
    with pytest.raises(TemperError, match="at least 2 recipes"):
        exemplars(original, calls[:1])
    assert exemplars(original, [original.predictions] * 3).claim is None


def test_the_neighbourhood_is_small_fixed_and_without_calibration():
    own = recipe(prune(0.5), quantize(4, 8), Step.of("calibrate", "temperature"))
    visited = [Recipe(), own, recipe(prune(0.9)), recipe(quantize(2, 8))]
    found = neighbourhood(own, visited)
    assert found[0] == own.without("calibrate") and len(set(found)) == len(found) <= MOST
    assert {recipe(prune(0.9)), recipe(quantize(2, 8))} <= set(found) and all(one.steps for one in found)
    for near in (prune(0.4), prune(0.45), prune(0.55), prune(0.6)):
        assert recipe(near, quantize(4, 8)) in found
    assert {recipe(prune(0.5), quantize(bits, 8)) for bits in (3, 5)} <= set(found)
    assert not any(step.kind == "calibrate" for one in found for step in one.steps)
    assert neighbourhood(Recipe()) == ()


def test_a_neighbourhood_in_the_background(small, monkeypatch):
    recipes = neighbourhood(recipe(prune(0.9), quantize(2, 8)))
    job = Around(*small, recipes)
    job.start().join(60)
    assert job.state == "done" and job.fraction <= 1 and not job.left_out
    said = [evaluate(*small, one).tempered.predictions for one in recipes]
    np.testing.assert_array_equal(job.found.shares, exemplars(evaluate(*small, recipes[0]).original, said).shares)
    assert len(examples_at(evaluate(*small, recipes[0]), job.found.places)) == len(job.found.places)
    assert around(*small, recipes) is around(*small, recipes)

    def refuse(model, data, asked, told):
        if asked == recipes[1]:
            raise TemperError("It cannot run.")
        return evaluate(model, data, asked, told)

    monkeypatch.setattr("core.damage.around.evaluate", refuse)
    again = Around(*small, recipes)
    again.start().join(60)
    assert again.found.recipes == len(recipes) - 1 and "It cannot run." in again.left_out[0]
    reached, going = threading.Event(), threading.Event()

    def slow(model, data, asked, told):
        reached.set()
        going.wait(20)
        told(0.5)
        raise AssertionError("cancelled before this")

    monkeypatch.setattr("core.damage.around.evaluate", slow)
    ended = Around(*small, recipes)
    thread = ended.start()
    assert reached.wait(20) and ended.alive and ended.start() is None
    ended.cancel()
    going.set()
    thread.join(20)
    assert ended.state == "cancelled" and ended.found is None
