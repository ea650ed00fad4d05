"""Tuning: chosen on calibration, judged once, hopeless trials stopped, nothing lost, evaluation chooses nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sweeping import Here
from tuning import PRUNED, found, ran, space_of, tuning_on

from core.data.borrowed import kept_split
from core.data.handle import load_split, split_for_fitting
from core.engine.evaluate import calibration_outcomes, evaluate
from core.engine.statistics import difference
from core.errors import TemperError
from core.training import kept
from core.training import trial as trial_module
from core.training.stopping import hopeless
from core.training.tuning_space import TuningSpace, offered

COUNT = 8
HOMES = {}


@pytest.fixture(scope="module", autouse=True)
def quiet():
    """One thread, which a busy machine does not hold up, and no waiting for the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEMPER_THREADS", "1")
        patch.setattr("os.fsync", lambda _: None)
        yield


@pytest.fixture(scope="module")
def whole(quiet, tmp_path_factory):
    """A tuning in one go: what an interrupted one has to come to."""
    with pytest.MonkeyPatch.context() as patch:
        HOMES["whole"] = tmp_path_factory.mktemp("home")
        patch.setenv("TEMPER_HOME", str(HOMES["whole"]))
        yield ran(tuning_on(tmp_path_factory.mktemp("whole") / "t.journal", COUNT))


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TEMPER_HOME", str(tmp_path / "home"))
    return tmp_path


def test_the_first_trial_has_the_given_settings(whole):
    assert whole.tried[0].recipe == whole.space.usual
    assert whole.tried[0].loss is not None and not whole.tried[0].stopped
    assert len(whole.tried) == COUNT and whole.standing().state == "done"
    assert len({one.recipe for one in whole.tried}) > 4


def test_the_best_is_the_least_loss_on_the_calibration_split(whole, small):
    model, data = small
    best = whole.best
    assert best.loss == min(one.loss for one in whole.tried if one.loss is not None)
    _, outcome = calibration_outcomes(model, data, best.recipe)
    labels = split_for_fitting(data).y
    own = (
        -np.log(np.clip(outcome.predicted, 1e-12, 1))[np.arange(len(labels)), labels]
        if outcome.predicted.ndim == 2
        else None
    )
    if own is None:
        share = np.where(labels == 1, outcome.predicted, 1 - outcome.predicted)
        own = -np.log(np.clip(share, 1e-12, 1))
    assert best.loss == pytest.approx(own.mean(), rel=1e-6)


def test_hopeless_trials_end_before_the_others(whole):
    stopped = [one for one in whole.tried if one.stopped]
    assert stopped, "eight trials over rates a thousandfold apart have a hopeless one"
    for one in stopped:
        assert one.loss is None and 0.2 <= one.curve[-1][0] < 1
        before = [t.curve for t in whole.tried[: one.number] if t.loss is not None]
        assert hopeless(one.curve, before) and not hopeless(one.curve[:-1], before)
    for one in whole.tried[1:]:
        if one.loss is not None:
            before = [t.curve for t in whole.tried[: one.number] if t.loss is not None]
            assert not any(hopeless(one.curve[:look], before) for look in range(1, len(one.curve)))


def test_the_median_rule_is_the_median_rule():
    flat = [tuple((look / 20, value) for look in range(21)) for value in (1.0, 2.0, 3.0)]
    at = lambda value, looks: tuple((look / 20, value) for look in range(looks))  # noqa: E731
    assert hopeless(at(2.1, 6), flat) and not hopeless(at(1.9, 6), flat) and not hopeless(at(2.0, 6), flat)
    assert not hopeless(at(9.0, 4), flat), "none is stopped in the first fifth"
    assert not hopeless(at(9.0, 9), flat[:2]), "a median of two says little"
    late = [((0.0, 5.0), (0.2, 4.0), (1.0, 0.1))] * 3
    assert not hopeless(((0.0, 5.0), (0.2, 3.9)), late), "only what they had reached by then counts"


def test_judged_once_beside_the_given_settings(whole, small):
    model, data = small
    first, best, judged = whole.tried[0], whole.best, whole.judged
    one, other = evaluate(model, data, first.recipe), evaluate(model, data, best.recipe)
    change = difference("accuracy", one.tempered, other.tempered)
    assert judged.change["accuracy"] == change
    assert judged.n == data.split("evaluation").n
    assert judged.usual["accuracy"] == one.tempered.correct.mean()


def test_only_the_best_and_the_given_are_kept(whole, monkeypatch):
    monkeypatch.setenv("TEMPER_HOME", str(HOMES["whole"]))
    wanted = {key for one in (whole.tried[0], whole.best) for key in one.keys}
    for one in whole.tried:
        for key in one.keys:
            assert kept.place(key).exists() == (key in wanted)


def test_a_killed_tuning_goes_on_to_the_same(whole, home):
    path = home / "t.journal"

    class Dies(Here):
        def submit(self, call, *arguments):
            if len(self.tasks) == 3:
                raise KeyboardInterrupt
            return super().submit(call, *arguments)

    with pytest.raises(KeyboardInterrupt):
        tuning_on(path, COUNT).run(Dies())
    again = tuning_on(path, COUNT)
    assert len(again.tried) == 3 and found(again) == found(whole)[:3]
    hands = Here()
    again.run(hands)
    assert len(hands.tasks) <= COUNT - 3
    assert found(again) == found(whole) and again.judged == whole.judged


def test_poisoned_evaluation_labels_change_no_trial(whole, home, small, monkeypatch):
    model, data = small
    real = load_split(data, "evaluation")
    poisoned = kept_split("poisoned", "evaluation", {"x": real.x, "y": 1 - real.y})
    splits = tuple(poisoned if split.name == "evaluation" else split for split in data.splits)
    wrong = replace(data, splits=splits, groups=())
    monkeypatch.setattr(trial_module, "handles", lambda _: (model, wrong))
    other = ran(tuning_on(home / "t.journal", COUNT, (model, wrong)))
    assert found(other) == found(whole)
    assert other.judged.best["accuracy"] == pytest.approx(1 - whole.judged.best["accuracy"])


def test_cancelled_while_it_waits_it_does_nothing(home):
    tuning = tuning_on(home / "t.journal", 2)
    tuning.ready()
    tuning.cancel()
    ran(tuning)
    assert tuning.tried == [] and tuning.standing().state == "cancelled"


def test_a_recovery_tunes_mix_and_temperature():
    space = TuningSpace.of(PRUNED, "recover", {"epochs": 1.0}, offered("recover"))
    assert {"mix", "temperature"} <= set(space.tuned)
    asked = []

    def draw(name, values):
        asked.append(name)
        return 0.0 if name == "mix" else values[0]

    space.recipe(draw)
    assert "temperature" not in asked, "without a teacher its temperature says nothing"
    assert space.usual == space.recipe(lambda name, _: space.start[name])


@pytest.mark.parametrize("tuned", [(), ("nonsense",)])
def test_what_cannot_be_tuned_is_refused(tuned):
    with pytest.raises(TemperError):
        space_of(tuned)


def test_too_few_trials_are_refused():
    with pytest.raises(TemperError, match="2 to"):
        tuning_on(None, 1)


def test_a_training_that_cannot_be_run_is_a_trial(small):
    model, _ = small
    task = trial_module.Trial(model.id, model.fingerprint, "another", space_of().usual)
    found = trial_module.try_out(task)
    assert "differs" in found.error and found.loss is None
