"""The command `latency`: a table or one JSON object, estimates marked as such, bad input in one sentence."""

from __future__ import annotations

import json

import pytest

from core.cli import main

RECIPE = json.dumps(
    {
        "version": 1,
        "steps": [
            {"kind": "quantize", "method": "uniform", "params": {"weight_bits": 8, "activation_bits": 8}},
        ],
    }
)
QUICK = ("latency", "--model", "breast-cancer", "--recipe", RECIPE, "--threads", "1", "--batch", "1,4")


def test_one_complete_object(capsys):
    assert main([*QUICK, "--fps", "30", "--device", "all", "--peak", "100,200,20,1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["model"] == "breast-cancer" and found["machine"]["threads"] == 1
    assert [one["batch"] for one in found["batches"]] == [1, 4]
    for one in found["batches"]:
        for side in ("original", "tempered"):
            assert one[side]["calls"] >= 300
            assert one[side]["p50"]["value"] <= one[side]["p95"]["value"] <= one[side]["p99"]["value"]
            assert one[side]["p99"]["value"] <= one[side]["longest"]
            assert 0 <= one[side]["in_time"]["interval"][0] <= one[side]["in_time"]["value"] <= 1
        assert one["ratio"]["interval"][0] <= one["ratio"]["value"] <= one["ratio"]["interval"][1]
    assert found["deadline"] == {"milliseconds": pytest.approx(33.33, abs=0.01), "frames": 30}
    assert set(found["memory"]) == {"original", "tempered"}
    assert len(found["estimates"]) == 6
    for one in found["estimates"]:
        assert one["how"] == "estimated" and one["source"] and one["inputs"]["float32"] > 0
        assert "estimate, a lower bound: roofline" in one["tempered"]["note"]
    own = found["estimates"][-1]
    assert own["inputs"] == {"float32": 1e11, "int8": 2e11, "bandwidth": 2e10, "overhead": pytest.approx(1e-6)}


def test_the_table_reads(capsys):
    assert main([*QUICK, "--deadline", "5", "--device", "raspberry-pi-5", "--peak", "100,200,20"]) == 0
    said = capsys.readouterr().out
    assert "within 5 ms: " in said and "in time" in said and "Raspberry Pi 5" in said
    assert said.count("estimate, a lower bound: roofline") == 4
    assert said.count("of the roofline's speed") == 2, "only this machine has a measurement to set beside"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--batch", "0"), "Batch sizes"), (("--batch", "many"), "--batch"), (("--batch", "2000"), "Batch sizes"),
        (("--threads", "1000"), "Threads go"), (("--threads", "none"), "--threads"),
        (("--deadline", "-1"), "A deadline"), (("--fps", "0"), "A rate"), (("--fps", "nan"), "A rate"),
        (("--device", "toaster"), "No device"), (("--peak", "1,2"), "--peak"), (("--peak", "0,1,1"), "A device's"),
        (("--seconds", "0"), "The time"), (("--fps", "30", "--deadline", "5"), "not allowed"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_before_anything_takes_time(capsys, monkeypatch, wrong, said):
    monkeypatch.setattr("core.deploy.speed.measure", lambda *_: pytest.fail("measured"))
    assert main([*QUICK, *wrong]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("temper: ") and captured.err.count("\n") == 1
    assert said in captured.err
