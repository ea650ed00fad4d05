"""Recipes: round trips through JSON and links, and one clear sentence for everything that is not a recipe."""

import base64
import json
import math
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import TemperError
from core.recipe import STEP_LIMIT, Recipe, Step, from_dict, from_json, from_link
from core.registry import NAME, PACKAGES, STEP_KINDS, Method, Param, methods

STEP_METHODS = [m for kind in STEP_KINDS for m in methods(kind)]
PRUNE = {"kind": "prune", "method": "magnitude-global", "params": {"sparsity": 0.5}}
NESTED = 100_000  # brackets: far beyond what any JSON reader follows


def values_of(param: Param) -> st.SearchStrategy:
    """Every kind of value that a parameter takes."""
    if param.choices:
        return st.sampled_from(param.choices)
    if param.longest:
        return st.from_regex(NAME, fullmatch=True).filter(lambda text: len(text) <= param.longest)
    if isinstance(param.default, int):
        return st.integers(math.ceil(param.low), math.floor(param.high))
    return st.floats(param.low, param.high)


@st.composite
def steps(draw: st.DrawFn) -> Step:
    """A step of any registered method with any subset of its parameters given."""
    chosen: Method = draw(st.sampled_from(STEP_METHODS))
    given_params = {p.name: draw(values_of(p)) for p in chosen.parameters if draw(st.booleans())}
    return Step.of(chosen.kind, chosen.name, given_params)


recipes = st.builds(
    Recipe, st.lists(steps(), max_size=6).map(tuple), st.integers(min_value=0, max_value=2**32 - 1)
)  # fmt: skip


def by_type(value: object) -> str:
    """A test's name for a value: some of these cannot be written out."""
    return type(value).__name__


def refused(make, *, names: str = "") -> TemperError:
    """The error that `make` raises, which must be one short sentence; `names` must occur in it."""
    with pytest.raises(TemperError) as caught:
        make()
    error = caught.value
    assert error.message.endswith("."), error.message
    assert ". " not in error.message.removesuffix("."), f"more than one sentence: {error.message}"
    assert "\n" not in str(error)
    assert len(error.message) < 600, "a message is a sentence, not a dump of what was given"
    assert names in error.message
    return error


# Round trips


@given(recipes)
def test_json_round_trip(recipe: Recipe) -> None:
    assert from_json(recipe.to_json()) == recipe
    assert from_dict(recipe.to_dict()) == recipe


@given(recipes)
def test_link_round_trip(recipe: Recipe) -> None:
    link = recipe.to_link()
    assert set(link) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert from_link(link) == recipe
    assert from_link(recipe.to_json()) == recipe, "a link may carry plain JSON"


@given(recipes)
def test_to_dict_is_a_fixed_point(recipe: Recipe) -> None:
    assert from_dict(recipe.to_dict()).to_dict() == recipe.to_dict()
    assert json.loads(json.dumps(recipe.to_dict(), allow_nan=False)) == recipe.to_dict()


def test_the_longest_recipe_still_fits_a_link() -> None:
    longest = max(STEP_METHODS, key=lambda m: len(m.parameters))
    recipe = Recipe((Step.of(longest.kind, longest.name),) * STEP_LIMIT)
    assert from_link(recipe.to_link()) == recipe


def test_the_documented_recipe_reads() -> None:
    recipe = from_json(
        '{"version": 1, "seed": 0, "steps": [{"kind": "prune", "method": "magnitude-global", "params": '
        '{"sparsity": 0.5}}, {"kind": "quantize", "method": "uniform", "params": {"weight_bits": 8, '
        '"activation_bits": 8, "granularity": "channel", "scheme": "symmetric", "range": "minmax", '
        '"rounding": "nearest"}}, {"kind": "calibrate", "method": "temperature", "params": {}}]}'
    )
    assert [step.kind for step in recipe.steps] == ["prune", "quantize", "calibrate"]


def test_null_stands_for_the_default() -> None:
    for params in ({}, {"sparsity": None}, None):
        assert from_dict({"version": 1, "steps": [{**PRUNE, "params": params}]}) == Recipe(
            (Step.of("prune", "magnitude-global"),)
        )
    without = {key: value for key, value in PRUNE.items() if key != "params"}
    assert from_dict({"version": 1, "steps": [without]}).steps[0].values == {"sparsity": 0.5, "floor": 0.0}


