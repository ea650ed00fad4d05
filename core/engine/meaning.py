"""From what a network gives to what it predicts, before any confidence calibration."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from core.calibrators._fitted import softmax
from core.engine.numbers import stated
from core.task import Task
from core.types import Floats


def meaning(task: Task, logits: NDArray[Any]) -> Floats:
    """`Outcome.predicted` float64 `(N, K)` of outputs `(N, C)`: probabilities, or values and intervals."""
    return softmax(logits) if task.decides else stated(logits)
