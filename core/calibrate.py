"""Judge every confidence calibration on uploaded logits alone: fitted on one split, measured on another."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from core.calibration.cross_fit import FOLDS, cross_fitted
from core.calibrators._fitted import GREATEST, LEAST, softmax, unusable_count
from core.engine.statistics import difference, flips
from core.errors import TemperError
from core.metrics._reduction import reduce
from core.registry import Method, method, methods
from core.task import task_of_classes
from core.types import Floats, Integers, Outcome, Provenance

SPLITS = ("calibration", "evaluation")
UNREDUCED = ("ece_debiased", "ece_smooth", "ks_calibration")  # measures that one pass does not give
Stated = Literal["", "logits", "probabilities"]  # what a person says that the file holds
SUMS = 1e-3  # how far from one the sum of a row of probabilities may be
LARGEST_FILE = 2_000_000_000  # bytes a file may hold, packed or not: 100,000 examples of 1,000 classes are 0.8 GB
MOST_CLASSES = 20_000  # columns of a table that are read
NAMED = 8  # arrays a message lists
TOLD = 200  # characters of a reader's own message that ours repeats


def calibrate_arrays(
    calibration_logits: NDArray[Any],
    calibration_labels: Integers,
    evaluation_logits: NDArray[Any],
    evaluation_labels: Integers,
    compare: str = "nll",
) -> dict[str, Any]:
    """Every measure before and after every registered calibrator of as many classes, with what each one fitted.

    Logits `(N, C)`, labels `(N,)`. `change` is the paired difference of the measure `compare` to the model before,
    with its 95 % interval, and `flips` the predictions changed. A method that cannot be fitted gives
    `{"error": sentence}`. Raises `TemperError` for a measure that there is not.
    """

    def applied(one: Method) -> tuple[Floats, dict[str, Any]]:
        fit = one.function(calibration_logits, calibration_labels, **one.complete({}))
        return fit.probabilities(evaluation_logits), dict(fit.fitted)

    return _judged(evaluation_logits, evaluation_labels, compare, applied)


def cross_fitted_arrays(logits: NDArray[Any], labels: Integers, compare: str = "nll") -> dict[str, Any]:
    """The same of one split alone: each fifth is judged by a fit on the other four; `fitted` is of a fit on all."""

    def applied(one: Method) -> tuple[Floats, dict[str, Any]]:
        values = one.complete({})
        predicted = cross_fitted(lambda z, y: one.function(z, y, **values), logits, labels)
        return predicted, dict(one.function(logits, labels, **values).fitted)

    return _judged(logits, labels, compare, applied) | {"cross_fitted": FOLDS}


def _judged(
    logits: NDArray[Any], labels: Integers, compare: str, applied: Callable[[Method], tuple[Floats, dict[str, Any]]]
) -> dict[str, Any]:
    suiting = [one.name for one in methods("metric", "multi-class")]
    if compare not in suiting:
        raise TemperError(f"The measure to compare by must be one of {', '.join(suiting)}; got {compare!r:.40}.")
    task = task_of_classes([str(place) for place in range(logits.shape[1])])
    nowhere = Provenance("", "", "", "", 0.0)
    none = Outcome(logits, softmax(logits), labels, task, nowhere)
    rows: dict[str, Any] = {}
    for one in methods("calibrate", task.kind):
        try:
            predicted, fitted = applied(one)
        except TemperError as error:
            rows[one.name] = {"error": str(error)}
            continue
        after = replace(none, predicted=predicted)
        change = difference(compare, none, after)
        assert change.interval is not None
        rows[one.name] = {
            **_measured(after), "flips": flips(none, after).flips, "fitted": fitted,
            "change": {
                "measure": compare, "difference": change.value,
                "interval": [change.interval.low, change.interval.high],
            },
        }  # fmt: skip
    return {"before": {**_measured(none), "fitted": {}}, "methods": rows}


def _measured(outcome: Outcome) -> dict[str, float]:
    """Every registered measure of calibration, and sharpness, from one pass where it gives them."""
    reduced = reduce(outcome.probabilities, outcome.labels)
    rest = {name: method("metric", name).function.of(outcome) for name in UNREDUCED}
    return {**reduced.measures(), **rest, "sharpness": float(reduced.squares.mean())}


def read_logits_file(path: Path, stated: Stated = "", largest: int | None = None) -> dict[str, NDArray[Any]]:
    """The four arrays that `calibrate_arrays` takes, from an `.npz` file, checked.

    A file with `logits` and `labels` alone has one split: these two, for `cross_fitted_arrays`. Probabilities, where
    `stated` says that they are, become their logarithms, a level of each row being lost. Raises
    `TemperError` naming the array, what was expected and what was given.
    """
    path = Path(path)
    names = [f"{split}_{part}" for split in SPLITS for part in ("logits", "labels")]
    if not path.is_file():
        raise TemperError(f"There is no file {path}; expected an .npz file with {', '.join(names)}.")
    if not zipfile.is_zipfile(path):
        raise TemperError(f"The logits must be an .npz file with {', '.join(names)}; {path} is not one.")
    arrays: dict[str, NDArray[Any]] = {}
    reading = "the list of arrays"
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        largest = largest or LARGEST_FILE
        if size > largest:
            raise TemperError(f"{path} unpacks to {size:,} bytes; at most {largest:,} are read.")
        with np.load(path, allow_pickle=False) as file:
            if {"logits", "labels"} <= set(file.files) and not set(names) & set(file.files):
                names = ["logits", "labels"]
            missing = [name for name in names if name not in file.files]
            if missing:
                held = ", ".join(file.files[:NAMED]) or "nothing"
                more = f" and {len(file.files) - NAMED:,} more" if len(file.files) > NAMED else ""
                raise TemperError(f"{path} lacks {', '.join(missing)}; it holds {held}{more}.")
            for name in names:
                reading = name
                found = file[name]
                if not isinstance(found, np.ndarray):  # NumPy hands over the bytes of what is no array
                    raise TemperError(f"{name} in {path} must be a NumPy array; its bytes are not one.")
                arrays[name] = found
    except TemperError:
        raise
    except Exception as error:  # damaged archives and headers end in a dozen types, of zipfile, tokenize and NumPy
        told = " ".join(str(error).split())[:TOLD]
        raise TemperError(
            f"{reading} in {path} cannot be read as plain numbers: {told or type(error).__name__}.",
            "Write the file again with numpy.savez.",
        ) from error
    return checked(arrays, stated)


def checked(arrays: dict[str, NDArray[Any]], stated: Stated = "") -> dict[str, NDArray[Any]]:
    """The arrays of one split or of both, fit for calibrating. Raises `TemperError` naming the array."""
    pairs = [(name, name.replace("logits", "labels")) for name in arrays if name.endswith("logits")]
    classes = 0
    for _, labels in pairs:  # before the logits: who brings numbers has one column of them and needs to hear why
        _check_whole(labels, arrays[labels])
    for name, labels in pairs:
        _check_logits(name, arrays[name])
        classes = classes or arrays[name].shape[1]
        given = arrays[name].shape[1]
        if given != classes:
            raise TemperError(f"{name} must have {classes} classes like the other; got {given}.")
        arrays[name] = _meant(name, arrays[name], stated)
        arrays[labels] = _checked_labels(labels, arrays[labels], len(arrays[name]), classes)
    return arrays


def _meant(name: str, values: NDArray[Any], stated: Stated) -> NDArray[Any]:
    """Logits of what was given: never guessed where it could be either."""
    sums = values.sum(1, dtype=np.float64)
    off = int((~(np.abs(sums - 1) <= SUMS) | (values < 0).any(1)).sum())
    if stated == "probabilities":
        if off:
            worst = float(sums[np.abs(sums - 1).argmax()])
            raise TemperError(
                f"{name} must be probabilities, at least 0 and each row summing to 1; {off:,} of {len(values):,} "
                f"rows are not, one sums to {worst:.4g}."
            )
        likely = np.maximum(values.astype(np.float64), np.finfo(np.float64).tiny) / sums[:, None]
        return np.log(likely)
    if not off and not stated:
        raise TemperError(
            f"{name} could be probabilities: no value is negative and every row sums to 1; logits are expected.",
            "Say which they are: --as probabilities or --as logits.",
        )
    return values


def _check_logits(name: str, logits: NDArray[Any]) -> None:
    if logits.ndim != 2 or logits.dtype.kind != "f" or logits.shape[1] < 2:
        raise TemperError(f"{name} must be floats of shape (N, C), C at least 2; got {logits.dtype} {logits.shape}.")
    if len(logits) < LEAST:
        raise TemperError(f"{name} must hold at least {LEAST} examples; got {len(logits)}.")
    unusable = unusable_count(logits)
    if unusable:
        raise TemperError(f"{name} must be finite and at most {GREATEST:g}; {unusable:,} values are not.")


def _check_whole(name: str, labels: NDArray[Any]) -> None:
    if labels.dtype.kind in "US" and labels.size:
        first = str(labels.reshape(-1)[0])
        raise TemperError(
            f"{name} must be integers, the class of each example; got names such as {first!r:.40}.",
            "Give each class's place from 0 on, or a CSV file whose header names the classes.",
        )
    if labels.dtype.kind not in "iu":
        raise TemperError(
            f"{name} must be integers, the class of each example; got {labels.dtype}.",
            "Numbers are calibrated with their model and data: python -m core run, with a conformal step.",
        )


def _checked_labels(name: str, labels: NDArray[Any], n: int, classes: int) -> Integers:
    if labels.ndim != 1 or len(labels) != n:
        raise TemperError(f"{name} must have shape ({n},) like its logits; got {labels.shape}.")
    if labels.min() < 0 or labels.max() >= classes:
        raise TemperError(
            f"{name} must lie between 0 and {classes - 1}; they run from {labels.min()} to {labels.max()}."
        )
    return labels.astype(np.int64)
