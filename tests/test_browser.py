"""The main journeys in a real browser, at 1440 x 900, on the app as the README starts it."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys

from browsing import PATIENCE, address_recipe, cards, free_port, open_studio, press, served, settled
from conftest import ROOT, prune, recipe
from playwright.sync_api import expect

from core.engine.compare import compare
from core.engine.evaluate import evaluate
from core.models.samples import load_sample


def test_home_reads_at_rest_and_leads_to_the_studio(page, address):
    page.goto(address)
    expect(page.locator(".t-take")).to_contain_text("Fashion ResNet in")
    expect(page.locator(".t-cards")).to_contain_text("Predictions that flipped")
    page.get_by_role("link", name="Open the Studio").click()
    settled(page)
    assert "/Studio" in page.url


def test_each_slider_moves_by_keyboard_and_changes_the_numbers(page, address):
    open_studio(page, address)
    seen = [cards(page)]
    press(page, "Sparsity", "ArrowRight", "51 % sparse")
    seen.append(cards(page))
    press(page, "Weight bits", "ArrowRight", "W3A8")
    seen.append(cards(page))
    press(page, "Activation bits", "ArrowRight", "W3A7")
    seen.append(cards(page))
    assert len(set(seen)) == 4, "every move shows other numbers"
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".t-status")).to_contain_text("W3A8")
    settled(page)
    assert cards(page) == seen[2]
    page.get_by_role("button", name="Reset").click()
    expect(page.locator(".t-status")).to_contain_text("untouched")


def test_the_numbers_on_screen_are_the_engine_s(page, address):
    of = recipe(prune(0.4))
    open_studio(page, address, f"model=fashion-small&recipe={of.to_link()}")
    said = compare(evaluate(*load_sample("fashion-small"), of))
    shown = cards(page)
    for name in ("accuracy", "macro_f1", "ece"):
        assert f"{100 * said.tempered[name].value:.1f}" in shown
        assert f"was {100 * said.original[name].value:.1f}" in shown
    assert f"{said.tempered['nll'].value:.3f}" in shown
    assert f"{said.flips.wrong_to_right} became right, {said.flips.right_to_wrong} wrong" in shown


def test_a_click_on_a_confusion_cell_shows_those_pictures(page, address):
    open_studio(page, address)
    chart = page.locator(".st-key-chart-confusion")
    chart.scroll_into_view_if_needed()
    # The cell Shirt taken for Coat of the original's panel: row 6 and column 4 of ten.
    area = chart.locator(".draglayer .xy .nsewdrag").first.bounding_box()
    assert area
    page.mouse.click(area["x"] + area["width"] * 4.5 / 10, area["y"] + area["height"] * 6.5 / 10)
    line = page.locator("p.t-small", has_text="Shirt taken for Coat")
    expect(line).to_be_visible()
    before, after = map(int, re.search(r"(\d+) before, (\d+) after", line.inner_text()).groups())
    assert before + after > 0
    settled(page)
    captions = page.locator(".t-gallery figcaption").all_inner_texts()
    assert captions
    assert all("Coat" in text for text in captions)
    assert page.locator(".t-gallery img").first.get_attribute("alt").startswith("Example ")


def test_the_same_cell_can_be_clicked_again_after_the_pickers(page, address):
    open_studio(page, address, "model=breast-cancer")
    chart = page.locator(".st-key-chart-confusion")
    chart.scroll_into_view_if_needed()
    said = page.locator("p.t-small", has_text="taken for")

    def click_upper_right() -> None:
        area = chart.locator(".draglayer .xy .nsewdrag").first.bounding_box()
        page.mouse.click(area["x"] + area["width"] * 0.75, area["y"] + area["height"] * 0.25)
        expect(said).to_contain_text("benign taken for malignant")
        settled(page)

    click_upper_right()
    page.get_by_role("combobox", name="True class").focus()
    page.keyboard.press("ArrowDown")
    page.get_by_role("option", name="malignant").click()
    expect(said).to_contain_text("malignant taken for malignant")
    settled(page)
    click_upper_right()


def test_a_click_on_the_trail_goes_back(page, address):
    open_studio(page, address)
    press(page, "Weight bits", "ArrowLeft", "W5A8")
    here = address_recipe(page)
    chart = page.locator(".st-key-chart-trail")
    chart.scroll_into_view_if_needed()
    original = chart.locator(".scatterlayer .trace .points path").first.bounding_box()
    page.mouse.click(original["x"] + original["width"] / 2, original["y"] + original["height"] / 2)
    expect(page.locator(".t-status")).to_contain_text("untouched")
    settled(page)
    assert address_recipe(page) != here


def test_state_survives_home_and_back(page, address):
    open_studio(page, address)
    press(page, "Sparsity", "ArrowRight", "51 % sparse")
    seen, link = cards(page), page.url
    page.get_by_role("link", name="Home").click()
    expect(page.locator(".t-take").first).to_contain_text("Fashion Small")
    page.get_by_role("link", name="Studio", exact=True).click()
    settled(page)
    assert cards(page) == seen
    assert page.url == link
    assert page.get_by_role("slider", name="Sparsity").get_attribute("value") == "51"


def test_a_copied_link_restores_the_state_on_a_new_server(page, browser, address):
    open_studio(page, address)
    press(page, "Weight bits", "ArrowRight", "W3A8")
    page.get_by_role("button", name="Share").click()
    link = page.locator("[data-testid=stPopoverBody] code").inner_text()
    assert "recipe=" in link
    seen = cards(page)
    other = free_port()
    with served(other) as elsewhere:
        fresh = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        fresh.set_default_timeout(PATIENCE)
        fresh.goto(re.sub(r"^http://[^/]+", elsewhere, link))
        settled(fresh)
        assert cards(fresh) == seen
        fresh.context.close()


def test_the_recipe_downloads(page, address):
    open_studio(page, address)
    page.get_by_role("button", name="Share").click()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download the recipe").click()
    given = json.loads(waiting.value.path().read_text())
    assert given == address_recipe(page).to_dict()


def test_a_damaged_recipe_file_is_one_sentence(page, address, tmp_path):
    open_studio(page, address)
    seen = cards(page)
    wrong = tmp_path / "recipe.json"
    wrong.write_text(
        '{"version": 1, "steps": [{"kind": "prune", "method": "magnitude-global", "params": {"sparsity": 5}}]}'
    )
    page.get_by_role("button", name="Share").click()
    page.locator("[data-testid=stFileUploaderDropzoneInput]").set_input_files(wrong)
    expect(page.get_by_text("must be a number from 0 to 0.99; got 5").first).to_be_visible()
    assert cards(page) == seen


def test_nothing_overflows_sideways(page, address):
    open_studio(page, address, "model=breast-cancer")
    for width in (1440, 1024):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=width)


def test_stopping_the_start_stops_the_server():
    port = free_port()
    with served(port):
        pass
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0, "something still listens"


def test_a_port_in_use_is_one_sentence(address):
    port = address.rsplit(":", 1)[1]
    command = [sys.executable, "-m", "ui.start", "--port", port, "--headless"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 2
    assert f"Port {port} is in use" in found.stderr
    assert found.stderr.count("\n") == 1
