"""Runs: kept once a recipe, found again, and never in the way: locked, full, damaged and newer files."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT, prune, quantize, recipe

from core import runs, runs_file, runs_table
from core.cli import main
from core.engine.compare import compare
from core.engine.evaluate import evaluate
from core.errors import TemperError
from core.home import home
from core.models.samples import load_sample
from core.recipe import Recipe
from core.run import Run, made
from core.types import Latency


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("TEMPER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path / "home"


def evaluated(*steps, sample: str = "breast-cancer"):
    model, data = load_sample(sample)
    of = recipe(*steps)
    result = evaluate(model, data, of)
    return result, of, compare(result), None, model.title


def kept(*steps, **more) -> Run:
    runs.keep(*evaluated(*steps), **more)
    return runs.listed()[0]


def made_up(number: int, **changes) -> Run:
    """A run like a real one under another id, one second later each."""
    run = made(*evaluated(prune(0.5)))
    return replace(run, id=f"{number:016x}", time=1e9 + number, first=1e9 + number, **changes)


def put(*some: Run) -> None:
    def act(connection):
        for run in some:
            runs._insert(connection, run, True)

    runs_file.write(runs_file.place(), act)


def test_a_run_holds_what_the_screen_says(folder):
    result, of, found, _, title = evaluated(prune(0.5), quantize(8, 8))
    pair = (Latency(1.0, 2.0, 30.0), Latency(None, None, None, note="Simulated."))
    before = time.time()
    runs.keep(result, of, found, pair, title)
    (run,) = runs.listed()
    assert runs.get(run.id) == run
    assert (run.model, run.title, run.n, run.visits) == ("breast-cancer", title, 171, 1)
    assert before <= run.first <= run.time <= time.time()
    assert run.parsed() == of
    assert run.notation == of.notation == run.label
    said = run.compared()
    assert set(run.measures) == set(result.tempered.task.facts.stated)
    for name in run.measures:
        for side in ("original", "tempered", "change"):
            mine, theirs = getattr(said, side)[name], getattr(found, side)[name]
            assert (mine.value, mine.interval, mine.unit) == (theirs.value, theirs.interval, theirs.unit)
    assert (said.flips, said.test, said.detectable) == (found.flips, found.test, found.detectable)
    assert run.bytes() == result.bytes.packed
    assert run.bytes("file", "original") == result.original_bytes.file
    assert (run.p50("original"), run.p50()) == (1.0, None)
    assert run.latency["result"]["note"] == "Simulated."
    assert (folder / "runs.sqlite3").exists()
    assert runs.standing() == ""


def test_the_same_recipe_is_one_run_and_counts_its_visits():
    first = kept(prune(0.5))
    kept(prune(0.7))
    again = kept(prune(0.5), visit=True)
    assert len(runs.listed()) == 2
    assert (again.id, again.visits, again.first) == (first.id, 2, first.first)
    assert again.time > first.time
    result, of, found, _, title = evaluated(prune(0.7))
    pair = (Latency(1.0, 2.0, 3.0), Latency(0.5, 2.0, 3.0))
    runs.keep(result, of, found, pair, title, visit=False)
    order = runs.listed()
    assert [run.visits for run in order] == [2, 1], "its latency is no visit and moves nothing"
    assert order[1].p50() == 0.5
    runs.keep(result, of, found, None, title)
    assert runs.listed()[0].p50() == 0.5, "a visit without a latency forgets none"


def test_another_seed_model_or_code_is_another_run(monkeypatch):
    kept(prune(0.5))
    result, of, found, _, title = evaluated(prune(0.5))
    runs.keep(result, replace(of, seed=1), found, None, title)
    runs.keep(*evaluated(prune(0.5), sample="fashion-small"))
    runs.flush()
    monkeypatch.setattr("core.engine.store.code_version", lambda: "another")
    runs.keep(*evaluated(prune(0.5)))
    assert len({run.id for run in runs.listed()}) == 4
    assert len(runs.listed(model="fashion-small")) == 1


def test_the_untouched_model_is_no_run():
    runs.keep(*evaluated())
    runs.keep(*evaluated(prune(0.0)))
    assert runs.listed() == ()


def test_naming_searching_deleting_and_undoing():
    one, other = kept(prune(0.5)), kept(prune(0.7))
    runs.rename(one.id, "  The\n candidate ")
    runs.annotate(one.id, "Straße")
    assert runs.get(one.id).label == "The candidate"
    assert [run.id for run in runs.listed("CANDIDATE strasse")] == [one.id]
    assert runs.listed("candidate 70") == ()
    assert [run.id for run in runs.listed("70 % sparse")] == [other.id]
    runs.delete([one.id, other.id])
    assert runs.listed() == ()
    with pytest.raises(TemperError, match="may have been deleted"):
        runs.get(one.id)
    runs.restore([one.id])
    assert runs.get(one.id).name == "The candidate"
    runs.delete([one.id])
    fresh = kept(prune(0.5))
    assert (fresh.visits, fresh.name, fresh.note) == (1, None, ""), "deleted and visited anew, it begins anew"
    runs.rename(fresh.id, "x")
    runs.rename(fresh.id, "")
    assert runs.get(fresh.id).name is None


@pytest.mark.parametrize(
    "act",
    [
        lambda one: runs.rename("nothing", "x"),
        lambda one: runs.annotate("' OR 1=1 --", "x"),
        lambda one: runs.rename(one, "x" * 121),
        lambda one: runs.annotate(one, "x" * 4_001),
    ],
)
def test_what_cannot_be_is_one_sentence(act):
    one = kept(prune(0.5)).id
    with pytest.raises(TemperError):
        act(one)
    assert runs.get(one).label == "50 % sparse"


def test_only_the_latest_unnamed_runs_are_kept(monkeypatch):
    monkeypatch.setattr(runs, "UNNAMED", 5)
    put(*(made_up(number) for number in range(4)))
    runs.rename(f"{0:016x}", "kept for good")
    runs.annotate(f"{1:016x}", "so is this")
    put(*(made_up(number) for number in range(4, 10)))
    assert [int(run.id, 16) for run in runs.listed()] == [9, 8, 7, 6, 5, 1, 0]


def test_deleted_runs_are_purged_after_a_day():
    put(made_up(1), made_up(2))
    runs.delete([f"{1:016x}"])
    put(made_up(3))
    runs.restore([f"{1:016x}"])
    assert len(runs.listed()) == 3
    with closing(sqlite3.connect(runs_file.place())) as connection, connection:
        connection.execute("UPDATE runs SET deleted = ? WHERE id = ?", (time.time() - 25 * 3600, f"{2:016x}"))
    put(made_up(4))
    runs.restore([f"{2:016x}"])
    assert [int(run.id, 16) for run in runs.listed()] == [4, 3, 1]


def test_a_comparison_side_by_side():
    one, other = kept(prune(0.5)), kept(prune(0.9))
    runs.rename(one.id, "A")
    found = runs_table.compare([runs.get(one.id), other]).set_index("figure")
    assert found.loc["Accuracy", "A"] == one.quantity("accuracy").value
    change = other.quantity("accuracy", "change")
    cells = [found.loc["Accuracy", f"90 % sparse, {part}"] for part in ("change", "low", "high")]
    assert cells == [change.value, change.interval.low, change.interval.high]
    assert found.loc["Packed size", "A, change"] == one.bytes() - one.bytes("packed", "original") < 0
    assert runs_table.labels([one, one]) == ["50 % sparse", "50 % sparse (2)"]
    assert runs_table.comparable([one, other])
    with pytest.raises(TemperError, match="at least two"):
        runs_table.compare([one])


def test_export_to_csv_and_json():
    one = kept(prune(0.5))
    kept(quantize(4, 8))
    runs.rename(one.id, "=HYPERLINK('x')")
    listed = runs.listed()
    rows = list(csv.DictReader(io.StringIO(runs_table.to_csv(listed))))
    assert [row["id"] for row in rows] == [run.id for run in listed]
    assert rows[1]["name"] == "'=HYPERLINK('x')", "no spreadsheet runs it"
    assert float(rows[0]["accuracy_change_low"]) == listed[0].quantity("accuracy", "change").interval.low
    assert int(rows[0]["packed_bytes"]) == listed[0].bytes()
    found = json.loads(
        runs_table.to_json([*listed, replace(one, figures={**one.figures, "detectable": float("nan")})])
    )
    assert found[1]["recipe"]["steps"][0]["method"] == "magnitude-global"
    assert found[2]["figures"]["detectable"] is None
    assert list(runs_table.table(listed).columns) == list(rows[0])
    many = made(*evaluated(prune(0.5), sample="fashion-small"))
    assert list(runs_table.table([]).columns) == list(runs_table.table([many]).columns)


def test_the_command_line_lists_and_exports(tmp_path, capsys):
    assert main(["runs"]) == 0
    assert "No run" in capsys.readouterr().out
    of = Recipe((prune(0.5),)).to_json()
    assert main(["run", "--model", "breast-cancer", "--recipe", of]) == 0
    capsys.readouterr()
    assert main(["runs", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["notation"] == "50 % sparse"
    assert found["latency"]["original"]["p50"] > 0
    assert main(["runs", "--search", "sparse"]) == 0
    assert "50 % sparse" in capsys.readouterr().out
    assert main(["runs", "--out", str(tmp_path / "runs.csv")]) == 0
    assert len((tmp_path / "runs.csv").read_text().splitlines()) == 2
    assert main(["runs", "--out", str(tmp_path / "runs.txt")]) == 2


# Nothing that befalls the file disturbs the caller.


def test_where_nothing_is_to_be_kept(monkeypatch):
    monkeypatch.setenv("TEMPER_HOME", "")
    runs.keep(*evaluated(prune(0.5)))
    assert runs.listed() == ()
    assert "TEMPER_HOME is empty" in runs.standing()
    with pytest.raises(TemperError, match="TEMPER_HOME is empty"):
        runs.delete(["x"])


def test_home_is_the_systems_place(monkeypatch, tmp_path):
    monkeypatch.delenv("TEMPER_HOME")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert home() == tmp_path / "temper"
    monkeypatch.delenv("XDG_DATA_HOME")
    assert home() == Path.home() / ".local" / "share" / "temper"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert home() == Path.home() / "Library" / "Application Support" / "temper"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert home() == tmp_path / "temper"


def test_a_folder_that_cannot_be_made_is_a_sentence(folder):
    folder.write_text("a file where the folder should be")
    runs.keep(*evaluated(prune(0.5)))
    runs.flush()
    assert "cannot be used" in runs.standing()
    folder.unlink()
    kept(prune(0.5))
    assert runs.standing() == "", "and it is over once it can be written again"


def test_a_locked_file_is_a_sentence_and_readers_go_on(monkeypatch):
    kept(prune(0.5))
    monkeypatch.setattr(runs_file, "WAIT", 0.05)
    with closing(sqlite3.connect(runs_file.place(), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        runs.keep(*evaluated(prune(0.7)))
        runs.flush()
        assert "locked" in runs.standing()
        assert len(runs.listed()) == 1
        with pytest.raises(TemperError, match="locked"):
            runs.delete([runs.listed()[0].id])
    kept(prune(0.7))
    assert len(runs.listed()) == 2


def test_a_full_disk_is_a_sentence():
    """In a process of its own that may write no file beyond 8 kB."""
    code = (
        "from test_runs import kept, prune, runs\n"
        "import resource\n"
        "result = __import__('test_runs').evaluated(prune(0.5))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))\n"
        "runs.keep(*result); runs.flush(); print(runs.standing())\n"
        "try:\n    print(len(runs.listed()))\n"
        "except Exception as error:\n    print(type(error).__name__)"
    )
    command = [sys.executable, "-c", f"import os, sys\nsys.path[:0] = ['tests', '.']\nimport conftest\n{code}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    sentence, number = done.stdout.strip().splitlines()
    assert "cannot be used" in sentence
    assert number in ("0", "TemperError")


@pytest.mark.parametrize("how", ["text", "header", "middle", "half"])
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(folder, how):
    put(*(made_up(number, note="x" * 3000) for number in range(40)))
    path = folder / "runs.sqlite3"
    content = bytearray(path.read_bytes())
    if how == "text":
        content[:] = b"this is no database " * 500
    elif how == "header":
        content[:100] = bytes(100)
    elif how == "middle":
        content[4096:-4096] = b"\xff" * (len(content) - 8192)
    else:
        del content[len(content) // 2 :]
    for ending in ("-wal", "-shm"):
        (folder / f"runs.sqlite3{ending}").unlink(missing_ok=True)
    path.write_bytes(content)
    assert len(runs.listed()) in (0, 40)
    run = kept(prune(0.5))
    assert runs.listed() == (run,)
    aside = folder / "runs.sqlite3.damaged-1"
    assert aside.read_bytes() == content
    assert "set aside" in runs.standing() and str(aside) in runs.standing()
    path.write_bytes(b"again " * 1000)
    kept(prune(0.7))
    assert (folder / "runs.sqlite3.damaged-2").exists()


def test_a_row_that_is_no_run_is_passed_over():
    put(*(made_up(number) for number in range(4)))
    with closing(sqlite3.connect(runs_file.place())) as connection, connection:
        for number, text in enumerate(("{", "{}", '{"result": 5}')):
            connection.execute("UPDATE runs SET figures = ? WHERE id = ?", (text, f"{number:016x}"))
    assert [int(run.id, 16) for run in runs.listed()] == [3]


def test_an_older_file_is_brought_up_to_date(monkeypatch):
    run = kept(prune(0.5))
    more = (*runs_file.MIGRATIONS, ("ALTER TABLE runs ADD COLUMN colour TEXT", "UPDATE runs SET colour = 'blue'"))
    monkeypatch.setattr(runs_file, "MIGRATIONS", more)
    assert runs.listed() == (run,)
    with closing(sqlite3.connect(runs_file.place())) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
        assert connection.execute("SELECT colour FROM runs").fetchall() == [("blue",)]


def test_a_migration_that_fails_changes_nothing(monkeypatch):
    run = kept(prune(0.5))
    released = runs_file.MIGRATIONS
    monkeypatch.setattr(runs_file, "MIGRATIONS", (*released, ("DELETE FROM runs", "NONSENSE")))
    with pytest.raises(TemperError, match="cannot be used"):
        runs.listed()
    monkeypatch.setattr(runs_file, "MIGRATIONS", released)
    assert runs.listed() == (run,)


def test_a_newer_file_is_refused_in_a_sentence_and_left_alone():
    kept(prune(0.5))
    with closing(sqlite3.connect(runs_file.place())) as connection, connection:
        connection.execute("PRAGMA user_version = 7")
    before = runs_file.place().read_bytes()
    with pytest.raises(TemperError, match="newer Temper \\(version 7; this one reads up to 1\\)"):
        runs.listed()
    runs.keep(*evaluated(prune(0.7)))
    runs.flush()
    assert "newer Temper" in runs.standing()
    assert runs_file.place().read_bytes() == before


def test_a_fault_of_ours_ends_neither_the_caller_nor_the_writer(monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(runs, "made", lambda *_: 1 / 0)
        runs.keep(*evaluated(prune(0.5)))
        runs.flush()
    assert "ZeroDivisionError" in runs.standing()
    kept(prune(0.5))
    assert runs.standing() == ""


def test_threads_and_processes_write_at_once():
    """Four threads here and two other processes, the file not yet there: every run arrives."""
    made_up(0)
    code = (
        "import sys; sys.path[:0] = ['tests', '.']; import conftest, os\n"
        "os.environ['TEMPER_HOME'] = sys.argv[1]\n"
        "from test_runs import made_up, put\n"
        "[put(made_up(int(sys.argv[2]) + n)) for n in range(20)]"
    )
    others = [subprocess.Popen([sys.executable, "-c", code, str(home()), str(1000 * k)], cwd=ROOT) for k in (1, 2)]
    one = [threading.Thread(target=lambda k=k: [put(made_up(100 * k + n)) for n in range(10)]) for k in (1, 2, 3, 4)]
    for thread in one:
        thread.start()
    for thread in one:
        thread.join()
    assert [other.wait(120) for other in others] == [0, 0]
    assert len(runs.listed()) == 80
