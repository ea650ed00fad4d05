"""Every sample's card is recomputed from its files; missing or damaged files are a sentence."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from conftest import SAMPLES

from core import fingerprint
from core.data.handle import load_split
from core.engine.evaluate import evaluate
from core.engine.memory import RESULTS
from core.errors import TemperError
from core.models.architectures import multiply_adds
from core.models.handle import build, example_input, parameter_count, weights_of
from core.models.samples import SHIPPED, load_sample, read_card, sample_ids
from core.recipe import Recipe
from core.registry import methods


def test_the_samples_are_these():
    assert sample_ids() == SAMPLES


@pytest.mark.parametrize("name", SAMPLES)
def test_the_card_states_what_the_files_hold(name):
    card, (model, data) = read_card(name), load_sample(name)
    assert card["parameters"] == parameter_count(model)
    assert card["multiply_adds"] == multiply_adds(build(model), example_input(model))
    for split, stated in card["splits"].items():
        loaded = load_split(data, split)
        assert len(loaded.y) == stated["n"]
        if data.task.decides:
            assert set(np.unique(loaded.y)) == set(range(len(card["classes"])))
        else:
            assert np.isfinite(loaded.y).all() and len(np.unique(loaded.y)) > 1000
    for word in ("licence", "attribution", "split"):
        assert card["data"][word]


@pytest.mark.parametrize("name", SAMPLES)
def test_the_card_states_the_measured_figures(name):
    card, (model, data) = read_card(name), load_sample(name)
    found = evaluate(model, data, Recipe()).original
    figures = {m.name: m.function.of(found) for m in methods("metric", data.task.kind)}
    assert set(card["figures"]) == set(figures)
    # Another processor sums in another order: a handful of the 10,000 may then change sides.
    for key, value in card["figures"].items():
        near = {"abs": 0.05 if key == "mce" else 5e-4} if data.task.decides else {"rel": 5e-4}
        assert figures[key] == pytest.approx(value, **near), key


def test_what_the_samples_promise():
    resnet, small = read_card("fashion-resnet"), read_card("fashion-small")
    assert resnet["figures"]["accuracy"] >= 0.925
    assert 300_000 <= resnet["parameters"] <= 800_000
    assert resnet["multiply_adds"] <= 12_000_000
    assert small["figures"]["accuracy"] >= 0.905
    assert small["parameters"] < 100_000
    assert small["multiply_adds"] <= 4_000_000
    assert resnet["splits"]["evaluation"]["n"] == 10_000
    assert resnet["splits"]["calibration"]["n"] == 5_000


def test_the_samples_stay_small():
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file()) < 40_000_000


@pytest.fixture
def copied(tmp_path, monkeypatch):
    shutil.copytree(SHIPPED / "breast-cancer", tmp_path / "breast-cancer")
    monkeypatch.setenv("TEMPER_SAMPLES", str(tmp_path))
    RESULTS.clear()  # results are remembered by content, wherever the files lie
    return tmp_path / "breast-cancer"


def test_an_unknown_sample_is_a_sentence():
    with pytest.raises(TemperError, match="there are: fashion-resnet"):
        load_sample("resnet")


@pytest.mark.parametrize("name", ["weights.safetensors", "evaluation.npz"])
@pytest.mark.parametrize("damage", ["missing", "cut", "changed", "empty"])
def test_damaged_files_are_a_sentence(copied, name, damage):
    path = copied / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"cut": content[:100], "changed": content[:-1] + b"x", "empty": b""}[damage])
    with pytest.raises(TemperError, match=r"Restore the file"):
        evaluate(*load_sample("breast-cancer"), Recipe())


@pytest.mark.parametrize("name", ["weights.safetensors", "evaluation.npz"])
def test_nonsense_with_the_right_fingerprint_is_a_sentence(copied, name):
    """A card that vouches for garbage: the reader itself must refuse it."""
    path, card = copied / name, json.loads((copied / "card.json").read_text())
    path.write_bytes(b"\x10\0\0\0\0\0\0\0nonsense nonsense")
    entry = card["weights"] if name.startswith("weights") else card["splits"]["evaluation"]
    entry["fingerprint"] = fingerprint.of_file(path)
    (copied / "card.json").write_text(json.dumps(card))
    with pytest.raises(TemperError, match="cannot be read"):
        model, data = load_sample("breast-cancer")
        weights_of(model)
        load_split(data, "evaluation")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"title": "x"}', "\xff"])
def test_a_damaged_card_is_a_sentence(copied, text):
    (copied / "card.json").write_text(text, encoding="latin-1")
    with pytest.raises(TemperError, match="card"):
        load_sample("breast-cancer")


def test_weights_that_do_not_fit_name_the_tensors(copied):
    card = json.loads((copied / "card.json").read_text())
    card["arguments"]["hidden"] = [48, 24, 8]
    (copied / "card.json").write_text(json.dumps(card))
    with pytest.raises(
        TemperError, match=r"body\.4\.weight is missing; .*head\.weight has shape \(2, 24\) instead of \(2, 8\)"
    ):
        build(load_sample("breast-cancer")[0])
