"""`python -m core sweep` as a script sees it: tables, refusals, and going on after an interrupt or a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import psutil
import pytest
from conftest import ROOT
from sweeping import LONG, Here, plan_of, quick, until
from test_cli import printed, refused

from core.cli import main
from core.engine.evaluate import evaluate
from core.engine.memory import RESULTS
from core.jobs import workers as jobs_module
from core.jobs.workers import Workers
from core.models.samples import load_sample
from core.recipe import from_json
from core.sweeps import sweep as sweep_module
from core.sweeps.journal import Journal

GRID = ("--grid", "sparsity=0,0.5", "--grid", "weight_bits=8,4")


@pytest.fixture
def here(monkeypatch):
    """Workers of this process, whatever is asked for; it holds how many were."""
    asked: list = []

    class Local(Workers):
        def __init__(self, count, scheduler=""):
            super().__init__(count, scheduler)
            asked.append((count, scheduler))
            self.hands = Here()

        def submit(self, call, *arguments):
            return self.hands.submit(call, *arguments)

    monkeypatch.setattr(jobs_module, "Workers", Local)
    return asked


def test_both_tables_hold_the_same(tmp_path, capsys, here, small):
    """And what the sweep found."""
    RESULTS.clear()
    base = ("sweep", "--model", "breast-cancer", *GRID, "--workers", "1")
    assert main([*base, "--out", str(tmp_path / "t.csv")]) == 0
    said = capsys.readouterr().out
    assert said.startswith("4 points, 4 measured;")
    assert f"written to {tmp_path / 't.csv'}" in said
    found = printed(capsys, *base, "--out", str(tmp_path / "t.parquet"), "--json")
    assert here == [(1, ""), (1, "")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.csv", "t.parquet"], "the journals are gone"

    listed, columns = pd.read_csv(tmp_path / "t.csv"), pd.read_parquet(tmp_path / "t.parquet")
    assert list(listed.columns) == list(columns.columns)
    assert len(listed) == len(columns) == 4
    for name in columns.columns:
        a, b = listed[name], columns[name]
        if name == "latency_ms":  # measured by each run
            assert a.isna().tolist() == b.isna().tolist()
        elif pd.api.types.is_bool_dtype(b):
            assert a.astype(bool).tolist() == b.tolist()
        elif pd.api.types.is_numeric_dtype(b):
            numbers = b.astype(float).to_numpy(float, na_value=np.nan)
            assert a.to_numpy(float) == pytest.approx(numbers, rel=1e-12, nan_ok=True), name
        else:
            assert a.astype(object).where(a.notna(), "").tolist() == b.tolist(), name
    assert columns["sparsity"].tolist() == [0, 0, 0.5, 0.5]
    assert columns["weight_bits"].tolist() == [8, 4, 8, 4]
    assert columns["state"].tolist() == ["measured"] * 4
    for _, row in columns.iterrows():
        exact = evaluate(*small, from_json(row["recipe"]))
        assert row["accuracy"] == exact.tempered.correct.mean()
        assert row["packed_bytes"] == exact.bytes.packed

    assert (found["model"], found["points"], found["measured"]) == ("breast-cancer", 4, 4)
    assert found["plan"] == plan_of("sparsity=0,0.5", "weight_bits=8,4").to_dict()
    members = columns[columns["on_front"]].sort_values("packed_bytes")
    assert [row["label"] for row in found["front"]] == members["label"].tolist()
    assert [row["accuracy"] for row in found["front"]] == members["accuracy"].tolist()
    assert [row["share"] for row in found["front"]] == members["front_share"].tolist()


def test_a_table_is_replaced_whole(tmp_path, capsys, here, monkeypatch):
    monkeypatch.setattr(sweep_module, "answer", quick)
    out = tmp_path / "t.csv"
    out.write_text("old")
    call = ["sweep", "--model", "breast-cancer", "--grid", "sparsity=0.1,0.2", "--out", str(out)]
    assert main(call) == 0
    assert len(pd.read_csv(out)) == 2
    capsys.readouterr()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    before = out.read_text()
    assert "No space left" in refused(capsys, *call)
    assert out.read_text() == before
    partial = [path.name for path in tmp_path.iterdir() if path != out]
    assert len(partial) == 1 and partial[0].endswith(".partial"), "the points are kept for the next try"


def test_where_it_computes(tmp_path, capsys, here, monkeypatch):
    """Workers asked for by number are those of this machine, whatever the environment names."""
    monkeypatch.setattr(sweep_module, "answer", quick)
    call = ["sweep", "--model", "breast-cancer", "--grid", "sparsity=0.1,0.2", "--out", str(tmp_path / "t.csv")]
    monkeypatch.setenv("TEMPER_DASK", "tcp://named:1")
    for more in ([], ["--dask", "tcp://other:2"], ["--workers", "3"]):
        assert main([*call, *more]) == 0
    assert [scheduler for _, scheduler in here] == ["tcp://named:1", "tcp://other:2", ""]
    assert here[-1] == (3, "")


def test_what_failed_is_in_the_table(tmp_path, capsys, here, monkeypatch):
    def faulty(task):
        if task.place == (1,):
            raise MemoryError
        return quick(task)

    monkeypatch.setattr(sweep_module, "answer", faulty)
    out = tmp_path / "t.csv"
    assert main(["sweep", "--model", "breast-cancer", "--grid", "sparsity=0.1,0.2,0.3", "--out", str(out)]) == 0
    table = pd.read_csv(out)
    assert table["state"].tolist() == ["measured", "failed", "measured"]
    assert table["error"].tolist()[1] == "There was too little memory for this point."
    assert pd.isna(table["accuracy"][1])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"--grid": "sparsity=0:0.9"}, "first:last:step"),
        ({"--grid": "sparsity"}, "name=first:last:step"),
        ({"--grid": "sparsty=0.5"}, "'sparsty'"),
        ({"--grid": "sparsity=0.5,2"}, "from 0 to 0.99"),
        ({"--grid": "sparsity=0:0.98:0.0001"}, "at most 2,000"),
        ({"--grid": None}, "required: --grid"),
        ({"--out": None}, "required: --out"),
        ({"--out": "t.txt"}, ".csv or .parquet"),
        ({"--out": "t"}, ".csv or .parquet"),
        ({"--out": "missing/t.csv"}, "a folder that is there"),
        ({"--out": "."}, ".csv or .parquet"),
        ({"--out": "folder.csv"}, ".csv or .parquet"),
        ({"--workers": "0"}, "from 1 to 256; got 0"),
        ({"--workers": "-3"}, "from 1 to 256; got -3"),
        ({"--workers": "many"}, "invalid int value"),
        ({"--workers": "1", "--dask": "tcp://x:1"}, "not allowed with"),
        ({"--model": "nothing"}, "No model is called 'nothing'"),
        ({"--recipe": "{"}, "must be JSON"),
        ({"--recipe": "missing.json"}, "neither"),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(value),
)
def test_bad_input_is_one_sentence_and_writes_nothing(changed, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.csv").mkdir()
    monkeypatch.setattr(sweep_module.Sweep, "run", lambda *_: pytest.fail("it began all the same"))
    if "--workers" in changed:
        monkeypatch.undo()
        monkeypatch.chdir(tmp_path)
    options = {"--model": "breast-cancer", "--grid": "sparsity=0.1,0.2", "--out": "t.csv"} | changed
    call = [part for name, value in options.items() if value is not None for part in (name, value)]
    assert words in refused(capsys, "sweep", *call)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.csv"]


def test_help(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["sweep", "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    for name in ("--model", "--grid", "--recipe", "--exact", "--workers", "--dask", "--out", "--json"):
        assert name in said


# Interrupts, in processes of their own


def test_interrupted_and_killed_it_goes_on(tmp_path, capsys, monkeypatch):
    """An interrupt from the keyboard, then a kill of the parent: the third run completes what both left."""
    out = tmp_path / "t.csv"
    plan = plan_of("sparsity=0.5,0.8", "weight_bits=8,6,4,3")
    arguments = ["sweep", "--model", "fashion-small", "--workers", "1", "--exact", "--out", str(out)]
    arguments += ["--grid", "sparsity=0.5,0.8", "--grid", "weight_bits=8,6,4,3"]
    journal = Journal.of(*load_sample("fashion-small"), plan, out)

    def started() -> subprocess.Popen:
        call = [sys.executable, "-m", "core", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(call, cwd=ROOT, text=True, start_new_session=True, **pipes)

    def ended(process: subprocess.Popen, ready) -> list[psutil.Process]:
        """Its processes, once the journal is as wanted."""
        until(lambda: ready(journal.read()) or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        return psutil.Process(process.pid).children(recursive=True)

    first = started()
    children = ended(first, lambda spots: len(spots) >= 2)
    os.killpg(first.pid, signal.SIGINT)  # as a terminal does: to all of its processes
    said, complained = first.communicate(timeout=LONG)
    assert first.returncode == 130
    assert said == ""
    assert complained == (
        "temper: Stopped. A sweep, search, tuning or training keeps what it has: "
        "the same command goes on from there.\n"
    ), "one sentence, and nothing from the workers"
    until(lambda: not any(child.is_running() for child in children))
    kept = journal.read()
    assert len(kept) >= 2

    second = started()
    children = ended(second, lambda spots: sum(spot.exact for spot in spots.values()) >= 2)
    assert children
    second.kill()
    second.communicate(timeout=LONG)
    assert second.returncode == -signal.SIGKILL
    psutil.wait_procs(children, timeout=LONG)
    assert not any(child.is_running() for child in children), "they end by themselves"
    known = journal.read()
    measured = {place for place, spot in known.items() if spot.exact}
    assert set(kept) <= set(known)
    assert len(measured) >= 2
    assert not out.exists()

    tasks, real = [], Workers.submit
    monkeypatch.setattr(Workers, "submit", lambda self, call, task: (tasks.append(task), real(self, call, task))[1])
    found = printed(capsys, *arguments, "--json")
    assert (found["points"], found["measured"]) == (8, 8)
    assert {task.place for task in tasks} == set(plan.recipes) - measured, "what was measured is not measured again"
    assert {task.place for task in tasks if task.depth == 0} == set(plan.recipes) - set(known), "nor looked at"
    table = pd.read_csv(out)
    assert len(table) == 8
    for place, spot in known.items():
        if spot.exact:
            row = table.iloc[list(plan.recipes).index(place)]
            assert row["accuracy"] == spot.values["accuracy"].value
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_as_a_process_without_points_to_compute(tmp_path):
    """Only the result goes to standard output, also from a journal that has it all."""
    out, plan = tmp_path / "t.parquet", plan_of("sparsity=0.1,0.2")
    journal = Journal.of(*load_sample("breast-cancer"), plan, out)
    for place in plan.recipes:
        task = sweep_module.Errand("breast-cancer", "", "", place, plan.recipes[place], sweep_module.EXACT)
        assert journal.write(quick(task).spot)
    call = [sys.executable, "-m", "core", "sweep", "--model", "breast-cancer", "--grid", "sparsity=0.1,0.2", "--json"]
    done = subprocess.run([*call, "--out", str(out)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["measured"] == 2
    assert pd.read_parquet(out)["accuracy"].tolist() == [0.9, 0.89]
