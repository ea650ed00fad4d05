"""Logits or probabilities from a CSV file: a column a class, `label`, and perhaps `split` and `group`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.calibrate import LARGEST_FILE, MOST_CLASSES, SPLITS, TOLD, Stated, checked
from core.errors import TemperError

LABEL, SPLIT, GROUP = "label", "split", "group"
EXPECTED = f"a column '{LABEL}', a column of numbers for each class and, for two splits, a column '{SPLIT}'"


def read_logits_csv(path: Path, stated: Stated = "", largest: int = LARGEST_FILE) -> dict[str, NDArray[Any]]:
    """The arrays that `calibrate_arrays` takes or, without a column `split`, those of `cross_fitted_arrays`.

    Labels are names from the header or places from 0 on. A column `group` is left out. Raises `TemperError` saying
    what was expected.
    """
    return parsed_csv(path, stated, largest)[0]


def parsed_csv(
    path: Path, stated: Stated = "", largest: int = LARGEST_FILE
) -> tuple[dict[str, NDArray[Any]], tuple[str, ...], dict[str, NDArray[Any]]]:
    """The same arrays, the classes' names, and the groups' names `(N,)` by split where there is a column `group`.

    Of one split the groups stand under `''`. Raises like `read_logits_csv`.
    """
    if not path.is_file():
        raise TemperError(f"There is no file {path}; expected a CSV file with {EXPECTED}.")
    if path.stat().st_size > largest:
        raise TemperError(f"{path} has {path.stat().st_size:,} bytes; at most {largest:,} are read.")
    text = {LABEL: str, SPLIT: str, GROUP: str}
    try:
        width = len(pd.read_csv(path, nrows=0).columns)
        if width > MOST_CLASSES:
            raise TemperError(f"{path} has {width:,} columns; at most {MOST_CLASSES:,} classes are read.")
        frame = pd.read_csv(path, dtype=text, keep_default_na=False, low_memory=False)
    except TemperError:
        raise
    except (ValueError, UnicodeDecodeError, OSError, OverflowError) as error:
        told = " ".join(str(error).split())[:TOLD]
        raise TemperError(f"{path} cannot be read as a CSV file with {EXPECTED}: {told}.") from error
    classes = [name for name in frame.columns if name not in text]
    if LABEL not in frame.columns or len(classes) < 2:
        held = ", ".join(map(str, frame.columns[:8]))
        raise TemperError(f"{path} must have {EXPECTED}; its header is {held:.200}.")
    values = frame[classes].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    wrong = ~np.isfinite(values)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        given = str(frame[classes[column]].iloc[row])
        raise TemperError(
            f"Column {classes[column]!r:.60} of {path} must hold finite numbers; row {row + 1} holds {given!r:.40}, "
            f"and {int(wrong.sum()):,} values in all are not finite."
        )
    names = tuple(str(name) for name in classes)
    labels = _places(frame[LABEL].to_numpy(str), list(names), path)
    of = frame[GROUP].to_numpy(str) if GROUP in frame.columns else None
    if SPLIT not in frame.columns:
        arrays = checked({"logits": values, "labels": labels}, stated)
        return arrays, names, {} if of is None else {"": of}
    split = frame[SPLIT].to_numpy(str)
    unknown = sorted(set(split) - set(SPLITS))
    missing = [name for name in SPLITS if name not in set(split)]
    if unknown or missing:
        said = f"it holds {str(unknown[0])!r:.40}" if unknown else f"no row says {missing[0]}"
        raise TemperError(f"Column '{SPLIT}' of {path} must say {' or '.join(SPLITS)}; {said}.")
    arrays = {}
    for name in SPLITS:
        arrays |= {f"{name}_logits": values[split == name], f"{name}_labels": labels[split == name]}
    groups = {} if of is None else {name: of[split == name] for name in SPLITS}
    return checked(arrays, stated), names, groups


def _places(given: NDArray[Any], classes: list[str], path: Path) -> NDArray[np.int64]:
    """The place of each label: by the header's names, or whole numbers from 0 on."""
    known = {name: place for place, name in enumerate(classes)}
    strange = [label for label in np.unique(given) if label not in known]
    if not strange:
        return np.array([known[label] for label in given], np.int64)
    if all(label.isdecimal() and int(label) < len(classes) for label in np.unique(given)):
        return given.astype(np.int64)
    odd = next(label for label in strange if not (label.isdecimal() and int(label) < len(classes)))
    raise TemperError(
        f"Column '{LABEL}' of {path} must name a class of the header or its place from 0 to {len(classes) - 1}; "
        f"it holds {str(odd)!r:.40}."
    )
