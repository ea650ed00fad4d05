"""What the tests of learning share: one core and a home of their own, tiny trainings of every registered way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from conftest import prune, quantize, recipe
from sweeping import Here

from core.engine.memory import RESULTS
from core.engine.network import Network
from core.engine.transform import transform
from core.jobs import workers as jobs
from core.models.samples import load_sample
from core.recipe import Recipe, Step
from core.registry import Method, method, methods
from core.training import training as trainings
from core.training.permit import Permit, permitted

TINY: dict[str, Any] = {"epochs": 2.0, "rate": 1e-2}
MORE: dict[str, dict[str, Any]] = {"distil": {"teacher": "boosting"}}  # what a way of training needs beside that
COMPRESSED: dict[str, tuple[Step, ...]] = {
    "nothing": (),
    "70 % sparse": (prune(0.7),),
    "2:4": (Step.of("prune", "pattern", {"pattern": "2:4"}),),
    "half of the channels": (prune(0.5, "channels-magnitude"),),
    "W4A8": (quantize(4, 8),),
    "W3A8 sparse affine": (prune(0.5), quantize(3, 8, scheme="affine")),
    "W4 groups": (quantize(4, 32, granularity="group", group=32),),
    "W4 a tensor": (quantize(4, 4, granularity="tensor"),),
    "W8A8 dynamic": (quantize(8, 8, activation_scales="dynamic"),),
    "W8A16": (quantize(8, 16),),
    "16 bits": (quantize(16, 16),),
    "bf16": (Step.of("quantize", "float", {"format": "bf16"}),),
    "fp8": (Step.of("quantize", "float", {"format": "e4m3"}),),
    "nf4": (Step.of("quantize", "float", {"format": "nf4"}),),
}


@pytest.fixture(scope="module")
def one_core():
    """One thread, which a busy machine does not hold up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEMPER_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def pair():
    return load_sample("breast-cancer")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty folder for what is learned, and a process that remembers no training."""
    RESULTS.clear()
    monkeypatch.setenv("TEMPER_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(trainings, "_TRAININGS", type(trainings._TRAININGS)())
    yield tmp_path / "home"
    RESULTS.clear()


@pytest.fixture
def hands_here(monkeypatch):
    """Commands find workers of this process; how many calls each command asked them for."""
    asked = []

    @contextmanager
    def workers(_count=None, _scheduler=None):
        hands = Here()
        yield hands
        asked.append(len(hands.tasks))

    monkeypatch.setattr(jobs, "workers", workers)
    monkeypatch.setattr("os.fsync", lambda _: None)
    return asked


def ways(task: str) -> list[Method]:
    """Every registered way of training of a task."""
    return list(methods("train", task))


def training(name: str, **values: Any) -> Step:
    """A tiny training."""
    known = {param.name for param in method("train", name).parameters}
    given = {**TINY, **MORE.get(name, {}), **values}
    return Step.of("train", name, {key: value for key, value in given.items() if key in known})


def trained(pair: Any, *steps: Step, seed: int = 0, permit: Permit | None = None) -> Network:
    """The network of a recipe that may train."""
    with permitted(permit):
        return transform(*pair, recipe(*steps, seed=seed))[0]


def report(pair: Any, given: Recipe) -> dict[str, Any]:
    """What the last step says of itself."""
    with permitted():
        return transform(*pair, given)[1][-1]


def same(one: Network, other: Network) -> bool:
    """Whether two networks hold the same numbers, bit for bit."""
    grids = all(torch.equal(one.grids[n].scale, other.grids[n].scale) for n in one.grids)
    points = all(torch.equal(one.activations[n].scale, other.activations[n].scale) for n in one.activations)
    named = one.tensors.keys() == other.tensors.keys()
    return named and grids and points and all(torch.equal(one.tensors[n], other.tensors[n]) for n in one.tensors)


@contextmanager
def forgetful(monkeypatch: Any, folder: Any) -> Iterator[None]:
    """Inside, nothing is known of what was computed before, on disk or in memory."""
    with monkeypatch.context() as inside:
        inside.setenv("TEMPER_HOME", str(folder))
        RESULTS.clear()
        yield
    RESULTS.clear()
