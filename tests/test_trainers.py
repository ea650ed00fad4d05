"""Every registered way of training keeps what compression decided, learns only from the fit split, and repeats."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import ROOT, prune, quantize, recipe
from learning import COMPRESSED, forgetful, report, same, trained, training, ways

from core.data import handle
from core.engine.context import Context
from core.engine.grid import fake_quantize
from core.engine.levels import Levels
from core.engine.network import Network, load_network
from core.engine.transform import transform
from core.models.handle import weights_of
from core.models.samples import load_sample
from core.recipe import Step, from_json, from_link
from core.registry import method
from core.training.permit import Permit, Untrained, permitted

pytestmark = pytest.mark.usefixtures("one_core")

NAMES = [one.name for one in ways("binary")]


def learned(before: Network, after: Network) -> bool:
    return any(not torch.equal(before.tensors[name], after.tensors[name]) for name in before.tensors)


def test_there_are_ways():
    assert {"fine-tune", "recover"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", COMPRESSED)
def test_what_compression_decided_stays(case, name, pair):
    steps = COMPRESSED[case]
    before, after = transform(*pair, recipe(*steps))[0], trained(pair, *steps, training(name))
    assert learned(before, after)
    assert after.shapes == before.shapes
    for weight, mask in before.masks.items():
        assert not after.tensors[weight][~mask].any(), "a removed weight came back"
        assert torch.equal(after.masks[weight], mask)
    if case == "2:4":
        for layer in before.layers:
            if layer.weight in before.masks:
                rows = after.tensors[layer.weight].flatten(1)
                groups = rows[:, : rows.shape[1] // 4 * 4].reshape(-1, 4)
                assert int((groups != 0).sum(1).max()) <= 2
    assert set(after.grids) == set(before.grids) and after.half == before.half and after.brain == before.brain
    for weight, grid in after.grids.items():
        tensor = after.tensors[weight]
        assert torch.equal(tensor, fake_quantize(tensor, grid)), "not on its grid"
        assert torch.isfinite(grid.scale).all() and (grid.scale > 0).all()
        assert (grid.bits, grid.low, grid.high) == (before.grids[weight].bits, before.grids[weight].low, grid.high)
    for weight in after.half:
        kind = torch.bfloat16 if weight in after.brain else torch.float16
        assert torch.equal(after.tensors[weight], after.tensors[weight].to(kind).float())
    assert set(after.activations) == set(before.activations)
    for point, grid in after.activations.items():
        assert 0.1 < float(grid.scale / before.activations[point].scale) < 10
        assert torch.equal(grid.zero_point, before.activations[point].zero_point)


@pytest.mark.parametrize("name", NAMES)
def test_a_convolutional_network_too(name):
    pictures = load_sample("fashion-small")
    steps = (prune(0.6), quantize(4, 8))
    before = transform(*pictures, recipe(*steps))[0]
    after = trained(pictures, *steps, training(name, epochs=0.7, examples=200, rate=1e-3, teacher="original"))
    assert learned(before, after)
    for weight, mask in before.masks.items():
        assert not after.tensors[weight][~mask].any()
    for weight, grid in after.grids.items():
        assert torch.equal(after.tensors[weight], fake_quantize(after.tensors[weight], grid))


@pytest.mark.parametrize("name", NAMES)
def test_the_models_file_and_the_given_tensors_stay(name, pair):
    model, _ = pair
    files = {
        path: hashlib.sha256(path.read_bytes()).digest() for path in (ROOT / "sample_models").glob("breast*/*.*")
    }
    held = {key: tensor.clone() for key, tensor in weights_of(model).items()}

    def broken(fraction: float) -> None:
        if fraction > 0.5:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        trained(pair, training(name), seed=91, permit=Permit(told=broken))
    trained(pair, training(name), seed=92)
    assert all(torch.equal(weights_of(model)[key], tensor) for key, tensor in held.items())
    assert all(hashlib.sha256(path.read_bytes()).digest() == digest for path, digest in files.items())


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_repeats_and_another_differs(name, pair, tmp_path, monkeypatch):
    found = []
    for place, seed in enumerate((7, 7, 8)):
        with forgetful(monkeypatch, tmp_path / str(place)):
            found.append(
                trained(
                    pair, prune(0.5), quantize(4, 8), training(name, augment="light", teacher="original"), seed=seed
                )
            )
    assert same(found[0], found[1])
    assert not same(found[0], found[2])


@pytest.mark.parametrize("name", NAMES)
def test_calibration_and_evaluation_teach_nothing(name, pair, tmp_path, monkeypatch):
    """Both splits are poisoned, inputs and labels, while the network learns; the grids were set before."""
    steps, honest = (prune(0.5), quantize(4, 8)), handle._read
    with forgetful(monkeypatch, tmp_path / "clean"):
        clean = trained(pair, *steps, training(name), seed=3)
    with forgetful(monkeypatch, tmp_path / "poisoned"):
        transform(*pair, recipe(*steps, seed=3))
        seen = []

        def poisoned(data, split):
            found = honest(data, split)
            seen.append(split)
            if split == "fit":
                return found
            noise = np.random.default_rng(0).normal(size=found.inputs.shape).astype(np.float32)
            return replace(found, inputs=noise, y=found.y[::-1].copy())

        monkeypatch.setattr(handle, "_read", poisoned)
        with permitted():
            bare = transform(*pair, recipe(*steps, seed=3))[0]
            step = method("train", name).function
            values = method("train", name).complete(training(name).values)
            bad, _ = step(bare, values, Context(pair[1], 3))
        assert "calibration" in seen, "looked at, so that this test can fail"
    assert same(clean, bad)


def test_poisoning_the_fit_split_is_noticed(pair, tmp_path, monkeypatch):
    clean = trained(pair, training("fine-tune"), seed=4)
    honest = handle._read

    def poisoned(data, split):
        found = honest(data, split)
        return replace(found, y=found.y[::-1].copy()) if split == "fit" else found

    with forgetful(monkeypatch, tmp_path):
        monkeypatch.setattr(handle, "_read", poisoned)
        assert not same(clean, trained(pair, training("fine-tune"), seed=4))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_said_of_it_is_finite(name, pair):
    found = report(pair, recipe(prune(0.5), training(name)))
    assert found["examples"] == pair[1].split("fit").n and found["steps"] == 8 and found["epochs"] == 2.0
    assert found["learned"] > 0 and found["seconds"] >= 0 and "warning" not in found
    ends = [value for by in found["loss"].values() for pair_ in by for value in pair_.values()]
    assert ends and all(math.isfinite(value) for value in ends)


@pytest.mark.parametrize("name", NAMES)
def test_nobody_trains_unasked(name, pair):
    with pytest.raises(Untrained, match="was not run on this machine"):
        transform(*pair, recipe(training(name), seed=12345))


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_that_trains_travels(name):
    given = recipe(prune(0.5), training(name, until=0.35), Step.of("calibrate", "temperature"), seed=5)
    assert from_json(given.to_json()) == given == from_link(given.to_link())


@pytest.mark.parametrize("name", [one.name for one in ways("regression")])
def test_numbers_learn_too(name):
    found = report(
        load_sample("diamonds"), recipe(quantize(4, 8), training(name, examples=200, epochs=1.0, rate=1e-3))
    )
    first, last = found["loss"]["fit"]
    assert last["rmse"] < first["rmse"]


def test_the_last_layer_alone_moves_nothing_else():
    pictures = load_sample("fashion-small")
    before, last = load_network(pictures[0]), load_network(pictures[0]).layers[-1]
    after = trained(pictures, training("fine-tune", layers="head", epochs=0.7, examples=200, rate=1e-3))
    moved = {name for name in before.tensors if not torch.equal(before.tensors[name], after.tensors[name])}
    assert moved and moved <= {last.weight, last.bias}


def test_statistics_of_batch_norms_learn_with_their_norms():
    pictures = load_sample("fashion-small")
    before = load_network(pictures[0]).tensors
    means = [name for name in before if name.endswith("running_mean")]
    for layers, learn in (("all", True), ("adapters", False), ("head", False)):
        after = trained(pictures, training("fine-tune", layers=layers, epochs=0.7, examples=200, rate=1e-3)).tensors
        assert means and all(torch.equal(before[name], after[name]) != learn for name in means), layers


def test_levels_are_those_of_the_format(pair):
    after = trained(pair, *COMPRESSED["nf4"], training("recover"))
    grid = next(iter(after.grids.values()))
    assert isinstance(grid.levels, Levels)
