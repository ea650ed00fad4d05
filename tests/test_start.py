"""The start: what is loaded ahead of the first page, and that two who ask at once do not disturb each other."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from conftest import ROOT, SAMPLES

from core.data import handle
from core.deploy import graph
from core.engine import network
from core.models.samples import DEFAULT, load_sample
from ui import start


def test_the_start_prepares_what_the_first_page_needs(monkeypatch):
    start.prepare()

    def again(*_, **__):
        raise AssertionError("this was to be ready")

    monkeypatch.setattr(handle.np, "load", again)
    monkeypatch.setattr(graph, "_export", again)
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


def test_graphs_asked_for_at_once_are_the_graphs_asked_for_in_turn():
    def exported(sample: str) -> bytes:
        return graph.template(load_sample(sample)[0]).proto.SerializeToString(deterministic=True)

    def forget() -> None:
        graph._template.cache_clear()
        network._structure.cache_clear()

    forget()
    in_turn = [exported(sample) for sample in SAMPLES]
    forget()
    with ThreadPoolExecutor(len(SAMPLES)) as pool:
        assert list(pool.map(exported, SAMPLES)) == in_turn
