"""A model of one's own in a real browser: uploads, checks, hostile and wrong files, cancelling, two visits."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from browsing import PATIENCE, cards, free_port, open_studio, press, served, settled
from owned import NAMES, convolutional, digits, exported, rows
from owned_more import LENGTH, flats, judge, priced, reviews, saved, tokenizer
from playwright.sync_api import Page, expect


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def address(home):
    with served(free_port(), TEMPER_HOME=str(home)) as found:
        yield found


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("files")
    x, y = digits()
    exported(convolutional(), (1, 8, 8), place / "my digits.pt2")
    np.savez(place / "digits.npz", x=x, y=y, classes=np.array(NAMES))
    np.savez(place / "rows.npz", x=rows(x)[:200, :60], y=y[:200])
    return place


def open_form(page: Page, address: str, query: str = "model=breast-cancer") -> None:
    page.goto(f"{address}/Model_and_data?{query}")
    page.get_by_text("Bring your own model and data").click()
    expect(page.get_by_role("button", name="Load", exact=True)).to_be_visible()


def upload(page: Page, model: Path, data: Path) -> None:
    """Give both files as a person does and wait until they are up."""
    inputs = page.locator("[data-testid=stFileUploaderDropzoneInput]")
    for place, file in enumerate((model, data)):
        inputs.nth(place).set_input_files(file)
        expect(page.get_by_text(file.name).first).to_be_visible()
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")


def load(page: Page, model: Path, data: Path) -> None:
    upload(page, model, data)
    page.get_by_role("button", name="Load", exact=True).click()


def unfold(page: Page) -> None:
    """Open the part of the form that only some models need."""
    page.get_by_text("Texts, numbers and groups", exact=True).click()
    expect(page.get_by_label("Group columns", exact=True)).to_be_visible()


def said(page: Page) -> str:
    """The one sentence of a failure."""
    alert = page.locator("[data-testid=stAlert]")
    expect(alert).to_have_count(1, timeout=2 * PATIENCE)
    return alert.inner_text()


def test_upload_checks_studio_slider_and_link(page, address, files, home, browser):
    page.goto(address)
    page.get_by_role("button", name="Bring your own").click()
    expect(page.get_by_role("button", name="Load", exact=True)).to_be_visible()
    load(page, files / "my digits.pt2", files / "digits.npz")
    expect(page.locator("p.t-take")).to_contain_text("is in force", timeout=2 * PATIENCE)
    checks = page.locator(".t-checks")
    expect(checks).to_contain_text("Belong together")
    assert "✓ ok" in checks.inner_text() and "▲ look" not in checks.inner_text()
    assert page.locator(".t-pairs img").count() == 12
    page.get_by_role("link", name="Open in the Studio").click()
    settled(page)
    assert "model=my-digits-" in page.url
    before = cards(page)
    press(page, "Sparsity", "ArrowRight", "51 % sparse")
    after = cards(page)
    assert after != before and "%" in after and "nan" not in after.lower()
    assert page.evaluate("document.documentElement.scrollWidth") <= 1440
    fresh = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    fresh.goto(page.url)
    settled(fresh)
    assert cards(fresh) == after
    fresh.context.close()
    expect(page.get_by_role("link", name="Home")).to_be_visible()
    page.get_by_role("link", name="Home").click()
    expect(page.get_by_role("button", name="My digits")).to_be_visible()


def test_a_table_of_prices_with_groups_and_a_unit(page, address, tmp_path):
    model = saved(priced(2), tmp_path / "flats.pt2", (5,))
    flats().to_csv(tmp_path / "flats.csv", index=False)
    open_form(page, address)
    unfold(page)
    page.get_by_label("Unit of the numbers", exact=True).fill("thousand euros")
    page.get_by_label("Group columns", exact=True).fill("quarter, heating")
    load(page, model, tmp_path / "flats.csv")
    expect(page.locator("p.t-take")).to_contain_text("is in force", timeout=2 * PATIENCE)
    expect(page.locator(".t-facts").first).to_contain_text("price in thousand euros")
    assert "▲ look" not in page.locator(".t-checks").inner_text()
    expect(page.get_by_text("quarter (not read), heating (also read by the network)")).to_be_visible()
    expect(page.locator(".js-plotly-plot").first).to_be_visible()
    page.get_by_role("link", name="Open in the Studio").click()
    settled(page)
    shown = cards(page)
    assert "RMSE" in shown and "thousand euros" in shown and "nan" not in shown.lower()


def test_texts_with_their_tokenizer(page, address, tmp_path):
    model = saved(judge(2), tmp_path / "judge.onnx", (LENGTH,), whole=True)
    reviews().drop(columns="mark").to_csv(tmp_path / "reviews.csv", index=False)
    open_form(page, address)
    unfold(page)
    page.get_by_label("Group columns", exact=True).fill("site")
    inputs = page.locator("[data-testid=stFileUploaderDropzoneInput]")
    inputs.nth(2).set_input_files(tokenizer(tmp_path / "tokenizer.json"))
    expect(page.get_by_text("tokenizer.json").first).to_be_visible()
    page.get_by_text("More", exact=True).click()
    page.get_by_label("Label column of a table", exact=True).fill("verdict")
    load(page, model, tmp_path / "reviews.csv")
    expect(page.locator("p.t-take")).to_contain_text("is in force", timeout=2 * PATIENCE)
    expect(page.get_by_text(f"Reads texts as up to {LENGTH} word pieces and tells 2 classes apart")).to_be_visible()
    assert page.locator(".t-notes .t-tag").count() > 8, "pieces with their ids"
    page.get_by_role("button", name="Look for no instead").click()
    expect(page.locator(".t-facts").first).to_contain_text("looked for is no", timeout=2 * PATIENCE)
    page.get_by_role("link", name="Open in the Studio").click()
    settled(page)
    assert "Accuracy" in cards(page) and "nan" not in cards(page).lower()


def test_a_pickle_that_would_run_code_is_a_sentence_and_runs_nothing(page, address, files, tmp_path):
    """Protocol 0 by hand: `os.system('touch canary')` on opening, in the container that torch.save writes."""
    canary = tmp_path / "canary"
    code = f"cos\nsystem\n(S'touch {canary}'\ntR.".encode()
    hostile = tmp_path / "model.pt"
    with zipfile.ZipFile(hostile, "w") as archive:
        archive.writestr("model/data.pkl", code)
        archive.writestr("model/version", "3\n")
    open_form(page, address)
    load(page, hostile, files / "digits.npz")
    sentence = said(page)
    assert len(sentence) < 700 and "Traceback" not in sentence
    assert not canary.exists()
    expect(page.locator("h2.t-title", has_text="Breast Cancer")).to_be_visible()


def test_a_wrong_pair_is_a_sentence_and_the_form_keeps_what_was_given(page, address, files):
    open_form(page, address)
    page.get_by_text("More", exact=True).click()
    page.get_by_label("Title", exact=True).fill("Kept")
    load(page, files / "my digits.pt2", files / "rows.npz")
    assert "Traceback" not in said(page)
    expect(page.get_by_text("my digits.pt2").first).to_be_visible()
    assert page.get_by_label("Title", exact=True).input_value() == "Kept"
    inputs = page.locator("[data-testid=stFileUploaderDropzoneInput]")
    inputs.nth(1).set_input_files(files / "digits.npz")
    expect(page.get_by_text("digits.npz", exact=True).first).to_be_visible()
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")
    page.get_by_role("button", name="Load", exact=True).click()
    expect(page.locator("p.t-take")).to_contain_text("Kept is in force", timeout=2 * PATIENCE)


@pytest.fixture
def slow(tmp_path) -> Path:
    """A zip of many pictures: some seconds of reading."""
    from io import BytesIO

    from PIL import Image

    place, stream = tmp_path / "many.zip", BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8)).save(stream, "PNG")
    with zipfile.ZipFile(place, "w") as archive:
        for k in range(400):
            archive.writestr(f"{NAMES[k % 10]}/{k}.png", stream.getvalue())
    return place


def test_it_goes_on_while_one_is_elsewhere_and_can_be_cancelled(page, address, files, slow, home):
    models = set((home / "models").glob("[!.]*"))
    open_form(page, address)
    load(page, files / "my digits.pt2", slow)
    cancel = page.get_by_role("button", name="Cancel")
    expect(cancel).to_be_visible()
    page.get_by_role("link", name="Home").click()
    expect(page.locator(".t-take").first).to_contain_text("Breast Cancer")
    page.get_by_role("link", name="Model and data").click()
    expect(cancel).to_be_visible()
    cancel.click()
    expect(page.get_by_text("Loading was cancelled; nothing was kept.")).to_be_visible()
    assert set((home / "models").glob("[!.]*")) == models


def test_a_bad_file_of_one_visit_does_not_disturb_another(page, browser, address, files, tmp_path):
    """A zip bomb is being read for one while the other moves a slider and gets its numbers."""
    bomb = tmp_path / "bomb.npz"
    header = b"\x93NUMPY\x01\x00" + struct.pack("<H", 118)
    header += b"{'descr': '|u1', 'fortran_order': False, 'shape': (60000, 8, 8), }".ljust(117) + b"\n"
    with (
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("x.npy", "w") as x,
    ):
        x.write(header)
        for _ in range(400):
            x.write(bytes(2**20))
    other = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    other.set_default_timeout(PATIENCE)
    open_studio(other, address, "model=breast-cancer")
    seen = cards(other)
    open_form(page, address)
    load(page, files / "my digits.pt2", bomb)
    press(other, "Sparsity", "ArrowRight", "51 % sparse")
    assert cards(other) != seen
    assert "Traceback" not in said(page)
    press(other, "Weight bits", "ArrowRight", "W3A8")
    assert other.locator("[data-testid=stAlert]").count() == 0, "the other visit hears nothing of it"
    other.context.close()


def test_a_file_beyond_the_limit_is_a_polite_sentence(page, address, tmp_path):
    large = tmp_path / "large.npz"
    with large.open("wb") as file:
        file.truncate(501 * 2**20)  # sparse: takes no room on the disk
    open_form(page, address)
    page.locator("[data-testid=stFileUploaderDropzoneInput]").nth(1).set_input_files(large)
    expect(page.get_by_text("500").filter(has_text="smaller").first).to_be_visible()


def test_nothing_overflows_sideways(page, address):
    open_form(page, address)
    unfold(page)
    page.get_by_text("More", exact=True).click()
    expect(page.get_by_label("Seed of the splits")).to_be_visible()
    for width in (1440, 1024):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=width)