def test_a_whole_number_given_as_a_float_is_the_same_step() -> None:
    step = {"kind": "quantize", "method": "uniform", "params": {"weight_bits": 8.0}}
    read = from_dict({"version": 1, "steps": [step]})
    assert read.steps[0].values["weight_bits"] == 8
    assert isinstance(read.steps[0].values["weight_bits"], int), "8 and 8.0 must not differ in the fingerprint"


# Everything that is not a recipe


@pytest.mark.parametrize("given_value", [None, 3, 1.5, True, "text", [], [PRUNE]])
def test_only_an_object_is_a_recipe(given_value: object) -> None:
    refused(lambda: from_dict(given_value), names="JSON object")
    refused(lambda: from_json(json.dumps(given_value)))


@pytest.mark.parametrize("version", [0, 2, None, "1", True, [], 1.5, math.nan, 10**5000], ids=by_type)
def test_another_version(version: object) -> None:
    error = refused(lambda: from_dict({"version": version, "steps": []}), names="version")
    assert error.hint


def test_no_version() -> None:
    refused(lambda: from_dict({"steps": []}), names="version")


@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, True, None, "0", [], math.nan, 10**5000], ids=by_type)
def test_a_seed_out_of_range(seed: object) -> None:
    refused(lambda: from_dict({"version": 1, "seed": seed, "steps": []}), names="seed")


@pytest.mark.parametrize("listed", [None, {}, "prune", 1, True])
def test_steps_must_be_a_list(listed: object) -> None:
    refused(lambda: from_dict({"version": 1, "steps": listed}), names="list")


@pytest.mark.parametrize(
    "step",
    [None, 1, "prune", [], {}, {"kind": "prune"}, {"method": "magnitude-global"}, {**PRUNE, "more": 1}],
    ids=repr,
)
def test_a_step_must_have_its_parts(step: object) -> None:
    refused(lambda: from_dict({"version": 1, "steps": [PRUNE, step]}), names="Step 2")


def test_an_unknown_key() -> None:
    refused(lambda: from_dict({"version": 1, "steps": [], "model": "x"}), names="'model'")


@pytest.mark.parametrize(
    "kind", ["shrink", "", None, 1, [], {}, True, "metric", "chart", "x" * 5000, 10**5000], ids=by_type
)
def test_an_unknown_kind(kind: object) -> None:
    given_recipe = {"version": 1, "steps": [{"kind": kind, "method": "accuracy"}]}
    refused(lambda: from_dict(given_recipe), names="Step 1")


@pytest.mark.parametrize(
    "name", ["magnitude", "", None, 1, [], {}, True, "x" * 5000, "a\nb", "\ud800", 10**5000], ids=by_type
)
def test_an_unknown_method(name: object) -> None:
    refused(lambda: from_dict({"version": 1, "steps": [{"kind": "prune", "method": name}]}), names="Step 1")


def test_a_near_miss_is_named() -> None:
    error = refused(lambda: Step.of("prune", "magnitude-globl"))
    assert error.hint == "Did you mean 'magnitude-global'?"


def test_an_unknown_parameter() -> None:
    step = {"kind": "prune", "method": "magnitude-global", "params": {"amount": 0.5}}
    refused(lambda: from_dict({"version": 1, "steps": [step]}), names="'amount'")


@pytest.mark.parametrize("params", [[], False, 0, "", "x", [1], 3])
def test_params_must_be_an_object(params: object) -> None:
    refused(lambda: from_dict({"version": 1, "steps": [{**PRUNE, "params": params}]}), names="params")


WRONG = [
    [],
    [0.5],
    {},
    True,
    False,
    "",
    "half",
    "\ud800",
    "x" * 5000,
    math.nan,
    math.inf,
    -math.inf,
    10**400,
    -(10**400),
    10**5000,
    1e308,
    -1,
]


@pytest.mark.parametrize("value", WRONG, ids=by_type)
def test_a_wrong_value_of_any_parameter_is_refused(value: object) -> None:
    for declared in STEP_METHODS:
        for param in declared.parameters:
            if param.longest and value == "half":
                continue  # as good a name as any
            step = {"kind": declared.kind, "method": declared.name, "params": {param.name: value}}
            refused(lambda step=step: from_dict({"version": 1, "steps": [step]}), names=param.name)


