"""The command line as a script sees it: standard output, standard error, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, SAMPLES, quantize, recipe

from core.cli import main
from core.engine.compare import compare
from core.engine.evaluate import evaluate
from core.models.samples import load_sample, read_card
from core.recipe import Recipe

FULL = {
    "version": 1,
    "seed": 0,
    "steps": [
        {"kind": "prune", "method": "magnitude-global", "params": {"sparsity": 0.5, "floor": 0.0}},
        {
            "kind": "quantize",
            "method": "uniform",
            "params": {
                "weight_bits": 8,
                "activation_bits": 8,
                "granularity": "channel",
                "scheme": "symmetric",
                "range": "minmax",
                "rounding": "nearest",
            },
        },
        {"kind": "calibrate", "method": "temperature", "params": {}},
    ],
}


def printed(capsys, *arguments) -> dict:
    assert main(list(arguments)) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys, *arguments) -> str:
    assert main(list(arguments)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("temper: ")
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
    return captured.err


def test_run_prints_one_complete_object(capsys):
    found = printed(capsys, "run", "--model", "breast-cancer", "--recipe", json.dumps(FULL), "--json")
    assert (found["model"], found["data"], found["n"], found["estimated"]) == ("breast-cancer",) * 2 + (171, False)
    assert found["recipe"]["steps"][0] == FULL["steps"][0]
    for side in ("original", "result"):
        one = found[side]
        assert {
            "accuracy",
            "macro_f1",
            "ece",
            "nll",
            "brier",
            "confusion",
            "bytes",
            "latency_ms",
            "latency_note",
        } <= set(one)
        assert set(one["bytes"]) == {"dense", "packed", "file", "compressed"}
        assert np.array(one["confusion"]).sum() == 171
        assert np.trace(one["confusion"]) / 171 == pytest.approx(one["accuracy"])
        assert one["latency_ms"] is None or set(one["latency_ms"]) == {"p50", "p95", "batch"}
        assert one["latency_ms"] or one["latency_note"]
    change = found["difference"]
    assert change["accuracy"] == pytest.approx(found["result"]["accuracy"] - found["original"]["accuracy"])
    assert change["interval"][0] <= change["accuracy"] <= change["interval"][1]
    assert change["wrong_to_right"] - change["right_to_wrong"] == round(171 * change["accuracy"])
    assert 0 < change["detectable"] < 1
    assert 0 <= change["mcnemar_p"] <= change["mcnemar_exact_p"] <= 1
    assert found["fitted"][-1]["temperature"] > 0
    assert {"versions", "seed", "seconds", "model", "data"} <= set(found["provenance"])


def test_the_screen_and_the_command_line_say_the_same(capsys):
    of = recipe(quantize(4, 8))
    found = printed(capsys, "run", "--model", "fashion-small", "--recipe", of.to_json(), "--json")
    said = compare(evaluate(*load_sample("fashion-small"), of))
    for name in ("accuracy", "macro_f1", "ece", "nll"):
        assert found["result"][name] == said.tempered[name].value
        assert found["original"][name] == said.original[name].value
        change = found["difference"]["metrics"][name]
        assert change["difference"] == said.change[name].value
        assert change["interval"] == [said.change[name].interval.low, said.change[name].interval.high]


def test_the_untouched_model(capsys):
    found = printed(capsys, "run", "--model", "breast-cancer", "--recipe", '{"version": 1, "steps": []}', "--json")
    assert found["difference"]["accuracy"] == 0
    assert found["difference"]["flips"] == 0
    assert found["difference"]["mcnemar_p"] == 1
    assert found["result"]["bytes"] == found["original"]["bytes"]


def test_a_recipe_file_and_a_table(tmp_path, capsys):
    path = tmp_path / "recipe.json"
    path.write_text(Recipe((quantize(8, 8),)).to_json())
    assert main(["run", "--model", "breast-cancer", "--recipe", str(path)]) == 0
    text = capsys.readouterr().out
    assert "W8A8" in text
    assert "mid-p" in text


def test_each_model_is_listed_with_the_figure_that_leads(capsys):
    assert main(["models"]) == 0
    lines = {line.split()[0]: " ".join(line.split()) for line in capsys.readouterr().out.splitlines()}
    figures = {name: read_card(name)["figures"] for name in SAMPLES}
    assert set(lines) == set(SAMPLES)
    assert f"accuracy {100 * figures['fashion-small']['accuracy']:.1f} %" in lines["fashion-small"]
    assert f"RMSE {figures['diamonds']['rmse']:.0f} US dollars" in lines["diamonds"]


def test_models_and_methods(capsys):
    models = printed(capsys, "models", "--json")
    assert [m["id"] for m in models] == list(SAMPLES)
    listed = printed(capsys, "methods")
    names = {(m["kind"], m["name"]) for m in listed}
    assert {("prune", "magnitude-global"), ("prune", "magnitude-layer"), ("prune", "random")} <= names
    assert {("quantize", "uniform"), ("calibrate", "isotonic"), ("metric", "ece")} <= names
    uniform = next(m for m in listed if m["name"] == "uniform")
    bits = next(p for p in uniform["parameters"] if p["name"] == "weight_bits")
    assert bits["choices"] == [32, 16, 8, 7, 6, 5, 4, 3, 2]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("nothing.json", "neither"),
        ("{", "must be JSON"),
        ('{"version": 2, "steps": []}', "version 2"),
        ('{"steps": []}', "version None"),
        ('{"version": 1, "steps": [{"kind": "prune", "method": "magnitude"}]}', "Did you mean"),
        ('{"version": 1, "steps": [{"kind": "melt", "method": "x"}]}', "kind must be one of"),
        (
            '{"version": 1, "steps": [{"kind": "prune", "method": "random", "params": {"sparsity": 1.5}}]}',
            "from 0 to 0.99",
        ),
        (
            '{"version": 1, "steps": [{"kind": "prune", "method": "random", "params": {"sparsity": NaN}}]}',
            "from 0 to 0.99",
        ),
        (
            '{"version": 1, "steps": [{"kind": "quantize", "method": "uniform", "params": {"bits": 4}}]}',
            "no parameter 'bits'",
        ),
        (
            '{"version": 1, "steps": [{"kind": "calibrate", "method": "vector"},'
            ' {"kind": "prune", "method": "random"}]}',
            "last step",
        ),
    ],
)
def test_bad_recipes_are_one_sentence(given, words, capsys):
    assert words in refused(capsys, "run", "--model", "breast-cancer", "--recipe", given, "--json")


def test_other_bad_input_is_one_sentence(capsys):
    assert "there are: fashion-resnet" in refused(capsys, "run", "--model", "x", "--recipe", '{"version": 1}')
    assert "required" in refused(capsys, "run")
    assert "invalid choice" in refused(capsys, "fly")
    assert "missing.npz" in refused(capsys, "calibrate", "--logits", "missing.npz")


def test_as_a_process():
    """Only the result goes to standard output, also through a pipe, and a bad call exits with 2."""
    call = [sys.executable, "-m", "core", "run", "--model", "breast-cancer", "--json", "--recipe"]
    good = subprocess.run([*call, json.dumps(FULL)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(good.stdout)["result"]["accuracy"] > 0.9
    bad = subprocess.run([*call, "{}"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (bad.returncode, bad.stdout) == (2, "")
