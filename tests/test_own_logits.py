"""Logits alone, without a model: asked what they are, told apart or cross-fitted, refused in one sentence."""

from __future__ import annotations

import io
import struct
import zipfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, recipe
from streamlit.testing.v1 import AppTest

from core.calibrate import calibrate_arrays, cross_fitted_arrays
from core.calibration.calibration_lab import contest, material
from core.calibration.cross_fit import cross_fitted
from core.calibration.ranking import rank
from core.calibration.sets import Rule
from core.calibration.sets_of import sets_from, sets_of
from core.calibrators._fitted import softmax
from core.errors import TemperError
from core.figures import said
from core.models.samples import load_sample
from core.own_logits import OwnLogits, own_material, read_own
from core.recipe import Step
from core.registry import method


def one(n: int = 120, classes: int = 3, seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    return {"logits": 3 * generator.normal(size=(n, classes)) + 3 * np.eye(classes)[labels], "labels": labels}


def both(classes: int = 3) -> dict[str, np.ndarray]:
    halves = {"calibration": one(100, classes, 1), "evaluation": one(80, classes, 2)}
    return {f"{split}_{part}": array for split, held in halves.items() for part, array in held.items()}


def read(folder, stated="logits", **arrays) -> OwnLogits:
    np.savez(folder / "own.npz", **arrays)
    return read_own(folder / "own.npz", stated)


def table(folder, frame) -> OwnLogits:
    frame.to_csv(folder / "own.csv", index=False, float_format="%.17g")
    return read_own(folder / "own.csv", "logits")


def test_both_files_say_the_same(tmp_path):
    given = one()
    groups = np.array(["south", "north"])[np.arange(120) % 2]
    packed = read(tmp_path, **given, classes=np.array(["cat", "dog", "owl"]), groups=groups)
    frame = pd.DataFrame(given["logits"], columns=["cat", "dog", "owl"]).assign(group=groups)
    listed = table(tmp_path, frame.assign(label=np.array(["cat", "dog", "owl"])[given["labels"]]))
    assert packed.classes == listed.classes == ("cat", "dog", "owl")
    assert packed.group_names == listed.group_names == ("north", "south")
    np.testing.assert_array_equal(packed.groups[""], listed.groups[""])
    assert packed.fingerprint == listed.fingerprint
    assert read(tmp_path, **given).fingerprint != packed.fingerprint


def test_one_split_becomes_two_halves_or_is_cross_fitted(tmp_path):
    given = one()
    own = read(tmp_path, **given, groups=np.arange(120) % 2)
    halves, crossed = own_material(own, "halves"), own_material(own, "crossed")
    assert (halves.calibration.n, halves.evaluation.n) == (60, 60)
    assert np.bincount(halves.calibration.labels).tolist() == [20, 20, 20]
    together = np.concatenate([halves.calibration.logits, halves.evaluation.logits])
    assert len(np.unique(together, axis=0)) == 120
    assert len(halves.columns[0].calibration) == 60 and not halves.crossed and crossed.crossed
    expected = cross_fitted_arrays(**given)["methods"]
    for entry in contest(crossed)[1:]:
        assert entry.outcome is not None
        assert method("metric", "nll").function.of(entry.outcome) == pytest.approx(expected[entry.name]["nll"])
    with pytest.raises(TemperError, match="apart from those judged"):
        sets_from(crossed, "temperature", Rule())


def test_two_splits_are_taken_as_given(tmp_path):
    given = both()
    found = own_material(read(tmp_path, **given), "given")
    expected = calibrate_arrays(**given)["methods"]
    for entry in contest(found)[1:]:
        assert entry.outcome is not None
        assert method("metric", "brier").function.of(entry.outcome) == pytest.approx(expected[entry.name]["brier"])
    with pytest.raises(TemperError, match="used as given; got 'halves'"):
        own_material(read(tmp_path, **given), "halves")


def test_two_columns_are_a_yes_and_a_no(tmp_path):
    assert own_material(read(tmp_path, **both(2)), "given").evaluation.task.kind == "binary"


def test_what_they_are_is_asked_and_never_guessed(tmp_path):
    shares = one() | {"logits": softmax(one()["logits"])}
    np.savez(tmp_path / "own.npz", **shares)
    with pytest.raises(TemperError, match="logits or probabilities"):
        read_own(tmp_path / "own.npz", "")
    assert read(tmp_path, **shares).looks_like_probabilities and not read(tmp_path, **one()).looks_like_probabilities
    taken = read(tmp_path, "probabilities", **shares)
    np.testing.assert_allclose(softmax(taken.logits[""]), shares["logits"], rtol=1e-12)


def broken(**change):
    return one() | change


INF, SHARES = one()["logits"].copy(), softmax(one()["logits"])
INF[7, 1] = np.inf
WRONG = {
    "does not sum to one": ("probabilities", broken(logits=1.1 * SHARES), "120 of 120 rows are not, one sums to 1.1"),
    "infinite": ("logits", broken(logits=INF), "must be finite and at most 1e\\+30; 1 values are not"),
    "names": ("logits", broken(labels=np.array(["cat"] * 120)), "must be integers.*names such as 'cat'"),
    "one example": ("logits", {key: value[:1] for key, value in one().items()}, "at least 10 examples; got 1"),
    "two examples": ("logits", {key: value[:2] for key, value in one().items()}, "at least 10 examples; got 2"),
    "one column": ("logits", broken(logits=one()["logits"][:, :1]), "C at least 2"),
    "labels beyond": ("logits", broken(labels=one()["labels"] + 1), "between 0 and 2; they run from 1 to 3"),
    "no labels": ("logits", {"logits": one()["logits"]}, "lacks"),
    "classes short": ("logits", broken(classes=np.array(["a", "b"])), "classes must be 3 different names"),
    "classes alike": ("logits", broken(classes=np.array(["a", "b", "a"])), "classes must be 3 different names"),
    "groups short": ("logits", broken(groups=np.arange(5)), "groups must be 120 names or whole numbers"),
    "groups real": ("logits", broken(groups=np.linspace(0, 1, 120)), "groups must be 120 names or whole numbers"),
    "groups many": ("logits", broken(groups=np.arange(120)), "At most 50 groups"),
    "groups of one": ("logits", both() | {"calibration_groups": np.zeros(100, int)}, "needed in both splits"),
}


@pytest.mark.parametrize("case", list(WRONG))
def test_wrong_files_are_one_sentence(tmp_path, case):
    stated, arrays, words = WRONG[case]
    with pytest.raises(TemperError, match=words) as caught:
        read(tmp_path, stated, **arrays)
    assert "\n" not in str(caught.value)


def npy(header: str, body: bytes = b"") -> bytes:
    text = header.encode() + b" " * (63 - (len(header) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


def hostile(canary) -> dict[str, bytes]:
    """Archives that lie, explode, or would run code."""
    good = io.BytesIO()
    np.savez(good, **one())
    pickled = b"cbuiltins\nexec\n(S'open(" + repr(str(canary)).encode() + b', "w")' + b"'\ntR."
    parts = {
        "pickle": {"logits.npy": npy("{'descr': '|O', 'fortran_order': False, 'shape': (3,), }", pickled)},
        "names that are pickled": {
            "classes.npy": npy("{'descr': '|O', 'fortran_order': False, 'shape': (3,), }", pickled)
        },
        "shape that lies": {
            "logits.npy": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (90000000000, 3), }")
        },
        "header that calls": {"logits.npy": npy("{'descr': __import__('os').getcwd(), 'shape': (3,), }")},
        "no array": {"logits.npy": b"hello"},
    }
    made = {"half an archive": good.getvalue()[:200], "nothing": b""}
    for case, entries in parts.items():
        stream = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(good.getvalue())) as source, zipfile.ZipFile(stream, "w") as archive:
            for name in {*source.namelist(), *entries}:
                archive.writestr(name, entries.get(name) or source.read(name))
        made[case] = stream.getvalue()
    return made


def test_hostile_archives_are_refused_and_run_nothing(tmp_path, canary):
    cases = hostile(canary)
    for case, content in cases.items():
        (tmp_path / "own.npz").write_bytes(content)
        with pytest.raises(TemperError) as caught:
            read_own(tmp_path / "own.npz", "logits")
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 600, case
        assert not canary.exists(), case
    np.savez(tmp_path / "own.npz", **one())
    with pytest.raises(TemperError, match="unpacks to"):
        read_own(tmp_path / "own.npz", "logits", largest=1_000)


def test_few_a_class_absent_ties_and_constants_still_speak(tmp_path):
    few = read(tmp_path, **{key: value[:12] for key, value in one().items()})
    with pytest.raises(TemperError, match="Each half needs at least 10 examples; 12 leave 6"):
        own_material(few, "halves")
    assert len(contest(own_material(few, "crossed"))) > 5
    missing = one() | {"labels": one()["labels"] % 2}
    assert read(tmp_path, **missing).absent == ("class 2",)
    for logits in (np.zeros((120, 3)), np.round(one()["logits"])):
        given = own_material(read(tmp_path, **one() | {"logits": logits}), "halves")
        ranking = rank(contest(given), "nll", given.name)
        assert all(np.isfinite(row.value.value) for row in ranking.rows)
        assert all(len(entry.error) > 10 for entry in ranking.failed)


def test_numbers_are_cross_fitted_too():
    outputs, labels = np.linspace(0, 9, 200)[:, None], np.linspace(0, 9, 200) + 1.0
    conformal = method("calibrate", "conformal").function
    found = cross_fitted(conformal, outputs, labels)
    assert found.shape == conformal(outputs, labels).probabilities(outputs).shape
    np.testing.assert_array_equal(found[:, 0], outputs[:, 0])


def test_sets_of_a_material_are_those_of_its_recipe():
    model, data = load_sample("breast-cancer")
    asked = replace(recipe(), steps=(Step.of("calibrate", "temperature"),))
    rule = Rule("lac")
    given = material(model, data, asked)
    for name, of in (("temperature", asked), ("", recipe())):
        np.testing.assert_array_equal(sets_from(given, name, rule).inside, sets_of(model, data, of, rule).inside)


def test_the_page_judges_logits_without_a_model(tmp_path):
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
    page.query_params["model"] = "breast-cancer"
    page.run()
    page.switch_page("pages/4_Calibration.py").run()
    page.button(key="own-logits-open").click().run()
    assert not page.exception and page.button(key="own-logits-read").disabled
    own = read(tmp_path, **one())
    page.session_state["own-logits"] = own
    page.run()
    assert not page.exception and not page.error
    found = rank(contest(own_material(own, "halves")), "nll").best
    assert f"best NLL: {said.value(found.value.value, found.value.unit)}" in _said(page)
    page.session_state["own-logits-way"] = "crossed"
    page.run()
    assert not page.exception and not page.error
    found = rank(contest(own_material(own, "crossed")), "nll").best
    assert f"best NLL: {said.value(found.value.value, found.value.unit)}" in _said(page)
    assert "cross-fitted in 5 parts" in _said(page) and "threshold must not be those judged" in _said(page)
    page.switch_page("pages/5_Damage.py").run()
    page.switch_page("pages/4_Calibration.py").run()
    assert "cross-fitted in 5 parts" in _said(page), "it survives a change of page"
    page.button(key="own-logits-back").click().run()
    assert not page.exception and "calibration-use" in [one.key for one in page.button]


def _said(page: AppTest) -> str:
    return " ".join(str(one.proto.body) for one in page.get("html"))
