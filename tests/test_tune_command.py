"""`python -m core tune` and `suits`, and `sweep --train`: what training adds to the command line."""

from __future__ import annotations

import json
import threading

import numpy as np
import pandas as pd
import pytest
from conftest import prune, recipe
from learning import training
from sweeping import plan_of

from core.cli import main
from core.commands.training import followed
from core.data.handle import load_split
from core.engine.evaluate import evaluate
from core.jobs.steered import Steered
from core.recipe import Step, from_dict, from_json
from core.training.gain import gain, with_training
from core.training.suitability import distance
from core.training.swept import missing_of, points_with, seconds_of, trainings_of
from core.training.tuning import tuning_of
from core.training.tuning_space import TuningSpace

pytestmark = pytest.mark.usefixtures("one_core", "home", "hands_here")
TUNE = ["tune", "--model", "breast-cancer", "--vary", "rate", "--vary", "batch", "--epochs", "1"]


def test_tuning_is_chosen_on_calibration_judged_on_evaluation_and_goes_on(pair, hands_here, capsys, tmp_path):
    base, files = recipe(prune(0.9)), ["--out", str(tmp_path / "best.json"), "--csv", str(tmp_path / "trials.csv")]
    tune = [*TUNE, "--recipe", base.to_json(), "--trials"]
    assert main([*tune, "3", "--json", *files]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert "trial 3 of 3: rate" in err and "best so far" in err
    assert (found["chosen_on"], found["judged_on"], found["varied"]) == (
        "calibration",
        "evaluation",
        ["rate", "batch"],
    )
    assert found["examples"] == {"fit": 258, "calibration": 140, "evaluation": 171}
    finished = [one for one in found["trials"] if one["loss"] is not None]
    assert found["best"]["loss"] == min(one["loss"] for one in finished)
    best = from_dict(found["best"]["recipe"])
    assert best == from_json((tmp_path / "best.json").read_text())
    usual = with_training(base, "fine-tune", {"epochs": 1.0, "examples": 258})
    told = gain(evaluate(*pair, usual), evaluate(*pair, best))
    sides = {"original": told.original, "given": told.before, "best": told.after}
    assert {side: found["judged"][side] for side in sides} == sides and found["judged"]["n"] == told.n == 171
    assert found["judged"]["best"] != found["judged"]["original"], "so that this can fail"
    assert pd.read_csv(tmp_path / "trials.csv")["Trial"].tolist() == [1, 2, 3]
    assert main([*tune, "4"]) == 0
    out, err = capsys.readouterr()
    assert "Going on after 3 trials." in err and hands_here[0] == 3 and sum(hands_here) <= 4
    assert out.startswith("4 trials") and "171 evaluation examples" in out and " [" in out


def test_the_page_finds_what_the_command_tried(pair, capsys):
    assert main([*TUNE, "--trials", "2", "--json"]) == 0
    space = TuningSpace.of(recipe(), "fine-tune", {"epochs": 1.0, "examples": 258}, ("rate", "batch"))
    assert tuning_of(*pair, space).best.loss == json.loads(capsys.readouterr().out)["best"]["loss"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--vary", "nonsense"], "has no setting 'nonsense' to tune"),
        (["--trials", "1"], "2 to 500 trials"),
        (["--how", "nonsense"], "No train method is called 'nonsense'"),
        (["--how", "recover"], "Nothing was compressed"),
        (["--set", "nonsense=1"], "one of augment"),
        (["--examples", "-1"], "examples"),
        (["--csv", "/nowhere/at/all.csv"], "a file in a folder that is there"),
    ],
)
def test_a_wrong_tuning_is_one_sentence(more, words, capsys):
    assert main([*TUNE, *more]) == 2
    out, err = capsys.readouterr()
    assert words in err and err.count("\n") == 1 and not out


TRAINS = recipe(prune(0.5), training("recover", epochs=1.0), Step.of("calibrate", "temperature"))


def swept(where, grid: str, *more: str) -> int:
    given = ["--recipe", TRAINS.to_json(), "--grid", grid, "--out", str(where), *more]
    return main(["sweep", "--model", "breast-cancer", *given])


def test_a_sweep_trains_where_that_is_asked_for_and_says_so_before(pair, capsys, tmp_path):
    table = tmp_path / "grid.csv"
    assert swept(table, "sparsity=0.5,0.8") == 2
    out, err = capsys.readouterr()
    assert "2 of 2 points" in err and "Add --train" in err and not out and not table.exists()
    assert swept(table, "sparsity=0.5,0.8", "--train", "--exact") == 0
    err = capsys.readouterr().err.splitlines()
    assert err[0].startswith("2 trainings to run first, 2 epochs in all: about")
    assert [line.split(":")[0] for line in err[1:]] == ["trained 1 of 2", "trained 2 of 2"]
    rows = pd.read_csv(table)
    assert rows["state"].tolist() == ["measured"] * 2
    for text, accuracy in zip(rows["recipe"], rows["accuracy"], strict=True):
        assert evaluate(*pair, from_json(text)).tempered.correct.mean() == pytest.approx(accuracy)
    assert swept(table, "sparsity=0.5,0.8,0.9", "--exact") == 0
    assert "1 of 3 points" in capsys.readouterr().err
    rows = pd.read_csv(table)
    assert rows["state"].tolist() == ["measured", "measured", "failed"] and "not run on this" in rows["error"].iloc[2]


