"""Explanations and CKA against hand computations, plain definitions and finite differences; contracts over all."""

from __future__ import annotations

import itertools
import json
import time
from html import unescape

import explained
import grouped
import harmed
import numpy as np
import pytest
import torch
from conftest import ROOT, prune, quantize, recipe
from scipy import signal, stats
from streamlit.testing.v1 import AppTest
from torch import nn

from core import cli
from core.damage import cka
from core.damage.flipped import lead
from core.damage.why import asked, distance, explainers, telling, why
from core.data.handle import load_split, split_for_fitting
from core.data.texts import pad_of
from core.engine.evaluate import evaluate
from core.engine.network import fold, load_network
from core.engine.transform import transform
from core.errors import TemperError
from core.explainers._subject import Subject, Surrogate, weights_for
from core.explainers.integrated_gradients import CLOSE
from core.figures import attribution_bars, because
from core.models.samples import load_sample
from core.recipe import Recipe, Step
from core.registry import methods
from core.task import task_of_classes

HURT = recipe(prune(0.5), quantize(4, 8))
METHODS = {one.name: one for one in methods("explain")}
SAMPLES = ("fashion-small", "breast-cancer", "diamonds", "spam-mail", "sentiment")
CASES = [(s, n) for s in SAMPLES for n, unsuited in explainers(*load_sample(s)).items() if not unsuited]


def explain(name, network, data, row, target=0, **values):
    one = METHODS[name]
    subject = Subject(network, data, weights_for(data.task, target))
    return one.function(subject, row, one.complete(values), lambda _: None)


# Known answers ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    """A linear network of a number, `3 x0 - 2 x1 + 0.5 x2 + 1`."""
    layer = nn.Linear(3, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, -2.0, 0.5]]))
        layer.bias.fill_(1.0)
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32) + np.float32(1)
    return explained.brought(nn.Sequential(layer), x, explained.PRICE, tmp_path_factory.mktemp("plane"))


@pytest.mark.parametrize("baseline", ["mean", "zero"])
def test_of_a_linear_model_integrated_gradients_are_weight_times_change(plane, baseline):
    model, data = plane
    row = load_split(data, "evaluation").inputs[3]
    start = split_for_fitting(data).inputs.mean(0) if baseline == "mean" else np.zeros(3)
    found = explain("integrated-gradients", load_network(model), data, row, baseline=baseline, steps=4)
    np.testing.assert_allclose(found.values, [3, -2, 0.5] * (row - start), rtol=1e-5, atol=1e-6)
    assert abs(found.gap) < 1e-5 and found.through == pytest.approx(3 * row[0] - 2 * row[1] + 0.5 * row[2] + 1)


def test_of_a_linear_model_occlusion_is_weight_times_what_is_unusual(plane):
    model, data = plane
    row, seen = load_split(data, "evaluation").inputs[3], split_for_fitting(data).inputs
    drawn = seen[np.unique(np.linspace(0, 49, 32).round().astype(int))]
    found = explain("occlusion", load_network(model), data, row)
    np.testing.assert_allclose(found.values, [3, -2, 0.5] * (row - drawn.mean(0)), rtol=1e-4, atol=1e-5)


