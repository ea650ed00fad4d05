"""The section on budgets in a real browser: asked, refused with a reason, answered, found again, taken along."""

from __future__ import annotations

import json

from conftest import recipe
from playwright.sync_api import expect

from core.recipe import from_json, from_link


def test_a_budget_is_answered_and_taken_to_the_studio(page, address):
    page.goto(f"{address}/Layers?model=breast-cancer&recipe={recipe().to_link()}")
    box = page.locator(".st-key-budget")
    find = box.get_by_role("button", name="Find it")
    expect(find).to_be_enabled()
    find.click()  # half a point cannot be told on 140 examples
    expect(box.get_by_role("alert")).to_contain_text("cannot be promised")
    lose = box.get_by_role("spinbutton", name="Lose at most")
    lose.fill("")
    lose.press("Enter")
    expect(find).to_be_disabled()
    expect(box).to_contain_text("An allocation needs something to hold")
    times = box.get_by_role("spinbutton", name="Times smaller")
    times.fill("6")
    times.press("Enter")
    expect(find).to_be_enabled()
    find.click()
    expect(box.locator(".t-cards").first).to_contain_text("Packed size")
    expect(box).to_contain_text("judged once on 171 evaluation examples")
    expect(page.locator(".st-key-chart-allocation .t-caption")).to_contain_text("3 layers")
    with page.expect_download() as waiting:
        box.get_by_role("button", name="Recipe").click()
    kept = from_json(json.dumps(json.loads(waiting.value.path().read_text())))
    page.get_by_role("link", name="Studio").first.click()
    page.wait_for_selector(".st-key-examples")
    page.get_by_role("link", name="Layers").click()
    box.get_by_role("button", name="Take it to the Studio").click()  # the answer was kept
    page.wait_for_selector(".st-key-examples")
    page.wait_for_url("**/Studio?**")
    expect(page.locator(".t-status").first).to_contain_text(kept.notation.split(" · ")[-1])
    taken = page.evaluate("new URLSearchParams(location.search).get('recipe')")
    assert from_link(taken) == kept
