"""`python -m core transfer`, and `adapt --find-rate`: a model moved to other data without a browser."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from conftest import recipe
from learning import training

from core.cli import main
from core.data.handle import load_split
from core.models.samples import load_sample, own_ids, read_card
from core.training.labelled import WAYS, ladder_of
from core.training.rate_range import find_rate

pytestmark = pytest.mark.usefixtures("one_core", "home")


def test_a_group_of_its_data_becomes_a_model_of_its_own(capsys):
    asked = ["transfer", "--model", "credit-default", "--data", "sex=male"]
    assert main(asked) == 0
    said = capsys.readouterr().out
    (made,) = own_ids()
    assert said.splitlines()[0] == f"{made}: {read_card(made)['title']}"
    assert "the classes are known to it" in said and f"adapt --model {made}" in said
    assert main([*asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert own_ids() == (made,) == (found["model"],), "the same again is the same model"
    assert (found["from"], found["drawn"], found["worth"]) == ("credit-default", [], None) and found["kept"]
    model, data = load_sample(made)
    whole = load_sample("credit-default")[1]
    assert 0 < data.split("evaluation").n < whole.split("evaluation").n and model.own


def test_what_the_body_is_worth_is_learned_once(pair, hands_here, capsys, monkeypatch, tmp_path):
    """On a person's own table, read in this process: the door's own is tested by itself."""
    from core.intake_moved import bring_moved

    monkeypatch.setattr("core.door.Visit.run", lambda visit, told: bring_moved(visit.wish, visit.home, told))
    part = load_split(pair[1], "calibration")
    table = pd.DataFrame(part.x, columns=list(pair[1].features))
    table.assign(label=np.array(["low", "high"])[(part.x[:, 0] > np.median(part.x[:, 0])).astype(int)]).to_csv(
        tmp_path / "own.csv", index=False
    )
    asked = ["transfer", "--model", "breast-cancer", "--data", str(tmp_path / "own.csv"), "--worth", "--steps", "3"]
    assert main([*asked, "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    worth, (made,) = found["worth"], own_ids()
    assert (found["model"], worth["judged_on"], worth["steps"]) == (made, "evaluation", 3) and found["drawn"]
    counts = sorted({one["labelled"] for one in worth["points"]} - {0})
    assert counts[:2] == [10, 50] and counts[-1] == worth["fit"] == load_sample(made)[1].split("fit").n
    assert {one["way"] for one in worth["points"]} == {"before", *(way.name for way in WAYS)}
    assert hands_here == [len(WAYS) * len(counts)] == [len(worth["points"]) - 1]
    assert err.splitlines()[-1].startswith(f"trained {hands_here[0]} of {hands_here[0]}")
    known = ladder_of(*load_sample(made), 3, 1).known()
    assert [one["value"] for one in worth["points"]] == [known.before.value, *(one.value for one in known.points)]
    assert main(asked) == 0
    assert "From scratch" in capsys.readouterr().out and len(hands_here) == 1, "nothing is learned twice"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([], "--data must say what the model moves to"),
        (["--data", "nowhere.csv"], "--data must be a file or folder"),
        (["--data", "digits"], "reads rows of a table; 'Written digits' holds pictures"),
        (["--data", "diamonds"], "Choose data of 30 columns"),
        (["--data", "digits", "--steps", "0"], "--steps must be from 1 to 5,000; got 0"),
        (["--data", "digits", "--seeds", "90"], "--seeds must be from 1 to 20; got 90"),
        (["--data", "digits", "--model", "nothing.onnx"], "--model must be a name that 'models' lists"),
    ],
)
def test_what_cannot_be_moved_is_one_sentence(more, words, capsys):
    assert main(["transfer", "--model", "breast-cancer", *more]) == 2
    out, err = capsys.readouterr()
    assert words in err and err.count("\n") == 1 and not out
    assert not own_ids()


def test_a_rate_is_found_and_nothing_learned(pair, capsys, tmp_path):
    asked = ["adapt", "--model", "breast-cancer", "--find-rate"]
    assert main([*asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    expected = find_rate(*pair, recipe(training("fine-tune", epochs=1.0, rate=1e-3)))
    assert (found["rate"], found["by"]) == (expected.suggestion, expected.by)
    assert [one["loss"] for one in found["tried"]] == list(expected.losses)
    assert main(asked) == 0
    assert capsys.readouterr().out.startswith(f"Suggested: {expected.suggestion:g}, from ")
    assert main([*asked, "--epochs", "2"]) == 2
    assert "not allowed with" in capsys.readouterr().err
    assert main([*asked, "--out", str(tmp_path / "r.json")]) == 2
    assert "--find-rate trains none" in capsys.readouterr().err and not list(tmp_path.glob("r.json"))
