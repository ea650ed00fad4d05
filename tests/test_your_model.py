"""docs/your-model.md: every snippet is run as a reader would, and what it writes comes in."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import tokenizers
import torch
from conftest import ROOT
from owned import NAMES, convolutional, digits, linear, rows
from owned_more import LENGTH, flats, judge, priced, reviews
from owned_more import tokenizer as written_tokenizer

from core import intake
from core.cli import main
from core.errors import TemperError
from core.models import catalogue
from core.models.samples import read_card
from core.wish import Wish

TEXT = (ROOT / "docs" / "your-model.md").read_text(encoding="utf-8")
SECTIONS = {
    title: re.findall(r"```python\n(.*?)```", body, re.DOTALL)
    for title, body in re.findall(r"^### (.+?)\n(.*?)(?=^##|\Z)", TEXT, re.DOTALL | re.MULTILINE)
}
WRITES = {
    ".safetensors": ["model.safetensors"],
    ".pt or .pth": ["model.pt"],
    ".pt2": ["model.pt2"],
    ".onnx": ["model.onnx"],
    "By name": [],
    ".npz": ["data.npz"],
    "Folder or .zip of class folders": ["data", "data.zip"],
    ".csv or .parquet": ["data.csv", "data.parquet"],
    "IDX": ["idx"],
    "A table with a number to predict": ["prices.csv"],
    "A table of texts": ["texts.csv"],
    "Groups": [],
    "One output for two classes": [],
}
JOURNEYS = ("A table with a number to predict", "A table of texts")
CASES = [(title, place) for title, files in WRITES.items() for place in range(len(files)) if title not in JOURNEYS]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEMPER_HOME", str(tmp_path / "home"))
    return tmp_path


def bring(model: str, data: str, **more) -> dict:
    """The card of what came in. The door, a process of its own, has its tests in test_door.py."""
    home = Path("home/models").absolute()
    wish = Wish(model if ":" in model else str(Path(model).absolute()), str(Path(data).absolute()), **more)
    return read_card(intake.bring(wish, home, lambda _done, _what: None))


def test_the_guide_covers_every_format():
    assert set(SECTIONS) == set(WRITES)
    assert all(len(SECTIONS[title]) == len(files) for title, files in WRITES.items())
    from core.models.intake import SUFFIXES

    assert all(any(suffix in title for title in SECTIONS) for suffix in SUFFIXES)


@pytest.mark.parametrize(("title", "place"), CASES)
def test_each_snippet_writes_what_comes_in(title, place, here):
    x, y = digits()
    flat = title in (".safetensors", ".pt or .pth", ".csv or .parquet")
    model, inputs = (linear(), rows(x)) if flat else (convolutional(), x)
    example = torch.zeros(2, 64) if flat else torch.zeros(2, 1, 8, 8)
    given = {"model": model, "example": example, "x": x, "y": y, "names": NAMES, "rows": rows(x)}
    for snippet in SECTIONS[title][: place + 1]:
        exec(snippet, dict(given))  # our own text, as a reader would run it
    written = WRITES[title][place]
    assert Path(written).exists()
    if written.startswith("model"):
        np.savez("other.npz", x=inputs, y=y, classes=np.array(NAMES))
        card = bring(written, "other.npz")
    else:
        from owned import exported

        exported(model, tuple(example.shape[1:]), "other.pt2")
        named = None if written in ("data.npz", "idx") else NAMES  # the order of the outputs, not of the alphabet
        card = bring("other.pt2", written, classes=named)
    together = next(check for check in card["checks"] if check["title"] == "Belong together")
    assert together["ok"] is True, together["said"]
    right = float(re.match(r"([\d.]+) %", together["said"]).group(1))
    assert right > 80, "trained to over 90 %; another class order or scale would give about 10"


@pytest.mark.parametrize("title", JOURNEYS)
def test_each_journey_goes_as_the_guide_says(title, here, capsys):
    """Its snippet, then its command: the pair belongs together."""
    quarterless = flats().drop(columns="quarter")
    ids = torch.zeros(2, LENGTH, dtype=torch.int64)
    held = tokenizers.Tokenizer.from_file(str(written_tokenizer(here / "held.json")))
    given = {"model": priced(2), "example": torch.zeros(2, 5), "table": quarterless}
    if title == JOURNEYS[1]:
        given = {"model": judge(2), "ids": ids, "tokenizer": held, "texts": reviews().drop(columns="mark")}
    exec(SECTIONS[title][0], given)
    body = TEXT[TEXT.index(f"### {title}") :]
    command = shlex.split(re.search(r"```sh\n(.*?)```", body, re.DOTALL).group(1))
    assert command[:3] == ["python", "-m", "core"]
    assert main(command[3:]) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert "ok   Belong together" in said and "LOOK" not in said


def test_a_name_takes_the_weights_on_this_machine(here, monkeypatch):
    """With weights made here under the name that torchvision looks for: nothing is fetched."""
    monkeypatch.setenv("TORCH_HOME", str(here / "torch"))
    catalogue.torchvision_pair.ensure()
    from torchvision import models

    short = "shufflenet_v2_x0_5"
    weights = models.get_model_weights(short).DEFAULT
    place = here / "torch" / "hub" / "checkpoints" / weights.url.rpartition("/")[2]
    x = np.random.default_rng(0).integers(0, 256, (24, 224, 224, 3), np.uint8)
    np.savez("data.npz", x=x, y=np.arange(24) % 12)
    names = tuple(f"kind {k}" for k in range(1000))
    with pytest.raises(TemperError, match="not on this machine"):
        bring(f"torchvision:{short}", "data.npz", classes=names)
    place.parent.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(models.get_model(short, weights=None).state_dict(), place)
    card = bring(f"torchvision:{short}", "data.npz", classes=names)
    assert card["preprocessing"]["name"] == "published"
    assert card["input_shape"] == [3, 224, 224]


def test_the_commands_run(here, capsys):
    x, y = digits()
    exec(SECTIONS[".safetensors"][0], {"model": linear()})
    np.savez("data.npz", x=rows(x), y=y)
    for line in re.search(r"```sh\n(.*?)```", TEXT, re.DOTALL).group(1).strip().splitlines():
        words = shlex.split(line)
        assert words[:3] == ["python", "-m", "core"]
        assert main(words[3:]) == 0, capsys.readouterr().err
        assert capsys.readouterr().out


def test_a_pickled_module_is_refused_as_the_guide_says(here):
    torch.save(linear(), "model.pt")
    x, y = digits()
    np.savez("data.npz", x=rows(x), y=y)
    with pytest.raises(TemperError):
        bring("model.pt", "data.npz")
    assert not list(Path("home/models").glob("[!.]*"))
    shutil.rmtree("home", ignore_errors=True)
