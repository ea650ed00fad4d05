"""The Damage page: samples of each kind and the untouched recipe; in a real browser one reads, clicks and "
"searches."""

from __future__ import annotations

import re

import pytest
from conftest import ROOT, prune, quantize, recipe
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest

from core.damage.flipped import ways
from core.damage.neighbourhood import neighbourhood
from core.damage.payers import payers
from core.engine.compare import compare
from core.engine.evaluate import evaluate
from core.figures.payers import sentence
from core.figures.plain import account
from core.models.samples import load_sample
from core.recipe import Recipe

ASKED = recipe(prune(0.9), quantize(2, 8))


def opened(model: str, asked: Recipe) -> AppTest:
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
    page.query_params["model"] = model
    page.query_params["recipe"] = asked.to_link()
    page.run()
    return page.switch_page("pages/5_Damage.py").run()


def words(page: AppTest) -> str:
    return " ".join(str(element.proto.body) for element in page.get("html"))


@pytest.mark.parametrize("model", ["breast-cancer", "credit-default", "diamonds", "spam-mail"])
def test_the_page_shows_every_kind_of_sample(model):
    page = opened(model, recipe(prune(0.5), quantize(4, 8)))
    assert not page.exception and not page.error
    told = words(page)
    _, data = load_sample(model)
    parts = re.findall(r"id='part-(\w+)'", told)
    middle = ["flips", "classes"] if data.task.decides else ["moved"]
    wanted = ["real", *middle, *["groups"] * bool(data.groups), *["exemplars"] * data.task.decides, "why", "size"]
    assert parts == wanted
    led = set(re.findall(r"href='#part-(\w+)'", told))
    assert led == set(parts), "every link leads to a part, and every part has one"
    plain = re.sub(r"<style>.*?</style>|<[^>]*>", " ", told, flags=re.S)
    assert not re.search(r"\b(nan|inf|none)\b", plain, re.I)
    if data.task.kind == "binary" and data.groups:
        page.selectbox(key="damage-goal").set_value("selection").run()
        assert not page.exception and not page.error and "gap of the selection rate" in words(page)


@pytest.mark.parametrize("model", ["breast-cancer", "diamonds"])
def test_the_untouched_model_has_no_damage_and_says_what_to_do(model):
    page = opened(model, Recipe())
    assert not page.exception and not page.error
    assert "changes nothing yet" in words(page) and "id='part-" not in words(page)
    page.button(key="damage-try").click().run()
    assert not page.exception and not page.error
    assert page.session_state["sitting"].recipe.steps and "id='part-real'" in words(page)


def quiet(page: Page) -> None:
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")
    expect(page.locator("[data-testid=stException], [data-testid=stAlert]")).to_have_count(0)


def test_read_follow_a_link_look_at_flips_and_find_the_exemplars(page, address):
    result = evaluate(*load_sample("breast-cancer"), ASKED)
    told = account(result, compare(result), payers(result))
    found = ways(result)
    assert len(found["lost"]) > 3, "the recipe does damage"
    page.goto(f"{address}/Damage?model=breast-cancer&recipe={ASKED.to_link()}")
    page.wait_for_selector("#part-size")
    quiet(page)
    read = page.locator(".t-plain a").all_inner_texts()
    assert [text.replace("\u00a0", " ") for text in read[: len(told)]] == [
        one.text.replace("\u00a0", " ") for one in told
    ]
    page.locator(".t-plain a", has_text="pays most").click()
    page.wait_for_function("Math.abs(document.querySelector('#part-classes').getBoundingClientRect().top) < 120")
    expect(page.locator(".st-key-chart-payers .t-caption")).to_have_text(sentence(payers(result)))
    shown = page.locator(".st-key-damage-flips .t-gallery .t-truth small")
    assert shown.all_inner_texts() == [f"example {place}" for place in found["lost"][:12]]
    page.get_by_text(f"Wrong to right: {len(found['gained'])}", exact=True).click()
    if len(found["gained"]):
        expect(shown.first).to_have_text(f"example {found['gained'][0]}")
    else:
        expect(page.locator(".st-key-damage-flips")).to_contain_text("No example of 171 went from wrong to right")
    page.get_by_role("button", name="Find the exemplars").click()
    expect(page.locator(".st-key-exemplars .t-caption").first).to_contain_text(
        f"of the {len(neighbourhood(ASKED))} recipes"
    )
    quiet(page)
    assert f"recipe={ASKED.to_link()}" in page.url, "the link is the state"
