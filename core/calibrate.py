"""Judge every confidence calibration on uploaded logits alone: fitted on one split, measured on another."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.calibrators._fitted import GREATEST, LEAST, unusable_count
from core.errors import TemperError
from core.metrics._reduction import reduce, reduce_logits
from core.registry import methods
from core.types import Integers

SPLITS = ("calibration", "evaluation")
LARGEST_FILE = 2_000_000_000  # bytes a file may hold, packed or not: 100,000 examples of 1,000 classes are 0.8 GB
NAMED = 8  # arrays a message lists
TOLD = 200  # characters of a reader's own message that ours repeats


def calibrate_arrays(
    calibration_logits: NDArray[Any],
    calibration_labels: Integers,
    evaluation_logits: NDArray[Any],
    evaluation_labels: Integers,
) -> dict[str, Any]:
    """Measures before and after every registered calibrator of as many classes, with what each one fitted.

    Logits `(N, C)`, labels `(N,)`. A method that cannot be fitted gives `{"error": sentence}`.
    """
    rows: dict[str, Any] = {}
    two = calibration_logits.ndim == 2 and calibration_logits.shape[1] == 2
    for one in methods("calibrate", "binary" if two else "multi-class"):
        try:
            calibrator = one.function(calibration_logits, calibration_labels, **one.complete({}))
        except TemperError as error:
            rows[one.name] = {"error": str(error)}
            continue
        measured = reduce(calibrator.probabilities(evaluation_logits), evaluation_labels).measures()
        rows[one.name] = {**measured, "fitted": dict(calibrator.fitted)}
    before = reduce_logits(evaluation_logits, evaluation_labels).measures()
    return {"before": {**before, "fitted": {}}, "methods": rows}


def read_logits_file(path: Path) -> dict[str, NDArray[Any]]:
    """The four arrays that `calibrate_arrays` takes, from an `.npz` file, checked.

    Raises `TemperError` naming the array, what was expected and what was given.
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
        if size > LARGEST_FILE:
            raise TemperError(f"{path} unpacks to {size:,} bytes; at most {LARGEST_FILE:,} are read.")
        with np.load(path, allow_pickle=False) as file:
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
    classes = 0
    for split in SPLITS:  # before the logits: who brings numbers has one column of them and needs to hear why
        _check_whole(f"{split}_labels", arrays[f"{split}_labels"])
    for split in SPLITS:
        _check_logits(f"{split}_logits", arrays[f"{split}_logits"])
        classes = classes or arrays[f"{split}_logits"].shape[1]
        given = arrays[f"{split}_logits"].shape[1]
        if given != classes:
            raise TemperError(f"{split}_logits must have {classes} classes like the other; got {given}.")
        name = f"{split}_labels"
        arrays[name] = _checked_labels(name, arrays[name], len(arrays[f"{split}_logits"]), classes)
    return arrays


def _check_logits(name: str, logits: NDArray[Any]) -> None:
    if logits.ndim != 2 or logits.dtype.kind != "f" or logits.shape[1] < 2:
        raise TemperError(f"{name} must be floats of shape (N, C), C at least 2; got {logits.dtype} {logits.shape}.")
    if len(logits) < LEAST:
        raise TemperError(f"{name} must hold at least {LEAST} examples; got {len(logits)}.")
    unusable = unusable_count(logits)
    if unusable:
        raise TemperError(f"{name} must be finite and at most {GREATEST:g}; {unusable:,} values are not.")


def _check_whole(name: str, labels: NDArray[Any]) -> None:
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
