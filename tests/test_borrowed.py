"""Other data to carry a model over to: what the digits and the groups hold, whose they are, and where they lie."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from core import fingerprint
from core.data.balance import class_counts
from core.data.borrowed import by_group, enlarged, written_digits
from core.data.handle import fitting_split, load_split
from core.engine.evaluate import evaluate
from core.errors import TemperError
from core.models.samples import load_sample
from core.recipe import Recipe
from core.search.rehearse import rehearsal

SPLITS = ("fit", "calibration", "evaluation")
GROUPED = (
    ("sentiment", "source", 2),
    ("rain-6h", "airport", 1),
    ("credit-default", "sex", 0),
    ("diamonds", "cut", 4),
)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TEMPER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def files_of(data):
    return [split.path for split in data.splits]


# Digits -------------------------------------------------------------------------------------------------------------


def test_the_digits_are_all_of_them_in_three_parts():
    data = written_digits()
    parts = [load_split(data, split) for split in SPLITS]
    assert [len(part.y) for part in parts] == [898, 449, 450]
    source = load_digits()
    wanted = sorted(zip(source.target.tolist(), (x.tobytes() for x in enlarged(source.images)), strict=True))
    held = sorted((int(y), x.tobytes()) for part in parts for x, y in zip(part.x, part.y, strict=True))
    assert held == wanted, "none lost, none twice, each with its own label"
    for one, other in combinations(parts, 2):
        assert not {x.tobytes() for x in one.x} & {x.tobytes() for x in other.x}
    for counts in class_counts(data).values():
        assert counts.max() - counts.min() <= 4
    assert len(data.task.classes) == 10 and data.task.kind == "multi-class"


def test_the_digits_read_as_fashion_does():
    fits, fashion = fitting_split(written_digits()), load_sample("fashion-small")[0]
    assert fits.inputs.shape[1:] == fashion.input_shape
    assert abs(fits.inputs.mean()) < 1e-3 and abs(fits.inputs.std() - 1) < 1e-3, "by the fit split alone"
    assert fits.x.dtype == np.uint8 and (fits.x[:, :2] == 0).all() and (fits.x[:, :, -2:] == 0).all()
    model = evaluate(fashion, written_digits(), Recipe()).original
    assert model.n == 450 and model.correct.mean() < 0.4, "a network for clothes knows no digits"


def test_a_digit_stays_what_it_was():
    """The mean over each three by three of a picture is near the source's pixel, and a blank one is blank."""
    images = load_digits().images[:50]
    made = enlarged(images)[:, 2:-2, 2:-2].reshape(50, 8, 3, 8, 3).mean((2, 4)) / 255 * 16
    assert np.corrcoef(made.ravel(), images.ravel())[0, 1] > 0.97
    assert enlarged(np.zeros((1, 8, 8))).max() == 0 and enlarged(np.full((1, 8, 8), 16.0)).max() == 255


def test_whose_digits_they_are():
    data = written_digits()
    assert data.licence == "CC BY 4.0"
    for word in ("Alpaydin and Kaynak 1998", "Optical Recognition of Handwritten Digits", "scikit-learn", "Changed"):
        assert word in data.attribution


# Groups -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sample", "title", "code"), GROUPED)
def test_a_group_holds_its_examples_and_no_others(sample, title, code):
    _, data = load_sample(sample)
    group = by_group(data, title, code)
    for name in SPLITS:
        whole, part = load_split(data, name), load_split(group, name)
        rows = whole.groups[title] == code
        assert 0 < rows.sum() == len(part.y) == group.split(name).n < len(whole.y)
        for key in ("x", "inputs", "y"):
            assert np.array_equal(getattr(part, key), getattr(whole, key)[rows]), key
        for other in group.groups:
            assert np.array_equal(part.groups[other.title], whole.groups[other.title][rows])
    assert title not in {other.title for other in group.groups}
    assert (group.licence, group.task, group.preprocessing) == (data.licence, data.task, data.preprocessing)
    name = next(one.names[code] for one in data.groups if one.title == title)
    assert data.attribution in group.attribution and f"only {name}" in group.attribution
    assert name in group.title and data.title in group.title
    assert group.id != data.id and group.fingerprint != data.fingerprint


