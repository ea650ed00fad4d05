"""The Export page in a real browser: files are made, checked, downloaded and run elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from browsing import free_port, served
from conftest import prune, quantize, recipe
from playwright.sync_api import Page, expect

from core.data.handle import load_split
from core.engine.evaluate import evaluate
from core.models.samples import load_sample
from core.recipe import Step

CHOSEN = recipe(prune(0.5), quantize(8, 8), Step.of("calibrate", "temperature"))


@pytest.fixture
def address(tmp_path):
    """A server with a home and a store of its own."""
    with served(free_port(), TEMPER_HOME=str(tmp_path / "home")) as found:
        yield found


def open_export(page: Page, address: str, sample: str, of=CHOSEN) -> None:
    page.goto(f"{address}/Export?model={sample}&recipe={of.to_link()}")
    expect(page.get_by_text("Files to take away")).to_be_visible()
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")


def card(page: Page, name: str):
    return page.locator(f".st-key-format-{name}")


def downloaded(page: Page, key: str, folder: Path) -> Path:
    with page.expect_download() as waiting:
        page.locator(f".st-key-{key}").get_by_role("button").click()
    place = folder / waiting.value.suggested_filename
    waiting.value.save_as(place)
    return place


def test_files_are_made_verified_and_predict_elsewhere(page, address, tmp_path):
    open_export(page, address, "breast-cancer")
    expect(page.get_by_text("Each file is opened again")).to_be_visible()
    page.get_by_role("button", name="Make and check all").click()
    for name in ("onnx", "packed", "pt2"):
        expect(card(page, name)).to_contain_text("Verified")
        expect(card(page, name)).to_contain_text("171 of 171 predictions equal")
    expect(card(page, "onnx-float")).to_contain_text("Not for this recipe")
    expect(page.locator("[data-testid=stException]")).to_have_count(0)
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")

    file = downloaded(page, "download-onnx", tmp_path)
    model, data = load_sample("breast-cancer")
    screen = evaluate(model, data, CHOSEN).tempered
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    found = session.run(["probabilities"], {"input": load_split(data, "evaluation").inputs})[0]
    assert np.abs(found - screen.probabilities).max() < 1e-5

    size = card(page, "onnx").locator(".t-big").inner_text()
    assert re.fullmatch(r"[\d.]+\s?kB", size)
    assert float(size.split("kB")[0]) == pytest.approx(file.stat().st_size / 1000, rel=0.06)

    page.locator(".st-key-export-report").get_by_role("button").click()
    expect(page.locator(".st-key-export-report-file")).to_be_visible()
    report = downloaded(page, "export-report-file", tmp_path).read_text(encoding="utf-8")
    assert "171 of 171" in report
    assert "The file: ONNX" in report
    assert downloaded(page, "export-script", tmp_path).suffix == ".zip"


def test_a_recipe_changed_in_the_studio_has_other_files(page, address):
    open_export(page, address, "breast-cancer", recipe())
    card(page, "onnx").get_by_role("button").click()
    expect(card(page, "onnx")).to_contain_text("Verified")
    first = card(page, "onnx").locator(".t-big").inner_text()
    open_export(page, address, "breast-cancer", recipe(quantize(4, 32)))
    expect(card(page, "onnx")).not_to_contain_text("Verified")
    card(page, "onnx").get_by_role("button").click()
    expect(card(page, "onnx")).to_contain_text("Verified")
    assert card(page, "onnx").locator(".t-big").inner_text() != first


def test_making_can_be_cancelled(page, address):
    open_export(page, address, "fashion-resnet")
    page.get_by_role("button", name="Make and check all").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("button", name="Make and check all")).to_be_enabled()
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")
    expect(card(page, "pt2")).not_to_contain_text("Verified")
    expect(card(page, "pt2").get_by_role("button")).to_be_enabled()


def test_speed_is_measured_and_other_devices_are_estimated(page, address):
    open_export(page, address, "breast-cancer")
    page.get_by_role("button", name="Measure").click()
    expect(page.get_by_role("heading", name="Milliseconds a call")).to_be_visible()
    expect(page.get_by_role("heading", name="In time", exact=True)).to_be_visible()
    expect(page.get_by_text("Memory at its peak")).to_be_visible()
    expect(page.get_by_text("At 30 frames a second")).to_be_visible()
    page.get_by_text("Other devices: estimates").click()
    expect(page.get_by_text("if the estimate's inputs hold")).to_be_visible()
    expect(page.locator("[data-testid=stException]")).to_have_count(0)
