"""IDX files as the folders of torchvision's MNIST, FashionMNIST, KMNIST and EMNIST hold them, gzip or not."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.data.archive import MOST_RATIO, RATIO_FROM, Holder, Member, broken, shown
from core.data.arrays import MOST_LABELS, Header, Source, assembled, open_values
from core.data.intake import DataWish, Examples, Progress
from core.data.labels import placed
from core.errors import TemperError

MOST_BYTES = 4 * 2**30  # of one file, unpacked
_NAME = re.compile(r"(.*?)(train|t10k|test)-(images|labels)[-.]idx([13])-ubyte(\.gz)?")
_AGAIN = "Download the set again with torchvision and give its folder."


@dataclass(frozen=True)
class _File:
    member: Member
    part: int


def holds_idx(holder: Holder) -> bool:
    """Whether any file is named as torchvision names the images of its IDX sets."""
    return any(_NAME.fullmatch(m.parts[-1]) for m in holder.members)


def read_idx(holder: Holder, wish: DataWish, progress: Progress) -> Examples:
    """Pictures uint8 `(N, H, W)` with their own split into train and test. Raises `TemperError` for other content."""
    images, labels = _files(holder, "images"), _files(holder, "labels")
    if set(images) != set(labels):
        lone = sorted({*images, *labels} - ({*images} & {*labels}))[0]
        raise TemperError(
            f"{shown(holder.path.name)} holds images without labels, or labels without images, for {shown(lone)}.",
            _AGAIN,
        )
    sets = {name.removesuffix("train").removesuffix("t10k").removesuffix("test") for name in images}
    if len(sets) > 1:
        raise TemperError(
            f"{shown(holder.path.name)} holds several sets: {shown(', '.join(sorted(sets)), 120)}.",
            "Give a folder with one of them.",
        )
    sources, found = [], []
    for name in sorted(images, reverse=True):  # train before test
        header = _header(holder, images[name].member, 3)
        part = images[name].part if len(images) > 1 else None
        values = _labels(holder, labels[name].member)
        if len(values) != header.shape[0]:
            raise TemperError(
                f"The IDX set {shown(name)} holds {header.shape[0]:,} images and {len(values):,} labels.", _AGAIN
            )
        sources.append(Source(images[name].member, header, part))
        found.append(values)
    distinct, codes = np.unique(np.concatenate(found), return_inverse=True)
    y, classes, notes = placed(
        distinct.tolist(), codes.astype(np.int64), wish.classes, "The label file", lambda row: f"row {row:,}"
    )
    return assembled(holder, sources, y, classes, wish, progress, list(notes))


def _files(holder: Holder, kind: str) -> dict[str, _File]:
    """The files of images or labels by set and part; the unpacked one where both lie there."""
    found: dict[str, _File] = {}
    for member in holder.members:
        match = _NAME.fullmatch(member.parts[-1])
        if match is None or match[3] != kind:
            continue
        name = "/".join((*member.parts[:-1], match[1] + match[2]))
        if name not in found or not match[5]:
            found[name] = _File(member, 0 if match[2] == "train" else 2)
    return found


def _header(holder: Holder, member: Member, dimensions: int) -> Header:
    name = f"The IDX file {shown(member.name)}"
    with broken(holder.path, "set of IDX files"), open_values(holder, member) as stream:
        start = stream.read(4)
        sizes = stream.read(4 * dimensions)
    if len(start) < 4 or start[:3] != b"\x00\x00\x08" or start[3] != dimensions or len(sizes) < 4 * dimensions:
        raise TemperError(f"{name} should hold bytes in {dimensions} dimensions; its header says otherwise.", _AGAIN)
    shape = tuple(int(n) for n in np.frombuffer(sizes, ">u4"))
    begin, expected = 4 + len(sizes), math.prod(shape)
    packed = member.name.endswith(".gz")
    if not packed and expected != member.size - begin:
        raise TemperError(
            f"{name} states {shown(shape)} bytes, which are not the {member.size - begin:,} it has.", _AGAIN
        )
    if expected > MOST_BYTES or (expected > RATIO_FROM and expected > MOST_RATIO * member.packed):
        raise TemperError(f"{name} would unpack to {expected:,} bytes from {member.packed:,}.", _AGAIN)
    return Header(np.dtype(np.uint8), shape, False, begin)


def _labels(holder: Holder, member: Member) -> NDArray[np.uint8]:
    header = _header(holder, member, 1)
    if header.shape[0] > MOST_LABELS:
        raise TemperError(f"The IDX file {shown(member.name)} states {header.shape[0]:,} labels: too many.", _AGAIN)
    with broken(holder.path, "set of IDX files"), open_values(holder, member) as stream:
        stream.read(header.start)
        values = stream.read(header.shape[0] + 1)
        if len(values) != header.shape[0]:
            raise EOFError(f"{shown(member.name)} should hold {header.shape[0]:,} labels and holds {len(values):,}")
    return np.frombuffer(values, np.uint8)
