"""MLflow: runs arrive at a real store, once; a dead server or a missing library disturbs nothing."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path

import pytest
from conftest import prune, quantize, recipe

from core import runs, tracking
from core.cli import main
from core.engine.compare import compare
from core.engine.evaluate import evaluate
from core.errors import TemperError
from core.models.samples import load_sample
from core.types import Latency

OF = recipe(prune(0.5), quantize(4, 8))


@pytest.fixture(autouse=True)
def quick(tmp_path, monkeypatch):
    monkeypatch.setenv("TEMPER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    monkeypatch.setattr(tracking, "PATIENCE", 0.05)
    monkeypatch.setattr(tracking, "_sent", 0)
    monkeypatch.setattr(tracking, "_failure", "")
    yield
    assert tracking.flush(60)


@pytest.fixture
def server(tmp_path, monkeypatch) -> str:
    """A store of MLflow's own in a folder, by the real library."""
    address = (tmp_path / "mlflow").as_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    return address


def keep(of=OF, latencies=None, visit=True) -> None:
    model, data = load_sample("breast-cancer")
    result = evaluate(model, data, of)
    runs.keep(result, of, compare(result), latencies, model.title, visit)
    runs.flush()


def arrived(address: str) -> list:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=address)
    experiment = client.get_experiment_by_name("Temper")
    return client.search_runs([experiment.experiment_id]) if experiment else []


def test_a_kept_run_arrives_with_everything(server):
    keep()
    assert tracking.flush(60)
    (there,) = arrived(server)
    (here,) = runs.listed()
    assert there.data.params["1.prune.method"] == "magnitude-global"
    assert there.data.params["1.prune.sparsity"] == "0.5"
    assert there.data.params["2.quantize.weight_bits"] == "4"
    assert there.data.params["seed"] == "0"
    assert there.data.metrics["accuracy"] == here.quantity("accuracy").value
    assert there.data.metrics["original_ece"] == here.quantity("ece", "original").value
    assert there.data.metrics["change_nll"] == here.quantity("nll", "change").value
    assert there.data.metrics["packed_bytes"] == here.bytes()
    assert "latency_p50_ms" not in there.data.metrics
    assert there.data.tags["temper.model.fingerprint"] == here.model_fingerprint
    assert there.data.tags["temper.version.torch"] == here.versions["torch"]
    assert there.info.status == "FINISHED"
    artifact = Path(there.info.artifact_uri.removeprefix("file://")) / "recipe.json"
    assert json.loads(artifact.read_text(encoding="utf-8")) == OF.simplified().to_dict()
    assert "1 run so far" in tracking.standing()


def test_a_run_is_sent_once_and_gains_its_latency(server):
    keep()
    assert tracking.flush(60)
    keep(latencies=(Latency(2.0, 3.0, 4.0), Latency(1.0, 1.5, 2.0)), visit=False)
    keep()
    assert tracking.flush(60)
    (there,) = arrived(server)
    assert there.data.metrics["latency_p50_ms"] == 1.0
    assert there.data.metrics["original_latency_p95_ms"] == 3.0


def test_the_command_line_sends_what_is_kept(server, monkeypatch, capsys):
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    keep()
    keep(recipe(prune(0.7)))
    assert main(["runs", "--export-mlflow"]) == 2
    assert "names no MLflow server" in capsys.readouterr().err
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    assert main(["runs", "--export-mlflow"]) == 0
    assert "2 of 2 runs sent" in capsys.readouterr().out
    assert main(["runs", "--export-mlflow"]) == 0
    assert "0 of 2 runs sent" in capsys.readouterr().out
    assert len(arrived(server)) == 2


def test_nothing_is_sent_unless_asked_for(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(tracking, "send", lambda run: pytest.fail("sent"))
    keep()
    assert tracking.standing() == ""
    assert tracking.flush(1)


def test_a_server_that_refuses_is_a_sentence_and_the_run_is_kept(monkeypatch):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{port}")
    keep()
    assert tracking.flush(60)
    assert "fails" in tracking.standing() and f"http://127.0.0.1:{port}" in tracking.standing()
    assert "secret" not in tracking.standing()
    assert len(runs.listed()) == 1
    assert runs.standing() == ""


def test_a_server_that_never_answers_holds_nobody_up(monkeypatch):
    """The export hangs until it is let go; meanwhile runs are kept and the sentence is there."""
    gate, begun = threading.Event(), threading.Event()

    def hang(run, address):
        begun.set()
        assert gate.wait(60)

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setattr(tracking, "_send", hang)
    try:
        keep()
        assert begun.wait(60)
        keep(recipe(prune(0.7)))
        assert len(runs.listed()) == 2
        assert "no run so far" in tracking.standing()
        assert not tracking.flush(0.1)
    finally:
        gate.set()
    assert tracking.flush(60)


def test_more_than_fits_lets_the_oldest_go(monkeypatch):
    sent, gate = [], threading.Event()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setattr(tracking, "BACKLOG", 2)
    monkeypatch.setattr(tracking, "send", lambda run: (gate.wait(60), sent.append(run.notation)))
    for sparsity in (0.3, 0.4, 0.5, 0.6, 0.7):
        keep(recipe(prune(sparsity)))
        time.sleep(0.1 if sparsity == 0.3 else 0)  # the first is under way
    gate.set()
    assert tracking.flush(60)
    assert sent[-2:] == ["60 % sparse", "70 % sparse"]
    assert len(sent) == 3


def test_without_the_library_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    keep()
    assert tracking.flush(60)
    assert "mlflow is not installed" in tracking.standing()
    with pytest.raises(TemperError, match="pip install -r requirements-mlflow"):
        tracking.send(runs.listed()[0])


def test_mlflow_sends_nothing_on_its_own(server):
    """Its telemetry is off before it is imported."""
    assert tracking.ENVIRONMENT["MLFLOW_DISABLE_TELEMETRY"] == "true"
    keep()
    assert tracking.flush(60)
    from mlflow.telemetry.utils import is_telemetry_disabled

    assert is_telemetry_disabled()
