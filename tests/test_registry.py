"""Every registered method's declaration, and what a wrong one is told."""

from __future__ import annotations

import pytest

from core.errors import TemperError
from core.registry import PACKAGES, Param, method, methods

ALL = [one for kind in PACKAGES for one in methods(kind)]


@pytest.mark.parametrize("one", ALL, ids=lambda m: f"{m.kind}-{m.name}")
def test_declarations_are_complete(one):
    assert one.title
    assert one.summary.endswith(".")
    assert one.summary.count(". ") == 0, "one sentence"
    assert any(character.isdigit() for character in one.reference), "a year, an arXiv number or a doi"
    assert one.name == one.name.lower()
    for param in one.parameters:
        assert param.help.endswith(".")
        assert param.check(param.default, "itself") == param.default
        if param.neutral is not None:
            assert param.check(param.neutral, "itself") == param.neutral
        if param.shown_when:
            other, value = param.shown_when
            owner = next(p for p in one.parameters if p.name == other)
            assert value in owner.choices
    assert one.complete({}) == one.complete(one.complete({})), "completing is done once"
    if one.neutral:
        assert one.is_identity(one.complete({}) | one.neutral)


def test_every_kind_has_its_methods():
    names = {kind: {m.name for m in methods(kind)} for kind in PACKAGES}
    assert {"magnitude-global", "magnitude-layer", "random"} <= names["prune"]
    assert methods("prune")[0].name == "magnitude-global", "what a bare sparsity means, and what the Studio rests on"
    for kind in PACKAGES:
        assert sum(one.usual for one in methods(kind)) <= 1
    assert {"uniform"} <= names["quantize"]
    assert {"temperature", "vector", "isotonic"} <= names["calibrate"]
    assert {"reliability", "confusion", "ledger", "trail", "latency", "flips"} <= names["chart"]


@pytest.mark.parametrize("value", ["8", 8.5, True, [8], float("nan"), 9, -1])
def test_choices_refuse_what_they_do_not_list(value):
    with pytest.raises(TemperError, match="must be one of"):
        method("quantize", "uniform").complete({"weight_bits": value})


@pytest.mark.parametrize("value", ["0.5", True, float("nan"), float("inf"), -0.1, 1.0, [0.5], {}])
def test_ranges_refuse_what_lies_outside(value):
    with pytest.raises(TemperError, match=r"from 0 to 0\.99"):
        method("prune", "random").complete({"sparsity": value})


def test_whole_numbers_stay_whole():
    param = Param("n", "N", 4, "A count.", low=1, high=9)
    assert param.check(5.0, "x") == 5
    assert isinstance(param.check(5.0, "x"), int)
    with pytest.raises(TemperError, match="whole number"):
        param.check(5.5, "x")


def test_a_parameter_that_does_not_matter_does_not_count():
    uniform = method("quantize", "uniform")
    assert uniform.complete({"range": "minmax", "percentile": 95.0}) == uniform.complete({"range": "minmax"})
    assert uniform.complete({"range": "percentile", "percentile": 95.0})["percentile"] == 95.0


def test_null_stands_for_the_default():
    assert method("prune", "random").complete({"sparsity": None}) == {"sparsity": 0.5}


@pytest.mark.parametrize("name", ["magnitud-global", 7, None, ["random"], ""])
def test_an_unknown_method_is_told_what_there_is(name):
    with pytest.raises(TemperError, match="magnitude-global"):
        method("prune", name)


@pytest.mark.parametrize("kind", ["melt", 3, None, ["prune"]])
def test_an_unknown_kind_is_told_what_there_is(kind):
    with pytest.raises(TemperError, match="prune, quantize"):
        method(kind, "random")