class Pooled(nn.Module):
    """A convolution, its ReLU, the mean over places, and a linear layer: Grad-CAM of it can be written down."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.conv(x)).mean((2, 3)))


@pytest.fixture(scope="module")
def pooled(tmp_path_factory):
    torch.manual_seed(4)
    module = Pooled()
    x = np.random.default_rng(1).normal(size=(12, 6, 5)).astype(np.float32)
    task = task_of_classes(("a", "b", "c"))
    return module, explained.brought(module, x, task, tmp_path_factory.mktemp("pooled"))


@pytest.mark.parametrize("target", [0, 2])
def test_grad_cam_against_a_hand_computation(pooled, target):
    module, (model, data) = pooled
    row = load_split(data, "evaluation").inputs[2]
    kernels, bias = module.conv.weight.detach().numpy()[:, 0], module.conv.bias.detach().numpy()
    maps = np.stack([signal.correlate2d(row[0], k, "same") + b for k, b in zip(kernels, bias, strict=True)]).clip(0)
    head = module.head.weight.detach().numpy()
    contrast = head[target] - np.delete(head, target, 0).mean(0)
    expected = np.einsum("k,kij->ij", contrast / maps[0].size, maps).clip(0)
    found = explain("grad-cam", load_network(model), data, row, target)
    assert expected.any()
    np.testing.assert_allclose(found.values, expected, rtol=1e-4, atol=1e-6)
    assert "6 × 5" in found.where and "conv" in found.where


def test_occlusion_covers_each_patch_by_the_mean_picture(pooled):
    module, (model, data) = pooled
    row, mean = load_split(data, "evaluation").inputs[2], split_for_fitting(data).inputs.mean(0)
    found = explain("occlusion", load_network(model), data, row, 1, patches=2)
    whole = module(torch.from_numpy(row[None].copy())).detach().numpy()[0] @ weights_for(data.task, 1)
    for rows, columns in itertools.product((slice(0, 3), slice(3, 6)), (slice(0, 3), slice(3, 5))):
        covered = row.copy()
        covered[:, rows, columns] = mean[:, rows, columns]
        score = module(torch.from_numpy(covered[None])).detach().numpy()[0] @ weights_for(data.task, 1)
        np.testing.assert_allclose(found.values[rows, columns], whole - score, rtol=1e-4, atol=1e-5)


def test_integrated_gradients_against_finite_differences_of_the_network_that_runs():
    model, data = load_sample("breast-cancer")
    network, row = load_network(model), load_split(data, "evaluation").inputs[56]
    subject, start = Subject(network, data, weights_for(data.task, 1)), split_for_fitting(data).inputs.mean(0)
    points = start + (np.arange(200)[:, None] + 0.5) / 200 * (row - start)
    step = np.float32(0.01) * np.eye(30, dtype=np.float32)
    moved = [(points[:, None] + sign * step).astype(np.float32).reshape(-1, 30) for sign in (1, -1)]
    slopes = (subject.scores(moved[0]) - subject.scores(moved[1])).reshape(200, 30) / 0.02
    found = explain("integrated-gradients", network, data, row, 1, steps=512).values
    # ReLUs that bend inside a step of 0.01 or between two points move a slope; the whole is well within 2 %.
    assert np.abs(found - (row - start) * slopes.mean(0)).max() < 0.02 * np.abs(found).max()


@pytest.mark.parametrize("sample", SAMPLES)
def test_integrated_gradients_add_up(sample):
    model, data = load_sample(sample)
    row = load_split(data, "evaluation").inputs[5]
    for network in (load_network(model), transform(model, data, HURT)[0]):
        found = explain("integrated-gradients", network, data, row)
        assert abs(found.gap) <= CLOSE * abs(found.total)
        assert found.values.sum() == pytest.approx(found.total, abs=abs(found.gap) + 1e-9) and abs(found.total) > 0.01


def test_a_word_left_out_is_padding():
    model, data = load_sample("spam-mail")
    network, row = load_network(model), load_split(data, "evaluation").inputs[7]
    found = explain("occlusion", network, data, row, 1)
    subject, here = (
        Subject(network, data, weights_for(data.task, 1)),
        np.flatnonzero(row != pad_of(data.preprocessing)),
    )
    without = row.copy()
    without[here[2]] = pad_of(data.preprocessing)
    one, other = subject.scores(np.stack([row, without]))
    assert found.values[here[2]] == pytest.approx(one - other, abs=1e-5)
    assert not np.delete(found.values, here).any() and found.values[here].any()


def test_activations_are_clipped_where_gradients_are_taken():
    """Most of what moves a price at 8 bits is clipping; without it the explained score would be another one."""
    model, data = load_sample("diamonds")
    place = int(telling(evaluate(model, data, HURT), 1)[0][0])
    network = transform(model, data, HURT)[0]
    row = load_split(data, "evaluation").inputs[place]
    subject = Subject(network, data, weights_for(data.task))
    real = subject.scores(row[None])[0]
    module = subject.surrogate()
    off = abs(float(subject.of(module.through(torch.from_numpy(row[None].copy()))[0])) - real)
    module._ranges = {}
    unclipped = abs(float(subject.of(module.through(torch.from_numpy(row[None].copy()))[0])) - real)
    assert unclipped > 300 and off < unclipped / 5


# Contracts ----------------------------------------------------------------------------------------------------------


class Ended(Exception):  # noqa: N818
    """What a person's cancellation raises."""


