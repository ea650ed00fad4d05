"""A sample of each kind in a real browser from end to end: looked at, moved, calibrated, swept, shipped."""

from __future__ import annotations

import re

import pytest
from browsing import PATIENCE, cards, free_port, open_studio, press, served, settled
from conftest import prune, quantize, recipe
from playwright.sync_api import Page, expect

from core.engine.compare import compare
from core.engine.evaluate import evaluate
from core.figures import said
from core.models.samples import load_sample, read_card
from core.recipe import Recipe, Step
from core.registry import method, methods

START = recipe(prune(0.3), quantize(8, 8))
GRID = "sparsity=0,0.6;weight_bits=4,8"
KINDS = ("fashion-small", "breast-cancer", "diamonds", "spam-mail")  # pictures, a table, numbers, texts


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return tmp_path_factory.mktemp("served") / "log.txt"


@pytest.fixture(scope="module")
def address(log, tmp_path_factory):
    with served(free_port(), log, TEMPER_HOME=str(tmp_path_factory.mktemp("home"))) as found:
        yield found


def at_rest(page: Page) -> None:
    """Wait until nothing runs, and find no red box."""
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")
    expect(page.locator("[data-testid=stException], [data-testid=stAlertContentError]")).to_have_count(0)


def chosen(page: Page, name: str) -> None:
    """Choose a confidence calibration by its title, as a person does."""
    page.get_by_role("combobox", name=re.compile("(Confidence|Interval).*: method")).click()
    page.keyboard.type(method("calibrate", name).title)  # a long list draws only what is in view
    page.get_by_role("option", name=method("calibrate", name).title, exact=True).click()


def shown(page: Page, model, data, of: Recipe) -> None:
    """The headline on the cards is the engine's, before and after."""
    lead = data.task.facts.headline
    told, text = compare(evaluate(model, data, of)), " ".join(cards(page).split())
    for side, words in ((told.tempered, ""), (told.original, "was ")):
        assert words + said.number(side[lead].value, side[lead].unit) in text, (side[lead], text)


@pytest.mark.parametrize("name", KINDS)
def test_a_sample_goes_all_the_way(page, address, log, name):
    model, data = load_sample(name)
    begun = log.stat().st_size

    page.goto(f"{address}/Model_and_data?model={name}&recipe={START.to_link()}")
    expect(page.locator(".st-key-model")).to_contain_text(model.title)
    expect(page.locator(".st-key-model")).to_contain_text(f"{read_card(name)['parameters']:,}")
    at_rest(page)

    open_studio(page, address, f"model={name}&recipe={START.to_link()}")
    at_rest(page)
    press(page, "Sparsity", "ArrowRight", "31 % sparse")
    at_rest(page)
    moved = recipe(prune(0.31), quantize(8, 8))
    shown(page, model, data, moved)
    way = methods("calibrate", data.task.kind)[-1].name
    chosen(page, way)
    expect(page.locator(".t-status")).to_contain_text(way)
    settled(page)
    at_rest(page)
    of = recipe(*moved.steps, Step.of("calibrate", way))
    shown(page, model, data, of)

    page.goto(f"{address}/Trade-offs?model={name}&recipe={of.to_link()}&grid={GRID}")
    page.get_by_role("button", name=re.compile("Evaluate")).click()
    expect(page.locator(".t-tag")).to_have_text("Done", timeout=5 * PATIENCE)
    expect(page.get_by_text(re.compile("4 of 4 points known")).first).to_be_visible()
    at_rest(page)

    page.goto(f"{address}/Export?model={name}&recipe={of.to_link()}")
    page.get_by_role("button", name="Make and check all").click()
    for form in ("onnx", "packed", "pt2"):
        card = page.locator(f".st-key-format-{form}")
        expect(card).to_contain_text("✓ Verified", timeout=5 * PATIENCE)  # PyTorch sees 10,000 pictures too
    at_rest(page)
    assert not re.search(r"Traceback|Error\b", log.read_text()[begun:])
