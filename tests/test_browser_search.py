"""The search in a real browser: budgets in, recipes appear, the best is judged and opens in the Studio."""

from __future__ import annotations

import io
import re

import pandas as pd
from browsing import PATIENCE, address_recipe, settled
from playwright.sync_api import Page, expect

from core.engine.evaluate import evaluate
from core.models.samples import load_sample
from core.recipe import from_json


def open_page(page: Page, address: str) -> None:
    page.goto(f"{address}/Trade-offs?model=breast-cancer&way=search")
    page.wait_for_selector(".st-key-search-start, .st-key-search-pause")
    expect(page.locator("[data-testid=stException]")).to_have_count(0)


def table(page: Page) -> pd.DataFrame:
    with page.expect_download() as waiting:
        page.locator(".st-key-search-all-csv").get_by_role("button").click()
    return pd.read_csv(io.BytesIO(waiting.value.path().read_bytes()))


def test_a_search_under_budgets_leads_to_the_studio(page, address):
    open_page(page, address)
    expect(page.get_by_text("Name your budgets, and let it search")).to_be_visible()
    expect(page.get_by_role("spinbutton", name="Packed size at most (kB)")).to_have_value("5.4")
    lost = page.get_by_role("spinbutton", name="Accuracy lost at most (points)")
    expect(lost).to_have_value("0.50")
    lost.fill("2")
    lost.press("Enter")
    count = page.get_by_role("spinbutton", name="Recipes", exact=True)
    count.fill("6")
    count.press("Enter")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(page.locator(".t-tag")).to_have_text("Done")
    best = page.locator(".t-take", has_text="Best so far")
    expect(best).to_contain_text("The evaluation set, which chose nothing, says")
    expect(page.get_by_text(re.compile("One half of the calibration split")).first).to_be_visible()
    rows = table(page)
    assert len(rows) == 6
    count.fill("200")  # enough to be seen at work, however long a trial takes
    count.press("Enter")
    seconds = page.get_by_role("spinbutton", name="Seconds at most")
    seconds.fill("3600")
    seconds.press("Enter")
    page.get_by_role("button", name="Go on", exact=True).click()
    expect(page.get_by_text(re.compile(r"Searching: ([7-9]|\d\d+) of"))).to_be_visible(timeout=2 * PATIENCE)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".t-tag")).to_have_text("Stopped")
    page.wait_for_timeout(1_500)  # a trial that had ended as the search was cancelled still comes in
    after = table(page)
    assert after["recipe"].tolist()[:6] == rows["recipe"].tolist()
    page.get_by_role("button", name="Open in the Studio").click()
    settled(page)
    taken = address_recipe(page)
    result = evaluate(*load_sample("breast-cancer"), taken)
    assert result.bytes.packed <= result.original_bytes.packed / 2
    assert taken.fingerprint in {from_json(text).fingerprint for text in after["recipe"]}
