"""What a search may try follows from the registry: every method that suits takes part, and no other."""

from __future__ import annotations

import random

import pytest
from conftest import SAMPLES

from core import registry
from core.engine.transform import check_order
from core.errors import TemperError
from core.models.samples import load_sample
from core.recipe import Recipe, from_dict
from core.registry import STEP_KINDS, Method, Param, method, methods
from core.search.space import KINDS, NONE, STARTS, Space

EVERY = tuple(kind for kind in STEP_KINDS if kind != "train")


def space_of(sample: str, **more) -> Space:
    model, data = load_sample(sample)
    return Space.of(model, data.task.kind, **more)


def drawn(space: Space, count: int = 400) -> list[Recipe]:
    chance = random.Random(0)
    return [space.recipe(lambda _, values: chance.choice(values)) for _ in range(count)]


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_method_that_suits_takes_part_and_no_other(sample):
    model, data = load_sample(sample)
    space = space_of(sample, kinds=EVERY)
    suits = {(m.kind, m.name) for kind in EVERY for m in methods(kind, data.task.kind) if not m.why_not(model)}
    assert {(m.kind, m.name) for m in space.methods} == suits
    assert {name: why for name, why in space.skipped.items()} == {
        m.name: m.why_not(model) for kind in EVERY for m in methods(kind, data.task.kind) if m.why_not(model)
    }
    seen = {(step.kind, step.method) for recipe in drawn(space) for step in recipe.steps}
    assert seen == suits


@pytest.mark.parametrize("sample", ["fashion-resnet", "diamonds"])
def test_every_recipe_is_one_that_a_person_could_make(sample):
    for recipe in drawn(space_of(sample, kinds=EVERY, slow=True)):
        assert from_dict(recipe.to_dict()) == recipe
        check_order(recipe)
        ranks = [method(s.kind, s.method).rank for s in recipe.steps]
        assert ranks == sorted(ranks)
        kinds = [s.kind for s in recipe.steps if s.kind != "repair"]
        assert len(kinds) == len(set(kinds))
        for step in recipe.steps:
            after = method(step.kind, step.method).after
            assert after is None or after in kinds or not Recipe(recipe.steps).only(after).steps


def test_only_what_says_how_much_or_how_varies():
    space = space_of("fashion-resnet", kinds=EVERY, slow=True)
    steps = [step for recipe in drawn(space) for step in recipe.steps]
    for one in space.methods:
        own = [step.values for step in steps if (step.kind, step.method) == (one.kind, one.name)]
        values = {p.name: {given[p.name] for given in own} for p in one.parameters}
        for param in one.parameters:
            if one.kind == "repair" or not (param.choices or param.neutral is not None):
                assert values[param.name] <= {param.default}
            else:
                assert len(values[param.name]) > 1, param.name


def test_slow_choices_wait_to_be_asked_for():
    slow = [(m, p) for kind in EVERY for m in methods(kind) for p in m.parameters if p.slow]
    assert slow
    for _, param in slow:
        assert set(param.slow) < set(param.choices) and param.default not in param.slow
        assert not set(param.slow) & set(space_of("fashion-resnet").values(param))
        assert set(param.slow) <= set(space_of("fashion-resnet", slow=True).values(param))


@pytest.mark.parametrize("name", ["wanda", "repair", "rounding"])
def test_what_is_left_out_is_never_drawn(name):
    space = space_of("fashion-resnet", left_out=frozenset({name}))
    for recipe in drawn(space, 200):
        for step in recipe.steps:
            assert name not in (step.kind, step.method)
            if name in step.values:
                assert step.values[name] == "nearest"


def test_wrong_names_and_empty_spaces_are_sentences():
    with pytest.raises(TemperError, match="called 'magic'"):
        space_of("fashion-resnet", left_out=frozenset({"magic"}))
    for kinds in ((), ("repair",)):
        with pytest.raises(TemperError, match="No method is left"):
            space_of("fashion-resnet", kinds=kinds)


def test_parameters_that_mean_the_same_are_one_dimension():
    names: dict[str, set[str]] = {}
    space = space_of("fashion-resnet")
    for one in [m for m in space.methods if m.kind == "prune"]:
        for param in one.parameters:
            if param.name == "sparsity":
                asked: set[str] = set()

                def draw(name, values, one=one, asked=asked):
                    asked.add(name)
                    return one.name if name == "prune" else values[0]

                space.recipe(draw)
                names.setdefault(param.of, set()).update(name for name in asked if name.endswith(".sparsity"))
    assert len(names) == 2 and all(len(found) == 1 for found in names.values())


def test_a_conditional_parameter_is_asked_for_only_where_it_matters(monkeypatch):
    declared = (
        Param("way", "Way", "plain", "How.", choices=("plain", "fancy")),
        Param("depth", "Depth", 1, "How deep.", choices=(1, 2, 3), shown_when=("way", "fancy")),
    )
    toy = Method("quantize", "toy", "Toy", "A toy.", "Nobody 2026", declared, lambda *_: None)
    monkeypatch.setitem(registry._REGISTERED, ("quantize", "toy"), toy)
    space = Space((toy,))
    for way in ("plain", "fancy"):
        asked = []

        def draw(name, values, way=way, asked=asked):
            asked.append(name)
            return {"quantize": "toy", "quantize.toy.way": way}.get(name, values[-1])

        step = space.recipe(draw).steps[0]
        assert ("quantize.toy.depth" in asked) == (way == "fancy")
        assert step.values["depth"] == (3 if way == "fancy" else 1)


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_search_begins_with_what_anyone_would_try(sample):
    space = space_of(sample)
    made = [space.recipe(lambda name, values, s=start: s.get(name, values[0])) for start in space.starts()]
    assert len(made) == STARTS + 1
    widths = [next(s.values["weight_bits"] for s in recipe.steps if s.kind == "quantize") for recipe in made]
    assert widths[:STARTS] == sorted(set(widths[:STARTS]), reverse=True) and widths[-1] == widths[0]
    assert all(start.get("prune", NONE) == NONE for start in space.starts()[:STARTS])
    assert made[-1].only("prune").steps and all(recipe.only("repair").steps for recipe in made)


def test_the_name_of_a_space_follows_what_it_holds():
    names = {
        space_of("fashion-resnet", **more).fingerprint
        for more in ({}, {"slow": True}, {"kinds": EVERY}, {"left_out": frozenset({"wanda"})}, {"kinds": KINDS[:1]})
    }
    assert len(names) == 5