@pytest.mark.parametrize(("sample", "name"), CASES)
def test_every_explainer_leaves_everything_as_it_was(sample, name):
    model, data = load_sample(sample)
    network = transform(model, data, HURT)[0]
    row = load_split(data, "evaluation").inputs[11]
    held, stored, random = {k: v.clone() for k, v in network.tensors.items()}, row.copy(), torch.get_rng_state()
    one, other = (explain(name, network, data, row) for _ in range(2))
    assert one.values.shape == (row.shape[-2:] if data.modality == "pictures" else row.shape)
    assert one.values.dtype == np.float64 and np.isfinite(one.values).all() and one.where
    np.testing.assert_array_equal(one.values, other.values)

    def ended(_: float) -> None:
        raise Ended

    with pytest.raises(Ended):
        declared = METHODS[name]
        declared.function(Subject(network, data, weights_for(data.task)), row, declared.complete({}), ended)
    assert all(torch.equal(held[k], v) and not v.requires_grad and v.grad is None for k, v in network.tensors.items())
    np.testing.assert_array_equal(row, stored)
    assert torch.equal(torch.get_rng_state(), random) and torch.is_grad_enabled()


def test_a_surrogate_forgets_what_it_was_given():
    model, data = load_sample("breast-cancer")
    module, x = (
        Surrogate(fold(load_network(model))),
        torch.from_numpy(load_split(data, "evaluation").inputs[:2].copy()),
    )
    plain, _ = module.through(x)
    changed, kept = module.through(x, {0: torch.zeros(2, 48)}, (1,))
    assert not torch.equal(plain, changed) and list(kept) == [1]
    assert torch.equal(module.through(x)[0], plain) and module.through(x)[1] == {}


def test_a_method_that_does_not_suit_says_so():
    model, data = load_sample("breast-cancer")
    assert "no convolution" in explainers(model, data)["grad-cam"] and not explainers(model, data)["occlusion"]
    with pytest.raises(TemperError, match="no convolution") as caught:
        why(model, data, HURT, 0, "grad-cam", {})
    assert "occlusion" in caught.value.hint
    with pytest.raises(TemperError, match="from 0 to 170"):
        why(model, data, HURT, 171, "occlusion", {})
    with pytest.raises(TemperError, match="grad-cam"):
        why(model, data, HURT, 0, "gradcam", {})


# Distances ----------------------------------------------------------------------------------------------------------


def test_a_distance_by_hand():
    one = np.array([3.0, -1.0, 0.0, 0.5])
    assert distance(one, 7 * one) == explained.Distance(pytest.approx(0.0, abs=1e-12), pytest.approx(0.0, abs=1e-12))
    turned = distance(one, -one)
    assert (turned.rank, turned.moved) == (pytest.approx(2.0), pytest.approx(1.0)), "the other sign is another place"
    assert distance(np.array([1.0, 0.0]), np.array([0.0, 5.0])).moved == 1
    assert distance(np.array([3.0, 1.0, 0.0]), np.array([1.0, 2.0, 1.0])).moved == pytest.approx(0.5)
    nothing = distance(one, np.zeros(4))
    assert nothing.rank is None and nothing.moved is None
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 30)).round(1)
    assert distance(a, b).rank == pytest.approx(1 - stats.spearmanr(a, b).statistic)
    inside = np.arange(30) < 10
    assert distance(a, b, inside) == distance(a[:10], b[:10])


