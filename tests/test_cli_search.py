"""The command `search`: budgets in, a judged recipe out, resumable by the same command."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pandas as pd
import pytest
from sweeping import Here

from core.cli import main
from core.engine.evaluate import evaluate
from core.jobs import workers as jobs
from core.models.samples import load_sample
from core.recipe import from_dict

COMMON = ["search", "--model", "breast-cancer"]


@pytest.fixture(autouse=True)
def here(monkeypatch):
    """Workers of this thread; how many recipes each command asked them for."""
    asked = []

    @contextmanager
    def workers(_count=None, _scheduler=None):
        hands = Here()
        yield hands
        asked.append(sum(not task.judge for task in hands.tasks))

    monkeypatch.setattr(jobs, "workers", workers)
    monkeypatch.setattr("os.fsync", lambda _: None)
    return asked


def ran(capsys, *more: str) -> dict:
    assert main([*COMMON, *more, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_half_the_bytes_and_two_points_at_most(capsys, tmp_path, here):
    where = ["--journal", str(tmp_path / "j"), "--smaller", "2x", "--lose-at-most", "2"]
    first = ran(capsys, *where, "--trials", "4", "--out", str(tmp_path / "t.csv"))
    model, data = load_sample("breast-cancer")
    assert (first["chosen_on"], first["judged_on"]) == ("calibration", "evaluation")
    assert first["examples"]["judging"] == data.split("evaluation").n
    best = first["best"]
    result = evaluate(model, data, from_dict(best["recipe"]))
    assert best["evaluation"]["accuracy"] == result.tempered.correct.mean()
    assert best["packed_bytes"] == result.bytes.packed <= result.original_bytes.packed / 2
    assert best["evaluation"]["holds"] == (best["evaluation"]["lost"] <= 0.02)
    table = pd.read_csv(tmp_path / "t.csv")
    assert len(table) == 4 and table["within_budgets"].sum() == first["within_budgets"]
    second = ran(capsys, *where, "--trials", "6")
    assert here == [4, 2] and second["trials"] == 6
    assert main([*COMMON, *where, "--trials", "6"]) == 0
    said = capsys.readouterr().out
    assert "judged on evaluation" in said and best["label"] in said


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--smaller", "half"], "written as 2x"),
        (["--smaller", "0.5x"], "from 1 up"),
        (["--at-most-kb", "0"], "above 0"),
        (["--at-most-kb", "1", "--smaller", "2x"], "not allowed with"),
        (["--lose-at-most", "-1"], "from 0 up"),
        (["--at-least", "900"], "0 to 100"),
        (["--at-most-ms", "1"], "needs a device"),
        (["--at-most-ms", "1", "--device", "toaster"], "No device is called"),
        (["--without", "magic"], "called 'magic'"),
        (["--trials", "0"], "1 to 5,000"),
        (["--seconds", "nan"], "time of a search"),
        (["--out", "table.txt"], ".csv or .parquet"),
        (["--out", "nowhere/table.csv"], "in a folder that is there"),
    ],
)
def test_bad_input_is_one_sentence(capsys, given, words):
    assert main([*COMMON, *given]) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1


def test_a_journal_of_another_search_is_left_alone(capsys, tmp_path):
    journal = tmp_path / "j"
    assert main([*COMMON, "--trials", "1", "--journal", str(journal)]) == 0
    kept = journal.read_bytes()
    assert main([*COMMON, "--trials", "1", "--journal", str(journal), "--smaller", "3x"]) == 2
    assert "of another search" in capsys.readouterr().err and journal.read_bytes() == kept


def test_where_nothing_keeps_the_budgets_it_says_so(capsys, tmp_path):
    none = ["--at-most-kb", "0.01", "--lose-at-most", "0", "--journal", str(tmp_path / "j")]
    found = ran(capsys, "--trials", "2", *none)
    assert found["best"] is None and found["front"] == [] and found["nearest"]["evaluation"]["holds"] is False
