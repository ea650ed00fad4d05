"""What the tests of groups share: results made of arrays, with a column on disk that sorts their examples."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import numpy as np
import regression
from scipy.special import softmax

from core import fingerprint
from core.damage.groups import ByGroup, by_group
from core.data.handle import DataHandle, Groups, Preprocessing, SplitHandle
from core.engine.numbers import stated
from core.task import Task, task_of_classes
from core.types import Outcome, Provenance, Result

TURN = itertools.count()
FOLDER = tempfile.TemporaryDirectory(prefix="temper-groups-", ignore_cleanup_errors=True)
NAMES = ("young", "old & <b>wise</b>", "of an age that nobody was asked to state " * 4)


def outcome(outputs: np.ndarray, labels: np.ndarray, task: Task) -> Outcome:
    predicted = softmax(outputs.astype(np.float64), 1) if task.decides else stated(outputs)
    made = Provenance("model", "data", f"grouped {next(TURN)}", "test", 0.0)
    return Outcome(outputs.astype(np.float32), predicted, labels, task, made)


def classified(n: int, seed: int = 0, classes: int = 2, hurt: np.ndarray | float = 0.3) -> Result:
    """Classes; the tempered model's outputs are off by a noise of `hurt`, a number or one an example."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, n)
    outputs = 2.5 * np.eye(classes)[labels] + random.normal(size=(n, classes))
    worse = outputs + np.broadcast_to(hurt, n)[:, None] * random.normal(size=(n, classes))
    task = task_of_classes([f"class {k}" for k in range(classes)])
    return result(*(outcome(of, labels, task) for of in (outputs, worse)))


def priced(n: int, seed: int = 0) -> Result:
    (outputs, labels), random = regression.prices(n, seed), np.random.default_rng(seed + 1)
    worse = outputs.copy()
    worse[:, 0] *= np.exp(random.normal(0.01, 0.1, n))
    return result(*(outcome(of, labels, regression.PRICES) for of in (outputs, worse)))


def result(before: Outcome, after: Outcome) -> Result:
    return Result("model", "data", before, after, after, regression.SIZE, regression.SIZE, ())


def sorted_by(of: np.ndarray, found: Result, names: tuple[str, ...] = NAMES, title: str = "age") -> DataHandle:
    """The data of a result, `of` `(N,)` saying each example's group."""
    path = Path(FOLDER.name) / f"{next(TURN)}.npz"
    np.savez(path, x=np.zeros((len(of), 1), np.float32), y=found.tempered.labels, age=of.astype(np.int8))
    split = SplitHandle("evaluation", path, len(of), fingerprint.of_file(path))
    plain, task = Preprocessing(1.0, (0.0,), (1.0,)), found.tempered.task
    columns = (Groups(title, "age", names),)
    return DataHandle("made", "made", "table", task, plain, (split,), "none", "made here", groups=columns)


def told(found: Result, of: np.ndarray, measure: str, names: tuple[str, ...] = NAMES) -> ByGroup:
    return by_group(sorted_by(of, found, names), found, "age", measure)


def _situations() -> dict[str, dict[str, ByGroup]]:
    thirds = np.arange(900) % 3
    same = classified(300, 3).original
    many = tuple(f"site {k}" for k in range(30))
    few = np.where(np.arange(900) < 9, 2, thirds % 2)
    one = classified(200, 6)
    alone = np.where(one.tempered.labels == 1, 0, np.arange(200) % 2)  # the second holds class 0 only
    found = {
        "who pays": told(classified(900, 1, hurt=np.where(thirds == 1, 4.0, 0.1)), thirds, "accuracy"),
        "prices": told(priced(900), thirds, "rmse"),
        "held": told(priced(900, 2), thirds, "coverage"),
        "the same twice": told(result(same, same), thirds[:300], "nll"),
        "one of nine": told(classified(900, 4), few, "ece"),
        "thirty sites": told(classified(900, 5, 4), np.arange(900) % 30, "macro_f1", many),
        "one class": told(one, alone, "auroc", NAMES[:2]),
        "all too few": told(classified(24, 7), np.arange(24) % 3, "brier"),
        "nobody": told(classified(5, 8), np.zeros(5), "accuracy"),
    }
    return {case: {"found": one} for case, one in found.items()}


SITUATIONS = _situations()
