"""The rows that fitted the samples' weights: shipped, apart from the others, and the network knows them best."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, SAMPLES
from test_sample_tables import arrays, script

from core.data.handle import fitting_split, load_split
from core.models.handle import build
from core.models.samples import SHIPPED, load_sample, read_card

SPLITS = ("fit", "calibration", "evaluation")
LEARNT = ("breast-cancer", "rain-6h", "sentiment", "spam-mail")  # trained until no fitted example was wrong
# Texts of two splits that differ only in words that the network does not know: of fit and calibration, of fit and
# evaluation, of calibration and evaluation.
READ_ALIKE = {"sentiment": [0, 0, 1], "spam-mail": [3, 4, 1]}
FIRST = 2_000  # pictures that are looked at
IDX = Path("/usr/share/datasets/fashion-mnist")


@pytest.mark.parametrize("name", SAMPLES)
def test_each_card_lists_three_files_and_says_what_is_shipped(name):
    splits = read_card(name)["splits"]
    assert tuple(splits) == SPLITS
    assert len({stated["fingerprint"] for stated in splits.values()}) == len(SPLITS)
    assert {path.name for path in (SHIPPED / name).glob("*.npz")} == {stated["file"] for stated in splits.values()}
    assert "shipped" in read_card(name)["data"]["split"]


@pytest.mark.parametrize("name", SAMPLES)
def test_no_fitted_example_calibrates_or_judges(name):
    """None as stored; by what the network reads, the few that are named above."""
    _, data = load_sample(name)
    splits = [load_split(data, split) for split in SPLITS]
    for rows, shared in (
        ([{row if data.modality == "text" else row.tobytes() for row in split.x} for split in splits], [0, 0, 0]),
        ([{row.tobytes() for row in split.inputs} for split in splits], READ_ALIKE.get(name, [0, 0, 0])),
    ):
        assert [len(one & other) for one, other in combinations(rows, 2)] == shared


@pytest.mark.parametrize("name", SAMPLES)
def test_the_network_does_at_least_as_well_on_what_fitted_it(name):
    model, data = load_sample(name)
    found = fitting_split(data)
    some = slice(FIRST if data.modality == "pictures" else None)
    with torch.inference_mode():
        outputs = build(model)(torch.from_numpy(found.inputs[some].copy())).numpy()
    labels, judged = found.y[some], read_card(name)["figures"]
    if not data.task.decides:
        assert np.sqrt(np.mean((outputs[:, 0] - labels) ** 2)) < judged["rmse"]
        return
    right = float((outputs.argmax(1) == labels).mean())
    n, of = len(labels), judged["accuracy"]
    error = math.sqrt(of * (1 - of) * (1 / n + 1 / read_card(name)["splits"]["evaluation"]["n"]))
    assert right > of - 2 * error
    if name in LEARNT:
        assert right > 0.999 > of


def test_pictures_are_the_same_for_both_and_as_many_of_each_class():
    one, other = (SHIPPED / name / "fit.npz" for name in ("fashion-resnet", "fashion-small"))
    assert one.read_bytes() == other.read_bytes()
    assert np.bincount(arrays("fashion-small", "fit")["y"]).tolist() == [1200] * 10


@pytest.mark.skipif(not IDX.exists(), reason="needs the source of the pictures")
def test_the_pictures_are_drawn_from_those_that_fitted(monkeypatch):
    monkeypatch.syspath_prepend(str(SHIPPED))
    import training

    splits = training.fashion_splits(IDX)
    places = training.share_of(splits.fit[1], training.FASHION_SHIPPED, seed=21)
    for split, (x, y) in {
        "fit": (splits.fit[0][places], splits.fit[1][places]),
        "calibration": splits.calibration,
        "evaluation": splits.evaluation,
    }.items():
        stored = arrays("fashion-small", split)
        assert np.array_equal(stored["x"], x) and np.array_equal(stored["y"], y)


def test_rain_is_fitted_before_what_calibrates_and_judges():
    times = {split: arrays("rain-6h", split)["time"] for split in SPLITS}
    assert times["calibration"].min() - times["fit"].max() > 24, "hours"
    assert times["evaluation"].min() - times["calibration"].max() > 24


def test_equal_clients_and_stones_stay_together():
    clients = [arrays("credit-default", split)["x"] for split in SPLITS]
    assert any(len(np.unique(x, axis=0)) < len(x) for x in clients), "some clients are equal, and none is lost"
    stones = []
    for split in SPLITS:
        x = arrays("diamonds", split)["x"]
        keys = np.column_stack([x[:, 0], np.sort(x[:, 6:8], axis=1), x[:, 8]])
        stones.append({key.tobytes() for key in keys})
    assert [len(one & other) for one, other in combinations(stones, 2)] == [0, 0, 0]


def test_no_film_fitted_and_the_card_counts_the_sources():
    source = arrays("sentiment", "fit")["source"]
    counts, names = np.bincount(source, minlength=3), read_card("sentiment")["data"]["groups"]["source"]["names"]
    assert counts[names.index("films (IMDb)")] == 0
    assert f"Fit: {counts[0]} {names[0]}, {counts[2]} {names[2]}." in read_card("sentiment")["data"]["split"]


def test_a_share_of_the_stones_has_the_prices_of_all(monkeypatch):
    diamonds, random = script("diamonds", monkeypatch), np.random.default_rng(0)
    part = diamonds.Part(
        random.normal(size=(5_000, 9)).astype(np.float32),
        random.lognormal(8, 1, 5_000).astype(np.float32),
        {"place": np.arange(5_000)},
    )
    some = diamonds.shipped(part, 1_000)
    assert len(np.unique(some.more["place"])) == len(some.y) == 1_000
    assert np.array_equal(some.x, part.x[some.more["place"]]) and np.array_equal(some.y, part.y[some.more["place"]])
    edges = np.quantile(part.y, np.linspace(0, 1, 11)[1:-1])
    assert np.bincount(np.digitize(some.y, edges)).tolist() == pytest.approx([100] * 10, abs=1)


def test_a_script_writes_its_splits_alone(tmp_path):
    """Everything that it does not write stays as it was, and the splits hold what they held."""
    for path in SHIPPED.glob("*.py"):
        shutil.copy(path, tmp_path)
    shutil.copytree(SHIPPED / "breast-cancer", tmp_path / "breast-cancer")
    made, before = tmp_path / "breast-cancer", SHIPPED / "breast-cancer"
    for split in SPLITS:
        (made / f"{split}.npz").unlink()
    stripped = json.loads((before / "card.json").read_text())
    stripped["data"]["split"], stripped["splits"] = "", {}
    (made / "card.json").write_text(json.dumps(stripped))
    done = subprocess.run(
        [sys.executable, str(made / "train.py"), "--splits-only"],
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    for split in SPLITS:
        with np.load(made / f"{split}.npz") as new:
            old = arrays("breast-cancer", split)
            assert set(new) == set(old) and all(np.array_equal(new[key], old[key]) for key in old)
    new, old = (json.loads((place / "card.json").read_text()) for place in (made, before))
    for card in (new, old):
        for stated in card["splits"].values():
            stated.pop("fingerprint")  # another zlib may write other bytes
    assert new == old
    assert all(
        (made / name).read_bytes() == (before / name).read_bytes() for name in ("weights.safetensors", "graph.onnx")
    )
