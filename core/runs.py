"""Every finished evaluation of a recipe is kept as a run: listed, named, compared, deleted, exported.

`keep` costs its caller well under a millisecond: a thread of its own writes, and a file that cannot be written
disturbs nobody; `standing` says so in a sentence. The same model, data, recipe and code visited again are the same
run.
"""

from __future__ import annotations

import atexit
import json
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from core import runs_file, tracking
from core.engine.compare import Comparison
from core.errors import TemperError
from core.recipe import Recipe
from core.run import COLUMNS, DOCUMENTS, Run, made, of_row
from core.types import Latency, Result

UNNAMED = 5_000  # runs kept that have neither name nor note, the latest; some 10 MB
BACKLOG = 1_000  # runs waiting for the writer, beyond which more are let go
LONGEST = {"name": 120, "note": 4_000}  # letters
# The writer: one thread, started when first needed.

_WAITING: queue.Queue[tuple[Path, Callable[[], Run], bool]] = queue.Queue(BACKLOG)
_STARTING = threading.Lock()
_writer: threading.Thread | None = None
_trouble: dict[Path, str] = {}


def keep(
    result: Result,
    recipe: Recipe,
    comparison: Comparison,
    latencies: tuple[Latency, Latency] | None = None,
    title: str = "",
    visit: bool = True,
) -> None:
    """Keep a finished evaluation, at once for the caller and written soon after. Never raises.

    A run that is there already becomes the latest and counts one visit more; with `visit=False` it only gains its
    latency. `title` is the model's name for people. The untouched model is no run: it stands beside every run.
    """
    path = runs_file.place()
    if path is None or not recipe.simplified().steps:
        return
    with suppress(queue.Full):  # the disk has stood still for a thousand runs
        _WAITING.put_nowait((path, lambda: made(result, recipe, comparison, latencies, title), visit))
    _start_writer()


def flush(seconds: float = 2.0) -> None:
    """Wait until what was handed to `keep` is written, at most this long."""
    until = time.monotonic() + seconds
    while _WAITING.unfinished_tasks and time.monotonic() < until:
        time.sleep(0.002)


def standing() -> str:
    """One sentence where runs are not kept, or where a damaged file was set aside; else nothing."""
    path = runs_file.place()
    if path is None:
        return "Runs are not kept: TEMPER_HOME is empty."
    return _trouble.get(path) or runs_file.said(path)


def _start_writer() -> None:
    global _writer
    with _STARTING:
        if _writer is None or not _writer.is_alive():
            if _writer is None:
                atexit.register(flush)
            _writer = threading.Thread(target=_write_on, name="runs", daemon=True)
            _writer.start()


def _write_on() -> None:
    while True:
        path, make, visit = _WAITING.get()
        try:
            run = make()
            runs_file.write(path, lambda connection, run=run, visit=visit: _insert(connection, run, visit))  # type: ignore[misc]
            _trouble.pop(path, None)
            tracking.submit(run)
        except TemperError as error:
            _trouble[path] = str(error)
        except Exception as error:  # a fault of ours must not end the thread
            _trouble[path] = f"Keeping a run failed ({type(error).__name__})."
        finally:
            _WAITING.task_done()


def _insert(connection: sqlite3.Connection, run: Run, visit: bool) -> None:
    row = {name: getattr(run, name) for name in COLUMNS}
    row |= {name: None if row[name] is None else json.dumps(row[name]) for name in DOCUMENTS}
    marks = ", ".join(f":{name}" for name in COLUMNS)
    # A deleted run that is visited again begins anew; what was measured last is what is shown.
    connection.execute(
        f"INSERT INTO runs ({', '.join(COLUMNS)}) VALUES ({marks}) ON CONFLICT (id) DO UPDATE SET "
        "name = iif(:visit AND deleted, NULL, name), note = iif(:visit AND deleted, '', note), "
        "first = iif(:visit AND deleted, excluded.first, first), "
        "visits = iif(:visit AND deleted, 1, visits + :visit), deleted = iif(:visit, NULL, deleted), "
        "time = iif(:visit, excluded.time, time), title = excluded.title, figures = excluded.figures, "
        "latency = coalesce(excluded.latency, latency)",
        {**row, "visit": int(visit)},
    )
    connection.execute("DELETE FROM runs WHERE deleted < ?", (time.time() - runs_file.FORGIVEN,))
    connection.execute(
        "DELETE FROM runs WHERE id IN (SELECT id FROM runs WHERE name IS NULL AND note = '' "
        "ORDER BY time DESC LIMIT -1 OFFSET ?)",
        (UNNAMED,),
    )