def test_what_comes_after_a_training_asks_for_no_other(pair):
    before, after = plan_of("sparsity=0.3,0.6,0.9", base=TRAINS), plan_of("rate=0.001,0.003", base=TRAINS)
    assert len(trainings_of(before)) == 3 and len(trainings_of(after)) == 2
    bins = recipe(*TRAINS.steps[:2], Step.of("calibrate", "histogram"))
    assert len(trainings_of(plan_of("bins=5,10,15", base=bins))) == 1 and not trainings_of(plan_of("sparsity=0.3"))
    missing = missing_of(*pair, trainings_of(before))
    assert len(missing) == 3 and points_with(before, missing[:2]) == 2
    assert 0 < seconds_of(*pair, missing[0]) < 60
    assert missing_of(*pair, missing) == missing, "a rehearsal trains nothing"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--grid", "weight_bits=4,8"], "no recipe of the grid trains"),
        (["--grid", "sparsity=0:0.9:0.02", "--recipe", TRAINS.to_json()], "30 networks at most; this grid has 46"),
        (["--grid", "weight_bits=4,8", "--recipe", TRAINS.to_json(), "--dask", "tcp://x:1"], "on this machine"),
    ],
)
def test_a_sweep_that_cannot_train_is_one_sentence(more, words, capsys, tmp_path):
    assert main(["sweep", "--model", "breast-cancer", "--train", "--out", str(tmp_path / "t.csv"), *more]) == 2
    out, err = capsys.readouterr()
    assert words in err and err.count("\n") == 1 and not out


class Job(Steered):
    """A job that goes on until somebody ends it."""

    def __init__(self):
        super().__init__()
        self.ended = threading.Event()

    def run(self, _workers):
        self.ended.wait(60)
        if self.alive:
            raise AssertionError("ended by nobody")

    def cancel(self):
        super().cancel()
        self.ended.set()


def test_an_interrupt_ends_a_job_that_is_followed():
    job = Job()

    def told():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        followed(job, told)
    assert not job.alive

    job, asked = Job(), []

    def leave():
        asked.append(len(asked))
        if len(asked) == 2:
            job.cancel()  # it ended by itself
        return True

    followed(job, told, leave)
    assert len(asked) >= 2, "a job that leaves by itself is waited for"


@pytest.fixture
def few_draws(monkeypatch):
    """The ruler of chance with five halvings in the place of nineteen, to save time."""
    monkeypatch.setattr(distance, "DRAWS", 5)


def test_suits_tells_what_is_in_the_data(few_draws, capsys):
    assert main(["suits", "--model", "breast-cancer"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "258 examples to learn from" in lines[0]
    assert [line.split()[1] for line in lines[1:]] == ["classes", "distance", "copies", "labels"]
    assert {line.split()[0] for line in lines[1:]} <= {"good", "look", "bad"}


def test_copies_of_what_judges_are_found_in_a_persons_own_file(pair, few_draws, capsys, monkeypatch, tmp_path):
    """Read in this process: the door's own is tested by itself."""
    from core.intake_moved import bring_moved

    monkeypatch.setattr("core.door.Visit.run", lambda visit, told: bring_moved(visit.wish, visit.home, told))
    data, parts = pair[1], [load_split(pair[1], "calibration"), load_split(pair[1], "evaluation")]
    names = [data.classes[label] for part in parts for label in part.y]
    table = pd.DataFrame(np.concatenate([part.x for part in parts]), columns=list(data.features))
    table.assign(label=names).to_csv(tmp_path / "own.csv", index=False)
    asked = ["suits", "--model", "breast-cancer", "--data", str(tmp_path / "own.csv"), "--seed", "5"]
    assert main([*asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["offered"].startswith("breast-cancer-for-own") and found["n"] == sum(
        found["classes"]["fit"].values()
    )
    exact = [one for one in found["copies"]["pairs"] if one["exact"]]
    assert found["copies"]["exact"] > 20 and len(exact) == min(found["copies"]["exact"], 24)
    assert next(one["how"] for one in found["findings"] if one["about"] == "copies") == "bad"
    low, high = found["distance"]["auc_by_chance"]
    assert low <= high and found["distance"]["apart"] == (found["distance"]["auc"]["value"] > high)


@pytest.mark.parametrize(
    ("model", "data", "words"),
    [
        ("breast-cancer", "digits", "reads table, and 'Written digits' holds pictures"),
        ("breast-cancer", "fashion-small", "holds pictures"),
        ("breast-cancer", "nowhere.csv", "--data must be a file or folder"),
        ("credit-default", "sex=neither", "there are: male, female"),
    ],
)
def test_data_that_cannot_be_looked_at_are_one_sentence(model, data, words, capsys):
    assert main(["suits", "--model", model, "--data", data]) == 2
    out, err = capsys.readouterr()
    assert words in err and err.count("\n") == 1 and not out


def test_a_group_of_the_models_data_is_looked_at(monkeypatch, capsys):
    from core.training.suitability import suitability as module

    heard = []

    def stop(model, data, offered, told):
        heard.append((data.id, offered.id))
        raise module.TemperError("Heard.")

    monkeypatch.setattr(module, "suitability", stop)
    assert main(["suits", "--model", "rain-6h", "--data", "airport=JFK"]) == 2
    assert heard[0][0] == "rain-6h" and "jfk" in heard[0][1], capsys.readouterr().err
