"""The numbers behind the laboratory's pictures, against plain loops and known truths."""

from __future__ import annotations

from dataclasses import replace

import calibrating
import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from core.calibration.bins_lesson import bins_lesson
from core.calibration.calibration_lab import Material, calibration_of, contest
from core.calibration.class_curves import class_curves
from core.calibration.corp import corp
from core.calibration.how_many import FIRST, SEEDS, how_many
from core.calibration.temperatures import at_temperature, temperatures
from core.calibrators.temperature import optimal_temperature
from core.decisions.refer import selective
from core.decisions.referring import referring, surest
from core.errors import TemperError
from core.registry import method
from core.types import Outcome


def value(measure: str, outcome: Outcome) -> float:
    return method("metric", measure).function.of(outcome)


def test_the_curve_is_scikit_learns_isotonic_regression():
    given = calibrating.material(10).evaluation
    found = corp(given)
    model = IsotonicRegression().fit(given.confidence, given.correct)
    np.testing.assert_allclose(found.right, model.predict(found.at), atol=1e-9)
    truth = given.correct.astype(float)
    gained = ((given.confidence - truth) ** 2).mean() - ((model.predict(given.confidence) - truth) ** 2).mean()
    assert found.miscalibration == pytest.approx(gained)
    assert found.ece == pytest.approx(value("ece", given))
    assert found.count.sum() == given.n


def test_an_honest_models_curve_stays_in_its_band_and_a_boasting_ones_does_not():
    def outside(outcome: Outcome) -> float:
        one = corp(outcome)
        return float(((one.right < one.low) | (one.right > one.high)).mean())

    honest = np.mean([outside(calibrating.outcome(1_500, 4, seed, 1.0)) for seed in range(8)])
    boasting = np.mean([outside(calibrating.outcome(1_500, 4, seed, 3.0)) for seed in range(8)])
    assert honest < 0.15
    assert boasting > 0.5


