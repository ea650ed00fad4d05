"""Model and data in Streamlit's own test harness: at rest, own models by path, wrong forms, removal, links."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from html import unescape

import numpy as np
import pytest
from conftest import ROOT, SAMPLES
from owned import NAMES, convolutional, digits, exported, linear, rows
from streamlit.testing.v1 import AppTest

from core.data.balance import class_counts, some_of_each
from core.door import Visit
from core.errors import TemperError
from core.figures.pictures import evaluation_pictures, evaluation_rows, png, seen_pictures, seen_rows
from core.models.samples import load_sample, own_home, own_ids, read_card
from core.wish import Wish
from ui.loading import SPOKEN

PATIENCE = 120
PAGE = "pages/0_Model_and_data.py"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TEMPER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return own_home()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Paths of a model of pictures, one of rows, one of 100 classes, and their data."""
    place = tmp_path_factory.mktemp("files")
    x, y = digits()
    exported(convolutional(), (1, 8, 8), place / "pictures.pt2")
    np.savez(place / "pictures.npz", x=x[:600], y=y[:600], classes=np.array(NAMES))
    exported(linear(), (64,), place / "rows.pt2")
    np.savez(place / "rows.npz", x=rows(x)[:600], y=y[:600])
    return place


def opened(page: str = PAGE, **query) -> AppTest:
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=PATIENCE)
    for key, value in query.items():
        app.query_params[key] = value
    app.run()
    return app.switch_page(page).run()


def words(app: AppTest) -> str:
    return re.sub(r"<style>.*?</style>", "", " ".join(str(e.proto.body) for e in app.get("html")), flags=re.S)


def plain(app: AppTest) -> str:
    return unescape(re.sub(r"<[^>]*>", " ", words(app)))


def filled(app: AppTest, model, data, **more) -> AppTest:
    app.text_input(key="own-model-path").set_value(str(model))
    app.text_input(key="own-data-path").set_value(str(data))
    for key, value in more.items():
        app.text_input(key=f"own-{key}").set_value(value)
    return app.button(key="own-load").click().run()


def arrived(app: AppTest) -> AppTest:
    until = time.monotonic() + PATIENCE
    while any(button.key == "arrival-cancel" for button in app.button):
        assert time.monotonic() < until
        time.sleep(0.3)
        app.run()
    return app


def bring(home, files, kind: str) -> str:
    return Visit(Wish(str(files / f"{kind}.pt2"), str(files / f"{kind}.npz")), home).run()


@pytest.mark.parametrize("model", SAMPLES)
def test_the_page_at_rest_shows_every_sample(model, home):
    app = opened(model=model)
    assert not app.exception and not app.error
    card = read_card(model)
    for said in (
        card["title"],
        "What it reads",
        "Class balance" if card["classes"] else "Numbers to predict",
        "What can be made smaller",
        card["data"]["licence"],
    ):
        assert said in plain(app)
    assert f"{card['parameters']:,}" in plain(app)
    assert "✓ ok" in plain(app)
    assert not re.search(r"\b(nan|inf|none)\b", plain(app), re.I)
    assert not [b for b in app.button if b.key == "models-remove-now"], "a sample cannot be removed"


def test_a_pair_by_path_comes_in_is_in_force_and_goes_again(home, files):
    app = opened(model="breast-cancer")
    app = arrived(filled(app, files / "pictures.pt2", files / "pictures.npz", title="My digits"))
    assert not app.exception and not app.error
    (name,) = own_ids()
    assert app.session_state["sitting"].model == name
    assert "My digits is in force" in plain(app) and "every check passed" in plain(app)
    for said in ("grey pictures of 8 × 8", "zero, one, two", "Belong together", "2 convolutions and 1 linear layer"):
        assert said in plain(app)
    assert "stored" in plain(app) and words(app).count("<img") == 12
    app.text_input(key=f"title-{name}").set_value("Renamed").run()
    assert "Renamed" in plain(app)
    app.button(key="models-remove-now").click().run()
    assert own_ids() == ()
    assert app.session_state["sitting"].model == "fashion-resnet"
    assert "Renamed was removed" in plain(app)
    assert not app.exception and not app.error
    assert (files / "pictures.pt2").exists()


def test_an_own_model_by_link_and_on_every_page(home, files):
    name = bring(home, files, "rows")
    app = opened(model=name)
    assert app.session_state["sitting"].model == name
    assert "rows of 64 numbers" in plain(app)
    for page in ("pages/1_Studio.py", "pages/2_Trade-offs.py", "app.py"):
        app.switch_page(page).run()
        assert not app.exception and not app.error, page
        assert not re.search(r"\b(nan|inf)\b", plain(app), re.I)
    assert [b for b in app.button if b.key == f"choose-{name}"], "Home lists it"


def test_an_unknown_model_is_one_sentence(home):
    app = opened(model="gone-123456")
    assert not app.exception
    assert [e.value for e in app.error if "No model is called 'gone-123456'" in e.value]


