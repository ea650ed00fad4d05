"""Pages in Streamlit's own test harness: they show, they react, bad links and files are a sentence."""

from __future__ import annotations

import re
import shutil

import pyarrow as pa
import pytest
from conftest import ROOT, SAMPLES, prune, quantize, recipe
from streamlit.testing.v1 import AppTest

from core import runs
from core.engine.memory import RESULTS
from core.figures.words import points, signed_amount
from core.models.samples import SHIPPED, load_sample
from core.recipe import Recipe, Step
from core.registry import method
from core.sweeps.plan import Plan, axis_of
from core.sweeps.sweep import Standing
from core.task import EVERY
from core.types import Latency
from ui import controls, start, tradeoffs
from ui.state import Sitting, showcase

PATIENCE = 120  # seconds: the first run exports graphs and evaluates 10,000 pictures


def studio(**query) -> AppTest:
    """The Studio as a visit through Home reaches it: pages are known only to the entry point."""
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=PATIENCE)
    for key, value in query.items():
        page.query_params[key] = value
    page.run()
    return page.switch_page("pages/1_Studio.py").run()


def words(page: AppTest) -> str:
    return " ".join(str(element.proto.body) for element in page.get("html"))


def test_home_shows_a_finished_result():
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=PATIENCE).run()
    assert not page.exception
    assert not page.error
    assert "Fashion ResNet in" in words(page)
    assert "Predictions that flipped" in words(page)


def test_a_point_left_early_has_the_latency_of_its_format(monkeypatch):
    page = studio(model="breast-cancer", recipe=recipe(prune(0.2), quantize(8, 8)).to_link())
    monkeypatch.setattr("ui.studio.speeds", lambda _: (Latency(1.0, 1.0, 1.0),) * 2)  # as if that was not reached
    page.slider(key="control:prune:magnitude-global:sparsity").set_value(30).run()
    assert not page.exception and not page.error
    later, first = runs.listed(model="breast-cancer")[:2]
    assert (later.parsed(), first.parsed()) == tuple(recipe(prune(s), quantize(8, 8)) for s in (0.3, 0.2))
    assert later.latency == first.latency is not None


@pytest.mark.parametrize("model", SAMPLES)
def test_the_studio_shows_every_sample(model):
    page = studio(model=model)
    assert not page.exception
    assert not page.error
    leads = load_sample(model)[1].task.facts.headline
    assert method("metric", leads).title in words(page)
    assert not re.search(
        r"\b(nan|inf|none)\b", re.sub(r"<style>.*?</style>|<[^>]*>", " ", words(page), flags=re.S), re.I
    )


def test_the_link_restores_the_recipe():
    wanted = recipe(prune(0.8, "magnitude-layer"), quantize(5, 6, range="mse"), Step.of("calibrate", "isotonic"))
    page = studio(model="breast-cancer", recipe=wanted.to_link())
    assert page.session_state["sitting"].recipe == wanted
    assert page.slider(key="control:prune:magnitude-layer:sparsity").value == 80
    assert page.select_slider(key="control:quantize:uniform:weight_bits").value == 5
    assert page.selectbox(key="control:calibrate").value == "isotonic"
    assert wanted.to_link() in page.query_params["recipe"]


def test_moving_a_slider_changes_the_recipe_and_undo_returns():
    page = studio(model="breast-cancer", recipe=recipe(prune(0.5)).to_link())
    page.slider(key="control:prune:magnitude-global:sparsity").set_value(90).run()
    assert page.session_state["sitting"].recipe == recipe(prune(0.9))
    assert "90 % sparse" in words(page)
    page.button(key="undo").click().run()
    assert page.session_state["sitting"].recipe == recipe(prune(0.5))
    assert page.slider(key="control:prune:magnitude-global:sparsity").value == 50
    page.button(key="redo").click().run()
    assert page.session_state["sitting"].recipe == recipe(prune(0.9))
    page.button(key="reset").click().run()
    assert page.session_state["sitting"].recipe == Recipe()
    assert page.button(key="reset").disabled
    assert "untouched" in words(page)


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"model": "resnet-50"}, "No model is called 'resnet-50'"),
        ({"recipe": "zzz"}, "cannot be read"),
        ({"recipe": '{"version": 7, "steps": []}'}, "version 7"),
        (
            {"recipe": '{"version": 1, "steps": [{"kind": "prune", "method": "melt"}]}'},
            "No prune method is called 'melt'",
        ),
    ],
)
def test_a_bad_link_is_one_sentence_and_the_page_stays(query, sentence):
    page = studio(**{"model": "breast-cancer", **query})
    assert not page.exception
    assert any(sentence in error.value for error in page.error)
    assert "Accuracy" in words(page)


@pytest.mark.parametrize("name", ["weights.safetensors", "evaluation.npz", "card.json"])
def test_a_damaged_sample_is_one_sentence_and_the_others_work(name, tmp_path, monkeypatch):
    for sample in ("breast-cancer", "fashion-small"):
        shutil.copytree(SHIPPED / sample, tmp_path / sample)
    (tmp_path / "breast-cancer" / name).write_bytes(b"damaged")
    monkeypatch.setenv("TEMPER_SAMPLES", str(tmp_path))
    RESULTS.clear()
    page = studio(model="breast-cancer")
    assert not page.exception
    assert len(page.error) == 1
    assert "breast-cancer" in page.error[0].value
    page.selectbox(key="control:model").set_value("fashion-small").run()
    page.slider(key="control:prune:magnitude-global:sparsity").set_value(30).run()
    assert not page.error
    assert "Fashion Small in" in words(page)


