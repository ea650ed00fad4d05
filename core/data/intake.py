"""The way in for labelled data of any accepted format: what a person wishes, what was read, and who reads it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from core.data.archive import SUFFIXES, broken, shown
from core.data.splits import groups_of, leaked, split_places, strata_of
from core.data.targets import Grouped, Kind
from core.errors import TemperError

if TYPE_CHECKING:
    from core.types import Integers, Labels

Progress = Callable[[float], None]
FORMATS = (
    "an .npz file, a folder or zip of class folders of pictures, a folder of IDX files, a .csv or a .parquet file"
)
INTERPOLATIONS = ("bilinear", "bicubic", "nearest")
MOST_GROUP_COLUMNS = 8
MOST_INPUT = 100_000_000  # values of one example; a picture's pixels end at the same number


@dataclass(frozen=True)
class DataWish:
    """What a person says about their data; None means: find out."""

    label: str | None = None  # label column of a table; default: label, target, class or y (any case), else the last
    classes: tuple[str, ...] | None = None  # class names in the order of the model's outputs
    input_shape: tuple[int, ...] | None = None  # one example as the model reads it, (C, H, W) or (F,)
    resize: int | None = None  # pixels of the shorter side before the centre crop; None: straight to the size
    interpolation: str = "bilinear"  # bilinear | bicubic | nearest
    outputs: int | None = None  # of the network, which says with the labels what is predicted
    task: Kind | None = None  # classes or numbers
    texts: bool = False  # a column of texts is read, not features
    text: str | None = None  # that column; default: the one of the longest and most different texts
    groups: tuple[str, ...] = ()  # columns of a table that sort examples into groups
    most_bytes: int = 600 * 2**20  # of stored x in memory; beyond, a stratified part is kept and a note says so
    seed: int = 0
    fit_share: float | None = None  # of the examples, to train on; default: a fifth where there are plenty


@dataclass(frozen=True)
class Examples:
    """Labelled examples as read, before splitting.

    `x` is uint8 `(N, H, W)` or `(N, H, W, C)` for pictures, float32 `(N, F)` for tables, strings `(N,)` for texts,
    and otherwise float32 as given; `y` int64 `(N,)` holds places in `classes` or, where there are none, float64
    numbers called `target`. `part` is the person's own split, int8 `(N,)`: 0 fit,
    1 calibration, 2 evaluation. `encodings` says how each column of a table became numbers.
    """

    x: NDArray[Any]
    y: Labels
    classes: tuple[str, ...]
    modality: Literal["pictures", "table", "text"]
    channels_first: bool  # True only where x is (N, C, H, W)
    features: tuple[str, ...] = ()
    encodings: Mapping[str, Any] = field(default_factory=dict)
    part: NDArray[np.int8] | None = None
    notes: tuple[str, ...] = ()
    target: str = "value"
    groups: tuple[Grouped, ...] = ()

    def places(self, seed: int, fit_share: float | None = None) -> dict[str, Integers]:
        """See `split_places`. Raises `TemperError` where there is too little to split."""
        strata = strata_of(self.y)
        n_classes = len(self.classes) or int(strata.max(initial=0)) + 1
        return split_places(strata, self.part, seed, n_classes, fit_share)


def read_examples(path: Path, wish: DataWish | None = None, progress: Progress | None = None) -> Examples:
    """Read labelled data of any accepted format; `progress` is told fractions from 0 to 1.

    Nothing is executed, no link is followed and no pickle is opened. Raises `TemperError` for whatever cannot be
    read as labelled examples that can be split in three.
    """
    wish, path = wish or DataWish(), Path(path)
    _check(wish)
    try:
        found = _reader(path)(path, wish, progress or (lambda _: None))
        if (wish.texts and found.modality != "text") or (wish.groups and found.modality == "pictures"):
            what = "Texts are" if wish.texts else "Groups are columns of a table and"
            raise TemperError(
                f"{what} read from a .csv or .parquet file; got {shown(path.name)}.", "Give such a file."
            )
        return _checked(found, wish)
    except MemoryError as error:
        raise TemperError(
            f"{shown(path.name)} needs more memory than is allowed here.", "Give a part of the data."
        ) from error


def _check(wish: DataWish) -> None:
    shape = wish.input_shape
    if shape is not None and (len(shape) not in (1, 3) or min(shape) < 1 or math.prod(shape) > MOST_INPUT):
        raise TemperError(f"The input shape must be (C, H, W) or (F,) of positive sizes; got {shown(shape)}.")
    if wish.interpolation not in INTERPOLATIONS:
        raise TemperError(f"Interpolation is one of {', '.join(INTERPOLATIONS)}; got {shown(wish.interpolation)}.")
    if wish.resize is not None and shape is not None and len(shape) == 3 and wish.resize < max(shape[1:]):
        raise TemperError(
            f"The shorter side is resized to {wish.resize} pixels and cannot be cropped to {shape[1]} x {shape[2]}.",
            f"Resize to {max(shape[1:])} or more.",
        )
    if wish.classes is not None and len(wish.classes) < 2:
        raise TemperError(f"A classifier needs two classes or more; got {len(wish.classes)}.")
    if len(wish.groups) > MOST_GROUP_COLUMNS:
        raise TemperError(f"At most {MOST_GROUP_COLUMNS} columns of groups are read; got {len(wish.groups)}.")


def _reader(path: Path) -> Callable[[Path, DataWish, Progress], Examples]:
    """Who reads this, decided by what it holds and only then by its name. Raises `TemperError` where nobody does."""
    name = shown(path.name)
    if path.is_dir():
        return _folder
    with broken(path, "file"):
        if not path.exists():
            raise TemperError(f"Nothing is at {shown(path, 200)}.", f"Expected is {FORMATS}.")
        if not path.is_file():
            raise TemperError(f"{name} is neither a file nor a folder.", f"Expected is {FORMATS}.")
        with path.open("rb") as stream:
            start = stream.read(8)
    if not start:
        raise TemperError(f"{name} is empty.", f"Expected is {FORMATS}.")
    if start[:2] == b"PK":
        return _zip
    if start[:4] == b"PAR1":
        from core.data.parquet import read_parquet

        return read_parquet
    suffix = path.suffix.lower()
    if start[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05") or suffix in {".pkl", ".pickle", ".joblib"}:
        raise TemperError(
            f"{name} is a pickle, which can run code when opened, and is never opened here.",
            "Open it where you trust it and save arrays: np.savez('data.npz', x=x, y=y).",
        )
    if suffix in {".csv", ".tsv", ".txt"}:
        from core.data.table import read_csv

        return read_csv
    if start[:6] == b"\x93NUMPY":
        raise TemperError(f"{name} holds one array, without labels.", "Save both: np.savez('data.npz', x=x, y=y).")
    if "idx" in path.name and start[:2] in (b"\x00\x00", b"\x1f\x8b"):
        raise TemperError(f"{name} is one IDX file of several.", "Give the folder that holds images and labels.")
    if suffix in SUFFIXES:
        raise TemperError(f"{name} is one picture, without a label.", "Give a folder or zip of class folders.")
    if start[:2] == b"\x1f\x8b" or suffix in {".gz", ".tar", ".tgz", ".7z", ".rar", ".bz2", ".xz"}:
        raise TemperError(f"{name} is an archive other than a zip.", "Unpack it and give the folder, or zip it.")
    raise TemperError(f"{name} is of no known format.", f"Expected is {FORMATS}.")


def _folder(path: Path, wish: DataWish, progress: Progress) -> Examples:
    from core.data import archive, idx, pictures

    with archive.opened(path) as holder:
        if idx.holds_idx(holder):
            return idx.read_idx(holder, wish, progress)
        return pictures.read_pictures(holder, wish, progress)


def _zip(path: Path, wish: DataWish, progress: Progress) -> Examples:
    from core.data import archive, arrays, idx, pictures

    with archive.opened(path) as holder:
        if any(member.name.endswith(".npy") for member in holder.members) or path.suffix.lower() == ".npz":
            return arrays.read_arrays(holder, wish, progress)
        if idx.holds_idx(holder):
            return idx.read_idx(holder, wish, progress)
        return pictures.read_pictures(holder, wish, progress)


def _checked(found: Examples, wish: DataWish) -> Examples:
    """What was read, as the model reads it, with what a split of it would suffer from. Raises `TemperError`."""
    found = _as_read_by_the_model(found, wish.input_shape)
    places = found.places(wish.seed, wish.fit_share)
    notes = [*found.notes, *_set_aside(found, places, wish)]
    if found.features:
        constant = np.flatnonzero(found.x.min(0) == found.x.max(0))
        if len(constant):
            named = ", ".join(shown(found.features[k], 30) for k in constant[:5])
            notes.append(f"Columns that hold one value only are kept ({len(constant):,}): {named}.")
    twice = leaked(groups_of(found.x), places)
    if twice:
        notes.append(
            f"{twice:,} of {len(places['evaluation']):,} evaluation examples equal one in calibration or fit "
            f"(split with seed {wish.seed}): figures on them flatter."
        )
    return replace(found, notes=tuple(notes))


def _set_aside(found: Examples, places: dict[str, Integers], wish: DataWish) -> list[str]:
    """What came of the wish to train too, in sentences."""
    if wish.fit_share is None:
        return []
    fit = places["fit"]
    n = {name: f"{len(chosen):,}" for name, chosen in places.items()}
    named = found.part is not None and len(np.unique(found.part)) > 1
    how = "by the data's own split" if named else f"drawn with seed {wish.seed}"
    notes = [
        f"{n['fit']} of {len(found.y):,} examples may be trained on, {how}; {n['calibration']} calibrate and "
        f"{n['evaluation']} judge."
    ]
    missing = sorted(set(found.y.tolist()) - set(found.y[fit].tolist())) if found.classes and len(fit) else []
    if missing:
        few = ", ".join(shown(found.classes[k], 30) for k in missing[:5])
        notes.append(f"None of the examples to train on are of {len(missing):,} of the classes: {few}.")
    return notes


def _as_read_by_the_model(found: Examples, shape: tuple[int, ...] | None) -> Examples:
    """Rows of a table become pictures, or pictures rows, where only the shape differs. Raises `TemperError`."""
    if found.modality == "text":
        return found
    if shape is None or (len(shape) == 3) == (found.modality == "pictures"):
        if shape is not None and found.modality == "table" and found.x.shape[1:] != shape:
            encoded = " after encoding" if any(v["kind"] == "one-hot" for v in found.encodings.values()) else ""
            raise TemperError(
                f"The model reads {shape[0]:,} features and the data have {found.x.shape[1]:,}{encoded}.",
                "Leave columns out, add them, or choose the label column.",
            )
        return found
    size = math.prod(found.x.shape[1:])
    coded = any(v["kind"] != "number" for v in found.encodings.values())
    if math.prod(shape) != size or coded:
        have = " x ".join(str(n) for n in found.x.shape[1:])
        raise TemperError(
            f"The model reads examples of shape {shape} and an example of the data has {have} values.",
            "Choose data of that shape, or the model that was trained on these.",
        )
    if found.modality == "pictures":
        x = found.x if found.channels_first or found.x.ndim == 3 else found.x.transpose(0, 3, 1, 2)
        flat = np.ascontiguousarray(x, np.float32).reshape(len(x), -1)
        note = f"Each picture became a row of {size:,} values, channel by channel."
        return replace(found, x=flat, modality="table", channels_first=False, notes=(*found.notes, note))
    note = f"Each row of {size:,} values became a picture of shape {shape}, channel by channel."
    x = found.x.reshape(-1, *shape)
    if x.min() >= 0 and 1 < x.max() <= 255 and not (x % 1).any():
        x, note = x.astype(np.uint8), f"{note} Its whole numbers up to 255 are stored as bytes."
    first = shape[0] > 1
    return replace(
        found, x=x if first else x[:, 0], modality="pictures", channels_first=first, features=(), encodings={},
        notes=(*found.notes, note),
    )  # fmt: skip
