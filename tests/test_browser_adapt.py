"""Adapt in a real browser: a compressed model learns, is stopped, goes on, and its network is the recipe's."""

from __future__ import annotations

import re

import pytest
from browsing import PATIENCE, address_recipe, free_port, served
from playwright.sync_api import Page, expect

from core.recipe import Recipe, Step

COMPRESSED = Recipe(
    (Step.of("prune", "magnitude-global", {"sparsity": 0.9}), Step.of("quantize", "uniform", {"weight_bits": 3}))
)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with served(free_port(), TEMPER_HOME=str(tmp_path_factory.mktemp("home"))) as found:
        yield found


def open_page(page: Page, address: str, recipe: Recipe, model: str = "breast-cancer") -> None:
    page.goto(f"{address}/Adapt?model={model}&recipe={recipe.to_link()}")
    expect(page.get_by_text("What to do", exact=True)).to_be_visible()
    page.wait_for_timeout(800)


def test_what_is_learned_becomes_the_recipe(page, address):
    open_page(page, address, COMPRESSED)
    page.locator(".st-key-adapt-time").get_by_text("10 s", exact=True).click()
    page.wait_for_timeout(800)
    page.get_by_role("button", name="Start", exact=True).click()
    # A training steps back for whatever else the machine does: two runs of tests make 10 s a minute.
    expect(page.locator(".t-tag", has_text="Done")).to_be_visible(timeout=5 * PATIENCE)
    expect(page.locator(".t-take")).to_contain_text("171 evaluation examples")
    page.get_by_role("button", name="Use it in the recipe").click()
    expect(page.get_by_role("button", name="It is in your recipe")).to_be_visible()
    page.wait_for_timeout(800)
    taken = address_recipe(page)
    assert [step.kind for step in taken.steps] == ["prune", "quantize", "train"]
    page.get_by_role("link", name="Studio").first.click()
    expect(page.get_by_text(re.compile("Trained on the Adapt page: recover"))).to_be_visible()
    expect(page.locator("[data-testid=stAlert]")).to_have_count(0)
    page.get_by_role("button", name="Leave the training out").click()
    expect(page.get_by_text(re.compile("Trained on the Adapt page"))).to_have_count(0)


def test_a_training_stops_and_is_found_again(page, address):
    open_page(page, address, COMPRESSED, "fashion-small")
    page.locator(".st-key-adapt-time").get_by_text("5 min", exact=True).click()
    page.wait_for_timeout(800)
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_text("How it goes")).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".t-tag", has_text="Paused")).to_be_visible()
    open_page(page, address, COMPRESSED, "fashion-small")  # a new visit
    expect(page.get_by_text("Trainings so far")).to_be_visible()


def test_without_compression_it_says_where_to_begin(page, address):
    open_page(page, address, Recipe())
    expect(page.get_by_text(re.compile("Nothing was compressed yet"))).to_be_visible()
    expect(page.get_by_role("button", name="Start", exact=True)).to_have_count(0)