@pytest.mark.parametrize("declared", STEP_METHODS, ids=lambda m: f"{m.kind}-{m.name}")
def test_just_outside_of_a_range(declared: Method) -> None:
    for param in declared.parameters:
        if not param.choices and not param.longest:
            for outside in (math.nextafter(param.low, -math.inf), math.nextafter(param.high, math.inf)):
                refused(lambda v=outside, n=param.name: Step.of(declared.kind, declared.name, {n: v}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "not json",
        "[" * NESTED,
        '{"version": 1, "steps": ' + "[" * NESTED,
        '{"version": 1, "seed": 1' + "0" * 5000 + "}",
        '{"version": 1, "steps": [{"kind": "prune", "method": "magnitude-global", "params": {"sparsity": 1'
        + "0" * 400
        + "}}]}",
        '{"version": 1, "steps": [{"kind": "prune", "method": "magnitude-global", "params": {"sparsity": NaN}}]}',
        '{"version": 1, "steps": [' + "[" * 400 + "]" * 400 + "]}",
        '{"version": 1, "steps": [{"kind": "prune", "method": "magnitude-global", "params": {"sparsity": '
        + "[" * 400
        + "]" * 400
        + "}}]}",
        "\x00",
    ],
    ids=range(11),
)
def test_text_that_is_no_recipe(text: str) -> None:
    refused(lambda: from_json(text))
    refused(lambda: from_link(text))


def test_too_many_steps() -> None:
    refused(lambda: from_dict({"version": 1, "steps": [PRUNE] * (STEP_LIMIT + 1)}), names=str(STEP_LIMIT))


# Links


def link_of(content: bytes) -> str:
    return base64.urlsafe_b64encode(zlib.compress(content, 9)).decode().rstrip("=")


def test_a_link_cut_anywhere_is_refused() -> None:
    link = Recipe((Step.of("prune", "magnitude-global"), Step.of("calibrate", "temperature"))).to_link()
    for length in range(len(link)):
        refused(lambda length=length: from_link(link[:length]))


def test_a_link_with_a_changed_character_is_refused_or_reads_as_before() -> None:
    recipe = Recipe((Step.of("prune", "magnitude-global"), Step.of("calibrate", "temperature")))
    link = recipe.to_link()
    for place in range(len(link)):
        changed = link[:place] + ("A" if link[place] != "A" else "B") + link[place + 1 :]
        try:
            # Only the unused bits behind the last byte may change without changing the content.
            assert from_link(changed) == recipe
        except TemperError:
            continue
        assert place == len(link) - 1


def test_a_bomb_in_a_link_is_refused() -> None:
    bomb = link_of(b'{"version": 1, "steps": []' + b" " * 50_000_000 + b"}")
    assert len(bomb) < 100_000, "small enough to travel"
    error = refused(lambda: from_link(bomb))
    assert error.hint


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"3", b"\xff\xfe", b'{"version": 1', b"[" * 15_000])
def test_a_link_to_something_else_is_refused(content: bytes) -> None:
    refused(lambda: from_link(link_of(content)))


@given(st.text(max_size=200))
def test_no_text_breaks_a_link(text: str) -> None:
    try:
        from_link(text)
    except TemperError as error:
        assert error.message.endswith(".")


plain_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "version": st.just(1) | plain_json,
            "seed": plain_json,
            "steps": plain_json
            | st.lists(
                st.fixed_dictionaries(
                    {},
                    optional={
                        "kind": st.sampled_from([*PACKAGES, *STEP_KINDS]) | plain_json,
                        "method": st.sampled_from([m.name for m in STEP_METHODS]) | plain_json,
                        "params": st.dictionaries(st.sampled_from(["sparsity", "weight_bits", "x"]), plain_json)
                        | plain_json,
                    },
                ),
                max_size=3,
            ),
        },
    )
)
def test_any_json_is_a_recipe_or_refused_in_one_sentence(value: object) -> None:
    try:
        recipe = from_dict(value)
    except TemperError as error:
        assert error.message.endswith(".")
        assert len(error.message) < 600
    else:
        assert from_dict(recipe.to_dict()) == recipe


