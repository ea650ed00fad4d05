"""The loss of a way of training by its parameters: of the labels, of a teacher, or of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from core.data.handle import DataHandle, split_for_fitting
from core.layers.gradients import loss_of
from core.losses.cross_entropy import cross_entropy
from core.losses.distillation import distillation, imitation
from core.losses.focal import focal
from core.training.loop import Loss
from core.training.teachers import FromTeacher, Teacher


def of_labels(data: DataHandle, values: Mapping[str, Any]) -> Loss:
    """The loss of the labels alone; of numbers it is that of the task, whatever the parameters."""
    if not data.task.decides:
        plain = loss_of(data.task, split_for_fitting(data, "fit"))
        return lambda outputs, y, _: plain(outputs, y)
    if values.get("loss") == "focal":
        return lambda outputs, y, _: focal(outputs, y, float(values["focus"]))
    smoothing = float(values["smoothing"]) if values.get("loss") == "smoothed" else 0.0
    return lambda outputs, y, _: cross_entropy(outputs, y, smoothing)


def of_teacher(data: DataHandle, labels: Loss, teacher: Teacher, temperature: float, mix: float) -> Loss:
    """`mix` of the teacher's loss and the rest of the labels'."""
    variance = 1.0 if data.task.decides else float(np.var(split_for_fitting(data, "fit").y)) or 1.0

    def compare(outputs: Tensor, y: Tensor, x: Tensor, wanted: Tensor) -> Tensor:
        if data.task.decides:
            taught = distillation(outputs, wanted, temperature)
        else:
            taught = imitation(outputs, wanted, variance)
        return mix * taught + (1 - mix) * labels(outputs, y, x) if mix < 1 else taught

    return FromTeacher(teacher, compare)
