"""README: its commands run, its figures are the cards', its pictures and links are there."""

from __future__ import annotations

import re
import shlex

import pytest
from conftest import ROOT, SAMPLES

from core.cli import main
from core.models.samples import read_card

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.strip().splitlines()]


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_runs(line, capsys):
    words = shlex.split(line)
    assert words[:3] == ["python", "-m", "core"]
    assert main(words[3:]) == 0
    assert capsys.readouterr().out


def test_there_are_commands():
    assert {shlex.split(line)[3] for line in COMMANDS} == {"models", "methods", "run"}


@pytest.mark.parametrize("name", SAMPLES)
def test_the_figures_are_the_cards(name):
    card = read_card(name)
    row = next(line for line in TEXT.splitlines() if line.startswith(f"| `{name}`"))
    figures = card["figures"]
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
