"""One's own examples to train on: a share that is asked for, on every way in, and a sentence where there are none."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from owned import NAMES, convolutional, digits, exported
from test_models_page import filled, opened

from core.asked import share_of
from core.cli import main
from core.data.balance import class_counts
from core.data.handle import fitting_split, load_split, split_for_fitting
from core.errors import TemperError
from core.intake import bring
from core.models.samples import load_sample, own_home, own_ids, read_card
from core.wish import Wish, wish_from
from ui.loading import SPOKEN

FEW = 60  # pictures


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TEMPER_HOME", str(tmp_path / "home"))
    return own_home()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    place = tmp_path_factory.mktemp("files")
    x, y = digits()
    exported(convolutional(), (1, 8, 8), place / "model.pt2")
    np.savez(place / "few.npz", x=x[:FEW], y=y[:FEW], classes=np.array(NAMES))
    np.savez(place / "parted.npz", x_train=x[:40], y_train=y[:40], x_test=x[40:FEW], y_test=y[40:FEW])
    return place


def asked(files, data: str = "few", **said) -> Wish:
    return Wish(str(files / "model.pt2"), str(files / f"{data}.npz"), **said)


def noted(name: str) -> str:
    return " ".join(read_card(name)["notes"])


def test_a_share_of_a_few_dozen_is_set_aside(home, files):
    name = bring(asked(files, fit_share=0.4), home, lambda _done, _what: None)
    _, data = load_sample(name)
    parts = [load_split(data, split) for split in ("fit", "calibration", "evaluation")]
    assert [len(part.y) for part in parts] == [split.n for split in data.splits] == [24, 18, 18]
    seen = [{row.tobytes() for row in part.x} for part in parts]
    assert all(not one & other for one, other in combinations(seen, 2))
    assert set(fitting_split(data).y) == set(range(10))
    assert np.array_equal(class_counts(data)["fit"], np.bincount(parts[0].y, minlength=10))
    assert "24 of 60 examples may be trained on, drawn with seed 0; 18 calibrate and 18 judge." in noted(name)


def test_nobody_asked_and_nothing_is_set_aside(home, files):
    name = bring(asked(files), home, lambda _done, _what: None)
    _, data = load_sample(name)
    assert [split.name for split in data.splits] == ["calibration", "evaluation"]
    assert "trained on" not in noted(name)
    for ask in (fitting_split, lambda data: split_for_fitting(data, "fit")):
        with pytest.raises(TemperError, match=r"no examples to train on: all of them calibrate or judge") as raised:
            ask(data)
        assert "--fit-share" in raised.value.hint


def test_an_own_part_is_kept_and_told(home, files):
    name = bring(asked(files, "parted", fit_share=0.3), home, lambda _done, _what: None)
    assert {part: stated["n"] for part, stated in read_card(name)["splits"].items()} == {
        "fit": 20,
        "calibration": 20,
        "evaluation": 20,
    }
    assert "20 of 60 examples may be trained on, by the data's own split; 20 calibrate and 20 judge." in noted(name)


def test_classes_without_an_example_to_train_on_are_named(home, files):
    name = bring(asked(files, fit_share=0.1), home, lambda _done, _what: None)
    missing = set(range(10)) - set(fitting_split(load_sample(name)[1]).y.tolist())
    assert len(missing) >= 4
    assert f"None of the examples to train on are of {len(missing)} of the classes: " in noted(name)
    assert NAMES[min(missing)] in noted(name)


@pytest.mark.parametrize("share", [1.0, 0.001])
def test_a_share_that_cannot_be_is_refused_and_nothing_kept(share, home, files):
    with pytest.raises(TemperError, match="share"):
        bring(asked(files, fit_share=share), home, lambda _done, _what: None)
    assert own_ids() == ()


def test_the_command_line_asks_for_the_share(home, files, monkeypatch):
    """The reading itself goes on in a process of its own and is tested by itself."""
    heard = []
    monkeypatch.setattr("core.door.Visit", lambda wish, place: heard.append(wish) or pytest.fail("told enough"))
    given = ["--model", str(files / "model.pt2"), "--data", str(files / "few.npz")]
    for more in ([], ["--fit-share", "0.3"]):
        with pytest.raises(pytest.fail.Exception, match="told enough"):
            main(["load", *given, *more])
    assert [wish.fit_share for wish in heard] == [None, 0.3]


def test_the_form_asks_for_the_share(home, files, monkeypatch):
    heard = []

    def begin(wish, *_places):
        heard.append(wish)
        raise TemperError("Heard.")

    monkeypatch.setattr("ui.loading.ARRIVALS.begin", begin)
    app = opened(model="breast-cancer")
    for typed, says in (("most", "is written as 0.3 or as 30 %; got most."), ("40 %", "Heard."), ("", "Heard.")):
        app = filled(app, files / "model.pt2", files / "few.npz", fit=typed)
        assert not app.exception and says in app.error[0].value
    assert [wish.fit_share for wish in heard] == [0.4, None]
    assert SPOKEN["--fit-share"].split(": ")[1] in app.text_input(key="own-fit").label


def test_a_wish_keeps_its_share():
    wish = Wish("a", "b", fit_share=0.3)
    assert wish_from({"model": "a", "data": "b", "fit_share": 0.3}) == wish != replace(wish, fit_share=None)


@pytest.mark.parametrize(("text", "share"), [("", None), (" 0.3 ", 0.3), ("30%", 0.3), ("30 %", 0.3), ("0", 0.0)])
def test_what_is_typed_is_a_share(text, share):
    assert share_of(text, "A share") == share


@pytest.mark.parametrize("text", ["most", "30", "-1", "nan", "120 %", "%", "0,3"])
def test_what_is_no_share_is_a_sentence(text):
    with pytest.raises(TemperError, match=r"A share is written as 0\.3 or as 30 %"):
        share_of(text, "A share")
