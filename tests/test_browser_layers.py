"""The Layers page: every sample and recipe; in a real browser one colours, measures, looks at a layer."""

from __future__ import annotations

import io

import pandas as pd
import pytest
from browsing import address_recipe, settled
from conftest import ROOT, SAMPLES, prune, quantize, recipe
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest

from core.engine.evaluate import evaluate
from core.figures import words
from core.layers.layerwise import layerwise
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
    page.get_by_text("Sensitivity", exact=True).first.click()
    expect(page.locator(".st-key-chart-layers .t-caption")).to_contain_text("sensitivity is not known yet")
    with page.expect_download() as waiting:
        page.locator(".st-key-layers-table-csv").get_by_role("button").click()
    table = pd.read_csv(io.BytesIO(waiting.value.path().read_bytes()))
    assert table["Packed, bytes"].tolist() == [layer.packed for layer in found.layers]
    page.locator(".st-key-controls").get_by_role("button", name="Measure each layer alone").click()
    expect(page.locator(".st-key-chart-sensitivity .t-caption")).to_contain_text("examples")
    expect(page.locator(".st-key-chart-layers .t-caption")).to_contain_text("the most sensitive")
    for colour, button, finding in (
        ("Time share", "Time each layer", "takes longest"),
        ("Foretold to be lost", "Compute Fisher information", "is foretold to cost most"),
    ):
        page.get_by_text(colour, exact=True).first.click()
        page.locator(".st-key-controls").get_by_role("button", name=button).click()
        expect(page.locator(".st-key-chart-layers .t-caption")).to_contain_text(finding)
    expect(page.locator(".st-key-chart-foretold .t-caption")).to_contain_text("rank correlation")
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


def test_a_layer_s_own_bits_move_the_bytes_and_are_cleared_in_the_studio(page, address):
    model, data = load_sample("breast-cancer")
    page.goto(f"{address}/Layers?model=breast-cancer&recipe={ASKED.to_link()}")
    page.wait_for_selector(".st-key-layers-head .t-cards")
    quiet(page)
    largest = max(layerwise(model, data, ASKED).layers, key=lambda layer: layer.packed).name
    counted, caption = page.locator(".t-counted"), page.locator(".st-key-chart-layers .t-caption")
    before = counted.inner_text()
    slider = page.get_by_role("slider", name="Weight bits")
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(caption).to_contain_text("1 layer has settings of its own")
    quiet(page)
    moved = address_recipe(page)
    assert moved.steps[1].own == {largest: {"weight_bits": 3}}
    assert words.size(layerwise(model, data, moved).packed) in counted.inner_text() != before
    measured = page.locator(".st-key-layers-head")
    expect(measured.locator(".t-status")).to_contain_text("(1 layer apart)")  # of the exact result
    accuracy = evaluate(model, data, moved).tempered
    assert f"{100 * (accuracy.predicted.argmax(1) == accuracy.labels).mean():.1f}" in measured.inner_text()
    page.get_by_role("button", name="Undo").click()
    expect(caption).not_to_contain_text("of its own")
    assert address_recipe(page) == ASKED and counted.inner_text() == before
    page.get_by_text("Protect this layer").click()
    expect(caption).to_contain_text("of its own")
    quiet(page)
    assert address_recipe(page).steps[0].own == {largest: {"sparsity": 0.0}}
    assert address_recipe(page).steps[1].own == {largest: {"weight_bits": 32}}
    page.get_by_role("link", name="Studio").first.click()
    expect(page.locator(".st-key-panel-apart")).to_contain_text("One layer has settings of its own.")
    page.get_by_role("button", name="Clear it").click()
    expect(page.locator(".st-key-panel-apart")).to_have_count(0)
    settled(page)
    assert address_recipe(page) == ASKED
    page.get_by_role("button", name="Undo").click()
    page.locator(".st-key-panel-apart").get_by_role("link", name="See them in Layers").click()
    expect(caption).to_contain_text("1 layer has settings of its own")
    page.get_by_role("button", name="As the others").click()
    expect(caption).not_to_contain_text("of its own")
    quiet(page)
    assert address_recipe(page) == ASKED
