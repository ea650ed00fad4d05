"""Calibration from logits alone: the machine-readable form, and every way a file can be wrong."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest

from core.calibrate import calibrate_arrays, read_logits_file
from core.cli import main
from core.errors import TemperError
from core.registry import methods

KEYS = {
    "accuracy",
    "ece",
    "ece_equal_mass",
    "classwise_ece_sum",
    "classwise_ece_mean",
    "mce",
    "nll",
    "brier",
    "ece_debiased",
    "ece_smooth",
    "ks_calibration",
    "sharpness",
    "fitted",
}


def arrays(n: int = 200, classes: int = 4) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    found = {}
    for split in ("calibration", "evaluation"):
        labels = generator.integers(0, classes, n)
        found[f"{split}_labels"] = labels
        found[f"{split}_logits"] = 4 * generator.normal(size=(n, classes)) + 3 * np.eye(classes)[labels]
    return found


def saved(path, given):
    np.savez(path, **given)
    return path


def test_the_object_has_every_measure(tmp_path, capsys):
    path = saved(tmp_path / "logits.npz", arrays())
    assert main(["calibrate", "--logits", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"before", "methods"}
    assert set(found["before"]) == KEYS
    assert set(found["methods"]) == {m.name for m in methods("calibrate", "multi-class")}
    for name, row in found["methods"].items():
        assert set(row) == KEYS | {"flips", "change"}
        if name != "histogram":  # bins of 20 examples hold shares of exactly 0
            assert row["nll"] < found["before"]["nll"]
    assert found["methods"]["temperature"]["fitted"]["temperature"] > 1
    assert found["methods"]["temperature"]["accuracy"] == found["before"]["accuracy"]
    assert found["before"]["classwise_ece_sum"] == pytest.approx(4 * found["before"]["classwise_ece_mean"])


def test_a_table_for_people(tmp_path, capsys):
    assert main(["calibrate", "--logits", str(saved(tmp_path / "l.npz", arrays()))]) == 0
    assert "temperature" in capsys.readouterr().out


def test_nothing_is_fitted_on_the_evaluation_split():
    given = arrays()
    shuffled = given | {"evaluation_labels": given["evaluation_labels"][::-1]}
    one, other = (calibrate_arrays(**g)["methods"] for g in (given, shuffled))
    for name in one:
        assert one[name]["fitted"] == other[name]["fitted"]


def test_a_method_that_cannot_be_fitted_says_so():
    given = arrays() | {"calibration_labels": np.zeros(200, int)}
    assert "at least two classes" in calibrate_arrays(**given)["methods"]["temperature"]["error"]


def without(name):
    return {k: v for k, v in arrays().items() if k != name}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (without("calibration_labels"), "lacks calibration_labels"),
        (arrays() | {"evaluation_logits": np.ones(200)}, r"evaluation_logits must be floats of shape \(N, C\)"),
        (arrays() | {"evaluation_logits": np.ones((200, 4), int)}, "evaluation_logits must be floats"),
        (arrays() | {"evaluation_logits": np.ones((200, 1))}, "C at least 2"),
        (arrays() | {"evaluation_logits": np.ones((200, 3))}, "must have 4 classes"),
        (arrays() | {"evaluation_logits": np.ones((150, 4))}, r"evaluation_labels must have shape \(150,\)"),
        (arrays() | {"calibration_logits": np.full((200, 4), np.inf)}, "must be finite .*; 800"),
        (arrays() | {"calibration_labels": np.full(200, 4)}, "between 0 and 3; they run from 4 to 4"),
        (arrays() | {"calibration_labels": np.full(200, -1)}, "between 0 and 3"),
        (arrays() | {"calibration_labels": np.zeros(200)}, "must be integers"),
        (
            arrays() | {"evaluation_logits": np.ones((200, 1)), "evaluation_labels": np.ones(200)},
            "labels must be int.*run",
        ),
        (arrays(n=4), "at least 10 examples"),
        (arrays() | {"calibration_labels": np.array([{}] * 200, object)}, "calibration_labels in .* cannot be read"),
        (arrays() | {"evaluation_logits": np.full((200, 4), 1e300)}, "evaluation_logits must be finite and at most"),
        (arrays() | {"evaluation_labels": np.zeros((200, 1), int)}, r"must have shape \(200,\)"),
        ({f"unrelated_{i}": np.zeros(1) for i in range(500)}, "unrelated_7 and 492 more"),
    ],
)
def test_wrong_arrays_are_one_sentence(tmp_path, given, words):
    with pytest.raises(TemperError, match=words):
        read_logits_file(saved(tmp_path / "logits.npz", given))


def test_wrong_files_are_one_sentence(tmp_path):
    (tmp_path / "text.npz").write_text("not a zip")
    (tmp_path / "empty.npz").write_bytes(b"")
    with zipfile.ZipFile(tmp_path / "zip.npz", "w") as archive:
        archive.writestr("calibration_logits.npy", b"nonsense")
    whole = io.BytesIO()
    np.savez_compressed(whole, **arrays())
    (tmp_path / "cut.npz").write_bytes(whole.getvalue()[:2_000])
    damaged = bytearray(whole.getvalue())
    damaged[200:260] = b"\xff" * 60
    (tmp_path / "damaged.npz").write_bytes(damaged)
    for name in ("missing", "text", "empty", "zip", "cut", "damaged"):
        with pytest.raises(TemperError) as caught:
            read_logits_file(tmp_path / f"{name}.npz")
        assert f"{name}.npz" in str(caught.value)
        assert "\n" not in str(caught.value)


def header(text: str) -> bytes:
    """An array file whose header is `text`, with a few bytes of content."""
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + b"\0" * 480


@pytest.mark.parametrize(
    "content",
    [
        b"nonsense",
        b"",
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 10)}\n"),
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000000000000, 10)}\n"),
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 10)}\n"),
        header("{'descr': 'zz', 'fortran_order': False, 'shape': (2,)}\n"),
        header("{'descr': ((("),
        header("(" * 5_000),
    ],
)
def test_a_damaged_array_is_named(tmp_path, content):
    path = saved(tmp_path / "logits.npz", without("evaluation_logits"))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("evaluation_logits.npy", content)
    with pytest.raises(TemperError, match=r"^evaluation_logits in") as caught:
        read_logits_file(path)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(("offset", "value"), [(6, 1), (8, 77)], ids=["encrypted", "unknown compression"])
def test_archives_that_cannot_be_unpacked_are_one_sentence(tmp_path, offset, value):
    path = saved(tmp_path / "logits.npz", arrays())
    content = bytearray(path.read_bytes())
    for mark, shift in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):
        at = content.find(mark)
        while at >= 0:
            content[at + offset + shift] = value
            at = content.find(mark, at + 4)
    path.write_bytes(content)
    with pytest.raises(TemperError, match="cannot be read"):
        read_logits_file(path)


def test_any_damage_is_one_sentence(tmp_path):
    """A few hundred files with changed bytes: read, or refused with our own error."""
    saved(tmp_path / "whole.npz", arrays(n=12))
    whole, path = (tmp_path / "whole.npz").read_bytes(), tmp_path / "damaged.npz"
    refused = 0
    for seed in range(300):
        generator, content = np.random.default_rng(seed), bytearray(whole)
        for _ in range(3):
            content[generator.integers(len(content))] = generator.integers(256)
        path.write_bytes(content)
        try:
            read_logits_file(path)
        except TemperError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 200


def test_a_missing_file_is_called_missing(tmp_path):
    with pytest.raises(TemperError, match="There is no file"):
        read_logits_file(tmp_path / "nowhere.npz")
    with pytest.raises(TemperError, match="There is no file"):
        read_logits_file(tmp_path)


def test_a_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("core.calibrate.LARGEST_FILE", 1_000)
    with pytest.raises(TemperError, match="at most 1,000 are read"):
        read_logits_file(saved(tmp_path / "logits.npz", arrays()))
