"""Other data to carry a model over to, made on this machine: written digits, and one group of a data set."""

from __future__ import annotations

import re
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core import fingerprint
from core.data.handle import DataHandle, Groups, Preprocessing, SplitHandle, SplitName
from core.data.splits import halves, split_places
from core.data.texts import packed, unpacked
from core.errors import TemperError
from core.home import home
from core.task import task_of_classes
from core.types import Integers

NAMES: tuple[SplitName, ...] = ("fit", "calibration", "evaluation")
SIDE, FIELD = 28, 24  # pixels: of a picture, and of the digit in its middle, three to each pixel of the source
BRIGHTEST = 16  # of the source's pixels
SHARE, SEED = 0.5, 40  # of the digits that may be trained on, and of how they are drawn


def written_digits() -> DataHandle:
    """1,797 written digits as grey pictures uint8 `(N, 28, 28)`, light on black as Fashion-MNIST's are.

    scikit-learn carries them as 8 x 8 pictures of values from 0 to 16; each is enlarged three times, bilinearly, and
    set in the middle. Half fit, a quarter calibrates and a quarter evaluates, each class in proportion. The source
    does not say who wrote which, so one hand may be in all three. Scaled by the fit split's own mean and deviation.
    """
    return _still_there(_digits, _folder())


def by_group(data: DataHandle, title: str, code: int) -> DataHandle:
    """The examples of one group in all three splits: group `code` of those that `data` calls `title`.

    Preprocessing, task, licence and attribution are the data set's own, its other groups are kept. Raises
    `TemperError` where there is no such group, or where a split, such as fit, holds none of its examples.
    """
    groups = {one.title: one for one in data.groups}
    if title not in groups:
        have = ", ".join(groups) or "none"
        raise TemperError(f"The data set '{data.id}' has no groups called {title!r:.60}; it has: {have}.")
    names = groups[title].names
    if not 0 <= code < len(names):
        raise TemperError(f"The groups by {title} of '{data.id}' run from 0 to {len(names) - 1}; got {code}.")
    for name in NAMES:
        data.split(name)
    return _still_there(_grouped, data, groups[title], code, _folder())


def _still_there(make: Any, *arguments: Any) -> DataHandle:
    """What was made before, made again where somebody removed its files."""
    found: DataHandle = make(*arguments)
    if all(split.path.exists() for split in found.splits):
        return found
    make.cache_clear()
    again: DataHandle = make(*arguments)
    return again


@lru_cache(maxsize=4)
def _digits(folder: Path) -> DataHandle:
    from sklearn.datasets import load_digits

    source = load_digits()
    x, y = enlarged(source.images), source.target.astype(np.int64)
    places = split_places(y, None, SEED, len(source.target_names), SHARE)
    scaled = x[places["fit"]].astype(np.float64) / 255
    return DataHandle(
        id="written-digits",
        title="Written digits",
        modality="pictures",
        task=task_of_classes([str(name) for name in source.target_names]),
        preprocessing=Preprocessing(255, (round(float(scaled.mean()), 4),), (round(float(scaled.std()), 4),)),
        splits=tuple(
            _kept(folder, "written-digits", name, {"x": x[places[name]], "y": y[places[name]]}) for name in NAMES
        ),
        licence="CC BY 4.0",
        attribution="Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits, UCI Machine Learning "
        "Repository, doi 10.24432/C50P49; its test set as bundled with scikit-learn. Changed: enlarged to 28 x 28",
    )


def enlarged(images: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Pictures `(N, 8, 8)` of values from 0 to 16 as uint8 `(N, 28, 28)`, black around."""
    from PIL import Image

    found = np.zeros((len(images), SIDE, SIDE), np.uint8)
    edge = (SIDE - FIELD) // 2
    for place, image in enumerate(images):
        small = Image.fromarray((image * (255 / BRIGHTEST)).round().astype(np.uint8))
        found[place, edge:-edge, edge:-edge] = np.asarray(small.resize((FIELD, FIELD), Image.Resampling.BILINEAR))
    return found


@lru_cache(maxsize=32)
def _grouped(data: DataHandle, group: Groups, code: int, folder: Path) -> DataHandle:
    name = group.names[code]
    identity = f"{data.id}-{_slug(name)}"
    parts = {split.name: _rows_of(data, split, group, code) for split in data.splits}
    empty = [split for split, arrays in parts.items() if not len(arrays["y"])]
    if empty:
        raise TemperError(
            f"No example of {name}, by {group.title}, is in the {' or '.join(empty)} split of '{data.id}'.",
            "Choose another group.",
        )
    return replace(
        data,
        id=identity,
        title=f"{data.title}: {name}",
        splits=tuple(_kept(folder, identity, split, parts[split]) for split in parts),
        attribution=f"{data.attribution}. Here: only {name}, by {group.title}",
        groups=tuple(one for one in data.groups if one != group),
    )


def _rows_of(data: DataHandle, split: SplitHandle, group: Groups, code: int) -> dict[str, NDArray[Any]]:
    """All arrays of a split's file, for the examples of one group. Raises `TemperError` where it is damaged."""
    try:
        if fingerprint.of_file(split.path) != split.fingerprint:
            raise TemperError(f"The {split.name} split of '{data.id}' differs from what its card states.")
        with np.load(split.path, allow_pickle=False) as stored:
            arrays = dict(stored)
        y, codes = arrays["y"], arrays[group.array]
        rows: Integers = np.arange(len(y)) if split.half is None else halves(y)[split.half]
        rows = rows[codes[rows] == code]
        found = {key: values[rows] for key, values in arrays.items() if key not in ("text", "ends")}
        return found | (packed(unpacked(arrays["text"], arrays["ends"])[rows].tolist()) if "text" in arrays else {})
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise TemperError(f"The {split.name} split of '{data.id}' cannot be read: {error}.") from error


def _kept(folder: Path, identity: str, name: SplitName, arrays: Mapping[str, NDArray[Any]]) -> SplitHandle:
    """A split written as a compressed `.npz` that bears its content's name; written whole before it has it."""
    made = BytesIO()
    np.savez_compressed(made, allow_pickle=False, **arrays)
    content = made.getvalue()
    stated = fingerprint.of_bytes(content)
    path = folder / f"{identity}-{name}-{stated}.npz"
    try:
        if not path.exists() or fingerprint.of_file(path) != stated:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".coming-", delete=False) as coming:
                coming.write(content)
            Path(coming.name).replace(path)
    except OSError as error:
        raise TemperError(f"There is no room for {path.name} at {folder}: {error.strerror}.") from error
    return SplitHandle(name, path, len(arrays["y"]), stated)


def kept_split(identity: str, name: SplitName, arrays: Mapping[str, NDArray[Any]]) -> SplitHandle:
    """A split written beside the other borrowed ones, by its content's name. Raises `TemperError` without room."""
    return _kept(_folder(), identity, name, arrays)


def _folder() -> Path:
    """Where it is kept: beside a person's own models, or for this process alone where nothing is to be kept."""
    place = home()
    return place / "borrowed" if place is not None else Path(_passing().name)


@cache
def _passing() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="temper-borrowed-")


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:30] or "group"