def test_the_examples_worth_explaining():
    hurt = harmed.hurt(900)
    places, flipped = telling(hurt, 10)
    assert flipped and len(places) == 10 and (np.diff(lead(hurt.original)[places]) <= 0).all()
    assert (hurt.original.predictions[places] != hurt.uncalibrated.predictions[places]).all()
    before = hurt.original
    surer = grouped.outcome(before.logits * np.float32(1.5), before.labels, before.task)
    places, flipped = telling(grouped.result(before, surer), 5)
    moved = np.abs(surer.confidence - before.confidence)
    assert not flipped and moved[places[0]] == moved.max() and (np.diff(moved[places]) <= 0).all()
    assert len(telling(grouped.result(before, before), 5)[0]) == 0
    prices = grouped.priced(50)
    change = np.abs(prices.tempered.values - prices.original.values)
    assert telling(prices, 3)[0][0] == change.argmax()


def test_noise_moves_a_map_less_than_weights_drawn_anew():
    model, data = load_sample("breast-cancer")
    for name in ("integrated-gradients", "occlusion"):
        found = why(model, data, HURT, 56, name, {}, sanity=True)
        assert max(one.moved for one in found.noise) < 0.1 < 0.4 < min(one.moved for one in found.redrawn)
        assert max(one.moved for one in found.noise) < found.between.moved
        assert "depends on what was learned" in because.sanity(found) and "more than" in because.sentence(found)
        subject = [Subject(n, data, weights_for(data.task, found.target)) for n in (load_network(model),)]
        assert found.before == subject[0].scores(load_split(data, "evaluation").inputs[56:57])[0]
    untouched = why(model, data, Recipe(), 56, "occlusion", {})
    assert (untouched.between.rank, untouched.between.moved) == (pytest.approx(0, abs=1e-12), 0)
    assert untouched.redrawn == () and "no more than" in because.sentence(untouched)


def test_a_map_that_outlives_its_weights_is_said_to_explain_little():
    same = explained.Distance(0.02, 0.03)
    assert "explains little" in because.sanity(explained.replace(explained.SOME, redrawn=(same, same, same)))


def test_bars_are_of_the_parts_with_most_and_of_those_that_moved_most():
    random = np.random.default_rng(3)
    found = explained.BARS["words"]["found"]
    one = np.zeros(40)
    one[:20] = np.sort(random.uniform(1, 2, 20))[::-1]
    other = one.copy()
    other[[15, 17]] = 0.1, 0.2
    changed = {"original": explained.Attribution(one, 1.0), "tempered": explained.Attribution(other, 1.0)}
    shown = attribution_bars.drawn(explained.replace(found, **changed)).tolist()
    assert len(shown) == 12 and shown == sorted(shown) and set(range(6)) | {15, 17} <= set(shown)


def test_noise_and_drawing_anew_are_what_they_say():
    model, _ = load_sample("fashion-small")
    network = fold(load_network(model))
    for made, share in ((cka.jitter(network, 3), 0.01), (cka.redraw(network, 3), None)):
        assert made.identity != network.identity and made.identity != cka.redraw(network, 4).identity
        name = max(network.weight_names, key=lambda n: network.tensors[n].numel())
        old, new = network.tensors[name], made.tensors[name]
        if share:
            assert float((new - old).std() / old.std()) == pytest.approx(share, rel=0.05)
        else:
            assert float(new.std() / old.std()) == pytest.approx(1, rel=0.05)
            assert abs(float(torch.corrcoef(torch.stack([new.flatten(), old.flatten()]))[0, 1])) < 0.1
        again = cka.jitter(network, 3) if share else cka.redraw(network, 3)
        assert torch.equal(again.tensors[name], new)


