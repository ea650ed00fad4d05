"""Gradient boosting as a teacher of tables: grown on the fit split alone.

What it says of a row that it was grown on is too sure by far. Of those it therefore tells what trees say that were
grown on the other four fifths, rows of the same values always staying together (cross-fitting, as of stacking:
Wolpert 1992, doi 10.1016/S0893-6080(05)80023-1).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core import fingerprint
from core.data.handle import DataHandle, split_for_fitting
from core.data.splits import strata_of
from core.engine.memory import RESULTS
from core.errors import TemperError
from core.types import Integers, Labels

FOLDS = 5
LEAST = 1e-6  # probability that a class has at least
SEED = 0
FEWEST = 20  # rows to grow trees on


@dataclass(frozen=True)
class Boosted:
    """Trees grown on all of the fit split, and what those of the other folds say of each of its rows.

    `told` float32 `(N, C)` by place in the fit split; `places` by content of a row. `spread` is the deviation of what
    the folds told of numbers. `trees` counts those of the whole.
    """

    whole: Any
    told: NDArray[np.float32]
    places: dict[bytes, int]
    spread: float
    trees: int

    def teach(self, x: Tensor) -> Tensor:
        """Outputs `(N, C)` of rows `(N, features)` as the network reads them: cross-fitted where they are known."""
        rows = np.ascontiguousarray(x.cpu().numpy(), np.float32)
        known = np.array([self.places.get(row.tobytes(), -1) for row in rows])
        found = self.told[known]
        if (known < 0).any():
            found[known < 0] = self.answer(rows[known < 0])
        return torch.from_numpy(found).to(x.device)

    def answer(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the trees of the whole fit split say of rows `(N, features)`: outputs `(N, C)`."""
        return _outputs(self.whole, rows, self.told.shape[1], self.spread)


def fits_on(data: DataHandle) -> str:
    """Names what the trees come to. Raises `TemperError` where there is nothing to grow them on."""
    if data.modality != "table":
        raise TemperError(f"Boosting teaches tables only; '{data.id}' has {data.modality}.")
    split = data.split("fit")
    if split.n < FEWEST:
        raise TemperError(f"Boosting needs {FEWEST} rows to learn from; '{data.id}' has {split.n}.")
    how = [split.identity, data.preprocessing.identity, FOLDS, SEED, version("scikit-learn")]
    return fingerprint.of_json(["boosting", how, data.task.kind, data.task.outputs])


def boosted(data: DataHandle) -> Boosted:
    """The trees of a data set's fit split, grown once. Raises `TemperError` as `fits_on`."""
    return RESULTS.remember((fits_on(data), "boosted"), lambda: _grown(data), lambda found: 4 * found.told.nbytes)


def _grown(data: DataHandle) -> Boosted:
    split = split_for_fitting(data, "fit")
    x, y, decides = np.ascontiguousarray(split.inputs), split.y, data.task.decides
    if decides and len(np.unique(y)) < len(data.classes):
        raise TemperError(f"Boosting needs rows of every class; the fit split of '{data.id}' lacks some.")
    folds = folds_of(x, strata_of(y))
    width = len(data.classes) if decides else len(data.task.outputs)
    told = np.zeros((len(y), width), np.float32)
    for fold in range(FOLDS):
        apart = folds == fold
        trees = _trees(decides, x[~apart], y[~apart])
        told[apart] = _outputs(trees, x[apart], width, 1.0)
    spread = 1.0 if decides else float(np.sqrt(np.mean((told[:, 0] - y) ** 2))) or 1.0
    if width > 1 and not decides:
        told[:, 1] = np.log(spread)
    whole = _trees(decides, x, y)
    told.setflags(write=False)
    places = {row.tobytes(): place for place, row in enumerate(x)}
    return Boosted(whole, told, places, spread, int(whole.n_iter_) * int(whole.n_trees_per_iteration_))


def folds_of(x: NDArray[np.float32], strata: Integers) -> Integers:
    """A fold for each row, int64 `(N,)`: alike in the strata, and the same for rows of the same values."""
    _, first, same = np.unique(x, axis=0, return_index=True, return_inverse=True)
    generator = np.random.default_rng(SEED)
    shuffled = generator.permutation(len(first))
    order = shuffled[np.argsort(strata[first][shuffled], kind="stable")]
    folds = np.empty(len(first), np.int64)
    folds[order] = np.arange(len(first)) % FOLDS
    found: Integers = folds[same.reshape(-1)]
    return found


def _trees(decides: bool, x: NDArray[np.float32], y: Labels) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    kind = HistGradientBoostingClassifier if decides else HistGradientBoostingRegressor
    with threadpool_limits(1, "openmp"):  # threads that wait for one another are slower where cores are busy
        return kind(random_state=SEED).fit(x, y)


def _outputs(trees: Any, rows: NDArray[np.float32], width: int, spread: float) -> NDArray[np.float32]:
    """Logits of classes, or the number and, where `width` is 2, the log of the deviation."""
    if hasattr(trees, "predict_proba"):
        shares = np.full((len(rows), width), LEAST)
        shares[:, trees.classes_] = np.maximum(trees.predict_proba(rows), LEAST)
        return np.log(shares).astype(np.float32)
    found = np.full((len(rows), width), np.log(spread), np.float32)
    found[:, 0] = trees.predict(rows)
    return found
