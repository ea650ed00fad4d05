"""Tasks: what a card declares, what follows from it, and the one sentence where something does not suit."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from conftest import SAMPLES, prune, quantize, recipe

from core.deploy.check import parts_of
from core.engine.evaluate import calibrator, evaluate
from core.errors import TemperError
from core.models.samples import SHIPPED, load_sample
from core.recipe import Recipe, Step
from core.registry import PACKAGES, STEP_KINDS, method, methods
from core.sweeps.front import FLIPS, better_high
from core.task import EVERY, FACTS, LEVEL, LEVELS, Task, task_of_card, task_of_classes

THREE, BOTH = ["low", "middle", "high"], ["value", "log_scale"]


# Cards


@pytest.mark.parametrize(
    ("card", "task"),
    [
        ({"task": "multi-class", "classes": THREE}, Task("multi-class", tuple(THREE))),
        ({"task": {"kind": "multi-class"}, "classes": THREE}, Task("multi-class", tuple(THREE))),
        ({"task": "binary", "classes": ["no", "yes"]}, Task("binary", ("no", "yes"), 1)),
        ({"task": {"kind": "binary", "positive": "no"}, "classes": ["no", "yes"]}, Task("binary", ("no", "yes"), 0)),
        ({"task": "regression"}, Task("regression", (), 1, "value", "", ("value",))),
        (
            {
                "task": {
                    "kind": "regression",
                    "target": "price",
                    "unit": "US dollars",
                    "outputs": ["value", "log_scale"],
                }
            },
            Task("regression", (), 1, "price", "US dollars", ("value", "log_scale")),
        ),
    ],
)
def test_a_card_declares_its_task(card, task):
    found = task_of_card({**card, "more": 1})
    assert found == task
    assert found.decides == (task.kind != "regression")
    assert found.states_intervals == ("log_scale" in task.outputs)
    assert found.facts is FACTS[task.kind]
    again = json.loads(json.dumps({"task": found.to_dict(), "classes": list(found.classes)}))
    assert task_of_card(again) == found, "and writes it as it was read"


BAD = [
    ({"task": "ranking", "classes": THREE}, "'ranking'"),
    ({"task": "binary", "classes": THREE}, "3 classes"),
    ({"task": "multi-class", "classes": ["no", "yes"]}, "2 classes"),
    ({"task": "multi-class", "classes": ["one"]}, "1 classes"),
    ({"task": "multi-class"}, "0 classes"),
    ({"task": {"kind": "binary"}, "classes": []}, "0 classes"),
    ({"task": {"kind": "binary", "positive": "maybe"}, "classes": ["no", "yes"]}, "'maybe'"),
    ({"task": {"kind": "binary", "positive": 1}, "classes": ["no", "yes"]}, "no, yes; got 1"),
    ({"task": {"kind": ["binary"]}, "classes": ["no", "yes"]}, "multi-class, binary, regression"),
    ({"task": {"kind": "x" * 900}, "classes": THREE}, "xxx"),
    ({"task": {"kind": "regression", "outputs": ["log_scale"]}}, "'value, log_scale'"),
    ({"task": {"kind": "regression", "outputs": ["value", "value"]}}, "'value, log_scale'"),
    ({"task": {"kind": "regression", "outputs": []}}, "'value, log_scale'"),
    ({"task": {"kind": "regression"}, "classes": ["no", "yes"]}, "2 classes"),
]


@pytest.mark.parametrize(("card", "said"), BAD, ids=lambda part: part[:20] if isinstance(part, str) else "")
def test_a_card_that_contradicts_itself_is_one_sentence(card, said):
    with pytest.raises(TemperError) as raised:
        task_of_card(card)
    message = raised.value.message
    assert said in message and message.endswith(".") and "\n" not in message and len(message) < 300


@pytest.mark.parametrize("card", [bad for bad, _ in BAD] + [{"task": {}}, {"task": 3}, {"task": None}])
def test_a_sample_of_such_a_card_is_one_sentence(card, tmp_path, monkeypatch):
    place = tmp_path / "breast-cancer"
    shutil.copytree(SHIPPED / "breast-cancer", place)
    stated = json.loads((place / "card.json").read_text(encoding="utf-8"))
    (place / "card.json").write_text(json.dumps(stated | {"classes": []} | card), encoding="utf-8")
    monkeypatch.setenv("TEMPER_SAMPLES", str(tmp_path))
    with pytest.raises(TemperError) as raised:
        load_sample("breast-cancer")
    assert raised.value.message.endswith(".") and "\n" not in raised.value.message


def test_two_classes_are_binary_and_more_are_not():
    assert task_of_classes(["a", "b"]).kind == "binary"
    assert task_of_classes(["a", "b"], 0).positive == 0
    assert task_of_classes(["a", "b", "c"]).kind == "multi-class"


def test_units_name_the_target():
    task = Task("regression", target="price", unit="US dollars")
    assert task.unit_of("target") == "US dollars"
    assert task.unit_of("target squared") == "US dollars squared"
    assert task.unit_of("fraction") == "fraction"
    assert replace(task, unit="").unit_of("target") == ""


@pytest.mark.parametrize("name", SAMPLES)
def test_the_samples_data_are_of_their_task(name):
    model, data = load_sample(name)
    result = evaluate(model, data, Recipe())
    outcome, task = result.tempered, data.task
    assert outcome.task == task and task.classes == model.classes
    if task.decides:
        assert outcome.predicted.shape == (outcome.n, len(task.classes))
        assert outcome.probabilities.sum(1) == pytest.approx(1)
        assert set(outcome.labels) <= set(range(len(task.classes)))
    else:
        assert outcome.predicted.shape == (outcome.n, 1 + len(LEVELS))
        assert (np.diff(outcome.predicted[:, 1:], axis=1) >= 0).all(), "surer intervals are wider"
        assert outcome.labels.dtype == np.float64
    for name in task.facts.stated:
        assert np.isfinite(method("metric", name).function.of(outcome)), name


# What is said of a task


@pytest.mark.parametrize("kind", EVERY)
def test_what_is_said_of_a_task_are_metrics_that_suit_it(kind):
    facts, suiting = FACTS[kind], {one.name for one in methods("metric", kind)}
    assert facts.headline == facts.shown[0] == facts.stated[0] == facts.traded[0]
    assert set(facts.shown) <= set(facts.stated) <= suiting
    assert set(facts.traded) - {FLIPS} <= set(facts.stated)
    assert (FLIPS in facts.traded) == (kind != "regression") and not better_high(FLIPS)
    for listed in (facts.shown, facts.stated, facts.traded):
        assert len(set(listed)) == len(listed)


def test_levels_hold_the_one_that_is_shown():
    assert LEVEL in LEVELS and list(LEVELS) == sorted(set(LEVELS))


# Methods


@pytest.mark.parametrize("one", [one for kind in PACKAGES for one in methods(kind)], ids=lambda one: one.name)
def test_a_method_says_which_tasks_it_suits(one):
    assert one.tasks and set(one.tasks) <= set(EVERY) and len(set(one.tasks)) == len(one.tasks)
    for kind in EVERY:
        assert (one in methods(one.kind, kind)) == (kind in one.tasks)


@pytest.mark.parametrize("kind", EVERY)
def test_every_task_can_be_tempered(kind):
    for step in ("prune", "quantize", "calibrate", "format"):
        assert methods(step, kind), step


def test_calibrations_are_of_classes_or_of_numbers():
    of = {kind: {one.name for one in methods("calibrate", kind)} for kind in EVERY}
    assert {"temperature", "vector", "isotonic", "dirichlet"} <= of["multi-class"] < of["binary"]
    assert of["binary"] - of["multi-class"] == {"platt", "beta"}
    assert {"conformal", "scale"} <= of["regression"] and not of["regression"] & of["binary"]
    assert {"auroc", "average_precision"} <= {one.name for one in methods("metric", "binary")}
    assert not {"auroc", "average_precision"} & {one.name for one in methods("metric", "multi-class")}


WRONG = [
    (name, calibration.name)
    for name in ("breast-cancer", "diamonds", "fashion-small")
    for calibration in methods("calibrate")
    if load_sample(name)[1].task.kind not in calibration.tasks
]


@pytest.mark.parametrize(("name", "calibration"), WRONG)
def test_a_calibration_that_does_not_suit_is_one_sentence(name, calibration):
    model, data = load_sample(name)
    with pytest.raises(TemperError) as raised:
        evaluate(model, data, recipe(prune(0.5), Step.of("calibrate", calibration)))
    said = raised.value
    assert said.message.endswith(".") and "\n" not in said.message and ". " not in said.message
    assert method("calibrate", calibration).title in said.message
    for one in methods("calibrate", data.task.kind):
        assert one.name in said.hint, "it says what does"
    assert calibration not in said.hint


def test_a_recipe_leaves_out_what_does_not_suit():
    classes = recipe(prune(0.5), quantize(4, 8), Step.of("calibrate", "temperature"), seed=7)
    numbers = recipe(prune(0.5), quantize(4, 8), Step.of("calibrate", "conformal"), seed=7)
    left = recipe(prune(0.5), quantize(4, 8), seed=7)
    assert classes.suiting("binary") == classes.suiting("multi-class") == classes
    assert classes.suiting("regression") == numbers.suiting("binary") == left
    assert numbers.suiting("regression") == numbers
    assert left.suiting("regression").suiting("binary") == left
    assert Recipe().suiting("regression") == Recipe()
    for kind in EVERY:
        for step in classes.suiting(kind).steps:
            assert step.kind in STEP_KINDS and kind in method(step.kind, step.method).tasks


def test_what_suits_runs():
    model, data = load_sample("diamonds")
    wanted = recipe(prune(0.5), quantize(8, 8), Step.of("calibrate", "temperature")).suiting(data.task.kind)
    assert evaluate(model, data, wanted).tempered.n == data.split("evaluation").n


def test_a_calibration_that_does_not_suit_is_refused_in_one_sentence_wherever_it_is_asked_for():
    model, data = load_sample("diamonds")
    asked = Recipe((Step.of("calibrate", "temperature"),))
    for act in (evaluate, calibrator, parts_of):
        with pytest.raises(TemperError, match="does not suit a model that predicts numbers"):
            act(model, data, asked)


def test_no_trade_off_is_ranked_by_coverage_or_width_alone_and_tables_still_hold_them():
    task = load_sample("diamonds")[1].task
    assert not {"coverage", "interval_width"} & set(task.facts.traded)
    assert {"coverage", "interval_width", *task.facts.traded} <= set(task.listed)
