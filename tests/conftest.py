"""What the tests share: the samples' handles, recipes in short form, outcomes made of arrays."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("temper", deadline=None)  # no test is timed
settings.load_profile("temper")
os.environ["TEMPER_CACHE"] = ""  # tests compute; those of the store name a folder of their own
os.environ["TEMPER_AHEAD"] = "0"  # and only what they ask for
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("TEMPER_THREADS", "1")  # runs beside each other take a core each
HOME = tempfile.TemporaryDirectory(prefix="temper-home-", ignore_cleanup_errors=True)
os.environ["TEMPER_HOME"] = HOME.name  # and keep their runs out of the person's
ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from core import torchvision_pair  # noqa: E402
from core.calibrators._fitted import softmax  # noqa: E402
from core.models.samples import load_sample  # noqa: E402
from core.recipe import Recipe, Step  # noqa: E402
from core.task import task_of_classes  # noqa: E402
from core.types import Outcome, Provenance  # noqa: E402

torchvision_pair.ensure()  # torchmetrics imports torchvision

pytest_plugins = ("browsing", "learning")  # the browser and its pages; what trainings need

SAMPLES = (
    "fashion-resnet", "fashion-small", "breast-cancer", "credit-default", "diamonds", "rain-6h", "sentiment",
    "spam-mail",
)  # fmt: skip


def prune(sparsity: float, method: str = "magnitude-global") -> Step:
    return Step.of("prune", method, {"sparsity": sparsity})


def quantize(weight_bits: int, activation_bits: int, **more) -> Step:
    return Step.of("quantize", "uniform", {"weight_bits": weight_bits, "activation_bits": activation_bits, **more})


def recipe(*steps: Step, seed: int = 0) -> Recipe:
    return Recipe(tuple(steps), seed)


def outcome(logits: np.ndarray, labels: np.ndarray) -> Outcome:
    names = tuple(f"class {i}" for i in range(logits.shape[1]))
    made = Provenance("model", "data", "recipe", "test", 0.0)
    return Outcome(logits.astype(np.float32), softmax(logits), labels.astype(np.int64), task_of_classes(names), made)


def pytest_collection_modifyitems(items):
    """The browser goes first: its files take longest, and what is short fills the end of a run evenly."""
    items.sort(key=lambda item: not item.path.name.startswith("test_browser"))


@pytest.fixture(params=SAMPLES)
def sample(request):
    return load_sample(request.param)


@pytest.fixture
def small():
    return load_sample("breast-cancer")


@pytest.fixture
def pictures():
    return load_sample("fashion-small")


@pytest.fixture
def canary(tmp_path):
    """A file that only a payload makes: where it exists, a stranger's code ran."""
    return tmp_path / "canary"
