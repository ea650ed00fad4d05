"""The report: whole, small, harmless with hostile names, and drawn offline in a real browser."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import pandas as pd
import plotly.graph_objects as go
import pytest
from conftest import prune, quantize, recipe
from playwright.sync_api import expect

from core import report_page
from core.cli import main
from core.damage.groups import by_group
from core.damage.payers import payers
from core.engine.compare import compare
from core.engine.evaluate import evaluate
from core.figures import words
from core.figures.plain import account
from core.models.samples import load_sample
from core.recipe import Recipe, Step
from core.report import Extra, file_name, report
from core.types import Chart, Latency

MEASURED = Latency(0.9, 1.4, 20.0, 24.0, threads=2)
SILENT = Latency(None, None, None, note="Simulated: W4A8 has no kernel here.")
CALIBRATED = recipe(prune(0.5), quantize(4, 8), Step.of("calibrate", "temperature"))
EVIL = "</script><script>document.title='run'</script><img src=x onerror=alert(1)>\"'&"
LIMIT = 5_000_000  # bytes


def made(of: Recipe = CALIBRATED, tempered: Latency = SILENT, sample: str = "breast-cancer", **more) -> str:
    model, data = load_sample(sample)
    result = evaluate(model, data, of)
    if "names" in more:
        names = more.pop("names")
        parts = ("original", "uncalibrated", "tempered")
        task = replace(result.tempered.task, classes=names)
        sides = {side: replace(getattr(result, side), task=task) for side in parts}
        result, data = replace(result, **sides), replace(data, title=names[0], licence=names[0])
        model = replace(model, id=names[0], title=names[0])
    return report(result, of, compare(result), (MEASURED, tempered), model, data, **more)


class Seen(HTMLParser):
    """What a browser would make of the file: its elements with attributes, its text outside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside not in ("script", "style"):
            self.text += f" {data}"

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.found if name == tag]


def test_it_says_what_was_measured():
    text = made(made=datetime(2026, 11, 21, 12, 0, tzinfo=UTC))
    assert len(text.encode()) < LIMIT
    seen = Seen(text)
    model, data = load_sample("breast-cancer")
    found = compare(evaluate(model, data, CALIBRATED))
    for name in ("accuracy", "macro_f1", "ece"):
        for side in ("original", "tempered"):
            quantity = getattr(found, side)[name]
            assert words.percent(quantity.value) in seen.text
            assert words.interval(quantity.interval.low, quantity.interval.high) in seen.text
        assert words.points(found.change[name].value) in seen.text
    for said in (
        "21 November 2026, 12:00 UTC", model.fingerprint, data.fingerprint, CALIBRATED.fingerprint, "torch 2.",
        "171 evaluation examples", "python -m core run --model breast-cancer", "Simulated: W4A8 has no kernel here",
        "fitted on the calibration split and is judged here on the evaluation split", "sparsity 50", data.licence,
        "Ranges of activations were set on examples of the calibration split", "judge it on fresh data",
    ):  # fmt: skip
        assert said in seen.text, said
    assert not re.search(r"\b(nan|inf|None)\b", seen.text)


def test_notes_follow_the_recipe():
    plain = Seen(made(recipe(prune(0.5)), MEASURED)).text
    assert "Nothing was fitted: the calibration split was not used" in plain
    assert "Latency was measured on this machine" in plain
    assert "judged here on the evaluation split" not in plain
    untouched = Seen(made(Recipe(), MEASURED)).text
    assert "No step: this is the original" in untouched
    assert "Move a slider" not in untouched


def test_it_can_be_read_without_seeing_the_charts():
    seen = Seen(made())
    assert next(tag for tag, _ in seen.found if re.fullmatch(r"h\d", tag)) == "h1"
    assert len(seen.all("h1")) == 1
    assert seen.all("html")[0]["lang"] == "en"
    plots = [one for one in seen.all("div") if one.get("class") == "plot"]
    assert len(plots) == 6
    assert all(one["role"] == "img" and len(one["aria-label"]) > 40 for one in plots)
    assert len(seen.all("details")) == 7, "a table each, and the recipe as JSON"
    assert all(one.get("scope") in ("col", "row") for one in seen.all("th"))


def test_hostile_names_are_only_text():
    text = made(names=(EVIL, "=cmd|' /C calc'!A0"), extra=[Extra(EVIL, [(EVIL, EVIL)], EVIL)])
    plain = made(extra=[Extra("a", [("b", "c")], "d")])
    seen, usual = Seen(text), Seen(plain)
    assert EVIL in seen.text
    assert [tag for tag, _ in seen.found] == [tag for tag, _ in usual.found], "no name became an element"
    assert not [one for _, one in seen.found if any(key.startswith("on") for key in one)]
    assert "</script><script>document" not in text


