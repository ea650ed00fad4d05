"""What a folder or a zip holds: listed and opened without leaving it, following links or swelling beyond bounds."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from core.errors import TemperError

MOST_MEMBERS = 200_000
MOST_BYTES = 16 * 2**30  # unpacked, all members together
MOST_RATIO, RATIO_FROM = 100, 10 * 2**20  # pictures and arrays stay below; a bomb reaches 1,000 and more
DEEPEST = 32  # folders in folders
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # as torchvision's ImageFolder
DAMAGE = (
    OSError, EOFError, ValueError, OverflowError, IndexError, RuntimeError, NotImplementedError,
    struct.error, zlib.error, zipfile.BadZipFile, zipfile.LargeZipFile,
)  # fmt: skip
_END, _ENTRY = b"PK\x05\x06", b"PK\x01\x02"


def shown(text: object, most: int = 60) -> str:
    """`text` for a sentence: one line, printable, at most `most` characters."""
    safe = str(text).encode("utf-8", "backslashreplace").decode("utf-8")
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in safe[: most + 1])
    return safe if len(safe) <= most else f"{safe[: most - 1]}…"


@contextmanager
def broken(path: Path, kind: str) -> Iterator[None]:
    """Turn what a parser raises on damaged bytes into one `TemperError`."""
    try:
        yield
    except DAMAGE as error:
        said = (isinstance(error, OSError) and error.strerror) or str(error).strip() or type(error).__name__
        reason = shown(said, 100).rstrip(".")
        raise TemperError(
            f"{shown(path.name)} cannot be read as a complete {kind}: {reason}.",
            "It may be damaged or cut short; copy or make it again.",
        ) from error


@dataclass(frozen=True)
class Member:
    """A file of a folder or zip: the parts of its path inside, its size in bytes unpacked, and where it lies."""

    parts: tuple[str, ...]
    size: int
    place: Path | zipfile.ZipInfo

    @property
    def name(self) -> str:
        """The path inside, with slashes."""
        return "/".join(self.parts)

    @property
    def packed(self) -> int:
        """Bytes it takes where it lies."""
        return self.place.compress_size if isinstance(self.place, zipfile.ZipInfo) else self.size


@dataclass(frozen=True)
class Holder:
    """A folder or an open zip: its files and folders in sorted order, hidden ones left out."""

    path: Path
    members: tuple[Member, ...]
    folders: tuple[tuple[str, ...], ...]
    archive: zipfile.ZipFile | None = None

    def open(self, member: Member) -> IO[bytes]:
        """A binary stream of the member's bytes, never more than `member.size` of them from a zip."""
        if isinstance(member.place, Path):
            return member.place.open("rb")
        assert self.archive is not None
        return self.archive.open(member.place)

    def read(self, member: Member, most: int) -> bytes:
        """All bytes of a member. Raises `TemperError` beyond `most` bytes or where it is cut short."""
        if member.size > most:
            raise TemperError(f"{shown(member.name)} has {member.size:,} bytes; at most {most:,} are read.")
        with broken(self.path, "file"), self.open(member) as stream:
            found = stream.read(member.size + 1)
        if len(found) != member.size:
            raise TemperError(f"{shown(member.name)} should have {member.size:,} bytes and has {len(found):,}.")
        return found


@contextmanager
def opened(path: Path) -> Iterator[Holder]:
    """List a folder or zip and keep it open. Raises `TemperError` for links, paths outside, bombs and damage."""
    if path.is_dir():
        with broken(path, "folder"):
            holder = _listed_folder(path)
        yield holder
        return
    with broken(path, "zip"):
        _check_count(path)
        archive = zipfile.ZipFile(path)
    with archive:
        with broken(path, "zip"):
            holder = _listed_zip(path, archive)
        yield holder


def _hidden(parts: tuple[str, ...]) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _check_name(holder: str, name: str) -> None:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise TemperError(f"In {holder} a file name is not UTF-8: {shown(name, 120)}.", "Rename it.") from None


def _too_many(holder: str) -> TemperError:
    return TemperError(f"{holder} holds more than {MOST_MEMBERS:,} files.", "Give a part of the data.")


