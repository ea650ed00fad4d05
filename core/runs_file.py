"""The SQLite file of runs: opened for one short transaction at a time, migrated, set aside when damaged.

Every call opens the file anew, which takes about a millisecond and is safe between threads and processes. A file of
a newer Temper is refused in a sentence; a damaged one is renamed `.damaged-N` and a new one begun.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from core.errors import TemperError
from core.home import home

NAME = "runs.sqlite3"
WAIT = 5.0  # seconds for another process to finish its transaction, of a few milliseconds
FORGIVEN = 24 * 3600.0  # seconds for which a deleted run can come back
# Each entry brings a file from the version that is its place to the next; what has been released never changes.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # Short columns first: a list is filtered by them without reading the long ones.
        """CREATE TABLE runs (
            id TEXT PRIMARY KEY, first REAL NOT NULL, time REAL NOT NULL, visits INTEGER NOT NULL, deleted REAL,
            name TEXT, note TEXT NOT NULL DEFAULT '', notation TEXT NOT NULL,
            model TEXT NOT NULL, model_fingerprint TEXT NOT NULL, title TEXT NOT NULL,
            data TEXT NOT NULL, data_fingerprint TEXT NOT NULL, n INTEGER NOT NULL,
            recipe TEXT NOT NULL, recipe_fingerprint TEXT NOT NULL, figures TEXT NOT NULL, latency TEXT,
            versions TEXT NOT NULL, code TEXT NOT NULL)""",
        "CREATE INDEX runs_by_time ON runs (time)",
        "CREATE INDEX runs_unnamed ON runs (time) WHERE name IS NULL AND note = ''",
        "CREATE INDEX runs_deleted ON runs (deleted) WHERE deleted IS NOT NULL",
    ),
)
T = TypeVar("T")
_ASIDE = threading.Lock()
_SAID: dict[Path, str] = {}  # what happened to a file in this process that a person should read


def place() -> Path | None:
    """The file's path, or None where nothing is to be kept."""
    folder = home()
    return None if folder is None else folder / NAME


def said(path: Path) -> str:
    """One sentence about a file that was set aside in this process, or nothing."""
    return _SAID.get(path, "")


def write(path: Path, act: Callable[[sqlite3.Connection], T]) -> T:
    """Run `act` in one transaction on the file, made where there is none.

    Raises `TemperError` for a file of a newer version and for one that cannot be used (no room, no permission,
    held by another process for longer than `WAIT`); then nothing was changed.
    """

    def attempt() -> T:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _opened(path) as connection:
            _migrate(connection, path)
            connection.execute("BEGIN IMMEDIATE")
            try:
                found = act(connection)
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
            return found

    return _guarded(path, attempt)


def read(path: Path, act: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
    """Run `act` on the file as it stands; `otherwise` where there is no file yet. Raises `TemperError`."""

    def attempt() -> T:
        if not path.exists():
            return otherwise
        with _opened(path, "mode=ro") as connection:
            version = _version(connection, path)
            if version == len(MIGRATIONS):
                return act(connection)
        if version == 0 and path.stat().st_size == 0:
            return otherwise
        return write(path, act)  # an older file is migrated first

    return _guarded(path, attempt)


@contextmanager
def _opened(path: Path, *options: str) -> Iterator[sqlite3.Connection]:
    address = "?".join([path.absolute().as_uri(), *options])
    connection = sqlite3.connect(address, uri=True, timeout=WAIT, isolation_level=None)
    connection.row_factory = sqlite3.Row
    try:
        yield connection
    finally:
        connection.close()


def _version(connection: sqlite3.Connection, path: Path) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(MIGRATIONS):
        raise TemperError(
            f"The runs in {path} were kept by a newer Temper (version {version}; this one reads up to "
            f"{len(MIGRATIONS)}).",
            "Update Temper, or name another folder in TEMPER_HOME.",
        )
    return version


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    if _version(connection, path) == len(MIGRATIONS):
        return
    with suppress(sqlite3.OperationalError):  # another process is at it, or the disk has no shared memory
        connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in MIGRATIONS[_version(connection, path) :]:  # asked again: another process may have been first
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version={len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _guarded(path: Path, attempt: Callable[[], T]) -> T:
    """Run `attempt`; with a new file once more where the old one is damaged. Every other fault is a `TemperError`."""
    try:
        try:
            return attempt()
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            _set_aside(path)
            return attempt()
    except (sqlite3.Error, OSError) as error:
        raise TemperError(f"The file of runs {path} cannot be used: {_reason(error)}.", _advice(error)) from error


def _is_damage(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _set_aside(path: Path) -> None:
    """Rename a damaged file with what belongs to it, unless another thread or process has done so already."""
    with _ASIDE:
        if not path.exists():
            return
        try:
            with _opened(path, "mode=ro") as connection:
                if connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok":
                    return
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
        number = 1
        while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
            number += 1
        path.rename(aside)
        for ending in ("-wal", "-shm"):  # they belong to the damaged file and would spoil the new one
            with suppress(FileNotFoundError):
                path.with_name(path.name + ending).rename(aside.with_name(aside.name + ending))
        _SAID[path] = f"The file of runs was damaged; it was set aside as {aside} and a new one begun."


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return str(error).rstrip(".")


def _advice(error: Exception) -> str:
    text = _reason(error)
    if "locked" in text:
        return "Another program holds it; close that program."
    if "full" in text or "space" in text:
        return "Make room on the disk; the dashboard works on without keeping runs."
    return "The dashboard works on without keeping runs; TEMPER_HOME names another folder."
