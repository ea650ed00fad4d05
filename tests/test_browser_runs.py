"""The Runs page in a real browser: what the Studio evaluates is found, named, compared, taken away, deleted."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile

import pytest
from browsing import address_recipe, cards, free_port, open_studio, served, settled
from conftest import ROOT, prune, quantize, recipe
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest

from core.engine.evaluate import evaluate
from core.models.samples import load_sample
from core.recipe import from_json

ONE, OTHER = recipe(prune(0.5), quantize(4, 8)), recipe(prune(0.9))
ROW = 35  # px: a row of the table


@pytest.fixture
def address(tmp_path):
    """A server with a home of its own, so that each test begins without runs."""
    with served(free_port(), TEMPER_HOME=str(tmp_path / "home"), MLFLOW_TRACKING_URI="") as found:
        yield found


def visit(page: Page, address: str, of) -> str:
    """Evaluate a recipe in the Studio, as a link opens it; returns its cards."""
    open_studio(page, address, f"model=breast-cancer&recipe={of.to_link()}")
    return cards(page)


def open_runs(page: Page, address: str) -> None:
    page.goto(f"{address}/Runs")
    page.wait_for_selector("[data-testid=stDataFrame], .st-key-runs-empty")
    quiet(page)


def quiet(page: Page) -> None:
    page.wait_for_timeout(300)
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")
    expect(page.locator("[data-testid=stException]")).to_have_count(0)


def select(page: Page, *places: int) -> None:
    """Click the boxes of rows, 0 the latest run."""
    box = page.locator("[data-testid=stDataFrame]").first.bounding_box()
    for place in places:
        page.mouse.click(box["x"] + 18, box["y"] + ROW * (place + 1.5))
        quiet(page)


def download(page: Page, key: str) -> bytes:
    with page.expect_download() as waiting:
        page.locator(f".st-key-{key}").get_by_role("button").click()
    return waiting.value.path().read_bytes()


def test_from_the_studio_and_back(page, address):
    open_runs(page, address)
    expect(page.get_by_text("No run yet")).to_be_visible()
    visit(page, address, OTHER)
    shown = visit(page, address, ONE)
    open_runs(page, address)
    expect(page.get_by_text(re.compile(r"^2 runs\."))).to_be_visible()
    select(page, 0)
    panel = page.locator(".st-key-run")
    expect(panel).to_contain_text("50 % sparse · W4A8")
    assert cards(page) == shown, "the run says what the Studio said"
    panel.get_by_role("textbox", name="Name").fill("<b>First</b> candidate")
    page.keyboard.press("Enter")
    expect(panel.get_by_role("heading", name="<b>First</b> candidate")).to_be_visible()
    assert from_json(download(page, "run-recipe").decode()) == ONE
    panel.get_by_role("button", name="Prepare report and script").click()
    expect(page.get_by_text("Evaluated again: the same accuracy to the last digit.")).to_be_visible()
    quiet(page)
    html = download(page, "run-report").decode()
    assert "Temper report" in html and ONE.fingerprint in html
    with zipfile.ZipFile(io.BytesIO(download(page, "run-script"))) as archive:
        assert from_json(archive.read("recipe.json").decode()) == ONE
    panel.get_by_role("button", name="Open in the Studio").click()
    expect(page.locator(".t-status")).to_contain_text("50 % sparse · W4A8")
    settled(page)
    assert address_recipe(page) == ONE
    assert cards(page) == shown


def test_two_side_by_side_with_their_files(page, address):
    for of in (OTHER, ONE):
        visit(page, address, of)
    open_runs(page, address)
    select(page, 0, 1)
    panel = page.locator(".st-key-runs-compared")
    expect(panel.get_by_role("heading", name="2 runs side by side")).to_be_visible()
    expect(page.locator(".st-key-chart-together .main-svg").first).to_be_visible()
    model, data = load_sample("breast-cancer")
    rows = {row["figure"]: row for row in csv.DictReader(io.StringIO(download(page, "compared-csv").decode()))}
    for of in (ONE, OTHER):
        result = evaluate(model, data, of)
        assert float(rows["Accuracy"][of.notation]) == result.tempered.correct.mean()
        assert float(rows["Packed size"][of.notation]) == result.bytes.packed
    assert len(list(csv.DictReader(io.StringIO(download(page, "runs-csv").decode())))) == 2
    listed = json.loads(download(page, "runs-json"))
    assert [run["notation"] for run in listed] == [ONE.notation, OTHER.notation]
    assert listed[1]["latency"]["result"]["note"].startswith("Simulated"), "measured after the first numbers stood"


def test_search_and_delete_with_undo(page, address):
    for of in (OTHER, ONE):
        visit(page, address, of)
    open_runs(page, address)
    search = page.get_by_role("textbox", name="Search")
    search.fill("w4a8")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 of 2 runs.")).to_be_visible()
    quiet(page)
    select(page, 0)
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("1 run was deleted.")).to_be_visible()
    expect(page.get_by_text("No run of 1 holds these words")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("1 of 2 runs.")).to_be_visible()
    search.fill("")
    page.keyboard.press("Enter")
    expect(page.get_by_text(re.compile(r"^2 runs\."))).to_be_visible()


def test_a_visit_counts_once_however_often_the_page_is_drawn(page, address):
    visit(page, address, ONE)
    page.get_by_text("Equal mass").click()
    settled(page)
    page.get_by_role("link", name="Home").click()
    expect(page.locator(".t-take").first).to_contain_text("Breast Cancer")
    page.get_by_role("link", name="Runs").click()
    page.wait_for_selector("[data-testid=stDataFrame]")
    quiet(page)
    (run,) = json.loads(download(page, "runs-json"))
    assert run["visits"] == 1


# The rest without a browser: the page's sentences.


def drawn(monkeypatch, home) -> AppTest:
    monkeypatch.setenv("TEMPER_HOME", str(home))
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
    page.query_params["model"] = "breast-cancer"
    page.run()
    page.switch_page("pages/10_Runs.py").run()
    assert not page.exception
    return page


def words(page: AppTest) -> str:
    return " ".join(str(element.proto.body) for element in page.get("html"))


def test_a_damaged_file_is_said_on_the_page(monkeypatch, tmp_path):
    (tmp_path / "runs.sqlite3").write_bytes(b"no database at all " * 100)
    page = drawn(monkeypatch, tmp_path)
    assert any("was damaged; it was set aside" in warning.value for warning in page.warning)
    assert "1 run." in words(page), "what Home evaluated is in the new file"


def test_a_newer_file_is_one_sentence(monkeypatch, tmp_path):
    import sqlite3

    connection = sqlite3.connect(tmp_path / "runs.sqlite3")
    connection.execute("PRAGMA user_version = 9")
    connection.close()
    page = drawn(monkeypatch, tmp_path)
    assert any("newer Temper" in error.value for error in page.error)


def test_exports_to_mlflow_are_said_on_the_page(monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlflow").as_uri())
    assert "also sent to MLflow at file:" in words(drawn(monkeypatch, tmp_path / "home"))
