"""The values that flow from the engine to figures and pages: quantities, outcomes, charts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from core.task import Task

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Labels = NDArray[Any]  # classes int64, or numbers float64
How = Literal["measured", "estimated", "simulated"]


@dataclass(frozen=True)
class Interval:
    """A two-sided confidence interval `[low, high]` at `level`, in the unit of its quantity."""

    low: float
    high: float
    level: float = 0.95


@dataclass(frozen=True)
class Quantity:
    """A displayed number: what it is, in which unit, how it was obtained and how sure it is.

    `value` is None where there is nothing honest to show; `note` then says why.
    """

    value: float | None
    unit: str
    how: How = "measured"
    interval: Interval | None = None
    n: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Ledger:
    """Bytes of a model, part by part. All figures are measured on real packed buffers.

    `dense` is float32 for every parameter of the original; `weights`, `grids` (scales and zero points),
    `masks` (bit masks or indices) and `other` (biases and unquantized parameters) add up to `packed`;
    `file` is the packed `.safetensors` file, `compressed` the same file after zlib.
    """

    dense: int
    weights: int
    grids: int
    masks: int
    other: int
    file: int
    compressed: int

    @property
    def packed(self) -> int:
        """Bytes of all packed parts together."""
        return self.weights + self.grids + self.masks + self.other


@dataclass(frozen=True)
class Latency:
    """Milliseconds a call, or None with the words that say why there is no number to show."""

    p50: float | None
    p95: float | None
    batch: float | None
    batch_p95: float | None = None
    batch_size: int = 32
    threads: int = 1
    note: str = ""


@dataclass(frozen=True)
class Provenance:
    """What produced an outcome: fingerprints, back end, library versions, seconds."""

    model: str
    data: str
    recipe: str
    backend: str
    seconds: float
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """The predictions of one model on one split; every metric and picture is a function of these.

    `logits` float32 `(N, C)` is what the network gives. `predicted` float64 `(N, K)` is what that means, after
    confidence calibration where the recipe has one: see `core.task`. `labels` `(N,)` are classes, int64, or
    numbers, float64. The arrays are read-only.
    """

    logits: NDArray[np.float32]
    predicted: Floats
    labels: Labels
    task: Task
    provenance: Provenance

    def __post_init__(self) -> None:
        for array in (self.logits, self.predicted, self.labels):
            array.setflags(write=False)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; none where numbers are predicted."""
        return self.task.classes

    @property
    def probabilities(self) -> Floats:
        """Probabilities of the classes, float64 `(N, C)`, rows summing to 1."""
        assert self.task.decides, "numbers have no probabilities"
        return self.predicted

    @property
    def values(self) -> Floats:
        """The numbers predicted, float64 `(N,)`, in the task's unit."""
        assert not self.task.decides, "classes are no numbers"
        return self.predicted[:, 0]

    @property
    def n(self) -> int:
        """Number of examples."""
        return len(self.labels)

    @property
    def predictions(self) -> Integers:
        """Predicted class of each example, int64 `(N,)`."""
        return self.probabilities.argmax(1)

    @property
    def confidence(self) -> Floats:
        """Probability of the predicted class, float64 `(N,)`."""
        return self.probabilities.max(1)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each prediction equals its label, bool `(N,)`."""
        return self.predictions == self.labels


@dataclass(frozen=True)
class Result:
    """One recipe on one model and one data set, beside the untouched original.

    `uncalibrated` is the transformed model before confidence calibration (the same object as
    `tempered` where the recipe has no such step). `fitted` holds what each step learned.
    """

    model: str
    data: str
    original: Outcome
    uncalibrated: Outcome
    tempered: Outcome
    original_bytes: Ledger
    bytes: Ledger
    fitted: tuple[Mapping[str, Any], ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chart:
    """A figure with what it shows in words (`alt`), its finding (`caption`) and its numbers (`table`)."""

    figure: go.Figure
    alt: str
    caption: str
    table: pd.DataFrame