# CKA ----------------------------------------------------------------------------------------------------------------

X = np.random.default_rng(5).normal(size=(40, 7)) + 3
Y = X[:, :4] @ np.random.default_rng(6).normal(size=(4, 9)) + 0.7 * np.random.default_rng(7).normal(size=(40, 9))


def test_plain_cka_is_the_normalised_hilbert_schmidt_criterion():
    centre = np.eye(40) - 1 / 40
    a, b = X @ X.T, Y @ Y.T

    def hsic(one, other):
        return np.trace(one @ centre @ other @ centre) / 39**2

    expected = hsic(a, b) / np.sqrt(hsic(a, a) * hsic(b, b))
    assert cka.plain_cka(cka.gram(X), cka.gram(Y)) == pytest.approx(expected, rel=1e-10)
    x, y = X - X.mean(0), Y - Y.mean(0)
    by_features = np.linalg.norm(y.T @ x) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
    assert expected == pytest.approx(by_features, rel=1e-10) and 0.2 < expected < 0.99


def test_the_unbiased_criterion_is_the_mean_over_all_quadruples():
    a, b = X[:6] @ X[:6].T, Y[:6] @ Y[:6].T
    terms = [a[i, j] * (b[i, j] + b[q, r] - 2 * b[i, q]) for i, j, q, r in itertools.permutations(range(6), 4)]
    assert cka.unbiased_hsic(a, b) == pytest.approx(np.mean(terms), rel=1e-10)
    assert cka.unbiased_hsic(cka.gram(X[:6]), cka.gram(Y[:6])) == pytest.approx(np.mean(terms), rel=1e-9)


@pytest.mark.parametrize("form", [cka.plain_cka, cka.unbiased_cka])
def test_cka_does_not_see_rotation_scale_or_shift(form):
    turn, _ = np.linalg.qr(np.random.default_rng(8).normal(size=(9, 9)))
    value = form(cka.gram(X), cka.gram(Y))
    assert form(cka.gram(X), cka.gram(0.01 * Y @ turn + 100)) == pytest.approx(value, rel=1e-6)
    assert form(cka.gram(Y), cka.gram(X)) == pytest.approx(value, rel=1e-12)
    assert form(cka.gram(X), cka.gram(X)) == pytest.approx(1)
    stretched = Y * np.linspace(0.1, 5, 9)
    assert abs(form(cka.gram(X), cka.gram(stretched)) - value) > 0.01, "it does see single features stretched"


def test_of_unrelated_features_only_the_unbiased_form_is_zero_in_the_mean():
    random = np.random.default_rng(9)
    pairs = [[cka.gram(random.normal(size=(20, 200))) for _ in range(2)] for _ in range(60)]
    unbiased = np.array([cka.unbiased_cka(*pair) for pair in pairs])
    assert abs(unbiased.mean()) < 4 * unbiased.std() / np.sqrt(60)
    assert min(cka.plain_cka(*pair) for pair in pairs) > 0.5


def test_what_tells_no_examples_apart_has_no_cka():
    flat = cka.gram(np.full((10, 3), 0.1, np.float32))
    assert cka.plain_cka(flat, cka.gram(X[:10])) is None and cka.unbiased_cka(flat, flat) is None
    assert cka.unbiased_cka(cka.gram(X[:3]), cka.gram(X[:3])) is None


def test_blocks_of_features_change_nothing(monkeypatch):
    whole = cka.gram(X)
    monkeypatch.setattr(cka, "BLOCK", 3)
    np.testing.assert_allclose(cka.gram(X), whole, rtol=1e-12, atol=1e-12)


