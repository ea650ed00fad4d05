"""Labelled data by identity: three disjoint splits, loaded when asked for, never fitted on the evaluation split."""

from __future__ import annotations

import threading
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from core import fingerprint
from core.errors import TemperError
from core.task import Task
from core.types import Integers

SplitName = Literal["fit", "calibration", "evaluation"]
Modality = Literal["pictures", "table"]


@dataclass(frozen=True)
class Preprocessing:
    """From stored values to what the network reads: `(x / scale - mean) / deviation`.

    `mean` and `deviation` hold one value a channel (pictures) or a feature (table).
    """

    scale: float
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def apply(self, x: NDArray[Any], modality: Modality) -> NDArray[np.float32]:
        """Network inputs: pictures `(N, H, W)` become `(N, 1, H, W)`, tables stay `(N, features)`."""
        values = x.astype(np.float32) / np.float32(self.scale)
        mean, deviation = (np.asarray(part, np.float32) for part in (self.mean, self.deviation))
        if modality == "pictures":
            values = values[:, None] if values.ndim == 3 else values.transpose(0, 3, 1, 2)
            mean, deviation = mean[:, None, None], deviation[:, None, None]
        return np.ascontiguousarray((values - mean) / deviation)


@dataclass(frozen=True)
class SplitHandle:
    """Where a split lies and what it must contain."""

    name: SplitName
    path: Path
    n: int
    fingerprint: str


@dataclass(frozen=True)
class DataHandle:
    """Identity of a labelled data set: names, preprocessing and splits, no arrays."""

    id: str
    title: str
    modality: Modality
    task: Task
    preprocessing: Preprocessing
    splits: tuple[SplitHandle, ...]
    licence: str
    attribution: str
    features: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; none where numbers are predicted."""
        return self.task.classes

    def split(self, name: SplitName) -> SplitHandle:
        """One split's handle. Raises `TemperError` where the data set has no such split."""
        for split in self.splits:
            if split.name == name:
                return split
        have = ", ".join(s.name for s in self.splits)
        raise TemperError(f"The data set '{self.id}' has no {name} split; it has: {have}.")

    @property
    def fingerprint(self) -> str:
        """Names the content of all splits together with the preprocessing."""
        scaling = [self.preprocessing.scale, *self.preprocessing.mean, *self.preprocessing.deviation]
        return fingerprint.of_json([[s.name, s.fingerprint] for s in self.splits] + [scaling])


@dataclass(frozen=True)
class Split:
    """A loaded split: `x` as stored, `inputs` float32 as the network reads them, `y` int64 `(N,)`."""

    name: SplitName
    x: NDArray[Any]
    inputs: NDArray[np.float32]
    y: Integers


_READING = threading.Lock()


def load_split(data: DataHandle, name: SplitName) -> Split:
    """Read a split, once, and check it against its handle. Raises `TemperError` when missing or damaged."""
    with _READING:  # who comes second waits and finds it read
        return _read(data, name)


@lru_cache(maxsize=6)
def _read(data: DataHandle, name: SplitName) -> Split:
    handle = data.split(name)
    again = "Restore the file from the repository, or run the sample's train.py."
    if not handle.path.exists():
        raise TemperError(f"The {name} split of '{data.id}' should be at {handle.path} and is not there.", again)
    if fingerprint.of_file(handle.path) != handle.fingerprint:
        raise TemperError(
            f"The {name} split of '{data.id}' ({handle.path.name}) differs from what its card states.", again
        )
    try:
        with np.load(handle.path, allow_pickle=False) as arrays:
            x, y = arrays["x"], arrays["y"].astype(np.int64)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise TemperError(f"The {name} split of '{data.id}' cannot be read: {error}.", again) from error
    inputs = data.preprocessing.apply(x, data.modality)
    for array in (x, inputs, y):
        array.setflags(write=False)
    return Split(name, x, inputs, y)


def split_for_fitting(data: DataHandle, name: SplitName = "calibration") -> Split:
    """A split that something may be fitted on. Raises `TemperError` for the evaluation split."""
    if name == "evaluation":
        raise TemperError(
            "Nothing may be fitted on the evaluation split: it only judges.", "Fit on the calibration split."
        )
    return load_split(data, name)
