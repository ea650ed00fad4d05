"""A recipe step by step: each stage is the recipe up to there, and the other order is really run."""

from itertools import pairwise

import pytest

from core.engine.evaluate import evaluate
from core.figures.course import course_chart, other_order
from core.layers.course import course, turned
from core.models.samples import load_sample
from core.recipe import Recipe, Step

PRUNE = Step.of("prune", "magnitude-global", {"sparsity": 0.8})
ROUND = Step.of("quantize", "uniform", {"weight_bits": 3, "activation_bits": 8})
NORM, BIAS, HEAT = Step.of("repair", "batch-norm"), Step.of("repair", "bias"), Step.of("calibrate", "temperature")


@pytest.fixture(scope="module")
def pair():
    return load_sample("breast-cancer")


def test_every_stage_is_the_recipe_up_to_there(pair):
    recipe = Recipe((PRUNE, ROUND, BIAS, HEAT))
    found = course(*pair, recipe)
    assert [stage.step for stage in found.stages] == [None, *recipe.steps]
    for place, stage in enumerate(found.stages):
        result = evaluate(*pair, Recipe(recipe.steps[:place]))
        assert stage.value.value == result.tempered.correct.mean()
        assert stage.bytes == result.bytes.packed
    values = [stage.value.value for stage in found.stages]
    changes = [stage.change.value for stage in found.stages[1:]]
    assert changes == pytest.approx([after - before for before, after in pairwise(values)])
    assert all(stage.change.interval is not None for stage in found.stages[1:])


def test_the_other_order_is_rounded_first_and_measured_against_the_recipe(pair):
    found = course(*pair, Recipe((PRUNE, NORM, ROUND, BIAS)))
    stage = found.turned.stage
    assert [step.kind for step in stage.recipe.steps] == ["quantize", "prune", "repair"]
    result = evaluate(*pair, stage.recipe)
    assert stage.value.value == result.tempered.correct.mean()
    assert stage.change.value == pytest.approx(stage.value.value - found.stages[-1].value.value)
    assert found.turned.left == ()  # this network has no batch-norm: nothing falls away


def test_what_falls_away_in_the_other_order_is_named():
    recipe = Recipe((PRUNE, NORM, ROUND))
    other, gone = turned(recipe)
    assert [one.name for one in gone] == ["batch-norm"]
    assert other.steps == (ROUND, PRUNE)


@pytest.mark.parametrize("steps", [(), (PRUNE,), (ROUND, HEAT), (ROUND, PRUNE)])
def test_without_two_orders_there_is_none(steps):
    assert turned(Recipe(steps)) is None


def test_an_order_that_cannot_be_says_why(pair):
    found = course(*pair, Recipe((Step.of("prune", "sparsegpt", {"sparsity": 0.5}), ROUND)))
    assert found.turned.stage is None
    assert "grid" in found.turned.why
    assert found.turned.why in other_order(found)


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("sample", ["breast-cancer", "diamonds"])
def test_the_chart_says_what_costs_most_and_holds_every_stage(sample, mode):
    model, data = load_sample(sample)
    calibrate = HEAT if data.task.decides else Step.of("calibrate", "conformal")
    found = course(model, data, Recipe((PRUNE, ROUND, calibrate)))
    chart = course_chart(found, mode)
    assert len(chart.table) == 5  # the original, three steps, the other order
    assert "costs the most" in chart.caption
    worst = max(found.stages[1:], key=lambda s: (1 if found.metric == "rmse" else -1) * s.change.value)
    assert chart.caption.startswith(worst.title)
    assert "nan" not in chart.figure.to_json().lower()
