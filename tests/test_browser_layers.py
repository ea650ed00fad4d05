"""The Layers page: every sample and recipe; in a real browser one colours, measures, looks at a layer."""

from __future__ import annotations

import io

import pandas as pd
import pytest
from conftest import ROOT, SAMPLES, prune, quantize, recipe
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest

from core.engine.layerwise import layerwise
from core.models.samples import load_sample
from core.recipe import Recipe, Step

CHANNELS = Step.of("prune", "channels-magnitude", {"sparsity": 0.5})
ASKED = recipe(prune(0.5), quantize(4, 8))


@pytest.mark.parametrize(
    "given", [Recipe(), ASKED, recipe(CHANNELS, quantize(8, 8))], ids=["none", "both", "channels"]
)
@pytest.mark.parametrize("model", SAMPLES)
def test_the_page_shows_every_sample(model, given):
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
    page.query_params["model"] = model
    page.query_params["recipe"] = given.to_link()
    page.run()
    page.switch_page("pages/3_Layers.py").run()
    assert not page.exception and not page.error
    found = layerwise(*load_sample(model), given)
    picker = page.selectbox(key="layers-layer")
    assert picker.options == [layer.name for layer in found.layers]
    assert picker.value == max(found.layers, key=lambda layer: layer.packed).name
    assert page.button(key="layers-measure")
    picker.set_value(found.layers[-1].name).run()
    assert not page.exception and not page.error
    assert page.session_state["layers-chosen"] == found.layers[-1].name


def quiet(page: Page) -> None:
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")
    expect(page.locator("[data-testid=stException], [data-testid=stAlert]")).to_have_count(0)


def test_colour_measure_and_look_at_a_layer(page, address):
    found = layerwise(*load_sample("breast-cancer"), ASKED)
    page.goto(f"{address}/Layers?model=breast-cancer&recipe={ASKED.to_link()}")
    page.wait_for_selector(".st-key-chart-layers .js-plotly-plot")
    quiet(page)
    expect(page.locator(".st-key-chart-layers .t-caption")).to_contain_text("the lowest SQNR is")
    page.get_by_text("Sparsity", exact=True).first.click()
    expect(page.locator(".st-key-chart-layers .t-caption")).to_contain_text("the sparsest is")
    expect(page.get_by_role("radio", name="Sensitivity")).to_have_count(0)
    with page.expect_download() as waiting:
        page.locator(".st-key-layers-table-csv").get_by_role("button").click()
    table = pd.read_csv(io.BytesIO(waiting.value.path().read_bytes()))
    assert table["Packed, bytes"].tolist() == [layer.packed for layer in found.layers]
    page.get_by_role("button", name="Measure each layer alone").click()
    expect(page.locator(".st-key-chart-sensitivity .t-caption")).to_contain_text("examples")
    page.get_by_text("Sensitivity", exact=True).first.click()
    expect(page.locator(".st-key-chart-layers .t-caption")).to_contain_text("the most sensitive")
    quiet(page)
    # A click on the map's first row.
    area = page.locator(".st-key-chart-layers .draglayer .xy .nsewdrag").first.bounding_box()
    page.mouse.click(area["x"] + area["width"] * 0.5, area["y"] + area["height"] * 0.5 / len(found.layers))
    expect(page.locator(".st-key-chart-weights .t-caption")).to_contain_text(found.layers[0].name)
    row = page.get_by_role("spinbutton", name="Channel")
    row.fill("3")
    row.press("Enter")
    expect(page.locator(".st-key-chart-weights .t-caption")).to_contain_text(f"{found.layers[0].name}, channel 3")
    page.get_by_role("link", name="Studio").first.click()
    page.wait_for_selector(".st-key-examples")
    page.get_by_role("link", name="Layers").click()
    expect(page.locator(".st-key-chart-sensitivity .t-caption")).to_contain_text("examples")  # kept