# Reading and changing.


def found(search: str = "", model: str | None = None) -> tuple[str, ...]:
    """Ids of the runs kept, the latest first, of which every word of `search` stands in name, note, recipe, model
    or data, in any case of letters.

    Raises `TemperError` where the file cannot be read; where there is none yet, there are no runs.
    """
    words = search.casefold().split()
    condition, values = ("AND model = ?", [model]) if model is not None else ("", [])
    columns = ("name", "note", "notation", "title", "model", "data")
    rows = _rows(["id", *columns], f"deleted IS NULL {condition} ORDER BY time DESC, id", values)
    texts = {row["id"]: " ".join(str(row[column] or "") for column in columns).casefold() for row in rows}
    return tuple(one for one, text in texts.items() if all(word in text for word in words))


def models() -> dict[str, str]:
    """Titles of the models that have runs, by id, in the order of their titles."""
    rows = _rows(["model", "title"], "deleted IS NULL ORDER BY time", [])
    return dict(sorted({row["model"]: row["title"] for row in rows}.items(), key=lambda one: one[1].casefold()))


def several(ids: Sequence[str]) -> tuple[Run, ...]:
    """The runs of these ids, in their order; without those that are not there. Raises `TemperError`."""
    here: dict[str, Run] = {}
    for start in range(0, len(ids), 500):  # SQLite limits the values of one question
        some = ids[start : start + 500]
        rows = _rows(COLUMNS, f"deleted IS NULL AND id IN ({', '.join('?' * len(some))})", some)
        here |= {run.id: run for row in rows if (run := of_row(dict(row))) is not None}
    return tuple(here[one] for one in ids if one in here)


def listed(search: str = "", model: str | None = None, limit: int | None = None) -> tuple[Run, ...]:
    """The runs that `found` names, at most `limit` of them. Raises `TemperError`."""
    return several(found(search, model)[:limit])


def get(run_id: str) -> Run:
    """One run. Raises `TemperError` where there is none of this id."""
    here = several([run_id])
    if not here:
        raise TemperError(
            f"No run has the id {run_id!r}; it may have been deleted.", "List them: python -m core runs"
        )
    return here[0]


def rename(run_id: str, name: str | None) -> None:
    """Name a run, or take its name away with None or ''. Raises `TemperError`."""
    _set(run_id, "name", _checked("name", " ".join((name or "").split())) or None)


def annotate(run_id: str, note: str) -> None:
    """Write a note to a run; '' removes it. Raises `TemperError`."""
    _set(run_id, "note", _checked("note", note.strip()))


def delete(ids: Sequence[str]) -> None:
    """Delete runs; `restore` brings them back within a day. Raises `TemperError`."""
    _mark(ids, time.time())


def restore(ids: Sequence[str]) -> None:
    """Bring deleted runs back, as long as they are not purged. Raises `TemperError`."""
    _mark(ids, None)


def _mark(ids: Sequence[str], deleted: float | None) -> None:
    rows = [(deleted, one) for one in ids]
    _change(lambda connection: connection.executemany("UPDATE runs SET deleted = ? WHERE id = ?", rows).rowcount)


def _set(run_id: str, column: Literal["name", "note"], value: str | None) -> None:
    get(run_id)
    _change(lambda connection: connection.execute(f"UPDATE runs SET {column} = ? WHERE id = ?", (value, run_id)))


def _change(act: Callable[[sqlite3.Connection], Any]) -> None:
    path = runs_file.place()
    if path is None:
        raise TemperError("Runs are not kept: TEMPER_HOME is empty.", "Name a folder in it, or unset it.")
    flush()
    runs_file.write(path, act)


def _checked(what: str, text: str) -> str:
    if len(text) > LONGEST[what]:
        raise TemperError(f"A run's {what} has at most {LONGEST[what]:,} letters; this one has {len(text):,}.")
    return text


def _rows(columns: Sequence[str], where: str, values: Sequence[Any]) -> list[sqlite3.Row]:
    path = runs_file.place()
    if path is None:
        return []
    flush()
    query = f"SELECT {', '.join(columns)} FROM runs WHERE {where}"
    none: list[sqlite3.Row] = []
    return runs_file.read(path, lambda connection: connection.execute(query, values).fetchall(), none)
