"""Labelled arrays of an .npz file, read row by row after their headers were checked; never by unpickling."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from core.data.archive import Holder, Member, broken, shown
from core.data.intake import DataWish, Examples, Progress
from core.data.splits import strata_of, stratified_part
from core.data.targets import labelled
from core.errors import TemperError

if TYPE_CHECKING:
    from core.types import Integers, Labels

X_NAMES = ("x", "images", "data", "inputs", "features", "image")
Y_NAMES = ("y", "labels", "label", "target", "targets", "classes_of_x")
CLASS_NAMES = ("classes", "class_names")
PARTS = {
    "fit": 0, "train": 0, "training": 0,
    "calibration": 1, "calib": 1, "cal": 1, "val": 1, "valid": 1, "validation": 1,
    "evaluation": 2, "eval": 2, "test": 2, "testing": 2,
}  # fmt: skip
MOST_LABELS = 2**27  # bytes of a label array, or of one that must be turned whole
MOST_DIMENSIONS = 8
PIECE = 2**22  # bytes read at once
_SAVE = "Save them again: np.savez('data.npz', x=x.astype('float32'), y=y.astype('int64'))."


@dataclass(frozen=True)
class Header:
    """What an array in a file says of itself; `start` is where its values begin, in bytes."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool
    start: int

    @property
    def row_bytes(self) -> int:
        """Bytes of one entry along the first axis."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize


@dataclass(frozen=True)
class Source:
    """Rows of labelled values in a file: what to open, how they lie there, which part of an own split they are."""

    member: Member
    header: Header
    part: int | None = None


def read_header(stream: IO[bytes], name: str, size: int) -> Header:
    """Read an .npy header without evaluating it, and hold it against the `size` in bytes of the whole entry.

    Raises `TemperError` for objects, structures and every other type without an order of numbers or names, and for
    shapes that the bytes cannot fill.
    """
    start = stream.read(8)
    if start[:6] != b"\x93NUMPY" or start[6:7] not in (b"\x01", b"\x02", b"\x03"):
        raise TemperError(f"{name} is not a NumPy array.", _SAVE)
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(stream.read(width), "little")
    if length > 10_000:  # as NumPy's own bound
        raise TemperError(f"{name} has a header of {length:,} bytes; at most 10,000 are read.", _SAVE)
    text = stream.read(length).decode("latin-1")
    described = re.search(r"'descr': ?'([<>|=]?)([a-zA-Z])(\d{0,9})(\[[^\]']*\])?'", text)
    shape = re.search(r"'shape': ?\(([0-9L, ]*)\)", text)
    order = re.search(r"'fortran_order': ?(True|False)", text)
    if re.search(r"'descr': ?(\[|'\|?[OV])", text):
        raise TemperError(f"{name} holds Python objects or records, not numbers; objects are never opened.", _SAVE)
    sizes_said = [n.strip().rstrip("L") for n in shape[1].split(",")] if shape is not None else ["?"]
    plain = all(n.isdigit() and len(n) < 19 for n in sizes_said if n)
    if described is None or order is None or not plain or not text.endswith("\n"):
        raise TemperError(f"{name} has a header that states no plain type and shape.", _SAVE)
    kind, width = described[2], int(described[3] or 0)
    if described[4] or ((kind, width) not in _TYPES and not (kind in "US" and 0 < width <= 10_000)):
        raise TemperError(f"{name} has the type {shown(described[0][9:])}; expected are numbers or names.", _SAVE)
    dtype = np.dtype(f"{described[1]}{kind}{width}")
    sizes = tuple(int(n) for n in sizes_said if n)
    begin = 8 + (2 if start[6] == 1 else 4) + length
    if len(sizes) > MOST_DIMENSIONS or math.prod(sizes) * dtype.itemsize != size - begin:
        raise TemperError(
            f"{name} states {shown(sizes)} values of {dtype.itemsize} bytes and has {size - begin:,} bytes.",
            "The file is damaged or was cut short; save it again.",
        )
    return Header(dtype, sizes, order[1] == "True" and len(sizes) > 1, begin)


_TYPES = {("b", 1), ("f", 2), ("f", 4), ("f", 8), *((kind, width) for kind in "iu" for width in (1, 2, 4, 8))}


def read_arrays(holder: Holder, wish: DataWish, progress: Progress) -> Examples:
    """Labelled arrays of an .npz: x and y, or x_train, y_train, x_test, y_test and the like. Raises `TemperError`."""
    found = {m.parts[0].removesuffix(".npy"): m for m in holder.members if len(m.parts) == 1 and m.size}
    pairs, used = _pairs(found, holder)
    classes, notes = wish.classes, []
    for name in CLASS_NAMES:
        if name in found:
            used.add(name)
            named = tuple(str(value) for value in _small(holder, found[name]).ravel().tolist())
            if classes is None:
                classes = named
    left = sorted(set(found) - used)
    if left:
        notes.append(f"Not read: {shown(', '.join(left), 120)}.")
    if wish.groups:
        raise TemperError("Groups are columns of a .csv or .parquet file, not of arrays.", "Give such a file.")
    sources, labels = [], []
    for x, y, part in pairs:
        with broken(holder.path, ".npz file"), holder.open(x) as stream:
            sources.append(Source(x, read_header(stream, f"The array {shown(x.name)}", x.size), part))
        labels.append(_labels(holder, y))
        if len(labels[-1]) != (sources[-1].header.shape or (0,))[0]:
            raise TemperError(
                f"The array {shown(x.name)} has shape {shown(sources[-1].header.shape)} and {shown(y.name)} holds "
                f"{len(labels[-1]):,} labels; one for each example is needed.",
                _SAVE,
            )
    raw = np.concatenate(labels) if len({array.dtype.kind for array in labels}) == 1 else _mixed()
    distinct, codes = np.unique(raw, return_inverse=True)
    places, classes, more = labelled(
        distinct.tolist(), codes.astype(np.int64), replace(wish, classes=classes), "The label array",
        lambda row: f"row {row:,}",
    )  # fmt: skip
    return assembled(holder, sources, places, classes, wish, progress, [*notes, *more])


def _mixed() -> NDArray[Any]:
    raise TemperError("The label arrays of the parts are of different types.", _SAVE)


def _pairs(found: dict[str, Member], holder: Holder) -> tuple[list[tuple[Member, Member, int | None]], set[str]]:
    """Which array holds examples, which their labels, and which part of an own split they are."""
    keyed: dict[tuple[str, int | None], str] = {}
    for name in sorted(found):
        words = name.lower().replace("-", "_").split("_")
        parts = [PARTS[word] for word in words if word in PARTS]
        rest = "_".join(word for word in words if word not in PARTS)
        kind = "x" if rest in X_NAMES else "y" if rest in Y_NAMES else ""
        if not kind or len(parts) > 1:
            continue
        key = (kind, parts[0] if parts else None)
        if key in keyed:
            raise TemperError(f"{shown(keyed[key])} and {shown(name)} could both be {kind}.", "Name them x and y.")
        keyed[key] = name
    chosen = [part for kind, part in keyed if kind == "x" and ("y", part) in keyed]
    if len(chosen) > 1:
        chosen = [part for part in chosen if part is not None]  # x beside x_train is not a part of the split
    if not chosen:
        have = shown(", ".join(sorted(found)) or "no array", 120)
        raise TemperError(
            f"{shown(holder.path.name)} should hold the arrays x and y; it holds {have}.",
            "Save them so: np.savez('data.npz', x=x, y=y), or x_train, y_train, x_test, y_test for an own split.",
        )
    pairs = [(found[keyed["x", part]], found[keyed["y", part]], part) for part in chosen]
    return pairs, {keyed[kind, part] for part in chosen for kind in ("x", "y")}


def _small(holder: Holder, member: Member) -> NDArray[Any]:
    """A whole small array in native byte order."""
    name = f"The array {shown(member.name)}"
    if member.size > MOST_LABELS:
        raise TemperError(f"{name} has {member.size:,} bytes; labels and names have at most {MOST_LABELS:,}.")
    with broken(holder.path, ".npz file"), holder.open(member) as stream:
        header = read_header(stream, name, member.size)
        values = stream.read(member.size - header.start)
        if len(values) != member.size - header.start:
            raise EOFError(f"{name} ends early")
        array = np.frombuffer(values, header.dtype).reshape(header.shape, order="F" if header.fortran else "C")
        if header.dtype.kind in "US":
            array = np.char.decode(array, "utf-8") if header.dtype.kind == "S" else array
            points = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("=")).view(np.uint32)
            if (points > 0x10FFFF).any() or ((points >= 0xD800) & (points < 0xE000)).any():
                raise ValueError(f"{name} holds characters that do not exist")
    return array.astype(array.dtype.newbyteorder("="))


def _labels(holder: Holder, member: Member) -> NDArray[Any]:
    array = _small(holder, member)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        more = "Turn one-hot rows into places: y.argmax(1)." if array.ndim == 2 else _SAVE
        raise TemperError(
            f"The array {shown(member.name)} has shape {shown(array.shape)}; labels have shape (N,).", more
        )
    return array.astype(np.int64) if array.dtype.kind == "b" else array


def assembled(
    holder: Holder, sources: list[Source], y: Labels, classes: tuple[str, ...], wish: DataWish, progress: Progress,
    notes: list[str],
) -> Examples:  # fmt: skip
    """Examples from rows in files: at most `wish.most_bytes` of them, in the layout the model reads."""
    shape = sources[0].header.shape[1:]
    for source in sources:
        _check_rows(source, shape)
    own = [source.part for source in sources]
    sizes = [source.header.shape[0] for source in sources]
    part = None if None in own else np.repeat(np.array(own, np.int8), sizes)
    if part is not None:
        counts = zip(("fit", "calibration", "evaluation"), np.bincount(part, minlength=3), strict=True)
        notes.append(f"Own split: {', '.join(f'{n:,} to {name}' for name, n in counts if n)}.")
    kind = np.result_type(*(source.header.dtype for source in sources))
    bytes_only = kind == np.uint8 and len(shape) > 1
    from core.data.pictures import bytes_when_resized, laid_out

    each = max(math.prod(shape) * (1 if bytes_only else 4), bytes_when_resized(wish) if bytes_only else 0)
    if wish.most_bytes // each < min(4, len(y)):
        raise TemperError(f"One example takes {each:,} bytes; fewer than four fit in {wish.most_bytes:,}.")
    strata = strata_of(y)
    chosen = stratified_part(strata if part is None else strata * 3 + part, wish.most_bytes // each, wish.seed)
    if len(chosen) < len(y):
        notes.append(f"{len(chosen):,} of {len(y):,} examples were kept, in proportion, to fit memory.")
    x = np.empty((len(chosen), *shape), np.uint8 if bytes_only else np.float32)
    _fill(x, holder, sources, chosen, progress)
    y, part = y[chosen], None if part is None else part[chosen]
    if len(shape) == 1:
        features = tuple(f"feature {k}" for k in range(shape[0]))
        encodings = {name: {"kind": "number"} for name in features}
        return Examples(x, y, classes, "table", False, features, encodings, part, tuple(notes))
    if kind.kind in "iu" and not bytes_only and len(x) and x.min() >= 0 and x.max() <= 255:
        x = x.astype(np.uint8)
        notes.append(f"The values were whole numbers from 0 to 255 stored as {kind}; they are kept as bytes.")
    if x.dtype != np.uint8 and len(x):
        notes.append(f"The values run from {x.min():.4g} to {x.max():.4g} and are used as given.")
    x, first, more = laid_out(x, wish)
    modality: Literal["pictures", "table"] = "pictures"
    return Examples(x, y, classes, modality, first, (), {}, part, (*notes, *more))


def _check_rows(source: Source, shape: tuple[int, ...]) -> None:
    header, name = source.header, f"The array {shown(source.member.name)}"
    if header.dtype.kind in "US":
        raise TemperError(f"{name} holds text ({header.dtype}); examples are numbers.", "Encode the text as numbers.")
    if len(header.shape) not in (2, 3, 4):
        raise TemperError(
            f"{name} has shape {shown(header.shape)}; expected is (N, F), (N, H, W), (N, H, W, C) or (N, C, H, W).",
            "Reshape it: x.reshape(len(x), -1) makes rows of features.",
        )
    if not math.prod(header.shape[1:]):
        raise TemperError(f"{name} has shape {shown(header.shape)}: its examples hold no values.")
    if header.shape[1:] != shape:
        raise TemperError(
            f"{name} holds examples of shape {shown(header.shape[1:])} where others have {shown(shape)}."
        )
    if header.fortran and header.shape[0] * header.row_bytes > MOST_LABELS:
        raise TemperError(
            f"{name} is stored column by column and too large to turn.", "Save np.ascontiguousarray(x) instead."
        )


def _fill(x: NDArray[Any], holder: Holder, sources: list[Source], chosen: Integers, progress: Progress) -> None:
    """Write the chosen rows into `x`, and refuse values that are not finite, saying where the first one is."""
    bad, first, filled, before = 0, "", 0, 0
    for source in sources:
        for start, rows in _pieces(holder, source):
            end = np.searchsorted(chosen, before + start + len(rows))
            wanted = chosen[filled:end]
            with np.errstate(over="ignore", invalid="ignore"):
                x[filled:end] = rows[wanted - before - start]
            unusable = ~np.isfinite(x[filled:end]) if x.dtype.kind == "f" else np.zeros(0, bool)
            if unusable.any():
                row, *place = np.argwhere(unusable)[0].tolist()
                first = first or f"row {wanted[row]:,}, column {', '.join(map(str, place))}"
                bad += int(unusable.sum())
            filled = int(end)
            progress(filled / max(1, len(chosen)))
        before += source.header.shape[0]
    if bad:
        raise TemperError(
            f"{bad:,} values are NaN, infinite or beyond float32; the first is at {first} (counted from 0).",
            "Fill or drop them: np.isfinite(x) says where they are.",
        )


def _pieces(holder: Holder, source: Source) -> Iterable[tuple[int, NDArray[Any]]]:
    """The rows of a source, some at a time, with the place of the first."""
    header, name = source.header, shown(source.member.name)
    n = header.shape[0]
    step = n if header.fortran else max(1, PIECE // header.row_bytes)
    with broken(holder.path, "file"), open_values(holder, source.member) as stream:
        stream.read(header.start)
        for start in range(0, n, max(1, step)):
            count = min(step, n - start)
            found = stream.read(count * header.row_bytes)
            if len(found) != count * header.row_bytes:
                raise EOFError(f"{name} ends early")
            shape = (count, *header.shape[1:])
            yield start, np.frombuffer(found, header.dtype).reshape(shape, order="F" if header.fortran else "C")
        if stream.read(1):
            raise EOFError(f"{name} holds more than it states")


def open_values(holder: Holder, member: Member) -> IO[bytes]:
    """A stream of a member's bytes, unpacked where its name ends with .gz."""
    stream = holder.open(member)
    if member.name.endswith(".gz"):
        import gzip

        return gzip.GzipFile(fileobj=stream)  # type: ignore[return-value]
    return stream
