"""Will this data do: what is planted is found, chance is chance, wrong data stay apart and teach worse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sweeping import Here
from tuning import PRUNED

from core.data.borrowed import kept_split, written_digits
from core.data.handle import load_split
from core.data.spoiled import Wrong, spoiled, ways
from core.engine.statistics import difference, mean_change
from core.errors import TemperError
from core.models.samples import load_sample
from core.training import kept
from core.training.gain import with_training
from core.training.suitability import distance as distance_module
from core.training.suitability.distance import DRAWS, distance, frechet
from core.training.suitability.duplicates import bar_of, duplicates, nearest
from core.training.suitability.features import features, main_axes
from core.training.suitability.label_noise import confident_joint, label_noise
from core.training.suitability.suitability import suitability, why_not
from core.training.wrong_data import WrongData

pytestmark = pytest.mark.usefixtures("one_core")

RNG = np.random.default_rng


def quiet(_: float) -> None:
    return None


# Distance -----------------------------------------------------------------------------------------------------------


def test_the_same_source_is_no_further_than_chance_and_another_is():
    generator = RNG(3)
    reference, same = generator.normal(size=(400, 3)), generator.normal(size=(200, 3))
    near = distance(reference, same, 1.0, quiet)
    assert len(near.chance) == DRAWS and not near.apart
    far = distance(reference, same + np.array([1.5, 0, 0]), 1.0, quiet)
    assert far.apart and far.auc.value > 0.75 and far.frechet > max(far.frechet_chance)
    wide = distance(reference, 2.5 * same, 1.0, quiet)
    assert wide.apart, "wider around the same middle: squares tell"
    again = distance(reference, same, 1.0, quiet)
    assert again == near


def test_frechet_is_that_of_the_normal_fits():
    x = RNG(0).normal(size=(50_000, 2))
    assert frechet(x, x + np.array([3.0, 0])) == pytest.approx(9.0, abs=1e-6)
    assert frechet(x, 2 * x) == pytest.approx(x.mean(0) @ x.mean(0) + np.trace(np.cov(x.T)), rel=1e-6)


def test_too_few_examples_have_no_distance():
    with pytest.raises(TemperError, match="needs 40"):
        distance(np.zeros((30, 2)), np.zeros((300, 2)), 1.0, quiet)


# Copies -------------------------------------------------------------------------------------------------------------


def test_copies_are_found_and_chance_is_beside_them():
    generator = RNG(1)
    fit, evaluation, calibration = (generator.normal(size=(n, 24)) for n in (300, 200, 300))
    fit[7], fit[8] = evaluation[30], evaluation[31] + 0.02
    names = ([f"f{i}" for i in range(300)], [f"e{i}" for i in range(200)])
    names[0][7] = names[1][30]
    bar = bar_of(evaluation[:50], evaluation[:50] + 0.05)
    found = duplicates(fit, evaluation, calibration, names, bar, quiet)
    assert found.exact == 1 and [(p.fit, p.evaluation, p.exact) for p in found.pairs] == [
        (7, 30, True),
        (8, 31, False),
    ]
    assert found.near.value == pytest.approx(2 / 200) and found.chance.value == 0.0
    best, place = nearest(evaluation[30:32], fit, quiet)
    assert place.tolist() == [7, 8] and best[0] == pytest.approx(1.0, abs=1e-6)


# Labels -------------------------------------------------------------------------------------------------------------


def test_the_confident_joint_counts_by_the_mean_share_of_a_label():
    shares = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.45, 0.55], [0.1, 0.9]])
    y = np.array([0, 0, 0, 1, 1])  # bars: 0.6 and 0.725
    joint, looks = confident_joint(shares, y)
    assert looks.tolist() == [0, 0, 1, -1, 1]
    assert joint.tolist() == [[2, 1], [0, 1]]


def test_planted_label_noise_is_estimated_and_listed():
    generator = RNG(2)
    y = generator.integers(0, 3, 900)
    x = np.eye(3)[y] * 6 + generator.normal(size=(900, 3))
    wrong = np.sort(generator.permutation(900)[:90])
    given = y.copy()
    given[wrong] = (y[wrong] + 1) % 3
    found = label_noise(x, given, quiet)
    assert found.share.value == pytest.approx(0.10, abs=0.02)
    listed = [one.place for one in found.doubtful]
    assert np.isin(listed, wrong).mean() > 0.95
    assert all(one.other == y[one.place] and one.given == given[one.place] for one in found.doubtful[:20])
    clean = label_noise(x, y, quiet)
    assert clean.share.value < 0.02
    assert clean.found > 0.7, "an example below the mean share of its own class looks like none"


# All together -------------------------------------------------------------------------------------------------------


def test_features_are_what_the_last_layer_reads(pair):
    import torch

    from core.engine.network import load_network

    model, data = pair
    inputs = load_split(data, "calibration").inputs
    seen = features(model, inputs, quiet)
    network = load_network(model)
    last = network.layers[-1]
    weight, bias = network.tensors[last.weight], network.tensors[last.bias]
    out = torch.from_numpy(seen) @ (weight.T if weight.shape[1] == seen.shape[1] else weight) + bias
    from core.engine.evaluate import calibration_outcomes
    from core.recipe import Recipe

    original, _ = calibration_outcomes(model, data, Recipe())
    np.testing.assert_allclose(out.numpy(), original.logits, atol=1e-4)
    along = main_axes(seen).of(seen)
    np.testing.assert_allclose(along.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(along.std(0, ddof=1), 1, rtol=1e-3)


def test_a_whole_look_and_a_spoiled_one(pair, monkeypatch):
    monkeypatch.setattr(distance_module, "DRAWS", 5)
    model, data = pair
    good = suitability(model, data, data, quiet)
    assert good.own and {one.about for one in good.findings} == {"classes", "distance", "copies", "labels"}
    assert good.copies.exact == 0
    noise = suitability(model, data, spoiled(data, Wrong("noise", 1.0)), quiet)
    assert noise.distance.auc.value > good.distance.auc.value and noise.distance.apart
    evaluation = load_split(data, "evaluation")
    leaked = kept_split("leaked", "fit", {"x": evaluation.x, "y": evaluation.y})
    other = replace(data, splits=tuple(leaked if split.name == "fit" else split for split in data.splits), groups=())
    leaky = next(one for one in suitability(model, data, other, quiet).findings if one.about == "copies")
    assert leaky.how == "bad" and "171 of 171" in leaky.text


def test_data_of_another_kind_are_refused_in_a_sentence(pair):
    model, data = pair
    assert "holds pictures" in why_not(model, data, written_digits())
    with pytest.raises(TemperError, match="holds pictures"):
        suitability(model, data, written_digits(), quiet)


# Wrong data ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", ["breast-cancer", "credit-default", "diamonds"])
def test_wrong_data_differ_in_the_fit_split_alone_and_say_so(sample):
    _, data = load_sample(sample)
    for wrong in ways(data):
        other = spoiled(data, wrong)
        assert other.split("calibration") == data.split("calibration")
        assert other.split("evaluation") == data.split("evaluation")
        assert other.split("fit").fingerprint != data.split("fit").fingerprint
        assert other.split("fit").path != data.split("fit").path and other.id != data.id
        assert "wrong on purpose" in other.title and other.fingerprint != data.fingerprint


def test_digits_stand_in_the_place_of_pictures():
    _, data = load_sample("fashion-small")
    assert Wrong("digits") in ways(data)
    other = spoiled(data, Wrong("digits"))
    assert other.split("evaluation") == data.split("evaluation") and other.split("fit").n == 898


def test_what_is_wrong_is_what_was_said(pair):
    _, data = pair
    right = load_split(data, "fit")
    labels = load_split(spoiled(data, Wrong("labels", 0.5)), "fit")
    np.testing.assert_array_equal(labels.x, right.x)
    assert sorted(labels.y) == sorted(right.y) and 0 < (labels.y != right.y).mean() < 0.5
    noise = load_split(spoiled(data, Wrong("noise", 1.0)), "fit")
    assert all(set(noise.x[:, k]) <= set(right.x[:, k]) for k in range(right.x.shape[1]))
    assert (noise.x != right.x).any(1).all()
    missing = load_split(spoiled(data, Wrong("missing", code=0)), "fit")
    assert set(missing.y) == {1} and len(missing.y) == (right.y == 1).sum()


def test_what_is_drawn_to_learn_from_is_not_what_was_made_wrong():
    from core.training.examples import examples

    _, data = load_sample("credit-default")
    other = spoiled(data, Wrong("labels", 0.5))
    changed = load_split(other, "fit").y != load_split(data, "fit").y
    rows = examples(other, 0, False, 400).rows
    assert abs(changed[rows].mean() - changed.mean()) < 0.08


@pytest.fixture(scope="module")
def experiment(pair, tmp_path_factory):
    model, data = pair
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEMPER_HOME", str(tmp_path_factory.mktemp("home")))
        recipe = with_training(PRUNED, "fine-tune", {"epochs": 4.0, "rate": 1e-2, "batch": 16})
        found = WrongData(model, data, recipe, (Wrong("labels", 1.0), Wrong("missing", code=0)), 2)
        found.run(Here())
        yield found


def test_wrong_data_make_it_worse_and_the_right_do_not(experiment):
    right, shuffled, missing = experiment.found()
    assert right.worse is None and len(right.values["accuracy"]) == 2
    for arm in (shuffled, missing):
        assert arm.worse["accuracy"].interval.high < 0
        assert np.mean(arm.values["accuracy"]) < np.mean(right.values["accuracy"]) - 0.1
    assert experiment.standing().done == 6


def test_nothing_that_wrong_data_taught_is_kept_and_the_answers_are(experiment):
    assert not list(kept.place("x").parent.glob("*/trained.json"))
    again = WrongData(experiment.model, experiment.data, experiment.recipe, experiment.arms, 2)
    assert again.key == experiment.key and again.standing().state == "done"
    assert again.found() == experiment.found() and again.before() == experiment.before()


def test_each_arm_takes_about_as_many_steps(experiment):
    from core.trainers._settings import plan_of

    steps = [
        plan_of(experiment._like(arm).steps[-1].values, 0).steps(experiment._examples(arm)) for arm in experiment.arms
    ]
    assert max(steps) - min(steps) <= 1


def test_the_mean_change_over_one_pair_is_its_difference(experiment):
    before, after = (experiment._outcome(experiment._logits[arm, 0]) for arm in (-1, 1))
    one, known = mean_change("nll", [before], [after]), difference("nll", before, after)
    assert one.value == known.value and one.interval == known.interval
    twice = mean_change("accuracy", [before, before], [after, before])
    assert twice.value == pytest.approx((after.correct.mean() - before.correct.mean()) / 2)
