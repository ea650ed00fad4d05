"""`python -m core adapt` and `run` train, say so, and go on; a rate is found by trying."""

from __future__ import annotations

import json

import pytest
from conftest import prune, quantize, recipe
from learning import training

from core.cli import main
from core.engine.transform import transform
from core.errors import TemperError
from core.recipe import Recipe, Step
from core.trainers._settings import RATES
from core.training.permit import Untrained
from core.training.rate_range import find_rate, suggested

pytestmark = pytest.mark.usefixtures("one_core")


def test_a_rate_is_found_and_nothing_is_kept_of_it(pair, home):
    given = recipe(quantize(3, 8), training("recover"))
    found = find_rate(*pair, given)
    assert found.suggestion in RATES and list(found.rates) == sorted(found.rates) and len(found.rates) <= 100
    assert found == find_rate(*pair, given), "the same seed, the same answer"
    assert not list(home.rglob("*.json"))
    with pytest.raises(Untrained):
        transform(*pair, given)
    with pytest.raises(TemperError, match="last step before calibration trains"):
        find_rate(*pair, recipe(prune(0.5)))


def test_a_rate_is_a_tenth_of_that_of_the_least_loss():
    rates = [10.0**-place for place in (5, 4, 3, 2, 1)]
    assert suggested(rates, [2.0, 1.9, 1.0, 0.5, 9.0], RATES) == (1e-3, "least")
    assert suggested(rates, [2.0, 2.0, 2.1, 2.3, 9.0], RATES) == (1e-3, "rise")


def test_the_command_trains_and_goes_on(home, capsys):
    asked = ["adapt", "--model", "breast-cancer", "--epochs", "1", "--rate", "0.001", "--set", "loss=focal", "--json"]
    where = home.parent / "recipe.json"
    assert main([*asked, "--out", str(where)]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["epochs"] == 1.0 and found["judged_on"] == "evaluation" and "epoch" in err
    assert found["change"]["accuracy"]["interval"] and set(found["before"]) == set(found["original"])
    assert main(["run", "--model", "breast-cancer", "--recipe", str(where), "--json"]) == 0
    out, _ = capsys.readouterr()
    assert json.loads(out)["result"]["accuracy"] == found["after"]["accuracy"]


def test_run_trains_and_tells_on_standard_error(home, capsys):
    given = Recipe((training("fine-tune", epochs=1.0), Step.of("calibrate", "temperature")), 3)
    assert main(["run", "--model", "breast-cancer", "--recipe", given.to_json(), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["result"]["accuracy"] > 0.9 and "epoch   1.00" in err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--how", "recover"], "Nothing was compressed"),
        (["--how", "nonsense"], "No train method is called 'nonsense'"),
        (["--set", "nonsense=1"], "one of augment"),
        (["--seconds", "0"], "from 1 to 86400"),
        (["--rate", "7"], "rate"),
        (["--out", "/nowhere/at/all.json"], "a file in a folder that is there"),
    ],
)
def test_a_wrong_command_is_one_sentence(more, words, home, capsys):
    assert main(["adapt", "--model", "breast-cancer", *more]) == 2
    assert words in capsys.readouterr().err
