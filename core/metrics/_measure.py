"""How a metric is declared: statistics of each example, and a function of their totals.

From this one declaration follow the value (`total(cells.sum(0))`), bootstrap intervals
(`total(weights @ cells)`) and weighted estimates from a sample.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from core.types import Floats, Integers

Cells = Callable[[Floats, Integers], csr_array]
Total = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Measure:
    """A metric of predicted probabilities.

    `cells(probabilities (N, C) float64, labels (N,) int64)` gives the statistics of each example, sparse
    `(N, K)`. `total(sums (..., K))` gives the metric `(...)`; a cell without examples must not give nan.
    `totals`, of the same arguments, gives `cells(...).sum(0)` `(K,)` where that is quicker without the cells.
    """

    cells: Cells
    total: Total
    unit: str
    higher_is_better: bool
    totals: Callable[[Floats, Integers], Floats] | None = None

    def value(self, probabilities: Floats, labels: Integers) -> float:
        """The metric over all examples."""
        if self.totals:
            return float(self.total(self.totals(probabilities, labels)))
        sums = np.asarray(self.cells(probabilities, labels).sum(0), np.float64).reshape(-1)
        return float(self.total(sums))


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
