"""Every format an artifact can leave in, held against the screen and against readers of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from conftest import ROOT, prune, quantize, recipe
from onnx import TensorProto

from core.calibrators._fitted import softmax
from core.data.handle import load_split
from core.deploy.check import check, declaration, offered, parts_of, ship
from core.deploy.usage import usage
from core.engine.evaluate import evaluate
from core.errors import TemperError
from core.formats import packed_reader
from core.formats.packed import READER
from core.models.samples import load_sample
from core.recipe import Step
from core.registry import method, methods

FORMATS = [found.name for found in methods("format")]
RECIPES = {
    "untouched": recipe(),
    "W8A8": recipe(quantize(8, 8)),
    "W4A8 temperature": recipe(quantize(4, 8), Step.of("calibrate", "temperature")),
    "sparse W4A32 isotonic": recipe(prune(0.8), quantize(4, 32), Step.of("calibrate", "isotonic")),
    "W3A16 vector": recipe(quantize(3, 16), Step.of("calibrate", "vector")),
    "W16A32": recipe(quantize(16, 32)),
    "W6 affine by tensor": recipe(quantize(6, 32, scheme="affine", granularity="tensor")),
    "W2A4 affine isotonic": recipe(quantize(2, 4, scheme="affine"), Step.of("calibrate", "isotonic")),
}


@pytest.fixture(scope="module", params=["breast-cancer", "fashion-small"])
def pair(request):
    return load_sample(request.param)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("title", RECIPES)
def test_the_file_predicts_what_the_screen_shows(pair, name, title):
    model, data = pair
    chosen = RECIPES[title]
    why = dict((form.name, why) for form, why in offered(parts_of(model, data, chosen)))[name]
    if why:
        with pytest.raises(TemperError, match="rounds activations"):
            ship(model, data, chosen, name)
        return
    made = ship(model, data, chosen, name)
    checked = made.checked
    assert checked.verified, checked
    assert checked.agree == checked.n == data.split("evaluation").n
    assert checked.starts is None
    assert checked.size == len(made.content)
    figures = {figure.name: figure for figure in checked.figures}
    assert tuple(figures) == ("accuracy", "ece")
    assert figures["accuracy"].file == figures["accuracy"].screen
    assert abs(figures["ece"].file - figures["ece"].screen) < 1e-3
    assert made.file.endswith(declaration(made.method).ending)
    assert ship(model, data, chosen, name) is made, "made once"


@pytest.mark.parametrize("calibration", [found.name for found in methods("calibrate", "binary")])
def test_every_calibration_leaves_inside_every_file(calibration):
    model, data = load_sample("breast-cancer")  # of more classes see test_calibrators_more.py
    chosen = recipe(Step.of("calibrate", calibration))
    for name in FORMATS:
        checked = ship(model, data, chosen, name).checked
        assert checked.verified and checked.agree == checked.n, (name, checked)


@pytest.mark.parametrize("name", FORMATS)
def test_making_changes_no_original_and_repeats_itself(pair, name):
    model, data = pair
    chosen = recipe(prune(0.5), quantize(8, 32))
    parts, form = parts_of(model, data, chosen), declaration(method("format", name))
    before = {key: value.clone() for key, value in parts.network.tensors.items()}
    one, two = form.make(parts), form.make(parts)
    assert all(torch.equal(value, parts.network.tensors[key]) for key, value in before.items())
    if name != "pt2":  # PyTorch writes an identifier of its own into every file
        assert one == two


def test_another_file_is_not_verified_and_the_place_is_named():
    model, data = load_sample("fashion-small")
    chosen = recipe(prune(0.3))
    parts = parts_of(model, data, chosen)
    content = declaration(method("format", "onnx-float")).make(parts)
    proto = onnx.load_from_string(content)
    changed = next(i for i in proto.graph.initializer if i.name == "blocks.0.conv2.weight")
    values = onnx.numpy_helper.to_array(changed).copy()
    values[:, 0] *= 3
    changed.CopyFrom(onnx.numpy_helper.from_array(values, changed.name))
    found = check("onnx-float", proto.SerializeToString(), parts, evaluate(model, data, chosen).tempered)
    assert not found.verified
    assert found.agree < found.n
    assert found.starts is not None
    assert "blocks.0" in found.starts.name, "the first layer after the changed one"


def test_a_change_of_the_calibration_alone_is_found():
    model, data = load_sample("breast-cancer")
    chosen = recipe(Step.of("calibrate", "temperature"))
    parts = parts_of(model, data, chosen)
    proto = onnx.load_from_string(declaration(method("format", "onnx")).make(parts))
    scale = next(i for i in proto.graph.initializer if i.name == "head/scale")
    scale.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(scale) * 1.1, scale.name))
    found = check("onnx", proto.SerializeToString(), parts, evaluate(model, data, chosen).tempered)
    assert found.agree == found.n, "a temperature changes no prediction"
    assert not found.verified


def test_four_bits_are_stored_in_four():
    model, data = load_sample("fashion-small")
    proto = onnx.load_from_string(ship(model, data, recipe(quantize(4, 32)), "onnx").content)
    kinds = {i.name: i.data_type for i in proto.graph.initializer if i.name.endswith(".weight/q")}
    assert set(kinds.values()) == {TensorProto.INT4}
    affine = onnx.load_from_string(ship(model, data, recipe(quantize(3, 32, scheme="affine")), "onnx").content)
    assert {i.data_type for i in affine.graph.initializer if i.name.endswith(".weight/q")} == {TensorProto.UINT4}
    eight = onnx.load_from_string(ship(model, data, recipe(quantize(4, 8)), "onnx").content)
    assert {i.data_type for i in eight.graph.initializer if i.name.endswith(".weight/q")} == {TensorProto.INT8}
    for made in (proto, affine, eight):
        onnx.checker.check_model(made, full_check=True)


def test_the_scales_in_the_file_are_those_of_the_screen():
    model, data = load_sample("fashion-small")
    chosen = recipe(quantize(8, 8))
    network = parts_of(model, data, chosen).network
    proto = onnx.load_from_string(ship(model, data, chosen, "onnx").content)
    held = {i.name: onnx.numpy_helper.to_array(i) for i in proto.graph.initializer}
    for name, grid in network.grids.items():
        assert np.array_equal(held[f"{name}/scale"], grid.scale.numpy())
    for name, grid in network.activations.items():
        assert held[f"{name}/scale"] == grid.scale.numpy()
        assert held[f"{name}/zero_point"] == grid.zero_point.numpy()


def test_the_onnx_file_says_what_it_needs_and_runs_by_itself(tmp_path):
    model, data = load_sample("fashion-small")
    chosen = recipe(quantize(8, 8), Step.of("calibrate", "temperature"))
    path = tmp_path / "model.onnx"
    path.write_bytes(ship(model, data, chosen, "onnx").content)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    facts = json.loads(session.get_modelmeta().custom_metadata_map["temper"])
    assert facts["classes"] == list(data.classes)
    assert facts["recipe"] == chosen.to_dict()
    scaling = facts["preprocessing"]
    stored = load_split(data, "evaluation").x[:7].astype(np.float32)
    inputs = ((stored / scaling["scale"] - scaling["mean"][0]) / scaling["deviation"][0])[:, None].astype(np.float32)
    logits, probabilities = session.run(["logits", "probabilities"], {"input": inputs})
    screen = evaluate(model, data, chosen).tempered
    assert np.abs(probabilities - screen.probabilities[:7]).max() < 1e-5
    assert np.abs(softmax(logits) - screen.probabilities[:7]).max() > 1e-3, "the calibration is in the file"


def test_the_reader_that_travels_along_reads_the_very_weights(tmp_path):
    model, data = load_sample("breast-cancer")
    for title, chosen in RECIPES.items():
        network = parts_of(model, data, chosen).network
        path = tmp_path / "packed.safetensors"
        path.write_bytes(ship(model, data, chosen, "packed").content)
        weights, facts, _ = packed_reader.read(path)
        for name in network.weight_names:
            assert np.array_equal(weights[name], network.tensors[name].numpy()), (title, name)
        assert facts["recipe"] == chosen.to_dict()
    assert "import core" not in READER.read_text(encoding="utf-8"), "it stands alone"


@pytest.mark.parametrize("sample", ["breast-cancer", "fashion-small"])
@pytest.mark.parametrize("name", FORMATS)
def test_the_lines_of_use_run(tmp_path, sample, name):
    model, data = load_sample(sample)
    chosen = recipe(prune(0.5), quantize(6, 32))
    made = ship(model, data, chosen, name)
    (tmp_path / made.file).write_bytes(made.content)
    (tmp_path / READER.name).write_bytes(READER.read_bytes())
    (tmp_path / "use.py").write_text(usage(name, made.file, parts_of(model, data, chosen)), encoding="utf-8")
    np.save(tmp_path / "x.npy", load_split(data, "evaluation").x[:5])
    told = subprocess.run([sys.executable, "use.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    if name == "packed":
        assert model.id and "head.weight" in told.stdout
        return
    said = [line.rsplit(" ", 1) for line in told.stdout.strip().splitlines()]
    screen = evaluate(model, data, chosen).tempered
    assert [name for name, _ in said] == [data.classes[i] for i in screen.predictions[:5]]
    assert np.allclose([float(p) for _, p in said], screen.confidence[:5], atol=6e-4)


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "core", "export", *arguments], cwd=ROOT, capture_output=True, text=True
    )


def test_the_command_writes_file_and_proof(tmp_path):
    out, use = tmp_path / "m.onnx", tmp_path / "use.py"
    text = json.dumps(recipe(quantize(8, 8)).to_dict())
    done = run("--model", "breast-cancer", "--recipe", text, "--out", str(out), "--usage", str(use), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["verified"] is True
    assert told["size"] == out.stat().st_size
    assert "InferenceSession" in use.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("--format", "onnx", "--out", "m.pt2"), "--out must end in .onnx"),
        (("--format", "onxn", "--out", "m.onnx"), "No format method is called 'onxn'"),
        (("--format", "onnx", "--out", "/nowhere/m.onnx"), "in a folder that is there"),
        (("--format", "onnx-float", "--out", "m.onnx"), "rounds activations"),
    ],
)
def test_a_wrong_request_is_one_sentence(tmp_path, given, says):
    text = json.dumps(recipe(quantize(8, 8)).to_dict())
    done = subprocess.run(
        [sys.executable, "-m", "core", "export", "--model", "breast-cancer", "--recipe", text, *given],
        cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
