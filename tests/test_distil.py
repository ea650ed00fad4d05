"""Distillation: the loss as the paper has it, who may teach, what trees see, and what a teacher brought."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import prune, quantize, recipe
from scipy import stats
from sklearn.ensemble import HistGradientBoostingClassifier

from core import fingerprint
from core.data.handle import load_split
from core.data.splits import strata_of
from core.engine.context import Context
from core.engine.evaluate import evaluate
from core.engine.memory import RESULTS
from core.engine.network import load_network
from core.engine.transform import transform
from core.errors import TemperError
from core.losses.distillation import distillation, imitation
from core.models.samples import load_sample
from core.recipe import Recipe, Step
from core.registry import Param, method
from core.training import teachers as who
from core.training.boosted import boosted, fits_on, folds_of
from core.training.permit import Untrained, permitted
from core.training.redraw import redrawn
from core.training.seeds import repeats, seeds_of, spread
from core.training.soft import softened, wavering
from core.training.taught import alone_of, answers, taught, teacher_of
from core.training.teachers import teacher, teachers

QUICK = {"teacher": "boosting", "epochs": 1.0, "batch": 32}


def student(**values) -> Recipe:
    return recipe(Step.of("train", "distil", {**QUICK, **values}))


def learned(model, data, of: Recipe) -> dict[str, torch.Tensor]:
    with permitted():
        return dict(transform(model, data, of)[0].tensors)


def same(one, other) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def cancer():
    return load_sample("breast-cancer")


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@pytest.mark.parametrize("heat", [1.0, 4.0, 20.0])
def test_the_loss_and_its_gradient_are_those_of_the_paper(heat):
    rng = np.random.default_rng(1)
    z, v = 3 * rng.normal(size=(2, 7, 5))
    q, p = softmax(z / heat), softmax(v / heat)
    wanted = heat**2 * np.mean([sum(p[i] * (np.log(p[i]) - np.log(q[i]))) for i in range(7)])
    leaf = torch.tensor(z, requires_grad=True)
    found = distillation(leaf, torch.tensor(v), heat)
    found.backward()
    assert found.item() == pytest.approx(wanted, rel=1e-10)
    assert np.allclose(leaf.grad.numpy(), heat * (q - p) / 7, atol=1e-12), "equation 2 times T squared, mean of 7"


def test_at_high_temperatures_logits_are_matched():
    rng = np.random.default_rng(2)
    z, v = (one - one.mean(1, keepdims=True) for one in rng.normal(size=(2, 6, 4)))
    leaf = torch.tensor(z, requires_grad=True)
    distillation(leaf, torch.tensor(v), 1e4).backward()
    assert np.abs(leaf.grad.numpy()).max() > 0.05
    assert np.allclose(leaf.grad.numpy(), (z - v) / (6 * 4), atol=1e-4), "equation 4 of the paper"


def test_numbers_are_imitated_in_the_labels_spread():
    s, t = torch.tensor([[1.0, 0.5], [3.0, 0.0]]), torch.tensor([[2.0, 0.0], [5.0, 0.0]])
    assert imitation(s[:, :1], t[:, :1], 4.0).item() == pytest.approx((1 + 4) / 2 / 8)
    assert imitation(s, t, 4.0).item() == pytest.approx((1 + 4) / 2 / 8 + 0.25 / 2 / 2)


@pytest.mark.parametrize("value", ["", "a b", "x" * 81, "../x", "-x", "é", 3, ["a"], True, "a\n"])
def test_a_name_is_checked(value):
    with pytest.raises(TemperError, match="must be a name of up to 80 letters"):
        Step.of("train", "distil", {"teacher": value})
    assert Param("t", "T", "a", "A name.", longest=3).check("b-1", "x") == "b-1"


@pytest.mark.parametrize(
    ("name", "sample", "told"),
    [
        ("nobody", "breast-cancer", "No teacher is called 'nobody'"),
        ("breast-cancer", "breast-cancer", "cannot teach itself"),
        ("fashion-small", "breast-cancer", "it predicts 10 classes, the student 2 classes"),
        ("credit-default", "breast-cancer", "its classes are pays, defaults, the student's"),
        ("diamonds", "breast-cancer", "it predicts numbers"),
        ("boosting", "fashion-small", "Boosting teaches tables only"),
    ],
)
def test_who_cannot_teach_is_told_why(name, sample, told):
    model, data = load_sample(sample)
    with pytest.raises(TemperError, match=told) as caught, permitted():
        transform(model, data, student(teacher=name))
    assert caught.value.message.count(". ") == 0


def test_other_sizes_and_ways_of_reading_are_told():
    model, data = load_sample("fashion-small")
    with pytest.raises(TemperError, match="it reads inputs of 1 x 28 x 28, the student of 1 x 32 x 32"):
        teacher("fashion-resnet", replace(model, input_shape=(1, 32, 32)), data)
    with pytest.raises(TemperError, match="it reads pictures, the student text"):
        teacher("fashion-resnet", model, replace(data, modality="text"))


def test_the_original_teaches_nothing_to_itself(cancer):
    with pytest.raises(TemperError, match="nothing to learn from itself"), permitted():
        transform(*cancer, student(teacher="original"))
    with pytest.raises(TemperError, match="do not fit the grids"), permitted():
        transform(*cancer, recipe(quantize(8, 8), *student(start="scratch").steps))
    with pytest.raises(TemperError, match="cannot teach augmented ones"), permitted():
        transform(*cancer, student(augment="light"))


def test_those_who_can_teach_are_listed():
    assert list(teachers(*load_sample("fashion-small"))) == ["fashion-resnet", "original"]
    assert list(teachers(*load_sample("credit-default"))) == ["boosting", "original"]


def test_another_scale_of_the_same_pictures_is_undone():
    model, data = load_sample("fashion-small")
    other = replace(data, preprocessing=replace(data.preprocessing, scale=1.0, mean=(9.0,), deviation=(70.0,)))
    known = teacher("fashion-resnet", model, other)
    stored = load_split(data, "calibration").x[:4]
    read = known.read(other.preprocessing.apply(stored, "pictures"))
    assert np.allclose(read, load_split(data, "calibration").inputs[:4], atol=1e-5)


def test_redrawn_weights(cancer):
    picture = load_network(load_sample("fashion-small")[0])
    new = redrawn(picture, 3)
    assert new.identity not in (picture.identity, redrawn(picture, 4).identity)
    assert same(new.tensors, redrawn(picture, 3).tensors)
    assert not torch.equal(new.tensors["head.weight"], redrawn(picture, 4).tensors["head.weight"])
    for layer in new.layers:
        weight = new.tensors[layer.weight]
        assert weight.var().item() == pytest.approx(2 / weight[0].numel(), rel=0.25)
        if layer.norm:
            parts = [new.tensors[f"{layer.norm}.{part}"].unique().tolist() for part in ("weight", "bias")]
            assert parts == [[1.0], [0.0]]
            assert new.tensors[f"{layer.norm}.running_var"].unique().tolist() == [1.0]
    assert not new.tensors["head.bias"].any()
    pruned, _ = transform(*cancer, recipe(prune(0.5)))
    again = redrawn(pruned, 0)
    assert all(not again.tensors[name][~mask].any() for name, mask in pruned.masks.items())
    assert again.sparsity == pytest.approx(pruned.sparsity, abs=1e-9)


def test_folds_keep_equal_rows_together_and_classes_apart():
    x = np.repeat(np.random.default_rng(0).normal(size=(60, 3)), 2, 0).astype(np.float32)
    y = np.repeat(np.arange(60) % 2, 2)
    folds = folds_of(x, y)
    assert np.array_equal(folds[::2], folds[1::2])
    assert {int(y[folds == fold].sum()) for fold in range(5)} == {12}


def test_trees_say_of_a_row_what_those_grown_without_it_do(cancer):
    data = cancer[1]
    found, split = boosted(data), load_split(data, "fit")
    folds = folds_of(np.ascontiguousarray(split.inputs), strata_of(split.y))
    apart = folds == 2
    without = HistGradientBoostingClassifier(random_state=0).fit(split.inputs[~apart], split.y[~apart])
    said = softmax(found.teach(torch.tensor(split.inputs[apart])).numpy().astype(float))
    assert np.allclose(said, np.clip(without.predict_proba(split.inputs[apart]), 1e-6, 1), atol=1e-5)
    new = load_split(data, "evaluation").inputs
    whole = HistGradientBoostingClassifier(random_state=0).fit(split.inputs, split.y)
    shares = softmax(found.teach(torch.tensor(new)).numpy().astype(float))
    assert np.allclose(shares, np.clip(whole.predict_proba(new), 1e-6, 1), atol=1e-5)


def poisoned(data, folder):
    """The same fit split, with the labels of the others turned round."""
    splits = []
    for of in data.splits:
        if of.name != "fit":
            arrays = dict(np.load(of.path))
            path = folder / f"{of.name}.npz"
            np.savez(path, **arrays | {"y": 1 - arrays["y"]})
            of = replace(of, path=path, fingerprint=fingerprint.of_file(path))
        splits.append(of)
    return replace(data, splits=tuple(splits))


def test_neither_trees_nor_student_see_more_than_fit(cancer, tmp_path):
    model, data = cancer
    other = poisoned(data, tmp_path)
    assert not np.array_equal(load_split(other, "calibration").y, load_split(data, "calibration").y)
    assert fits_on(other) == fits_on(data)
    of = student(keep="best")
    clean = learned(model, data, of)
    RESULTS.clear()  # else the trees would be remembered: they are named by the fit split
    assert same(clean, learned(model, other, of))
    assert not same(clean, dict(load_network(model).tensors))


def test_the_same_twice_and_another_seed(cancer, tmp_path, monkeypatch):
    of = student(start="scratch", teacher="original")
    monkeypatch.setenv("TEMPER_HOME", str(tmp_path / "a"))
    first = learned(*cancer, of)
    monkeypatch.setenv("TEMPER_HOME", str(tmp_path / "b"))
    RESULTS.clear()
    assert same(first, learned(*cancer, of))
    assert not same(first, learned(*cancer, replace(of, seed=1)))


def test_alone_is_the_labels_alone(cancer):
    alone = learned(*cancer, alone_of(student()))
    plain = {name: value for name, value in student().steps[0].values.items() if name in ("epochs", "rate", "batch")}
    assert same(alone, learned(*cancer, recipe(Step.of("train", "fine-tune", plain))))
    assert not same(alone, learned(*cancer, student()))


def test_another_teacher_is_another_training(cancer, monkeypatch):
    of = student(epochs=0.5)
    learned(*cancer, of)
    RESULTS.clear()
    transform(*cancer, of)  # kept on disk
    RESULTS.clear()
    monkeypatch.setattr(who, "fits_on", lambda _: "of other content")
    with pytest.raises(Untrained):
        transform(*cancer, of)


def test_what_a_teacher_brought(cancer):
    model, data = cancer
    of = student(start="scratch")
    with permitted():
        after, alone = (evaluate(model, data, one) for one in (of, alone_of(of)))
    known = teacher_of(of, model, data)
    found = taught(known, data, evaluate(model, data, Recipe()), after, alone)
    says = answers(known, data, "evaluation").argmax(1)
    assert found.sides["taught"].agreement == np.mean(says == after.tempered.predictions)
    assert found.sides["teacher"].agreement == 1.0
    hits = [one.tempered.correct.mean() for one in (after, alone)]
    assert found.over_alone["accuracy"].value == pytest.approx(hits[0] - hits[1])
    assert teacher_of(alone_of(of), model, data) is None
    assert of.notation == "distil from boosting 1 epochs"
    assert alone_of(of).notation == "distil 1 epochs"


def test_soft_labels_soften(cancer):
    model, data = cancer
    found = wavering(teacher_of(student(), model, data), data, 4)
    seconds = [softened(one, 1.0, 2)[1][1] for one in found]
    assert len(found) == 4
    assert seconds == sorted(seconds, reverse=True)
    (_, sharp), (_, soft) = softened(found[-1], 1.0, 1)[0], softened(found[-1], 8.0, 1)[0]
    assert soft < sharp


def test_several_seeds_are_told_as_student_would(cancer):
    a, b = [0.93, 0.95, 0.94], [0.92, 0.92, 0.93]
    found = spread(a, b)
    test = stats.ttest_rel(a, b)
    assert found.p == pytest.approx(test.pvalue)
    ends = test.confidence_interval(0.95)
    interval = found.difference.interval
    assert (interval.low, interval.high) == pytest.approx((ends.low, ends.high))
    assert spread(a, a).p == 1.0
    pairs = repeats(*cancer, student(), 3)
    assert [one.recipe.seed for one in pairs.every] == [0, 0, 1, 1, 2, 2]
    assert [one.recipe.steps[0].values["mix"] for one in pairs.every] == [0.7, 0.0] * 3
    assert not pairs.alive and not pairs.done and pairs.fraction == 0


def test_a_teacher_may_say_nothing_of_the_evaluation_split_while_fitting(cancer):
    step = method("train", "distil")
    context = Context(cancer[1], 0)
    with pytest.raises(Untrained):  # nobody said that it may train, and nothing was grown for it
        step.function(load_network(cancer[0]), step.complete({**QUICK, "epochs": 0.05}), context)


def test_seeds_are_judged(cancer, monkeypatch):
    model, data = cancer
    pairs = repeats(model, data, student(start="scratch"), 2)
    with permitted():
        for one in pairs.every:
            evaluate(model, data, one.recipe)
            monkeypatch.setattr(one, "result", one.recipe)
    found = seeds_of(model, data, pairs)
    assert found.n == 171
    assert set(found.spreads) == {"accuracy", "ece", "nll", "agreement"}
    first = evaluate(model, data, pairs.pairs[1][0].recipe).tempered.correct.mean()
    assert found.spreads["accuracy"].taught[1] == pytest.approx(first)