# Identity, notation, fingerprint


@pytest.mark.parametrize("declared", STEP_METHODS, ids=lambda m: f"{m.kind}-{m.name}")
def test_a_step_at_its_neutral_values_changes_nothing(declared: Method) -> None:
    step = Step.of(declared.kind, declared.name, declared.neutral)
    assert step.is_identity == bool(declared.neutral)
    assert Recipe((step,)).notation == ("untouched" if declared.neutral else Recipe((step,)).notation)
    if declared.neutral:
        assert not Step.of(declared.kind, declared.name).is_identity, "the default of a step does something"


def test_identity_needs_every_neutral_value() -> None:
    for given_params, expected in (
        ({"weight_bits": 32, "activation_bits": 32}, True),
        ({"weight_bits": 32, "activation_bits": 32, "granularity": "tensor"}, True),
        ({"weight_bits": 32, "activation_bits": 8}, False),
        ({"weight_bits": 8, "activation_bits": 32}, False),
    ):
        assert Step.of("quantize", "uniform", given_params).is_identity is expected


def test_notation() -> None:
    prune = Step.of("prune", "magnitude-global", {"sparsity": 0.5})
    quantize = Step.of("quantize", "uniform", {"weight_bits": 4, "activation_bits": 8})
    temperature = Step.of("calibrate", "temperature")
    assert Recipe().notation == "untouched"
    assert Recipe((prune, quantize, temperature)).notation == "50 % sparse · W4A8 · temperature"
    assert Recipe((Step.of("prune", "random", {"sparsity": 0.125}),)).notation == "12.5 % sparse"
    assert Recipe((Step.of("prune", "random", {"sparsity": 0.0}), temperature)).notation == "temperature"


@given(recipes)
def test_every_recipe_has_a_notation(recipe: Recipe) -> None:
    assert recipe.notation.strip()
    assert (recipe.notation == "untouched") == (not recipe.simplified().steps)


@given(recipes, st.integers(0, 6))
def test_the_fingerprint_ignores_steps_that_change_nothing(recipe: Recipe, place: int) -> None:
    for idle in (m for m in STEP_METHODS if m.neutral):
        step = Step.of(idle.kind, idle.name, idle.neutral)
        padded = Recipe((*recipe.steps[:place], step, *recipe.steps[place:]), recipe.seed)
        assert padded.fingerprint == recipe.fingerprint


def test_the_fingerprint_ignores_the_order_of_keys() -> None:
    params = {"weight_bits": 4, "activation_bits": 8, "scheme": "affine"}
    one = from_dict({"version": 1, "seed": 7, "steps": [{"kind": "quantize", "method": "uniform", "params": params}]})
    turned = dict(reversed(params.items()))
    two = from_dict({"steps": [{"params": turned, "method": "uniform", "kind": "quantize"}], "seed": 7, "version": 1})
    assert one == two
    assert hash(one) == hash(two)
    assert one.fingerprint == two.fingerprint


def test_the_fingerprint_tells_recipes_apart() -> None:
    first, second = Step.of("prune", "magnitude-global"), Step.of("quantize", "uniform")
    different = [
        Recipe(),
        Recipe(seed=1),
        Recipe((first,)),
        Recipe((second,)),
        Recipe((first, second)),
        Recipe((second, first)),
        Recipe((Step.of("prune", "magnitude-layer"),)),
        Recipe((Step.of("prune", "magnitude-global", {"sparsity": 0.51}),)),
    ]
    assert len({recipe.fingerprint for recipe in different}) == len(different)


def test_only_and_without_share_the_recipe_out() -> None:
    recipe = Recipe((Step.of("prune", "random"), Step.of("calibrate", "temperature")), 3)
    assert recipe.only("prune").steps + recipe.without("prune").steps == recipe.steps
    assert recipe.only("prune").seed == recipe.without("calibrate").seed == 3


def test_the_notation_counts_what_was_learned_until_it_was_stopped():
    whole = Recipe((Step.of("train", "recover", {"epochs": 4.0}),))
    stopped = Recipe((Step.of("train", "recover", {"epochs": 4.0, "until": 0.25}),))
    assert (whole.notation, stopped.notation) == ("recover 4 epochs", "recover 1 epochs")
