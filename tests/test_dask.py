"""Sweeps on a real Dask cluster of this machine: the same numbers as here, also when a worker is killed."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys

import pandas as pd
import pytest
from conftest import ROOT
from sweeping import LONG, assert_exact, plan_of, truth_of, until
from test_cli import printed, refused

from core.engine.memory import RESULTS
from core.errors import TemperError
from core.jobs import workers as module
from core.jobs.workers import workers
from core.models.samples import load_sample
from core.sweeps.sweep import Sweep

distributed = pytest.importorskip("distributed")

PLAN = plan_of("sparsity=0.4,0.7", "weight_bits=8,5,4")
TABLE = plan_of("sparsity=0,0.5", "weight_bits=8,4")


class Cluster:
    """A scheduler and workers of one process each, without nannies, so that the dead stay dead."""

    def __init__(self, folder, cwd=ROOT, paths: str = str(ROOT)):
        self.file, self.cwd = folder / "scheduler.json", cwd
        self.environment = {**os.environ, "PYTHONPATH": paths, "TEMPER_THREADS": "1", "TEMPER_CACHE": ""}
        self.scheduler = self._started("dask_scheduler", "--port", "0")
        until(lambda: self.file.exists() and self.file.read_text().endswith("}"))
        self.address = json.loads(self.file.read_text())["address"]
        self.workers: list[subprocess.Popen] = []

    def add(self, count: int) -> Cluster:
        for _ in range(count):
            self.workers.append(self._started("dask_worker", "--nthreads", "1", "--no-nanny"))
        return self

    def _started(self, name: str, *more: str) -> subprocess.Popen:
        call = [sys.executable, "-m", f"distributed.cli.{name}", "--scheduler-file", str(self.file), "--no-dashboard"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
        return subprocess.Popen([*call, "--host", "127.0.0.1", *more], cwd=self.cwd, env=self.environment, **quiet)

    def stop(self) -> None:
        for process in [*self.workers, self.scheduler]:
            process.kill()
            process.wait(LONG)


@pytest.fixture(autouse=True)
def quiet():
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    logging.getLogger("tornado").setLevel(logging.CRITICAL)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    found = Cluster(tmp_path_factory.mktemp("dask")).add(2)
    yield found
    found.stop()


def sentence(address: str) -> TemperError:
    with pytest.raises(TemperError) as raised, workers(scheduler=address) as hands:
        hands.submit(module.ready)
    assert raised.value.message.endswith(".") and "\n" not in str(raised.value)
    return raised.value


def test_the_command_line_uses_the_cluster(cluster, small, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(module.Workers, "_local", lambda *_: pytest.fail("a local pool"))
    monkeypatch.setenv("TEMPER_DASK", cluster.address)
    out = tmp_path / "t.csv"
    grid = ["--grid", "sparsity=0,0.5", "--grid", "weight_bits=8,4"]
    found = printed(capsys, "sweep", "--model", "breast-cancer", *grid, "--out", str(out), "--json")
    assert (found["points"], found["measured"]) == (4, 4)
    RESULTS.clear()
    truth = truth_of(*small, TABLE)
    for place, (_, row) in zip(TABLE.recipes, pd.read_csv(out).iterrows(), strict=True):
        assert row["accuracy"] == truth[place]["accuracy"]
        assert row["nll"] == pytest.approx(truth[place]["nll"], abs=1e-5)
        assert row["packed_bytes"] == truth[place]["packed"]


def test_a_killed_worker_loses_no_point(cluster):
    model, data = load_sample("fashion-small")
    truth = truth_of(model, data, PLAN)
    RESULTS.clear()
    sweep, killed = Sweep(model, data, PLAN, exact=True), []

    def told(standing):
        if standing.known == 2 and not killed:
            killed.append(cluster.workers.pop())
            os.kill(killed[0].pid, signal.SIGKILL)

    with workers(scheduler=cluster.address) as hands:
        sweep.run(hands, told)
        assert hands.count == 2
    assert killed[0].wait(LONG) == -signal.SIGKILL
    assert sweep.standing().state == "done"
    assert set(sweep.spots) == set(PLAN.recipes)
    for place, spot in sweep.spots.items():
        assert spot.error == ""
        assert_exact(spot, truth[place])


def test_a_scheduler_that_goes_away_is_one_sentence(cluster, monkeypatch):
    """And what was known stays, to go on with here."""
    monkeypatch.setattr(module, "CONNECT", 1.0)
    model, data = load_sample("fashion-small")
    sweep = Sweep(model, data, PLAN, exact=True)

    def told(standing):
        if standing.known == 2:
            cluster.stop()

    with pytest.raises(TemperError, match="No Dask scheduler answers"), workers(scheduler=cluster.address) as hands:
        sweep.run(hands, told)
    assert sweep.standing().state == "failed"
    assert "No Dask scheduler answers" in sweep.standing().note
    assert len(sweep.spots) >= 2
    assert not any(spot.error for spot in sweep.spots.values())


WRONG = ["tcp://127.0.0.1:9", "nonsense://x", "tcp://no.such.host.invalid:1", "::", "x" * 900]


@pytest.mark.parametrize("address", WRONG, ids=lambda address: address[:20])
def test_a_wrong_address_is_one_sentence(address, monkeypatch):
    monkeypatch.setattr(module, "CONNECT", 1.0)
    said = sentence(address)
    assert "No Dask scheduler answers at" in said.message
    assert len(said.message) < 200


def test_the_command_line_says_so(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CONNECT", 1.0)
    call = ["sweep", "--model", "breast-cancer", "--grid", "sparsity=0.5", "--out", str(tmp_path / "t.csv")]
    assert "No Dask scheduler answers" in refused(capsys, *call, "--dask", "tcp://127.0.0.1:9")
    assert list(tmp_path.iterdir()) == []


def test_without_the_package_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    said = sentence("tcp://127.0.0.1:9")
    assert "not installed" in said.message
    assert "requirements-dask.txt" in said.hint


def test_a_scheduler_without_workers_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CONNECT", 1.0)
    empty = Cluster(tmp_path)
    try:
        said = sentence(empty.address)
    finally:
        empty.stop()
    assert "no worker that answers" in said.message
    assert empty.address in said.hint


def test_a_cluster_that_does_not_find_temper_is_one_sentence(tmp_path):
    strange = Cluster(tmp_path, cwd=tmp_path, paths="").add(1)
    try:
        said = sentence(strange.address)
    finally:
        strange.stop()
    assert "does not find Temper" in said.message
    assert "PYTHONPATH=." in said.hint
