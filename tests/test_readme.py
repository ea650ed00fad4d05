"""README: its commands run, its figures are the cards', its pictures and links are there."""

from __future__ import annotations

import json
import re
import shlex

import pytest
from conftest import ROOT, SAMPLES

from core.cli import main
from core.models.samples import read_card

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.strip().splitlines()]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder of its own with the file that README's snippet writes."""
    monkeypatch.chdir(tmp_path)
    exec(re.search(r"```python\n(.*?)```", TEXT, re.DOTALL).group(1), {})  # our own text, as a reader would run it
    return tmp_path


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_runs(line, here, capsys):
    words = shlex.split(line)
    assert words[:3] == ["python", "-m", "core"]
    assert main(words[3:]) == 0
    assert capsys.readouterr().out


def test_there_are_commands():
    assert {shlex.split(line)[3] for line in COMMANDS} == {
        "models", "methods", "run", "estimate", "sweep", "sensitivity", "calibrate", "export", "report", "latency",
        "runs", "search", "allocate", "adapt", "tune", "suits",
        "transfer",
    }  # fmt: skip


def test_the_fitted_temperature_is_what_the_text_says(here, capsys):
    assert "three times too sharp" in TEXT
    assert main(["calibrate", "--logits", "logits.npz", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    # Over 100 seeds of this snippet the fit is 3.01 with a standard deviation of 0.10; three of those.
    assert abs(found["methods"]["temperature"]["fitted"]["temperature"] - 3) < 0.3
    assert found["methods"]["temperature"]["ece"] < found["before"]["ece"]


@pytest.mark.parametrize("name", SAMPLES)
def test_the_figures_are_the_cards(name):
    card = read_card(name)
    row = next(line for line in TEXT.splitlines() if line.startswith(f"| `{name}`"))
    figures = card["figures"]
    if card["task"]["kind"] == "regression":
        assert f"{figures['r2']:.4f}" in row
        assert f"{100 * figures['coverage']:.2f} %" in row
    else:
        assert f"{100 * figures['accuracy']:.2f} %" in row
        assert f"{100 * figures['ece']:.2f} %" in row
    assert f"{card['parameters']:,}" in row
    assert f"{card['splits']['evaluation']['n']:,}" in row


def test_pictures_and_links_are_there():
    for place in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / place).exists(), place


def test_the_two_commands_are_targets():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", TEXT, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
