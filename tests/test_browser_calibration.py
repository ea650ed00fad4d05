"""The Calibration page: every sample in Streamlit's harness; in a real browser one compares, drags and takes one."""

from __future__ import annotations

import pytest
from browsing import address_recipe
from conftest import ROOT, prune, quantize, recipe
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest

from core.calibration.calibration_lab import contest, material
from core.calibration.ranking import rank
from core.figures import said
from core.models.samples import load_sample

ASKED = recipe(prune(0.5), quantize(4, 8))


@pytest.mark.parametrize("model", ["breast-cancer", "diamonds"])
def test_the_page_shows_what_the_engine_ranks(model):
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
    page.query_params["model"] = model
    page.query_params["recipe"] = ASKED.to_link()
    page.run()
    page.switch_page("pages/4_Calibration.py").run()
    assert not page.exception and not page.error
    handle, data = load_sample(model)
    measure = "nll" if data.task.decides else "interval_score"
    found = rank(contest(material(handle, data, ASKED)), measure)
    look = page.selectbox(key="calibration-look-picker")
    assert look.options == [row.entry.title for row in found.rows]
    assert look.value == found.best.entry.name
    said_above = " ".join(str(one.proto.body) for one in page.get("html"))
    assert (
        f"has the best {said.name(measure)}: {said.value(found.best.value.value, found.best.value.unit)}"
        in said_above
    )
    page.button(key="calibration-use").click().run()
    assert not page.exception and not page.error
    assert page.session_state["sitting"].recipe.steps[-1].method == found.best.entry.name
    assert page.button(key="calibration-use").disabled


def test_in_a_browser_a_calibration_is_taken_and_a_temperature_dragged(page: Page, address):
    page.goto(f"{address}/Calibration?model=breast-cancer&recipe={ASKED.to_link()}")
    page.wait_for_selector(".st-key-chart-calibration-sets")
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")
    expect(page.locator("[data-testid=stAlert]").filter(has_text="Predicted classes change")).to_have_count(1)
    page.get_by_role("button", name="Use this one").click()
    expect(page.get_by_role("button", name="In the recipe")).to_be_disabled()
    assert address_recipe(page).only("calibrate").steps
    caption = page.locator(".st-key-chart-temperature-curve .t-caption")
    before = caption.inner_text()
    slider = page.get_by_role("slider", name="Drag the temperature")
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(caption).not_to_have_text(before)
    page.get_by_role("button", name="Measure it").click()
    expect(page.locator(".st-key-chart-how-many .t-caption")).to_contain_text("examples")
    expect(page.locator("[data-testid=stException]")).to_have_count(0)