def test_the_layers_of_a_network_are_compared_as_they_run(monkeypatch):
    model, data = load_sample("fashion-small")
    monkeypatch.setattr(cka, "EXAMPLES", 64)
    untouched = cka.alike(model, data, Recipe())
    assert untouched.n == 64 and all(one.unbiased == pytest.approx(1) for one in untouched.layers)
    network = transform(model, data, HURT)[0]
    inputs = split_for_fitting(data).inputs[:5]
    heads = cka._features(network, ["head"], inputs)["head"]
    subject = Subject(network, data, weights_for(data.task, 4))
    np.testing.assert_allclose(heads @ subject.weights, subject.scores(inputs), rtol=1e-4, atol=1e-4)
    whole = {one.name: one.unbiased for one in cka.alike(model, data, HURT).layers}
    assert whole["head"] < 0.99 and list(whole) == [layer.name for layer in load_network(model).layers]
    monkeypatch.setattr(cka, "ROOM", 64 * 4 * 4000)  # one layer at a time
    apart = cka.compare(load_network(model), network, cka.redraw(load_network(model), 0), data)
    for one in apart.layers:
        assert one.unbiased == pytest.approx(whole[one.name], rel=1e-4) if apart.n == 64 else apart.n < 64


def test_equalising_channels_is_no_damage(monkeypatch):
    monkeypatch.setattr(cka, "EXAMPLES", 64)
    model, data = load_sample("fashion-small")
    found = cka.alike(model, data, Recipe((Step.of("repair", "equalise"),)))
    assert min(one.unbiased for one in found.layers) > 0.9999
    cut = cka.alike(model, data, recipe(prune(0.5, "channels-magnitude")))
    assert min(one.unbiased for one in cut.layers) < 0.99, "removed channels are compared too"


# The command line and the page --------------------------------------------------------------------------------------


def test_the_command_line_explains(capsys):
    given = ["damage", "--model", "breast-cancer", "--recipe", json.dumps(HURT.to_dict()), "--why", "1"]
    assert cli.main([*given, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["why"]
    assert {one["method"] for one in told["examples"]} == {"integrated-gradients", "occlusion"}
    for one in told["examples"]:
        assert 0 < one["distance"]["moved"] < 1 and len(one["noise"]) == len(one["weights_drawn_anew"]) == 3
        assert one["parts"][0]["name"] in load_sample("breast-cancer")[1].features
    assert [one["layer"] for one in told["layers"]["cka"]] == ["body.0", "body.2", "head"]
    assert cli.main(given) == 0
    assert "The two networks part most at" in capsys.readouterr().out
    assert cli.main([*given[:-1], "0"]) != 0
    assert "from 1 to 100" in capsys.readouterr().err


def told(page: AppTest) -> str:
    return unescape(" ".join(str(element.proto.body) for element in page.get("html")))


def test_the_page_explains_and_changes_method():
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
    page.query_params["model"], page.query_params["recipe"] = "breast-cancer", HURT.to_link()
    page.run()
    page = page.switch_page("pages/5_Damage.py").run()
    assert "lies elsewhere" not in told(page)
    page.button(key="why-explain").click().run()
    until = time.monotonic() + 60
    while not ("lies elsewhere" in told(page) and "The two networks part most" in told(page)):
        assert time.monotonic() < until and not page.exception and not page.error
        time.sleep(0.1)
        page.run()
    model, data = load_sample("breast-cancer")
    place = int(page.selectbox(key=f"why-example-{data.id}").value)
    known = asked(model, data, HURT, place, "integrated-gradients", {}).found()
    assert known is not None and because.sentence(known) in told(page) and "Not here: Grad-CAM" in told(page)
    page.selectbox(key="why-method").set_value("occlusion").run()
    while "Both networks as they run, activations rounded" not in told(page):
        assert time.monotonic() < until and not page.exception and not page.error
        time.sleep(0.1)
        page.run()


def test_a_recipe_that_only_calibrates_has_nothing_to_explain():
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
    only = Recipe((Step.of("calibrate", "temperature"),))
    page.query_params["model"], page.query_params["recipe"] = "breast-cancer", only.to_link()
    page.run()
    page = page.switch_page("pages/5_Damage.py").run()
    assert not page.exception and not page.error and "for the same reasons" in told(page)