def test_temperatures_have_their_optimum_where_the_fit_finds_it():
    given = calibrating.material(10)
    found = temperatures(given)
    assert found.optimum == optimal_temperature(given.calibration.logits.astype(float), given.calibration.labels)
    assert found.at[np.argmin(found.nll_calibration)] == pytest.approx(found.optimum)
    for place in (0, len(found.at) // 2):
        for split, nll, ece in (
            (given.calibration, found.nll_calibration, found.ece_calibration),
            (given.evaluation, found.nll_evaluation, found.ece_evaluation),
        ):
            by_hand = at_temperature(split, float(found.at[place]))
            assert nll[place] == pytest.approx(value("nll", by_hand), abs=1e-12)
            assert ece[place] == pytest.approx(value("ece", by_hand), abs=1e-12)
    with pytest.raises(TemperError, match=r"from 0\.05 to 50; got 0"):
        at_temperature(given.evaluation, 0.0)


def test_risk_and_coverage_of_many_classes_against_a_loop_and_of_two_against_the_binary_one():
    given = calibrating.material(10).evaluation
    order = sorted(range(given.n), key=lambda i: -given.confidence[i])
    wrong, risks = 0, []
    for count, i in enumerate(order, 1):
        wrong += not given.correct[i]
        risks.append(wrong / count)
    found = surest(given)
    np.testing.assert_allclose(found.risk, risks)
    assert found.area == pytest.approx(np.mean(risks))
    two = calibrating.material(2).evaluation
    binary = selective(two.probabilities[:, 1], two.labels == 1)
    np.testing.assert_allclose(surest(two).risk, binary.risk)


def test_the_cut_off_keeps_its_word_where_it_was_chosen_and_is_judged_elsewhere():
    given = calibrating.material(10)
    both = (given.calibration, given.evaluation)
    found = referring(both, both, 0.2)
    kept = given.calibration.confidence >= found.chosen.cut
    assert (~given.calibration.correct[kept]).mean() <= 0.2
    judged = given.evaluation.confidence >= found.chosen.cut
    assert found.chosen.risk.value == pytest.approx((~given.evaluation.correct[judged]).mean())
    assert found.chosen.referred.value == pytest.approx(1 - judged.mean())
    turned = replace(given.evaluation, labels=np.roll(given.evaluation.labels, 1))
    assert referring((given.calibration, turned), both, 0.2).none.cut == found.none.cut


@pytest.mark.parametrize("name", ["isotonic", "histogram", "bbq"])
def test_thresholds_rest_on_no_example_that_vouches_for_itself(name):
    """Fitted on themselves steps look better than on new examples; cross-fitted they do not."""
    given = calibrating.material(4)
    seen = calibration_of(given, name)
    fit = method("calibrate", name).function(given.calibration.logits, given.calibration.labels)
    own = replace(given.calibration, predicted=fit.probabilities(given.calibration.logits))
    new = replace(given.evaluation, predicted=fit.probabilities(given.evaluation.logits))
    told = {case: value("brier", one) for case, one in (("seen", seen), ("own", own), ("new", new))}
    assert told["own"] < told["seen"] and abs(told["seen"] - told["new"]) < abs(told["own"] - told["new"])
    smooth = calibration_of(given, "temperature")
    fit = method("calibrate", "temperature").function(given.calibration.logits, given.calibration.labels)
    assert np.array_equal(smooth.predicted, fit.probabilities(given.calibration.logits))
    few = Material(("few",), calibrating.outcome(11, 3, 1), calibrating.outcome(20, 3, 2))
    assert np.isfinite(calibration_of(few, name).predicted).all(), "with too few for parts, all are fitted on"


def test_how_many_ends_at_the_whole_split():
    given = calibrating.material(4)
    found = how_many(given, "temperature", "nll")
    entry = next(e for e in contest(given) if e.name == "temperature")
    assert entry.outcome is not None
    assert found.middle[-1] == pytest.approx(value("nll", entry.outcome))
    assert found.none == pytest.approx(value("nll", given.evaluation))
    assert found.sizes[0] == FIRST and found.sizes[-1] == given.calibration.n
    assert list(found.fitted[:-1]) == [SEEDS] * (len(found.sizes) - 1)
    assert (found.low <= found.middle).all() and (found.middle <= found.high).all()
    gained = found.none - found.middle
    assert found.enough is not None
    assert (gained[found.sizes >= found.enough] >= 0.95 * gained[-1] - 1e-12).all()
    with pytest.raises(TemperError, match="could be fitted on no part"):
        how_many(calibrating.material(3, n=8), "temperature", "nll")


def test_how_many_tells_progress_and_can_be_abandoned():
    def told(fraction: float) -> None:
        if fraction > 0.1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        how_many(calibrating.material(4), "temperature", "nll", told)


@pytest.mark.parametrize("by", ["width", "mass"])
def test_the_lesson_shows_the_metric_and_the_bias_of_an_honest_model(by):
    given = calibrating.outcome(1_000, 4, 7)
    found = bins_lesson(given, 1_000, 15, by)
    at = list(found.bins).index(15)
    assert found.model[at] == pytest.approx(value("ece" if by == "width" else "ece_equal_mass", given))
    assert (found.honest > 0).all()
    assert found.honest[-1] > 2 * found.honest[0]  # more bins, more bias
    few = bins_lesson(given, 100, 15, by)
    assert few.n == 100 and few.honest[at] > 2 * found.honest[at]  # fewer examples, more bias
    assert ((found.low <= found.honest) & (found.honest <= found.high)).all()


def test_classes_are_shown_worst_first():
    given = calibrating.material(10)
    found = class_curves(given.evaluation, given.evaluation)
    errors = [one.ece for one in found.before]
    assert errors == sorted(errors, reverse=True) and len(errors) == 10
    assert np.mean(errors) == pytest.approx(np.mean([one.ece for one in found.after]))
    assert class_curves(*calibrating.pair(2)).names == (given.evaluation.classes[1],)
