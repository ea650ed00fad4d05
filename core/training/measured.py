"""What a look measures: the task's own figures on some of the fit and of the calibration examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from core.data.handle import DataHandle, split_for_fitting
from core.engine.evaluate import calibration_outcomes
from core.engine.meaning import meaning
from core.models.handle import ModelHandle
from core.recipe import Recipe
from core.registry import method
from core.task import Task, TaskKind
from core.training.examples import Examples
from core.training.plan import SOME
from core.types import Integers, Labels

MEASURED: Mapping[TaskKind, tuple[str, ...]] = {
    "multi-class": ("nll", "accuracy", "ece"),
    "binary": ("nll", "accuracy", "ece"),
    "regression": ("rmse", "mae"),
}
Figures = dict[str, dict[str, float]]


def measured(task: Task, outputs: Tensor, y: Labels) -> dict[str, float]:
    """The figures of outputs `(N, C)` and labels `(N,)`, by the names of registered metrics."""
    predicted = meaning(task, outputs.numpy())
    return {name: method("metric", name).function.value(predicted, y) for name in MEASURED[task.kind]}


def looking(data: DataHandle, given: Examples) -> Callable[[Callable[[Tensor], Tensor]], Figures]:
    """What the training loop measures by: only looked at, never learned from and never chosen by."""
    calibration = split_for_fitting(data)
    rows = _some(len(calibration.y))
    sets = {
        "fit": (given.x[:SOME], given.y[:SOME].numpy()),
        "calibration": (torch.from_numpy(calibration.inputs[rows]), calibration.y[rows]),
    }

    def measure(outputs: Callable[[Tensor], Tensor]) -> Figures:
        return {name: measured(data.task, outputs(x), y) for name, (x, y) in sets.items()}

    return measure


def original_figures(model: ModelHandle, data: DataHandle) -> dict[str, float]:
    """The original's figures on the very calibration examples that looks are measured on. Raises `TemperError`."""
    found, _ = calibration_outcomes(model, data, Recipe())
    rows = _some(len(found.labels))
    of = {name: method("metric", name).function for name in MEASURED[data.task.kind]}
    return {name: measure.value(found.predicted[rows], found.labels[rows]) for name, measure in of.items()}


def _some(n: int) -> Integers:
    places: Integers = np.unique(np.linspace(0, n - 1, min(SOME, n)).round().astype(np.int64))
    return places