def _listed_folder(root: Path) -> Holder:
    members: list[Member] = []
    folders: list[tuple[str, ...]] = []
    waiting: list[tuple[tuple[str, ...], Path]] = [((), root)]
    seen = 0
    name = shown(root.name)
    while waiting:
        parts, folder = waiting.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                seen += 1
                if seen > MOST_MEMBERS:
                    raise _too_many(name)
                here: tuple[str, ...] = (*parts, entry.name)
                if _hidden(here):
                    continue
                _check_name(name, entry.name)
                if entry.is_symlink():
                    raise TemperError(
                        f"In {name}, {shown('/'.join(here))} is a link, and links are not followed.",
                        "Replace it by a copy of what it points to.",
                    )
                if entry.is_dir(follow_symlinks=False):
                    if len(here) > DEEPEST:
                        raise TemperError(f"{name} has folders nested more than {DEEPEST} deep.")
                    folders.append(here)
                    waiting.append((here, Path(entry.path)))
                elif entry.is_file(follow_symlinks=False):  # no pipes, sockets or devices
                    size = entry.stat(follow_symlinks=False).st_size
                    members.append(Member(here, size, Path(entry.path)))
    return Holder(root, tuple(sorted(members, key=lambda m: m.parts)), tuple(sorted(folders)))


def _check_count(path: Path) -> None:
    """Count entries in the raw directory: `ZipFile` would make an object of each before anyone could stop it."""
    name = shown(path.name)
    with path.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - 2**16 - 22))
        tail = stream.read()
        at = tail.rfind(_END)
        if at < 0 or len(tail) - at < 22:
            raise TemperError(f"{name} is a zip without an end: it was cut short.", "Copy or make it again.")
        length, end = struct.unpack("<I", tail[at + 12 : at + 16])[0], size - len(tail) + at
        if length == 0xFFFFFFFF:  # the true length stands in a record of 56 bytes before a locator of 20
            stream.seek(max(0, end - 76))
            record = stream.read(56)
            length = struct.unpack("<Q", record[40:48])[0] if len(record) == 56 else 0
            end -= 76
        if length > MOST_MEMBERS * 500 or length > size:
            raise _too_many(name) if length <= size else zipfile.BadZipFile("its list of files is cut short")
        stream.seek(max(0, end - length))
        if stream.read(length).count(_ENTRY) > MOST_MEMBERS:
            raise _too_many(name)


def _entry_name(info: zipfile.ZipInfo) -> str:
    """An entry's name; tools that write UTF-8 without saying so are understood."""
    if info.flag_bits & 0x800:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _listed_zip(path: Path, archive: zipfile.ZipFile) -> Holder:
    name, infos = shown(path.name), archive.infolist()
    if len(infos) > MOST_MEMBERS:
        raise _too_many(name)
    members: dict[tuple[str, ...], Member] = {}
    folders: set[tuple[str, ...]] = set()
    for info in infos:
        raw = _entry_name(info).replace("\\", "/")
        _check_name(name, raw)
        _check_entry(name, raw, info)
        parts = tuple(part for part in PurePosixPath(raw).parts if part != ".")
        if not parts or _hidden(parts):
            continue
        folders.update(parts[:depth] for depth in range(1, min(len(parts), DEEPEST)))
        if raw.endswith("/"):
            folders.add(parts)
        elif parts in members:
            raise TemperError(f"{name} holds {shown(raw)} twice.", "Make the zip again, each file once.")
        else:
            members[parts] = Member(parts, info.file_size, info)
    unpacked, packed = sum(i.file_size for i in infos), sum(i.compress_size for i in infos)
    if unpacked > MOST_BYTES:
        raise TemperError(f"{name} would unpack to {unpacked:,} bytes; at most {MOST_BYTES:,} are read.")
    if unpacked > RATIO_FROM and unpacked > MOST_RATIO * min(packed, path.stat().st_size):
        raise _bomb(name, unpacked)
    return Holder(path, tuple(members[key] for key in sorted(members)), tuple(sorted(folders)), archive)


def _bomb(what: str, size: int) -> TemperError:
    return TemperError(
        f"{what} would unpack to {size:,} bytes, more than {MOST_RATIO} times what it takes packed.",
        "Such archives are refused; store the files less compressed (np.savez rather than np.savez_compressed).",
    )


def _check_entry(holder: str, raw: str, info: zipfile.ZipInfo) -> None:
    parts = raw.split("/")
    if raw.startswith("/") or ".." in parts or parts[0][1:2] == ":":
        raise TemperError(f"In {holder}, the path {shown(raw)} leads outside.", "Make the zip again from its folder.")
    if len(parts) > DEEPEST:
        raise TemperError(f"{holder} has folders nested more than {DEEPEST} deep.")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise TemperError(
            f"In {holder}, {shown(raw)} is a link, and links are not followed.", "Make the zip again with the files."
        )
    if info.flag_bits & 0x1:
        raise TemperError(f"In {holder}, {shown(raw)} is encrypted.", "Make the zip again without a password.")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise TemperError(
            f"In {holder}, {shown(raw)} is packed in a way other than store or deflate.", "Make the zip again."
        )
    if info.file_size > RATIO_FROM and info.file_size > MOST_RATIO * info.compress_size:
        raise _bomb(f"In {holder}, {shown(raw)}", info.file_size)