def test_two_halves_are_apart_and_the_model_judges_each():
    model, data = load_sample("sentiment")
    one, other = (by_group(data, "source", code) for code in (0, 2))
    assert not set(fitting_split(one).x) & set(fitting_split(other).x)
    right = {code: evaluate(model, part, Recipe()).original.correct for code, part in ((0, one), (2, other))}
    whole = evaluate(model, data, Recipe()).original.correct
    source = load_split(data, "evaluation").groups["source"]
    assert all(np.array_equal(found, whole[source == code]) for code, found in right.items())


def test_an_array_that_no_network_reads_is_kept():
    group = by_group(load_sample("rain-6h")[1], "airport", 2)
    with np.load(group.split("fit").path) as stored, np.load(load_sample("rain-6h")[1].split("fit").path) as whole:
        assert np.array_equal(stored["time"], whole["time"][whole["airport"] == 2])


@pytest.mark.parametrize(
    ("sample", "title", "code", "says"),
    [
        ("sentiment", "source", 1, r"films \(IMDb\), by source, is in the fit or calibration split"),
        ("sentiment", "colour", 0, "no groups called 'colour'; it has: source"),
        ("sentiment", "source", 3, "run from 0 to 2; got 3"),
        ("sentiment", "source", -1, "run from 0 to 2; got -1"),
        ("breast-cancer", "sex", 0, "it has: none"),
    ],
)
def test_a_group_that_is_not_there_is_a_sentence(sample, title, code, says):
    with pytest.raises(TemperError, match=says):
        by_group(load_sample(sample)[1], title, code)


def test_data_without_a_fit_split_or_with_a_damaged_one_is_a_sentence(tmp_path):
    _, data = load_sample("sentiment")
    with pytest.raises(TemperError, match="no examples to train on"):
        by_group(rehearsal(data), "source", 0)
    for content in (b"", b"nonsense"):
        (tmp_path / "fit.npz").write_bytes(content)
        for stated in (fingerprint.of_bytes(content), "0" * 16):
            damaged = replace(data.split("fit"), path=tmp_path / "fit.npz", fingerprint=stated)
            with pytest.raises(TemperError, match=r"cannot be read|differs"):
                by_group(replace(data, splits=(damaged, *data.splits[1:])), "source", 0)


# Files --------------------------------------------------------------------------------------------------------------


def test_files_lie_at_home_and_bear_their_contents_name(home):
    for data in (written_digits(), by_group(load_sample("sentiment")[1], "source", 0)):
        for split in data.splits:
            assert split.path.parent == home / "borrowed"
            assert split.fingerprint == fingerprint.of_file(split.path) and split.fingerprint in split.path.name
    assert not list(home.glob("borrowed/.coming-*"))


def test_the_same_again_and_again_where_files_are_gone_or_cut(home):
    def made():
        return written_digits(), by_group(load_sample("rain-6h")[1], "airport", 0)

    first = made()
    written = [path.stat().st_mtime_ns for data in first for path in files_of(data)]
    assert made() == first and [p.stat().st_mtime_ns for data in first for p in files_of(data)] == written
    shutil.rmtree(home)
    assert made() == first and all(path.exists() for data in first for path in files_of(data))


def test_nothing_is_kept_where_nothing_may_be(monkeypatch):
    monkeypatch.setenv("TEMPER_HOME", "")
    data = written_digits()
    assert len(fitting_split(data).y) == 898
    assert all("temper-borrowed-" in str(path) for path in files_of(data))
    monkeypatch.setenv("TEMPER_HOME", str(files_of(data)[0]))  # a file, where no folder can be made
    with pytest.raises(TemperError, match="There is no room"):
        written_digits()
