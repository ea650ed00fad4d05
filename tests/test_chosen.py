"""A calibration chosen on the calibration split: by hand, blind to evaluation, and no better than it should be."""

from __future__ import annotations

from dataclasses import replace

import calibrating
import numpy as np
import pytest

from core.calibration.chosen import choose, key_of
from core.calibration.cross_fit import folds
from core.errors import TemperError
from core.figures.calibration_ranking import MARK, calibration_ranking_chart
from core.recipe import Step
from core.registry import method


def test_the_score_is_of_fits_that_saw_other_examples():
    given = calibrating.material(3)
    found = choose(given, "brier")
    z, y = given.calibration.logits, given.calibration.labels
    part, predicted = folds(y), np.empty(z.shape)
    for one in range(5):
        fit = method("calibrate", "isotonic").function(z[part != one], y[part != one])
        predicted[part == one] = fit.probabilities(z[part == one])
    by_hand = method("metric", "brier").function.of(replace(given.calibration, predicted=predicted))
    assert found.scores["isotonic"] == pytest.approx(by_hand, rel=1e-12)
    assert found.name == min(found.scores, key=found.scores.__getitem__) and found.n == 400
    assert found.against_none.value == pytest.approx(found.scores[found.name] - found.scores[""])


def test_evaluation_plays_no_part():
    given = calibrating.material(2)
    other = replace(given, evaluation=calibrating.outcome(50, 2, 9, 0.3))
    assert choose(given, "nll") == choose(other, "nll")


def test_what_is_calibrated_already_is_left_alone():
    found = choose(calibrating.material(4, 400, 1.0), "nll")
    assert found.scores["histogram"] > found.scores[""]


def test_numbers_are_chosen_too_and_the_higher_where_higher_is_better():
    assert choose(calibrating.prices(), "interval_score").name in ("conformal", "scale")
    found = choose(calibrating.material(3), "accuracy")
    assert found.scores[found.name] == max(found.scores.values())
    with pytest.raises(TemperError, match="does not speak of"):
        choose(calibrating.prices(), "nll")


def test_the_ranking_marks_it():
    ranking = calibrating.rankings()["ten classes"]["ranking"]
    marked = calibration_ranking_chart(ranking, chosen="temperature")
    assert [text for text in marked.figure.layout.yaxis.ticktext if MARK in text] == [f"<b>{MARK} Temperature</b>"]
    assert "Chosen on the calibration split: Temperature." in marked.alt
    assert MARK not in str(calibration_ranking_chart(ranking).figure.to_dict())


def test_taking_the_one_chosen_asks_for_no_new_choice():
    given = calibrating.material(3)
    assert key_of(replace(given, own=Step.of("calibrate", "vector")), "nll") == key_of(given, "nll")
    other = Step.of("calibrate", "histogram", {"bins": 20})
    assert key_of(replace(given, own=other), "nll") != key_of(given, "nll")
