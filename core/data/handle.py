"""Labelled data by identity: three disjoint splits, loaded when asked for, never fitted on the evaluation split."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from core import fingerprint
from core.data.splits import halves
from core.data.texts import Tokens, unpacked
from core.errors import TemperError
from core.task import Task
from core.types import Integers, Labels

SplitName = Literal["fit", "calibration", "evaluation"]
Modality = Literal["pictures", "table", "text"]


@dataclass(frozen=True)
class Preprocessing:
    """From stored values to what the network reads: `(x / scale - mean) / deviation`.

    `mean` and `deviation` hold one value a channel (pictures) or a feature (table).
    """

    scale: float
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def apply(self, x: NDArray[Any], modality: str) -> NDArray[np.float32]:
        """Network inputs: pictures `(N, H, W)` become `(N, 1, H, W)`, tables stay `(N, features)`."""
        values = x.astype(np.float32) / np.float32(self.scale)
        mean, deviation = (np.asarray(part, np.float32) for part in (self.mean, self.deviation))
        if modality == "pictures":
            values = values[:, None] if values.ndim == 3 else values.transpose(0, 3, 1, 2)
            mean, deviation = mean[:, None, None], deviation[:, None, None]
        return np.ascontiguousarray((values - mean) / deviation)

    @property
    def identity(self) -> list[Any]:
        """What names it in a data set's fingerprint."""
        return [self.scale, *self.mean, *self.deviation]

    def facts(self) -> dict[str, Any]:
        """What a user of an artifact must know."""
        how = "(x / scale - mean) / deviation, float32"
        return {"how": how, "scale": self.scale, "mean": list(self.mean), "deviation": list(self.deviation)}


@dataclass(frozen=True)
class Groups:
    """A column that sorts examples into groups, such as an age band: its title, its array and the groups' names."""

    title: str
    array: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class SplitHandle:
    """Where a split lies and what it must contain; with `half` only one of its two stratified halves, 0 or 1."""

    name: SplitName
    path: Path
    n: int
    fingerprint: str
    half: int | None = None

    @property
    def identity(self) -> list[Any]:
        """What names it in a data set's fingerprint."""
        return [self.name, self.fingerprint, *([] if self.half is None else [self.half])]


@dataclass(frozen=True)
class DataHandle:
    """Identity of a labelled data set: names, preprocessing and splits, no arrays.

    `categories` names the codes of features that are no numbers, by feature; `groups` are the columns by which every
    metric can be told apart.
    """

    id: str
    title: str
    modality: Modality
    task: Task
    preprocessing: Preprocessing | Tokens
    splits: tuple[SplitHandle, ...]
    licence: str
    attribution: str
    features: tuple[str, ...] = ()
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict, compare=False)
    groups: tuple[Groups, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; none where numbers are predicted."""
        return self.task.classes

    def split(self, name: SplitName) -> SplitHandle:
        """One split's handle. Raises `TemperError` where the data set has no such split.

        For `fit` it says what to do: whoever brings data of their own may not have set anything aside.
        """
        for split in self.splits:
            if split.name == name:
                return split
        have = ", ".join(s.name for s in self.splits)
        if name == "fit":
            raise TemperError(
                f"The data set '{self.id}' has no examples to train on: all of them calibrate or judge ({have}).",
                "Load it again with a share to train on (--fit-share, or More: I want to train too), or with a part "
                "of its own that is named fit or train.",
            )
        raise TemperError(f"The data set '{self.id}' has no {name} split; it has: {have}.")

    @property
    def fingerprint(self) -> str:
        """Names the content of all splits together with the preprocessing."""
        splits = [s.identity for s in self.splits]
        return fingerprint.of_json([*splits, self.preprocessing.identity])


@dataclass(frozen=True)
class Split:
    """A loaded split: `x` as stored, `inputs` float32 as the network reads them, `y` `(N,)`, and groups.

    Texts are an array of strings. `y` is int64 where it names classes and float64 where it holds numbers; `groups`
    int64 `(N,)` by title says which group each example belongs to.
    """

    name: SplitName
    x: NDArray[Any]
    inputs: NDArray[np.float32]
    y: Labels
    groups: Mapping[str, Integers] = field(default_factory=dict)


_READING = threading.Lock()


def load_split(data: DataHandle, name: SplitName) -> Split:
    """Read a split, once, and check it against its handle. Raises `TemperError` when missing or damaged."""
    with _READING:  # who comes second waits and finds it read
        return _read(data, name)


@lru_cache(maxsize=9)  # three data sets whole
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
            x = unpacked(arrays["text"], arrays["ends"]) if data.modality == "text" else arrays["x"]
            y = arrays["y"].astype(np.int64 if data.task.decides else np.float64)
            groups = {of.title: arrays[of.array].astype(np.int64) for of in data.groups if of.array in arrays}
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise TemperError(f"The {name} split of '{data.id}' cannot be read: {error}.", again) from error
    if handle.half is not None:
        rows = halves(y)[handle.half]
        x, y, groups = x[rows], y[rows], {title: codes[rows] for title, codes in groups.items()}
    inputs = data.preprocessing.apply(x, data.modality)
    for array in (x, inputs, y, *groups.values()):
        array.setflags(write=False)
    return Split(name, x, inputs, y, groups)


def split_for_fitting(data: DataHandle, name: SplitName = "calibration") -> Split:
    """A split that something may be fitted on. Raises `TemperError` for the evaluation split."""
    if name == "evaluation":
        raise TemperError(
            "Nothing may be fitted on the evaluation split: it only judges.", "Fit on the calibration split."
        )
    return load_split(data, name)


def fitting_split(data: DataHandle) -> Split:
    """The split that weights are trained on. Raises `TemperError`, saying what to do, where there is none."""
    return split_for_fitting(data, "fit")
