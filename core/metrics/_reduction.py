"""One pass over the probabilities of many classes, after which every measure is quick.

A probability of at most 1 / MAX_BINS lies in the first of equally wide bins whatever their number, so that only
larger ones need to be kept one by one: of 1,000 classes some ten an example.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.blocks import by_blocks
from core.calibrators._fitted import softmax
from core.engine.statistics import wilson
from core.errors import TemperError
from core.metrics._bins import BINS, Mass, bin_of, edges, expected_error, greatest_error
from core.metrics._measure import divided
from core.metrics._reliability import Reliability
from core.metrics.nll import surprise
from core.types import Floats, Integers

MAX_BINS = 100
CUT = float(edges(np.zeros(0), MAX_BINS, "width")[1])  # what is not above lies in the first bin


@dataclass(frozen=True)
class OneVsRest:
    """Examples by whether they are of a class and were called so."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int


@dataclass(frozen=True)
class Reduced:
    """What every measure of `(N, C)` probabilities needs.

    By example, `(N,)`: `labels` and `predictions` int64; `confidence`, the probability of the prediction, `own`,
    that of the label, and `squares`, the sum of squared probabilities, float64. By class, `(C,)`: `totals`, the
    sum of probabilities, float64, and `counts`, the number of examples, int64. One by one, `(E,)`: the
    probabilities above `CUT`, as `values` float64, their class in `columns` int64 and whether it is the label in
    `hits` bool. `rest` `(C,)` float64 is the sum of hits minus probabilities over all that is not listed.
    """

    labels: Integers
    predictions: Integers
    confidence: Floats
    own: Floats
    squares: Floats
    totals: Floats
    counts: Integers
    values: Floats
    columns: Integers
    hits: NDArray[np.bool_]
    rest: Floats

    @property
    def n(self) -> int:
        """Number of examples."""
        return len(self.labels)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each prediction equals its label, bool `(N,)`."""
        return self.predictions == self.labels

    def measures(self) -> dict[str, float]:
        """The registered metrics that follow from it, by name, each in its registered unit."""
        classwise = float(self.classwise_ece().sum())
        return {
            "accuracy": self._mean(self.correct.astype(np.float64)),
            "ece": self.ece(),
            "ece_equal_mass": self.ece(by="mass"),
            "classwise_ece_sum": classwise,
            "classwise_ece_mean": classwise / len(self.totals),
            "mce": self.mce(),
            "nll": self._mean(surprise(self.own)),
            "brier": self._mean(self.squares - 2 * self.own + 1),
        }

    def ece(self, bins: int = BINS, by: Mass = "width") -> float:
        """Expected calibration error of the predicted class (Naeini et al. 2015, doi 10.1609/aaai.v29i1.9602).

        Raises `TemperError` unless there are 1 to `MAX_BINS` bins.
        """
        return float(expected_error(self._top_label(bins, by)))

    def mce(self, bins: int = BINS, by: Mass = "width") -> float:
        """The largest |accuracy - mean confidence| of a bin. Raises like `ece`."""
        return float(greatest_error(self._top_label(bins, by)))

    def classwise_ece(self, bins: int = BINS) -> Floats:
        """Each class's expected calibration error over equally wide bins, float64 `(C,)`.

        Its mean is Kull et al.'s (2019, arXiv 1910.12656). Raises like `ece`.
        """
        return np.abs(self.gaps(bins)).sum(1) / max(1, self.n)

    def gaps(self, bins: int = BINS) -> Floats:
        """By class and equally wide bin, the sum of hits minus probabilities, float64 `(C, bins)`.

        Raises like `ece`.
        """
        at = _width_edges(bins)
        classes = len(self.totals)
        place = self.columns * bins + bin_of(self.values, at)
        found = _sums(place, self.hits - self.values, classes * bins).reshape(classes, bins)
        found[:, 0] += self.rest
        return found

    def classwise_totals(self) -> Floats:
        """Those of the registered classwise metrics, `(1 + C * BINS,)`: the number of examples, then `gaps()`."""
        return np.concatenate([[float(self.n)], self.gaps().reshape(-1)])

    def of_class(self, column: int, bins: int = BINS) -> Reliability:
        """How sure of one class and how often right, over equally wide bins, with Wilson's bands at 95 %.

        Raises `TemperError` for a class that there is not, and like `ece`.
        """
        at = _width_edges(bins)
        self._check_class(column)
        mine = self.columns == column
        values, hits = self.values[mine], self.hits[mine]
        place = bin_of(values, at)
        count, total, right = (_sums(place, summed, bins) for summed in (np.ones(len(values)), values, hits))
        count[0] += self.n - len(values)
        right[0] += self.counts[column] - hits.sum()
        total[0] = self.counts[column] - hits.sum() - self.rest[column] + total[0]
        low, high = wilson(right, count)
        error = float(np.abs(right - total).sum() / max(1, self.n))
        return Reliability(
            at[:-1], at[1:], count.astype(np.int64), divided(total, count), divided(right, count), low, high, error
        )

    def one_vs_rest(self, column: int, threshold: float) -> OneVsRest:
        """The class against the rest where a probability of at least `threshold` calls it.

        Raises `TemperError` for a class that there is not, and for a threshold outside `CUT` to 1, `CUT` itself
        left out.
        """
        self._check_class(column)
        if not CUT < threshold <= 1:
            raise TemperError(f"A threshold must lie above {CUT:g} and be at most 1; got {threshold:g}.")
        called = (self.columns == column) & (self.values >= threshold)
        hit, all_called, all_true = int(self.hits[called].sum()), int(called.sum()), int(self.counts[column])
        return OneVsRest(hit, all_called - hit, all_true - hit, self.n - all_called - all_true + hit)

    def _top_label(self, bins: int, by: Mass) -> Floats:
        _width_edges(bins)
        place = bin_of(self.confidence, edges(self.confidence, bins, by))
        columns = (np.ones(self.n), self.confidence, self.correct)
        return np.concatenate([_sums(place, column, bins) for column in columns])

    def _mean(self, values: Floats) -> float:
        return float(values.sum() / max(1, self.n))

    def _check_class(self, column: int) -> None:
        if not 0 <= column < len(self.totals):
            raise TemperError(f"A class must be from 0 to {len(self.totals) - 1}; got {column}.")


def reduce(probabilities: NDArray[Any], labels: Integers) -> Reduced:
    """One pass over probabilities `(N, C)`, rows summing to 1, with labels int64 `(N,)`.

    Raises `TemperError` for shapes that do not fit, for labels outside 0 to C - 1 and for what is not a number.
    """
    return _reduced(probabilities, labels, lambda block: block.astype(np.float64, copy=False))


def reduce_logits(logits: NDArray[Any], labels: Integers) -> Reduced:
    """`reduce(softmax(logits), labels)` without keeping the `(N, C)` float64 probabilities. Raises like it."""
    return _reduced(logits, labels, softmax)


def _width_edges(bins: int) -> Floats:
    if not (isinstance(bins, int | np.integer) and 1 <= bins <= MAX_BINS):
        raise TemperError(f"A calibration error takes a whole number of bins from 1 to {MAX_BINS}; got {bins}.")
    return edges(np.zeros(0), int(bins), "width")


def _sums(place: Integers, values: NDArray[Any], size: int) -> Floats:
    """Sums of `values` by `place`, float64 `(size,)`, where NumPy gives integers if there is nothing to sum."""
    return np.bincount(place, values, size).astype(np.float64)


def _reduced(given: NDArray[Any], labels: Integers, probabilities_of: Any) -> Reduced:
    if given.ndim != 2 or given.shape[1] < 1 or labels.shape != given.shape[:1]:
        raise TemperError(f"Measures need (N, C) values and N labels; got {given.shape} and {labels.shape}.")
    n, classes = given.shape
    if n and not 0 <= labels.min() <= labels.max() < classes:
        raise TemperError(f"Labels must be from 0 to {classes - 1}; they run from {labels.min()} to {labels.max()}.")

    def part(rows: slice) -> tuple[NDArray[Any], ...]:
        block = probabilities_of(given[rows])
        mine = labels[rows]
        predictions = block.argmax(1)
        each = np.arange(len(block))
        flat = block.reshape(-1)
        listed = np.flatnonzero(flat > CUT)
        row, column = np.divmod(listed, classes)
        squares = np.einsum("nc,nc->n", block, block)
        return (
            predictions, block[each, predictions], block[each, mine], squares,
            flat[listed], column, mine[row] == column, block.sum(0)[None],
        )  # fmt: skip

    parts = [np.concatenate(pieces) for pieces in zip(*by_blocks(part, n, classes), strict=True)]
    predictions, confidence, own, squares, values, columns, hits, sums = parts
    totals = sums.sum(0)
    if not np.isfinite(totals).all():
        raise TemperError("Measures need finite values; some are not numbers.", "Look for a layer that overflows.")
    counts = np.bincount(labels, minlength=classes)
    rest = counts - totals - _sums(columns, hits - values, classes)
    return Reduced(labels, predictions, confidence, own, squares, totals, counts, values, columns, hits, rest)
