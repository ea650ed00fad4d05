"""What is said of a training: what it brought, what to do next, how it is told from others, how long a look takes."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import prune, quantize, recipe
from learning import training
from moving import labelled

from core.data.splits import _check
from core.errors import TemperError
from core.figures.labelled import labelled_sentence
from core.figures.learned import learned_sentence, next_step
from core.figures.learning import learning_chart
from core.figures.trainings import named_training, trainings_table
from core.models.samples import load_sample
from core.training import pace
from core.training.gain import Gain
from core.training.loop import Look
from core.training.training import Progress
from core.transfer_seen import remarks
from core.types import Interval, Quantity

SURE, UNSURE = 0.01, 0.5  # half the width of an interval


@pytest.fixture(scope="module")
def pair():
    return load_sample("breast-cancer")


def change(by: float, wide: float = SURE) -> Quantity:
    return Quantity(by, "fraction", "measured", Interval(by - wide, by + wide), 100)


def found(pair, original: float, before: float, after: float, wide: float = SURE, ece: float = 0.0) -> Gain:
    values = [{"accuracy": value} for value in (original, before, after)]
    moved = {"accuracy": change(after - before, wide), "ece": change(ece)}
    return Gain(pair[1].task, 100, *values, moved, {"accuracy": change(after - original, wide)})


def words(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


def looks(*values: float) -> tuple[Look, ...]:
    some = [{"nll": 1 - v, "accuracy": v, "ece": 0.1} for v in values]
    return tuple(
        Look(n, n, 2.0 * n, 1e-3, {"fit": one, "calibration": one, "held back": {"loss": 1.0}}, True)
        for n, one in enumerate(some)
    )


def test_a_result_says_what_is_back_and_what_is_still_missing(pair):
    said = words(learned_sentence(found(pair, 0.9, 0.5, 0.8), looks(0.5, 0.8)))
    assert said.startswith("2 s and 1 epochs of learning brought accuracy from 50.0 % to 80.0 %: +30.0 points")
    assert "75 % of what was lost. Against the original: " in said and "100 evaluation examples" in said
    assert "all that was lost" in learned_sentence(found(pair, 0.9, 0.5, 0.9), ())
    assert "of what was lost" not in learned_sentence(found(pair, 0.9, 0.5, 0.8, UNSURE), ()), "chance alone"
    assert "what was lost" not in learned_sentence(found(pair, 0.9, 0.9, 0.95), ()), "nothing had been lost"
    assert "Against the original" not in learned_sentence(found(pair, 0.9, 0.9, 0.95), ()), "it was the original"
    assert "left accuracy at 50.0 %" in words(learned_sentence(found(pair, 0.9, 0.5, 0.5, UNSURE), ()))


def test_what_to_do_next_follows_from_what_is_amiss(pair):
    assert "lower rate" in next_step(found(pair, 0.9, 0.9, 0.5), False)
    assert "still behind" in next_step(found(pair, 0.9, 0.5, 0.8), False)
    assert "confidence" in next_step(found(pair, 0.9, 0.5, 0.9, ece=0.1), False)
    assert next_step(found(pair, 0.9, 0.5, 0.9, ece=0.1), True) == ""
    assert next_step(found(pair, 0.9, 0.5, 0.9, UNSURE), False) == ""


def test_before_the_first_step_a_chart_says_where_it_stands(pair):
    task = pair[1].task
    said = words(learning_chart(looks(0.5), {"accuracy": 0.9}, task, 0.0, 4.0).caption)
    assert said == "Before learning, accuracy on calibration examples is 50.0 %; the original's is 90.0 %."
    assert words(learning_chart(looks(0.5, 0.8), {}, task).caption).startswith("1 epochs in 2 s brought accuracy")


def test_trainings_are_told_apart_by_their_settings(pair):
    steps = (prune(0.5), quantize(4, 8))
    asked = [
        recipe(*steps, training("fine-tune", layers="adapters", rank=8, loss="focal")),
        recipe(*steps, training("fine-tune", rank=8)),  # a rank says nothing where there are no adapters
        recipe(*steps, training("fine-tune"), seed=3),
    ]
    names = [named_training(one) for one in asked]
    assert "adapters, rank 8, focal" in names[0] and "rank" not in names[1].removesuffix("highest rate 0.01")
    assert names[2].endswith("seed 3") and len(set(names)) == 3
    rows = [(one, Progress("done", 1.0, None, 2.0, looks(0.51234, 0.8), one, ""), 10.0) for one in asked]
    rows.append((asked[0], Progress("ready", 0.0, None, None, (), None, ""), None))
    table = trainings_table(rows, pair[1].task)
    assert table["Accuracy, % before"].tolist()[0] == 51.2 and table["ECE, % after"].tolist()[0] == 10.0
    assert table["State"].tolist()[-1] == "not begun" and table["Asked"].tolist()[-1] == "epochs"


def test_the_first_look_is_no_measure_of_a_look(monkeypatch):
    clock, asked = [0.0], []

    def measure(_):
        clock[0] += 0.5 if asked else 60.0  # the first one reads the examples
        asked.append(clock[0])
        return {}

    monkeypatch.setattr(pace.time, "perf_counter", lambda: clock[0])
    assert pace._look_seconds(None, measure) == 0.5


def test_data_that_judged_the_body_is_named(pair):
    model, own = pair
    assert remarks(model.title, own, own) == (), "its own fit split holds none of what judges"
    swapped = [split for split in own.splits if split.name != "fit"]
    judged = next(split for split in own.splits if split.name == "evaluation")
    new = type(own)(**{**vars(own), "splits": (*swapped, type(judged)(**{**vars(judged), "name": "fit"}))})
    assert remarks(model.title, own, new)[0].startswith(f"{judged.n} of the {judged.n} examples to learn from")


def test_one_example_is_called_one():
    with pytest.raises(TemperError, match="The only example is of one class"):
        _check(np.zeros(1, np.int64), 2)


def test_the_verdict_of_a_ladder_says_between_which_two():
    assert "of the last two, " in labelled_sentence(labelled((10, 898), by=-0.2))
