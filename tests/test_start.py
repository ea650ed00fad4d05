"""The start: what is loaded ahead of the first page, and that two who ask at once do not disturb each other."""

from __future__ import annotations

import subprocess
import sys

from conftest import ROOT

from core.data import handle
from core.deploy import graph
from core.models.samples import DEFAULT, load_sample
from ui import start


def test_the_start_prepares_what_the_first_page_needs(monkeypatch):
    start.prepare()

    def again(*_, **__):
        raise AssertionError("this was to be ready")

    monkeypatch.setattr(handle.np, "load", again)
    monkeypatch.setattr(graph, "structure_of", again)
    model, data = load_sample(DEFAULT)
    assert graph.template(model).points
    for name in ("evaluation", "calibration"):
        assert len(handle.load_split(data, name).y) == data.split(name).n


def test_a_fault_while_preparing_is_left_to_the_page(monkeypatch):
    def broken(*_):
        raise OSError("the disk is gone")

    monkeypatch.setattr("core.models.samples.load_sample", broken)
    start.prepare()


def test_the_first_page_loads_no_library_it_does_not_use():
    heavy = ("scipy.stats", "sklearn", "torchvision", "matplotlib")
    code = f"import sys, ui.home; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
