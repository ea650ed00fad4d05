"""How a metric is declared: statistics of each example, and a function of their totals.

From this one declaration follow the value (`total(cells.sum(0))`), bootstrap intervals
(`total(weights @ cells)`) and weighted estimates from a sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from core.task import Task
from core.types import Floats, Integers, Labels, Outcome

Cells = Callable[[Floats, Labels], csr_array]
Total = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Measure:
    """A metric of what is predicted.

    `cells(predicted (N, P) float64, labels (N,))` gives the statistics of each example, sparse `(N, K)`; what
    `predicted` and `labels` hold, `core.task` says. `total(sums (..., K))` gives the metric `(...)`; a cell without
    examples must not give nan. `totals`, of the same arguments, gives `cells(...).sum(0)` `(K,)` where that is
    quicker without the cells. `exact`, of the same arguments, is the metric itself where the totals only come close
    to it; intervals then rest on the totals, around the exact value. A metric that is `one_sided` looks for class 1
    of two. The unit `target` stands for the unit of the numbers predicted, `fraction` is shown in per cent.
    """

    cells: Cells
    total: Total
    unit: str
    higher_is_better: bool
    totals: Callable[[Floats, Labels], Floats] | None = None
    exact: Callable[[Floats, Labels], float] | None = None
    one_sided: bool = False
    least: float = 0.0  # no value lies below
    most: float = math.inf  # or above

    def value(self, predicted: Floats, labels: Labels) -> float:
        """The metric over all examples."""
        if self.exact:
            return self.exact(predicted, labels)
        if self.totals:
            return float(self.total(self.totals(predicted, labels)))
        sums = np.asarray(self.cells(predicted, labels).sum(0), np.float64).reshape(-1)
        return float(self.total(sums))

    def facing(self, task: Task, predicted: Floats, labels: Labels) -> tuple[Floats, Labels]:
        """The arguments as the metric takes them: turned where it looks for the class that stands first."""
        if self.one_sided and task.positive == 0:
            return predicted[:, ::-1], 1 - labels
        return predicted, labels

    def of(self, outcome: Outcome) -> float:
        """The metric of an outcome."""
        return self.value(*self.facing(outcome.task, outcome.predicted, outcome.labels))

    def cells_of(self, outcome: Outcome) -> csr_array:
        """The statistics of each example of an outcome, sparse `(N, K)`."""
        return self.cells(*self.facing(outcome.task, outcome.predicted, outcome.labels))


def columns(values: Floats) -> csr_array:
    """Per-example statistics `(N,)` or `(N, K)` that are mostly not zero, as a sparse array."""
    return csr_array(values[:, None] if values.ndim == 1 else values)


def scattered(index: Integers, values: Floats, width: int) -> csr_array:
    """A sparse `(N, width)` array with `values` `(N, k)` at the columns `index` `(N, k)`."""
    n, per_row = index.shape
    pointer = np.arange(0, n * per_row + 1, per_row)
    return csr_array((values.reshape(-1), index.reshape(-1), pointer), shape=(n, width))


def divided(top: Floats, bottom: Floats) -> Floats:
    """`top / bottom`, and 0 where `bottom` is 0."""
    return np.divide(top, bottom, out=np.zeros(np.broadcast(top, bottom).shape), where=bottom != 0)
