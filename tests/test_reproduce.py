"""Reproduce: the script rebuilds the very same model in a new process, and says so when it does not."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT, prune, quantize, recipe

from core.deploy.check import ship
from core.engine.evaluate import evaluate
from core.models.samples import load_sample
from core.recipe import Recipe, Step, from_json
from core.reproduce import bundle, rebuild, script

OF = recipe(prune(0.5), quantize(4, 8), Step.of("calibrate", "vector"))


def run(path: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run a script from the project's folder, as its first lines say."""
    return subprocess.run(
        [sys.executable, str(path), *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("reproduce")
    model, data = load_sample("breast-cancer")
    with zipfile.ZipFile(io.BytesIO(bundle(model.id, OF, rebuild(model, data, OF)))) as archive:
        assert archive.namelist() == ["reproduce.py", "recipe.json"]
        archive.extractall(folder)
    return folder


def test_a_new_process_rebuilds_the_same_model(written):
    model, data = load_sample("breast-cancer")
    expected = rebuild(model, data, OF)
    done = run(written / "reproduce.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count(expected.fingerprint) == done.stdout.count(expected.weights) == 2
    assert "DIFFERS" not in done.stdout
    accuracy = evaluate(model, data, OF).tempered.correct.mean()
    assert (expected.headline, expected.n) == (f"accuracy {accuracy:.6g}", 171)
    assert done.stdout.count(expected.headline) == 2
    again = run(written / "reproduce.py", str(written / "recipe.json"))
    assert again.stdout == done.stdout


def test_the_script_writes_the_artifact(written, tmp_path):
    model, data = load_sample("breast-cancer")
    for name, ending in (("onnx", ".onnx"), ("packed", ".safetensors")):
        out = tmp_path / f"model{ending}"
        done = run(written / "reproduce.py", "--out", str(out))
        assert (done.returncode, done.stderr) == (0, "")
        assert "171 of 171 predictions equal, verified" in done.stdout
        assert out.read_bytes() == ship(model, data, OF, name).content


@pytest.mark.parametrize(
    "other",
    [
        recipe(prune(0.6), quantize(4, 8), Step.of("calibrate", "vector")),
        recipe(prune(0.5), quantize(4, 8), Step.of("calibrate", "temperature")),
        Recipe(),
    ],
)
def test_another_recipe_is_found_out(written, tmp_path, other):
    (tmp_path / "other.json").write_text(other.to_json(), encoding="utf-8")
    done = run(written / "reproduce.py", str(tmp_path / "other.json"))
    assert done.returncode == 1
    assert "fingerprint" in next(line for line in done.stdout.splitlines() if "DIFFERS" in line)
    assert "not the expected model" in done.stdout


def test_other_weights_under_the_same_name_are_found_out():
    """The content of the tensors counts, not only how they are called."""
    model, data = load_sample("breast-cancer")
    expected = rebuild(model, data, OF)
    others = [rebuild(model, data, of).weights for of in (recipe(prune(0.5)), recipe(prune(0.6)))]
    assert len({expected.weights, *others}) == 3
    text = script(model.id, OF, replace(expected, weights="0" * 16))
    done = subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert [line.split()[0] for line in done.stdout.splitlines() if "DIFFERS" in line] == ["weights"]


def test_the_script_imports_core_only_and_holds_the_recipe(written):
    text = (written / "reproduce.py").read_text(encoding="utf-8")
    imports = {line.split()[1].split(".")[0] for line in text.splitlines() if line.startswith(("import ", "from "))}
    assert imports == {"argparse", "sys", "pathlib", "core"}
    assert len(text.splitlines()) < 90
    recipes = text.split('r"""')[1].split('"""')[0]
    assert from_json(recipes) == OF == from_json((written / "recipe.json").read_text(encoding="utf-8"))


def test_a_hostile_model_name_is_only_a_string(tmp_path):
    model, data = load_sample("breast-cancer")
    name = '"""\nraise SystemExit(7)\n# {recipe} \\'
    text = script(name, OF, rebuild(model, data, OF))
    (tmp_path / "hostile.py").write_text(text, encoding="utf-8")
    done = run(tmp_path / "hostile.py")
    assert done.returncode == 1
    assert "No model is called" in done.stderr


def test_the_same_run_gives_the_same_files():
    model, data = load_sample("breast-cancer")
    expected = rebuild(model, data, OF)
    assert bundle(model.id, OF, expected) == bundle(model.id, OF, expected)