def test_a_model_that_another_visit_removed_is_one_sentence(home, files):
    from core.models.samples import forget

    name = bring(home, files, "rows")
    app = opened(model=name)
    forget(name)
    app.run()
    assert not app.exception
    assert len([e for e in app.error if "No model is called" in e.value]) == 1
    app.selectbox(key="models-picker").set_value("fashion-small").run()
    assert not app.error and "Fashion Small" in plain(app)


@pytest.mark.parametrize(
    ("model", "data", "more", "sentence"),
    [
        ("", "", {}, "Which model?"),
        ("rows.pt2", "", {}, "needs labelled examples"),
        ("rows.pt2", "torchvision:resnet18", {}, "names a model, not data"),
        ("rows.pt2", "rows.npz", {"shape": "wide"}, "An input shape is written as"),
        ("rows.pt2", "rows.npz", {"resize": "big"}, "is a whole number; got big"),
        ("nothing.pt2", "rows.npz", {}, "There is no model file at"),
        ("rows.pt2", "pictures.npz", {"shape": "3"}, "3"),
        ("pictures.pt2", "rows.pt2", {}, "rows.pt2"),
    ],
)
def test_a_wrong_form_is_one_sentence_and_stays_filled(model, data, more, sentence, home, files):
    paths = [str(files / part) if part and ":" not in part else part for part in (model, data)]
    app = arrived(filled(opened(model="breast-cancer"), *paths, **more))
    assert not app.exception
    assert len(app.error) == 1 and sentence in app.error[0].value
    assert app.text_input(key="own-model-path").value == paths[0]
    assert app.text_input(key="own-data-path").value == paths[1]
    assert all(app.text_input(key=f"own-{key}").value == value for key, value in more.items())
    assert app.session_state["sitting"].model == "breast-cancer"
    assert "Breast Cancer" in plain(app), "nothing else is lost"
    assert own_ids() == ()


def test_hints_name_the_form_s_own_fields(home, files):
    """And so does every option that a reader's sentence names."""
    app = arrived(filled(opened(model="breast-cancer"), "torchvision:resnet18", files / "rows.npz"))
    assert "Allow the download (tick the box)" in app.error[0].value
    sources = [*ROOT.glob("core/models/*.py"), *ROOT.glob("core/data/*.py"), ROOT / "core" / "intake.py"]
    named = {option for path in sources for option in re.findall(r"--[a-z-]*[a-z]", path.read_text(encoding="utf-8"))}
    assert named <= set(SPOKEN)


def test_where_nothing_may_be_kept_it_says_so(monkeypatch, files):
    monkeypatch.setenv("TEMPER_HOME", "")
    app = filled(opened(model="breast-cancer"), files / "rows.pt2", files / "rows.npz")
    assert "nowhere to keep" in app.error[0].value


def test_class_counts_are_the_labels(home):
    from core.data.handle import load_split

    for name in ("fashion-small", "breast-cancer"):
        data = load_sample(name)[1]
        for split, counts in class_counts(data).items():
            labels = load_split(data, split).y
            assert counts.tolist() == [int((labels == k).sum()) for k in range(len(data.classes))]


def test_examples_are_spread_over_the_classes():
    assert some_of_each(np.array([2, 0, 1, 0]), 2) == [1, 0]
    assert len(some_of_each(np.arange(100), 6)) == 6
    found = some_of_each(np.array([0] * 50 + [1] * 50), 6)
    assert len(set(found)) == 6 and 50 in found
    assert some_of_each(np.array([1, 0]), 6) == [1, 0]


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (8, 8, 2), (8, 8, 3), (8, 8, 4), (300, 500, 3)])
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_any_picture_becomes_a_png(shape, kind):
    from io import BytesIO

    from PIL import Image

    picture = (np.random.default_rng(0).random(shape) * 255).astype(kind)
    with Image.open(BytesIO(png(picture))) as read:
        assert max(read.size) <= 224
        assert read.mode == ("RGB" if shape[-1] in (3, 4) else "L")
        if shape == (8, 8):
            assert np.abs(np.asarray(read).astype(float) - picture).max() <= 1


def test_the_network_s_view_is_what_it_reads(pictures):
    data = pictures[1]
    from core.data.handle import load_split

    loaded, (seen,) = load_split(data, "evaluation"), seen_pictures(data, [7])
    assert (seen.low, seen.high) == (loaded.inputs[7].min(), loaded.inputs[7].max())
    assert seen.held == (loaded.x[7].min(), loaded.x[7].max())
    assert seen.stored == evaluation_pictures(data, [7])[0]


def test_rows_without_names_have_numbers(home, files):
    data = replace(load_sample(bring(home, files, "rows"))[1], features=())
    assert list(evaluation_rows(data, [0])[0])[:2] == ["Value 1", "Value 2"]
    assert seen_rows(data, [0])["Column"][-1] == "Value 64"


def test_labels_that_cannot_be_read_are_a_sentence(home, files):
    data = load_sample(bring(home, files, "rows"))[1]
    data.split("evaluation").path.write_bytes(b"damaged")
    with pytest.raises(TemperError, match="cannot be read"):
        class_counts(data)
