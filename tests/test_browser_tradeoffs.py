"""The Trade-offs page in a real browser: a grid fills, limits narrow it, a click leads on, nothing is lost."""

from __future__ import annotations

import io
import re

import pandas as pd
from browsing import address_recipe, free_port, served, settled
from conftest import prune, quantize, recipe
from playwright.sync_api import Page, expect

from core.engine.evaluate import evaluate
from core.models.samples import load_sample
from core.recipe import Recipe

SMALL = "sparsity=0,0.5,0.9;weight_bits=4,8"
EMPTY = f"recipe={Recipe().to_link()}"


def open_page(page: Page, address: str, query: str) -> None:
    page.goto(f"{address}/Trade-offs?{query}")
    page.wait_for_selector(".st-key-chart-heat")
    expect(page.locator("[data-testid=stException]")).to_have_count(0)


def evaluated(page: Page) -> None:
    """Press Evaluate and wait for the end."""
    page.get_by_role("button", name=re.compile("Evaluate|Go on")).click()
    expect(page.locator(".t-tag")).to_have_text("Done")
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")


def counts(page: Page) -> tuple[int, int]:
    """Points known and measured, as the page says."""
    found = page.get_by_text(re.compile(r"\d+ of \d+ points known, \d+ measured")).first.inner_text()
    known, measured = re.search(r"(\d+) of \d+ points known, (\d+) measured", found).groups()
    return int(known), int(measured)


def counted_out(page: Page) -> tuple[int, int]:
    """The counts of a pause: what was under way is finished, however long it takes, and nothing is started."""
    for _ in range(10):
        before = counts(page)
        page.wait_for_timeout(3_000)
        if counts(page) == before:
            return before
    raise AssertionError("points are started in a pause")


def download(page: Page, name: str) -> bytes:
    with page.expect_download() as waiting:
        page.locator(".st-key-tradeoffs-" + name).get_by_role("button").click()
    return waiting.value.path().read_bytes()


def test_a_grid_fills_and_leads_to_the_studio(page, address):
    open_page(page, address, f"model=breast-cancer&{EMPTY}&grid={SMALL}")
    expect(page.get_by_text("How far can you go before it breaks?")).to_be_visible()
    evaluated(page)
    assert counts(page) == (6, 6)
    table = pd.read_csv(io.BytesIO(download(page, "csv")))
    again = pd.read_parquet(io.BytesIO(download(page, "parquet")))
    assert len(table) == 6
    assert table["accuracy"].tolist() == again["accuracy"].tolist()
    model, data = load_sample("breast-cancer")
    row = table[(table.sparsity == 0.5) & (table.weight_bits == 8)].iloc[0]
    said = evaluate(model, data, recipe(prune(0.5), quantize(8, 32)))
    assert row.accuracy == said.tempered.correct.mean()
    assert row.packed_bytes == said.bytes.packed
    # The lower right cell of the two by three: 90 % sparse at 8 bits.
    area = page.locator(".st-key-chart-heat .draglayer .xy .nsewdrag").first.bounding_box()
    page.mouse.click(area["x"] + area["width"] * 0.75, area["y"] + area["height"] * 5 / 6)
    expect(page.locator(".st-key-picked")).to_contain_text("90 % sparse · W8A32")
    page.get_by_role("button", name="Open in the Studio").click()
    expect(page.locator(".t-status")).to_contain_text("90 % sparse · W8A32")
    settled(page)
    assert address_recipe(page) == recipe(prune(0.9), quantize(8, 32))


def test_limits_say_what_remains(page, address):
    open_page(page, address, f"model=breast-cancer&{EMPTY}&grid={SMALL}")
    if page.get_by_role("button", name=re.compile("Evaluate|Go on")).count():
        evaluated(page)
    sentence = page.locator(".t-take", has_text="Best so far")
    before = sentence.inner_text()
    slider = page.get_by_role("slider", name="Accuracy at least (%)")
    slider.focus()
    page.keyboard.press("End")  # 100 %
    expect(page.get_by_text("No measured point is within these limits")).to_be_visible()
    slider.focus()
    page.keyboard.press("Home")  # 0 %
    expect(sentence).to_contain_text("of 6 points within the limits")
    assert sentence.inner_text() != before or "of 6 points" in before


def test_pause_cancel_and_a_restart_lose_nothing(page, tmp_path):
    kept = {"TEMPER_CACHE": str(tmp_path)}
    query = f"model=fashion-small&{EMPTY}&grid=sparsity=0:0.95:0.01;weight_bits=2,3,4,5,6,8,32"  # never done in time
    with served(free_port(), **kept) as address:
        open_page(page, address, query)
        page.get_by_role("button", name="Evaluate 672 points").click()
        expect(page.get_by_text(re.compile(r"Running: [1-9]\d* of 672 points known")).first).to_be_visible()
        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_text(re.compile(r"Paused: ")).first).to_be_visible()
        paused = counted_out(page)
        page.get_by_role("link", name="Home").click()
        expect(page.locator(".t-take").first).to_contain_text("Fashion Small")
        page.get_by_role("link", name="Trade-offs").click()
        expect(page.get_by_text(re.compile(r"Paused: ")).first).to_be_visible()
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator(".t-tag")).to_have_text("Stopped")
        known = counts(page)
        assert 0 < known[0] < 672
        assert known >= paused
    with served(free_port(), **kept) as address:
        open_page(page, address, query)
        page.wait_for_selector(".st-key-picked, .t-take")
        assert counts(page) == known, "as it was before the restart"
        page.get_by_role("button", name="Go on").click()
        expect(page.get_by_text(re.compile(r"Running: \d+ of 672")).first).to_be_visible()
        assert counts(page) >= known
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator(".t-tag")).to_have_text("Stopped")


def test_a_link_with_a_wrong_grid_is_one_sentence(page, address):
    open_page(page, address, f"model=breast-cancer&{EMPTY}&grid=sparsity=0:2:0.5;weight_bits=4,8")
    expect(page.get_by_text("must be a number from 0 to 0.99").first).to_be_visible()
    expect(page.get_by_role("button", name="Evaluate 70 points")).to_be_visible()
