"""Estimates from part of a set: coverage, reuse, extremes, and the exact result they turn into."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import outcome, prune, quantize, recipe
from hypothesis import given, settings
from hypothesis import strategies as st

from core.cli import main
from core.data.handle import load_split
from core.deploy.graph import assemble
from core.engine.estimate import LOOKS, estimate, next_examples, stratify
from core.engine.evaluate import evaluate
from core.engine.look import look_first
from core.engine.memory import RESULTS
from core.engine.runtime import predictor, run
from core.engine.transform import transform
from core.errors import TemperError
from core.recipe import Recipe


def changed_model(n: int, seed: int, noise: float, classes: int = 5, skill: float = 3.0):
    """An original and the predictions of a disturbed copy: small margins change first."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, n)
    logits = generator.normal(size=(n, classes)) + skill * np.eye(classes)[labels]
    return outcome(logits, labels), (logits + noise * generator.normal(size=logits.shape)).argmax(1)


def watched(original, after, looks=LOOKS, seed=0):
    """The estimates of one run, as the engine makes them."""
    strata, seen, found = stratify(original, seed), np.zeros(original.n, bool), []
    for budget in looks:
        partly = np.where(seen, after, original.predictions)
        changed = ((partly == original.labels) != original.correct).astype(np.float64)
        chosen = next_examples(strata, seen, changed, min(budget, original.n))
        assert not seen[chosen].any(), "nothing is evaluated twice"
        assert len(set(chosen)) == len(chosen)
        seen[chosen] = True
        partly = np.where(seen, after, original.predictions)
        found.append(estimate(strata, seen, original.predictions, partly, original.labels))
    return found, seen


@pytest.mark.parametrize("noise", [0.02, 0.1, 0.4, 1.5])
def test_all_looks_hold_the_truth_at_the_stated_rate(noise):
    """300 runs of 95 %: fewer than 91.2 % would be three standard errors below."""
    inside = 0
    for seed in range(300):
        original, after = changed_model(4_000, seed % 10, noise)
        truth = (after == original.labels).mean() - original.correct.mean()
        flips = (after != original.predictions).sum()
        found, _ = watched(original, after, seed=seed)
        inside += all(
            e.changes["accuracy"].interval.low - 1e-9 <= truth <= e.changes["accuracy"].interval.high + 1e-9
            and e.values["accuracy"].interval.low - 1e-9
            <= truth + original.correct.mean()
            <= e.values["accuracy"].interval.high + 1e-9
            for e in found
        )
        assert found[-1].flips.interval.low <= flips * 1.5 + 60
    assert inside / 300 >= 0.93


def test_no_change_seen_still_leaves_room():
    original, _ = changed_model(4_000, 0, 0.0)
    found, _ = watched(original, original.predictions)
    assert found[0].changes["accuracy"].value == 0
    assert found[0].changes["accuracy"].interval.low < -0.0005
    assert found[0].flips.interval.high >= 3


def test_the_interval_tightens_and_closes():
    original, after = changed_model(4_000, 1, 0.3)
    found, seen = watched(original, after, (*LOOKS, 4_000))
    widths = [e.changes["accuracy"].interval.high - e.changes["accuracy"].interval.low for e in found]
    assert widths == sorted(widths, reverse=True)
    rest = np.flatnonzero(~seen)
    seen[rest] = True
    whole = estimate(stratify(original), seen, original.predictions, after, original.labels)
    assert whole.changes["accuracy"].value == pytest.approx(
        (after == original.labels).mean() - original.correct.mean(), abs=1e-12
    )
    assert (
        whole.changes["accuracy"].interval.low
        == whole.changes["accuracy"].interval.high
        == pytest.approx(whole.changes["accuracy"].value)
    )
    assert whole.flips.value == (after != original.predictions).sum()
    assert whole.changes["accuracy"].how == "measured"
    assert found[0].changes["accuracy"].how == "estimated"


def test_it_beats_plain_sampling_where_little_is_lost():
    original, after = changed_model(10_000, 2, 0.15)
    truth = (after == original.labels).mean() - original.correct.mean()
    plain, ours = [], []
    for seed in range(200):
        found, seen = watched(original, after, (800,), seed)
        ours.append(found[0].changes["accuracy"].value - truth)
        drawn = np.random.default_rng(seed).choice(10_000, int(seen.sum()), replace=False)
        plain.append((after == original.labels)[drawn].mean() - (truth + original.correct.mean()))
    assert np.var(ours) < np.var(plain) / 5


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(2, 300),
    classes=st.integers(2, 4),
    seed=st.integers(0, 10**6),
    skill=st.sampled_from([-50.0, 0.0, 2.0, 50.0]),
    noise=st.sampled_from([0.0, 0.5, 100.0]),
    budget=st.integers(2, 400),
    flat=st.booleans(),
)
def test_extremes_give_numbers_in_range(n, classes, seed, skill, noise, budget, flat):
    """At chance, always right, always wrong, all margins equal, few examples, a budget beyond the set."""
    original, after = changed_model(n, seed, noise, classes, skill)
    if flat:
        original = outcome(np.zeros((n, classes)), original.labels)
    for found in watched(original, after, (budget, 2 * budget))[0]:
        assert 0 <= found.values["accuracy"].interval.low <= found.values["accuracy"].value + 1e-9
        assert found.values["accuracy"].value - 1e-9 <= found.values["accuracy"].interval.high <= 1
        assert 0 <= found.flips.interval.low <= found.flips.value <= found.flips.interval.high <= n
        assert found.n <= n


def test_the_exact_result_reuses_every_example(pictures):
    model, data = pictures
    original = evaluate(model, data, Recipe()).original
    network, _ = transform(model, data, recipe(prune(0.55)))
    inputs, asked = load_split(data, "evaluation").inputs, []
    predict = predictor(assemble(network))

    def counted(chunk):
        asked.append(len(chunk))
        return predict(chunk)

    seen = []
    logits = look_first(counted, inputs, original, seen.append)
    assert sum(asked) == original.n
    assert [e.n for e in seen] == sorted(e.n for e in seen)
    assert logits == pytest.approx(run(predict, inputs), abs=1e-4)


def test_evaluation_shows_estimates_of_a_new_point_only(pictures):
    model, data = pictures
    RESULTS.clear()
    seen = []
    of = recipe(prune(0.45), quantize(6, 8))
    exact = evaluate(model, data, of, look=seen.append)
    assert len(seen) == len(LOOKS)
    for found in seen:
        low, high = found.values["accuracy"].interval.low, found.values["accuracy"].interval.high
        assert low <= exact.tempered.correct.mean() <= high
    evaluate(model, data, of, look=seen.append)
    assert len(seen) == len(LOOKS), "a visited point is exact at once"


def test_non_finite_logits_show_nothing(pictures):
    original = evaluate(*pictures, Recipe()).original
    inputs = load_split(pictures[1], "evaluation").inputs
    shown = []
    with pytest.raises(TemperError, match="not finite"):
        look_first(lambda x: np.full((len(x), 10), np.nan, np.float32), inputs, original, shown.append)
    assert not shown


def test_the_command_line_estimates(capsys):
    of = recipe(quantize(5, 8)).to_json()
    assert main(["estimate", "--model", "fashion-small", "--recipe", of, "--budget", "1000", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["estimated"] is True
    assert found["evaluated"] <= 1_050
    assert found["accuracy"]["interval"][0] < found["accuracy"]["value"] < found["accuracy"]["interval"][1]
    assert main(["estimate", "--model", "fashion-small", "--recipe", of, "--budget", "20000"]) == 2
    assert "from 2 to 10,000" in capsys.readouterr().err
