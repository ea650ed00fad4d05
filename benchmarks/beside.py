"""The Studio's slider while a training runs, against the same slider while nothing does."""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page

from benchmarks.driven import IDLE, OURS, chromium, median, one_by_one, open_studio, p95, recipe, served, visit, watch
from benchmarks.rows import Row

TRAINED = "fashion-small"
LONG = "5 min"
ROUNDS = 3
MOVES = 8
BITS = (2, 3, 4, 5, 6, 7)  # of the weights: each round moves over points of its own
IDLE_IS = "the same moves while nothing trains, in turn"


def rows() -> list[Row]:
    """Rounds in turn: some new points at rest, then as many while a training runs."""
    found: dict[bool, list[float | None]] = {False: [], True: []}
    with (
        tempfile.TemporaryDirectory() as place,
        chromium() as browser,
        served(OURS, Path(place)) as (address, _),
        visit(browser) as page,
    ):
        for turn in range(2 * ROUNDS):
            training = turn % 2 == 1
            if training:
                _train(browser, address)
            open_studio(page, address, recipe(0.3, BITS[turn]))
            watch(page)
            found[training] += one_by_one(page, "ArrowRight", MOVES).exact
            if training:
                _pause(browser, address)
    return [
        Row("a new point while a training runs, key to exact number, median", *map(median, _both(found)), IDLE_IS),
        Row("a new point while a training runs, key to exact number, p95", *map(p95, _both(found)), IDLE_IS),
    ]


def _both(found: dict[bool, list[float | None]]) -> tuple[list[float | None], list[float | None]]:
    return found[True], found[False]


def _train(browser: Browser, address: str) -> None:
    """Start a training on the Adapt page, or go on with it, and leave the page once it learns."""
    with visit(browser) as page:
        _adapt(page, address)
        page.locator(".st-key-adapt-start button").first.click()
        page.wait_for_selector("text=% done")


def _pause(browser: Browser, address: str) -> None:
    with visit(browser) as page:
        _adapt(page, address)
        page.locator(".st-key-adapt-pause button").first.click()
        page.wait_for_selector(".st-key-adapt-start button")


def _adapt(page: Page, address: str) -> None:
    page.goto(f"{address}/Adapt?model={TRAINED}")
    page.wait_for_selector(IDLE)
    page.get_by_text(LONG, exact=True).click()
    page.wait_for_selector(".st-key-adapt-start, .st-key-adapt-pause")
    page.wait_for_selector(IDLE)