def test_a_damaged_sample_that_is_chosen_is_one_sentence(tmp_path, monkeypatch):
    for sample in ("breast-cancer", "fashion-small"):
        shutil.copytree(SHIPPED / sample, tmp_path / sample)
    monkeypatch.setenv("TEMPER_SAMPLES", str(tmp_path))
    RESULTS.clear()
    page = studio(model="breast-cancer")
    (tmp_path / "fashion-small" / "weights.safetensors").write_bytes(b"damaged")
    page.selectbox(key="control:model").set_value("fashion-small").run()
    assert not page.exception
    assert [("fashion-small" in error.value) for error in page.error] == [True]
    page.selectbox(key="control:model").set_value("breast-cancer").run()
    assert not page.exception and not page.error


def test_a_folder_without_samples_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("TEMPER_SAMPLES", str(tmp_path))
    page = studio()
    assert not page.exception
    assert any("No model is called" in error.value for error in page.error)


def test_a_fault_of_ours_is_one_sentence(monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("ui.work.compare", broken)
    page = studio(model="breast-cancer")
    assert not page.exception
    assert any("fault of its own here (ZeroDivisionError)" in error.value for error in page.error)


def test_too_little_memory_is_one_sentence(monkeypatch, capsys):
    def full(*_):
        raise MemoryError

    monkeypatch.setattr("ui.work.compare", full)
    page = studio(model="breast-cancer")
    assert not page.exception
    assert any("too little memory" in error.value for error in page.error)
    monkeypatch.setattr(start, "free_memory", lambda: 100_000_000)
    monkeypatch.setattr(start.sys, "argv", ["start", "--headless", "--port", "1"])
    monkeypatch.setattr(start, "port_is_free", lambda *_: True)
    assert start.main() == 2
    assert "About 1,000 MB of free memory are needed and 100 MB are free" in capsys.readouterr().err


def test_a_recipe_that_cannot_run_keeps_the_controls():
    wrong = Recipe((Step.of("calibrate", "temperature"), prune(0.5)))
    page = studio(model="breast-cancer", recipe=wrong.to_link())
    assert not page.exception
    assert any("last step" in error.value for error in page.error)
    page.slider(key="control:prune:magnitude-global:sparsity").set_value(20).run()
    assert not page.error


@pytest.mark.parametrize(
    ("shown", "task"),
    [
        (Recipe(), "multi-class"),
        (Recipe(), "regression"),
        *((showcase(task), task) for task in EVERY),
        (
            recipe(
                prune(0.3, "random"),
                quantize(2, 4, granularity="tensor", scheme="affine", range="percentile", percentile=99.0),
            ),
            "binary",
        ),
        (recipe(Step.of("calibrate", "vector"), seed=7), "multi-class"),
        (recipe(Step.of("calibrate", "conformal"), seed=7), "regression"),
    ],
)
def test_controls_read_back_what_they_were_given(shown, task, monkeypatch):
    state: dict = {}
    monkeypatch.setattr(controls.st, "session_state", state)
    controls.write(shown, task)
    assert controls.can_show(shown)
    assert controls.read(shown) == shown.simplified()


def test_other_recipes_are_said_not_to_fit_the_controls():
    assert not controls.can_show(Recipe((quantize(8, 8), prune(0.5))))
    assert not controls.can_show(Recipe((prune(0.5), prune(0.6))))


def test_history_drops_what_was_undone():
    now = Sitting("breast-cancer", [Recipe()])
    now.change(recipe(prune(0.1)))
    now.change(recipe(prune(0.2)))
    now.undo()
    now.change(recipe(prune(0.3)))
    assert [r.notation for r in now.history] == ["untouched", "10 % sparse", "30 % sparse"]
    assert not now.can_redo
    now.redo()
    assert now.recipe == recipe(prune(0.3))


def test_runs_write_a_minus_and_sort_by_numbers(tmp_path, monkeypatch):
    monkeypatch.setenv("TEMPER_HOME", str(tmp_path))  # no runs of other tests
    for model in ("breast-cancer", "diamonds"):
        assert not studio(model=model, recipe=recipe(prune(0.9)).to_link()).exception
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=PATIENCE).run()
    page.switch_page("pages/10_Runs.py").run()
    assert not page.exception
    found = page.dataframe[0]
    changes = found.value["Change"]
    shown = pa.ipc.open_stream(found.proto.arrow_data.styler.display_values).read_pandas()["Change"]
    assert changes.dtype == float and (changes < 0).any()
    leads = [run.quantity(run.task.facts.headline, "change") for run in runs.listed()]
    assert list(changes) == [lead.value for lead in leads]
    assert {lead.unit for lead in leads} == {"fraction", "US dollars"}
    for text, lead in zip(shown, leads, strict=True):
        in_words = points(lead.value) if lead.unit == "fraction" else f"{signed_amount(lead.value)} US dollars"
        assert text == in_words
    assert not any("-" in text for text in shown)


@pytest.mark.parametrize(
    ("state", "says"), [("ready", True), ("paused", True), ("running", False), ("queued", False)]
)
def test_trade_offs_ask_to_begin_only_before_a_sweep(state, says, monkeypatch):
    written = []
    monkeypatch.setattr("ui.tradeoffs.st.html", written.append)
    axes = (axis_of(Recipe(), "sparsity", (0.0, 0.5)), axis_of(Recipe(), "weight_bits", (4, 8)))
    tradeoffs._empty(Plan(Recipe(), axes), Standing(state, 4, 0, 0, None))
    assert ("Press <b>Evaluate</b>" in written[0]) == says
    assert "4 recipes: Sparsity × Weight bits." in written[0]
