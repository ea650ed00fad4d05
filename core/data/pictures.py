"""Labelled pictures from a folder or zip of class folders, with or without folders for train, val and test."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.data.archive import SUFFIXES, Holder, Member, broken, shown
from core.data.arrays import PARTS
from core.data.decode import MODES, MOST_ENCODED, Fit, decoded, glance, refitted
from core.data.intake import DataWish, Examples, Progress
from core.data.labels import by_name
from core.data.splits import stratified_part
from core.errors import TemperError

GLANCES = 1_000  # headers looked at to find the commonest size and channels
UNREADABLE = 0.01  # share of the pictures that may be left out
_LAYOUT = "Give a folder or zip with one folder of pictures for each class, or train/ and test/ with such folders."


@dataclass(frozen=True)
class _Pictures:
    """Picture files, the name of the class and the part of an own split of each; names of all class folders."""

    members: tuple[Member, ...]
    names: tuple[str, ...]
    parts: tuple[int, ...] | None
    folders: tuple[str, ...]
    notes: tuple[str, ...]


def read_pictures(holder: Holder, wish: DataWish, progress: Progress) -> Examples:
    """Pictures uint8 `(N, H, W)` or `(N, H, W, C)`, all of one size, labelled by their folders.

    Classes are the folders' names, sorted as torchvision's ImageFolder sorts them, unless `wish.classes` names them.
    Up to 1 % of the files may be unreadable; they are left out and a note says so. Raises `TemperError`.
    """
    found = _arranged(holder)
    places, classes, notes = by_name(found.folders, wish.classes, "The class folders", lambda k: found.folders[k])
    place = dict(zip(found.folders, places.tolist(), strict=True))
    y = np.array([place[name] for name in found.names], np.int64)
    part = None if found.parts is None else np.array(found.parts, np.int8)
    fit, more = _fit(holder, found.members, wish)
    each = fit.height * fit.width * fit.channels
    if wish.most_bytes // each < min(4, len(y)):
        raise TemperError(
            f"One picture of {fit.height} x {fit.width} takes {each:,} bytes; fewer than four fit in "
            f"{wish.most_bytes:,}.",
            "Choose a smaller size.",
        )
    chosen = stratified_part(y if part is None else y * 3 + part, wish.most_bytes // each, wish.seed)
    words = [*found.notes, *notes, *more]
    if len(chosen) < len(y):
        words.append(
            f"{len(chosen):,} of {len(y):,} pictures were kept, in proportion to the classes, to fit memory."
        )
    x, read = _decoded(holder, [found.members[k] for k in chosen], fit, progress, words)
    chosen = chosen[read]
    absent = [name for name in found.folders if name not in set(found.names)]
    if absent:
        words.append(f"Class folders without pictures: {shown(', '.join(absent), 120)}.")
    return Examples(
        x, y[chosen], classes, "pictures", False, part=None if part is None else part[chosen], notes=tuple(words)
    )


def _arranged(holder: Holder) -> _Pictures:
    """Which files are pictures of which class. Raises `TemperError` where the folders do not say."""
    name = shown(holder.path.name)
    members = [m for m in holder.members if m.parts[-1].lower().endswith(SUFFIXES)]
    if not members:
        raise _nothing(holder, name)
    skip = 0  # folders around everything, as zips have them
    while len({m.parts[skip] for m in members}) == 1 and all(len(m.parts) >= skip + 3 for m in members):
        skip += 1
    around = members[0].parts[:skip]
    tops = {m.parts[skip] for m in members if len(m.parts) > skip + 1}
    codes = {top: PARTS[top.lower()] for top in tops if top.lower() in PARTS}
    split = len(codes) > 1 and (len(codes) == len(tops) or 0 in codes.values())
    depth = skip + (2 if split else 1)
    kept = [m for m in members if len(m.parts) > depth and (not split or m.parts[skip] in codes)]
    if not kept:
        where = f"directly in {', '.join(sorted(codes))}" if split else "without class folders"
        raise TemperError(
            f"{name} holds {len(members):,} pictures {shown(where)}; folders name the classes.", _LAYOUT
        )
    notes = []
    if len(kept) < len(members):
        lone = next(m for m in members if m not in set(kept))
        notes.append(
            f"{len(members) - len(kept):,} pictures outside class folders were left out, first {shown(lone.name)}."
        )
    listed = [f for f in holder.folders if len(f) == depth and f[:skip] == around and (not split or f[skip] in codes)]
    folders = sorted({m.parts[depth - 1] for m in kept} | {f[-1] for f in listed})
    parts = tuple(codes[m.parts[skip]] for m in kept) if split else None
    if split:
        said = {0: "fit", 1: "calibration", 2: "evaluation"}
        notes.append(f"Own split: {', '.join(f'{shown(top)} is {said[codes[top]]}' for top in sorted(codes))}.")
    return _Pictures(tuple(kept), tuple(m.parts[depth - 1] for m in kept), parts, tuple(folders), tuple(notes))


def _nothing(holder: Holder, name: str) -> TemperError:
    files = [m.parts[-1] for m in holder.members]
    cifar = next((f for f in files if re.fullmatch(r"data_batch_\d|test_batch|batches\.meta", f)), None)
    if cifar is None and {"train", "test", "meta"} <= set(files):
        cifar = "train"
    if cifar is not None:
        kind = "CIFAR100" if cifar == "train" else "CIFAR10"
        return TemperError(
            f"{name} holds {kind} as pickles ({cifar}), which can run code when opened and are never opened here.",
            "Where you trust them, turn them into arrays:\n"
            "import numpy, torchvision\n"
            f"a, b = (torchvision.datasets.{kind}('FOLDER', train=t) for t in (True, False))\n"
            "numpy.savez('cifar.npz', x_train=a.data, y_train=a.targets, x_test=b.data, y_test=b.targets, "
            "classes=a.classes)",
        )
    table = next((f for f in files if f.lower().endswith((".csv", ".parquet", ".npz"))), None)
    if table is not None:
        return TemperError(f"{name} holds no pictures, but {shown(table)}.", "Give that file itself.")
    have = f"no pictures among its {len(files):,} files" if files else "no files"
    return TemperError(f"{name} holds {have} (known are {', '.join(SUFFIXES)}).", _LAYOUT)


def _fit(holder: Holder, members: tuple[Member, ...], wish: DataWish) -> tuple[Fit, list[str]]:
    """Size and channels: those the model reads, else those of most pictures."""
    shape = wish.input_shape
    if shape is not None and len(shape) == 3:
        if shape[0] not in MODES:
            raise TemperError(f"The model reads {shape[0]} channels; pictures have 1, 3 or 4.")
        return Fit(shape[1], shape[2], shape[0], wish.resize, wish.interpolation), []
    glances, reason = [], ""
    step = max(1, len(members) // GLANCES)
    for member in members[::step][:GLANCES]:
        try:
            glances.append(glance(_bytes(holder, member)))
        except TemperError as error:
            reason = reason or f"{shown(member.name)}: {error.message.rstrip('.')}"
    if not glances or (len(members) <= GLANCES and len(members) - len(glances) > UNREADABLE * len(members)):
        raise TemperError(f"Pictures cannot be read; the first is {shown(reason, 250)}.", "Repair or remove them.")
    sizes = Counter((g.height, g.width) for g in glances)
    (height, width), most = max(sizes.items(), key=lambda item: (item[1], item[0]))
    grey = sum(g.grey for g in glances)
    channels = 1 if 2 * grey > len(glances) else 3
    notes = []
    if most < len(glances):
        notes.append(f"Pictures differ in size and were resized to the commonest, {height} x {width}.")
    if 0 < grey < len(glances):
        notes.append(f"Some pictures are grey and some coloured; all were read as {MODES[channels]}.")
    return Fit(height, width, channels, None, wish.interpolation), notes


def _bytes(holder: Holder, member: Member) -> bytes:
    if member.size > MOST_ENCODED:
        raise TemperError(f"it has {member.size:,} bytes")
    with broken(holder.path, "picture"), holder.open(member) as stream:
        return stream.read(member.size)


def _decoded(
    holder: Holder, members: list[Member], fit: Fit, progress: Progress, notes: list[str]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """All pictures that can be read, and which those are; notes are added. Raises `TemperError` where too few can."""
    x = np.empty((len(members), fit.height, fit.width, *(() if fit.channels == 1 else (fit.channels,))), np.uint8)
    read = np.zeros(len(members), bool)
    turned, lost, first = 0, 0, ""
    for row, member in enumerate(members):
        try:
            x[row], turn = decoded(_bytes(holder, member), fit)
            read[row] = True
            turned += turn
        except TemperError as error:
            lost, first = lost + 1, first or f"{shown(member.name)}: {error.message.rstrip('.')}"
        if lost > UNREADABLE * len(members):
            raise TemperError(
                f"More than 1 % of the {len(members):,} pictures cannot be read; the first is {shown(first, 200)}.",
                "Repair or remove them.",
            )
        if row % 100 == 0:
            progress(row / len(members))
    if lost:
        notes.append(f"{lost:,} unreadable pictures were left out; the first is {shown(first, 200)}.")
        x = x[read]
    if turned:
        notes.append(f"{turned:,} pictures were turned as their EXIF data say.")
    return x, read


def bytes_when_resized(wish: DataWish) -> int:
    """Bytes of a stored picture once it has the size the model reads; 0 where the model reads no pictures."""
    return math.prod(wish.input_shape) if wish.input_shape is not None and len(wish.input_shape) == 3 else 0


def laid_out(x: NDArray[Any], wish: DataWish) -> tuple[NDArray[Any], bool, list[str]]:
    """Stored pictures as the model reads them, whether channels come first, and notes. Raises `TemperError`."""
    wanted = wish.input_shape if wish.input_shape is not None and len(wish.input_shape) == 3 else None
    first, notes = False, []
    if x.ndim == 4:
        first, note = _channels_first(x.shape[1:], wanted)
        notes.append(note)
    shape = (1, *x.shape[1:]) if x.ndim == 3 else x.shape[1:] if first else (x.shape[3], *x.shape[1:3])
    if wanted is None or shape == wanted:
        return x, first, notes
    if x.dtype != np.uint8 or shape[0] not in MODES or wanted[0] not in MODES:
        raise TemperError(
            f"The model reads pictures of shape {wanted} (C, H, W) and the array holds {shape} of {x.dtype}.",
            "Resize them, or give them as uint8 from 0 to 255 to have them resized here.",
        )
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if first else x
    notes.append(f"Pictures of shape {shape} were resized to {wanted} (C, H, W), {wish.interpolation}.")
    return refitted(last, Fit(wanted[1], wanted[2], wanted[0], wish.resize, wish.interpolation)), False, notes


def _channels_first(shape: tuple[int, ...], wanted: tuple[int, ...] | None) -> tuple[bool, str]:
    """Whether `(C, H, W)` or `(H, W, C)`, and why. Raises `TemperError` where neither can be."""
    last, first = shape[2] in MODES, shape[0] in MODES
    if wanted is not None and (shape == wanted) != ((shape[2], *shape[:2]) == wanted):
        first = shape == wanted
        last = not first
    if last:
        both = "; both were possible" if first else ""
        return False, f"Shape {shape} of a picture was read as (H, W, C){both}."
    if first:
        return True, f"Shape {shape} of a picture was read as (C, H, W)."
    raise TemperError(
        f"Pictures of shape {shown(shape)} have neither first nor last 1, 3 or 4 channels.",
        "Save x as (N, H, W, C) or (N, C, H, W).",
    )