def test_a_charts_data_cannot_end_its_script():
    figure = go.Figure(layout={"annotations": [{"text": EVIL + "<!--"}]})
    seen = Seen(report_page.chart(EVIL, "chart-1", Chart(figure, EVIL, EVIL, pd.DataFrame({EVIL: [EVIL]}))))
    assert len(seen.all("script")) == 1 and not seen.all("img")
    html = report_page.chart("a", "b", Chart(figure, "c", "d", pd.DataFrame({"e": [1]})))
    data = re.search(r"<script[^>]*>(.*?)</script>", html).group(1)
    assert json.loads(data)["layout"]["annotations"][0]["text"] == EVIL + "<!--"


def test_a_section_more():
    seen = Seen(made(extra=[Extra("The artifact", [("Agreement", "171 of 171")], "Checked by ONNX Runtime.")]))
    assert "The artifact" in seen.text and "171 of 171" in seen.text and "Checked by" in seen.text


def test_names_of_files_are_safe():
    assert re.fullmatch(r"[\w-]+\.html", file_name(EVIL, CALIBRATED))
    assert "/" not in file_name("../../etc/passwd", CALIBRATED)


@pytest.mark.parametrize("names", [None, (EVIL, "fine")])
def test_it_draws_offline_in_a_browser(page, tmp_path, names):
    (tmp_path / "report.html").write_text(made(**({"names": names} if names else {})), encoding="utf-8")
    asked, faults = [], []

    def only_the_file(route):
        asked.append(route.request.url)
        route.continue_() if len(asked) == 1 else route.abort()

    page.route("**/*", only_the_file)
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.context.set_offline(True)
    page.goto((tmp_path / "report.html").as_uri())
    page.wait_for_selector("html[data-charts=drawn]")
    assert len(asked) == 1, "nothing but the file itself was asked for"
    assert faults == []
    assert page.locator(".plot .main-svg").count() >= 6
    for place in range(6):
        box = page.locator(".plot").nth(place).bounding_box()
        assert box["width"] > 600 and box["height"] > 100
    assert not page.title().startswith("run")
    area = page.locator("#chart-5 .nsewdrag").first
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.215 * box["height"])  # the original's bytes
    expect(page.locator("#chart-5 .hoverlayer .hovertext")).to_contain_text("Weights")  # charts answer to the mouse
    page.locator("summary").first.click()
    assert page.locator("details[open] table").first.is_visible()


def test_no_script_but_its_own_may_run(page, tmp_path):
    """The policy holds even where a name would have become an element."""
    text = made().replace("<main>", "<main><script>document.documentElement.dataset.hacked = 'yes'</script>")
    (tmp_path / "report.html").write_text(text, encoding="utf-8")
    page.goto((tmp_path / "report.html").as_uri())
    page.wait_for_selector("html[data-charts=drawn]")
    assert page.evaluate("document.documentElement.dataset.hacked") is None


def test_it_prints_on_pages_of_a4(page, tmp_path):
    (tmp_path / "report.html").write_text(made(), encoding="utf-8")
    page.goto((tmp_path / "report.html").as_uri())
    page.wait_for_selector("html[data-charts=drawn]")
    content = page.pdf(prefer_css_page_size=True)
    boxes = set(re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", content))
    assert {(round(float(w)), round(float(h))) for w, h in boxes} == {(595, 842)}
    assert 3 <= len(re.findall(rb"/Type /Page\b", content)) <= 7
    page.emulate_media(media="print")
    page.wait_for_timeout(300)
    widths = "[...document.querySelectorAll('.plot .main-svg')].map(e => e.getBoundingClientRect().width)"
    wide = page.evaluate(widths)
    assert all(width <= 688 for width in wide), "no chart is cut off at the margin"
    page.emulate_media(media="screen")
    page.wait_for_timeout(300)
    assert page.locator(".plot").first.bounding_box()["width"] > 900


def test_the_command_line_writes_it(tmp_path, capsys):
    of = CALIBRATED.to_json()
    call = ["report", "--model", "breast-cancer", "--recipe", of, "--out"]
    assert main([*call, str(tmp_path / "a.html"), "--script", str(tmp_path / "a.py")]) == 0
    assert "Temper report" in (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "rebuild" in (tmp_path / "a.py").read_text(encoding="utf-8")
    capsys.readouterr()
    for wrong in (tmp_path / "a.pdf", tmp_path / "nowhere" / "a.html"):
        assert main([*call, str(wrong)]) == 2
        assert "must end in .html" in capsys.readouterr().err


@pytest.mark.parametrize("sample", ["breast-cancer", "diamonds"])
def test_it_says_in_plain_words_what_the_damage_page_says(sample):
    of = recipe(prune(0.9))
    model, data = load_sample(sample)
    result = evaluate(model, data, of)
    compared, lead = compare(result), data.task.facts.headline
    groups = by_group(data, result, data.groups[0].title, lead) if data.groups else None
    told = account(result, compared, payers(result) if data.task.decides else None, groups, (MEASURED, SILENT))
    assert " ".join(one.text for one in told) in Seen(made(of, sample=sample)).text
