"""Logits and probabilities from files: asked which they are, never guessed; one split is cross-fitted."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from core.calibrate import calibrate_arrays, cross_fitted_arrays, read_logits_file
from core.calibration.cross_fit import FOLDS, cross_fitted, folds
from core.calibrators._fitted import softmax
from core.calibrators.temperature import temperature
from core.cli import main
from core.errors import TemperError
from core.logits_csv import read_logits_csv

NAMES = ("cat", "dog", "owl")


def one(n: int = 120, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, n)
    return 3 * generator.normal(size=(n, 3)) + 3 * np.eye(3)[labels], labels


def both() -> dict[str, np.ndarray]:
    (z, y), (w, x) = one(), one(seed=1)
    return {"calibration_logits": z, "calibration_labels": y, "evaluation_logits": w, "evaluation_labels": x}


def csv(path, halves: bool = True, **columns):
    given = both()
    logits = np.concatenate([given["calibration_logits"], given["evaluation_logits"]])
    labels = np.concatenate([given["calibration_labels"], given["evaluation_labels"]])
    frame = pd.DataFrame(logits, columns=list(NAMES))
    frame["label"] = [NAMES[y] for y in labels]
    if halves:
        frame["split"] = ["calibration"] * 120 + ["evaluation"] * 120
    frame.assign(**columns).to_csv(path, index=False, float_format="%.17g")
    return path


def test_a_csv_says_what_the_arrays_say(tmp_path):
    read = read_logits_csv(csv(tmp_path / "logits.csv"))
    for name, expected in both().items():
        np.testing.assert_array_equal(read[name], expected)
    by_place = csv(tmp_path / "places.csv", label=np.concatenate([one()[1], one(seed=1)[1]]))
    np.testing.assert_array_equal(read_logits_csv(by_place)["evaluation_labels"], both()["evaluation_labels"])
    assert set(read_logits_csv(csv(tmp_path / "one.csv", halves=False))) == {"logits", "labels"}


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"label": "wolf"}, "must name a class of the header or its place from 0 to 2; it holds 'wolf'"),
        ({"dog": "x"}, "Column 'dog' .* row 1 holds 'x', and 240 values"),
        ({"owl": np.inf}, "must hold finite numbers; row 1 holds 'inf'"),
        ({"split": "test"}, "must say calibration or evaluation; it holds 'test'"),
        ({"split": "evaluation"}, "no row says calibration"),
    ],
)
def test_wrong_columns_are_one_sentence(tmp_path, columns, words):
    with pytest.raises(TemperError, match=words) as caught:
        read_logits_csv(csv(tmp_path / "logits.csv", **columns))
    assert "\n" not in str(caught.value)


def test_wrong_csv_files_are_one_sentence(tmp_path):
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00label,a\n1")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "header.csv").write_text("label,a\n0,1\n")
    (tmp_path / "two.csv").write_text("label,a,b\n0,1,2\n1,2,-1\n")
    expected = {"bytes": "cannot be read", "empty": "cannot be read", "header": "its header is label, a",
                "two": "at least 10 examples; got 2", "none": "There is no file"}  # fmt: skip
    for name, words in expected.items():
        with pytest.raises(TemperError, match=words):
            read_logits_csv(tmp_path / f"{name}.csv")


def test_probabilities_are_asked_for_and_never_guessed(tmp_path):
    given = both()
    shares = given | {name: softmax(given[name]) for name in given if name.endswith("logits")}
    np.savez(tmp_path / "p.npz", **shares)
    with pytest.raises(TemperError, match=r"could be probabilities.*--as probabilities or --as logits"):
        read_logits_file(tmp_path / "p.npz")
    np.testing.assert_array_equal(
        read_logits_file(tmp_path / "p.npz", "logits")["calibration_logits"], shares["calibration_logits"]
    )
    read = read_logits_file(tmp_path / "p.npz", "probabilities")
    found, expected = calibrate_arrays(**read), calibrate_arrays(**given)
    assert found["before"]["nll"] == pytest.approx(expected["before"]["nll"], abs=1e-9)
    temperatures = [row["methods"]["temperature"]["fitted"]["temperature"] for row in (found, expected)]
    assert temperatures[0] == pytest.approx(temperatures[1], rel=1e-5)
    np.savez(tmp_path / "z.npz", **given)
    with pytest.raises(
        TemperError, match=r"calibration_logits must be probabilities.* of 120 rows are not, one sums"
    ):
        read_logits_file(tmp_path / "z.npz", "probabilities")


def test_names_as_labels_in_an_archive_are_one_sentence(tmp_path):
    np.savez(tmp_path / "n.npz", **both() | {"evaluation_labels": np.array(["cat"] * 120)})
    with pytest.raises(TemperError, match=r"must be integers.*got names such as 'cat'.*CSV"):
        read_logits_file(tmp_path / "n.npz")


def test_folds_spread_each_class_evenly():
    labels = np.repeat([0, 1, 2], [50, 21, 4])
    part = folds(labels)
    for one_class in range(3):
        counts = np.bincount(part[labels == one_class], minlength=FOLDS)
        assert counts.max() - counts.min() <= 1
    assert np.ptp(np.bincount(part, minlength=FOLDS)) <= 1


def test_no_example_is_judged_by_a_fit_that_saw_it():
    logits, labels = one()
    part = folds(labels)
    expected = np.empty((120, 3))
    for fold in range(FOLDS):
        inside = part == fold
        expected[inside] = temperature(logits[~inside], labels[~inside]).probabilities(logits[inside])
    np.testing.assert_array_equal(cross_fitted(temperature, logits, labels), expected)
    found = cross_fitted_arrays(logits, labels)
    seen = calibrate_arrays(logits, labels, logits, labels)
    assert found["methods"]["isotonic"]["brier"] > seen["methods"]["isotonic"]["brier"]
    assert found["methods"]["temperature"]["fitted"] == seen["methods"]["temperature"]["fitted"]


def test_one_split_on_the_command_line(tmp_path, capsys):
    logits, labels = one()
    np.savez(tmp_path / "one.npz", logits=logits, labels=labels)
    assert main(["calibrate", "--logits", str(tmp_path / "one.npz"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cross_fitted"] == FOLDS
    assert main(["calibrate", "--logits", str(csv(tmp_path / "l.csv")), "--measure", "ece_smooth"]) == 0
    told = capsys.readouterr().out
    assert "ece_smooth" in told and "change of ece_smooth" in told
    assert main(["calibrate", "--logits", str(tmp_path / "l.csv"), "--measure", "luck"]) == 2
    assert "must be one of" in capsys.readouterr().err
