"""The models on their way in: each read behind the door in the background, found again by every page of a visit.

Uploads lie in a folder of their own until their arrival is forgotten; what a stopped server left is swept away.
"""

from __future__ import annotations

import atexit
import logging
import re
import shutil
import tempfile
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Literal

from core.door import Visit
from core.errors import TemperError
from core.wish import Wish

LOG = logging.getLogger("temper")
AT_ONCE = 2  # read at the same time: each may take most of the memory that the door allows
KEPT = 24  # arrivals remembered
STALE = 24 * 3600.0  # seconds after which an upload that nobody reads was left behind by a stopped server
LOOK = 0.2  # seconds between two looks at the queue
LONGEST = 80  # characters of an upload's name
PREFIX = ".upload-"  # hidden, so that no list of models shows it
State = Literal["waiting", "running", "done", "failed", "cancelled"]


@dataclass
class Arrival:
    """One pair on its way in. `done` is a fraction, `what` the present step; `id` names the pair once it is in."""

    key: str
    wish: Wish
    home: Path
    uploads: Path | None = None
    state: State = "waiting"
    done: float = 0.0
    what: str = "Waiting for another model to be read"
    id: str = ""
    error: TemperError | None = None
    begun: float = field(default_factory=time.monotonic)
    ended: float | None = None
    replaces: str = ""  # the id of a first try that this one stands for
    _visit: Visit | None = None

    @property
    def alive(self) -> bool:
        """Whether it is still on its way."""
        return self.state in ("waiting", "running")

    @property
    def seconds(self) -> float:
        """How long it has taken so far, or took."""
        return (self.ended or time.monotonic()) - self.begun

    def told(self, done: float, what: str) -> None:
        """Note the progress."""
        self.done, self.what = done, what


@dataclass
class Arrivals:
    """Arrivals by key. A visit holds the key; whoever has it finds the arrival, running or at its end."""

    _found: OrderedDict[str, Arrival] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _turns: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(AT_ONCE))

    def begin(self, wish: Wish, home: Path, uploads: Path | None = None) -> Arrival:
        """Start reading in the background. `uploads` is removed when the arrival is forgotten."""
        arrival = Arrival(uuid.uuid4().hex, wish, home, uploads)
        arrival._visit = Visit(wish, home)
        with self._lock:
            self._found[arrival.key] = arrival
            old = [one for one in list(self._found.values())[:-KEPT] if not one.alive]
        for one in old:
            self.forget(one.key)
        threading.Thread(target=self._run, args=(arrival,), name="arrival", daemon=True).start()
        return arrival

    def again(self, arrival: Arrival, change: Mapping[str, Any]) -> Arrival:
        """Read the same files with some fields of the wish changed; the uploads pass on."""
        uploads, arrival.uploads = arrival.uploads, None
        again = self.begin(replace(arrival.wish, **change), arrival.home, uploads)
        again.replaces = arrival.id
        return again

    def find(self, key: str | None) -> Arrival | None:
        """The arrival of this key, if it is remembered."""
        with self._lock:
            return self._found.get(key or "")

    def cancel(self, key: str) -> None:
        """End it, if it is on its way."""
        arrival = self.find(key)
        if arrival is not None and arrival.alive and arrival._visit is not None:
            arrival._visit.cancel()

    def forget(self, key: str | None) -> None:
        """Drop it, ending it first, and remove its uploads."""
        with self._lock:
            arrival = self._found.pop(key or "", None)
        if arrival is None:
            return
        if arrival._visit is not None:
            arrival._visit.cancel()
        if arrival.uploads is not None:
            shutil.rmtree(arrival.uploads, ignore_errors=True)

    def clear(self) -> None:
        """Forget all."""
        for key in list(self._found):
            self.forget(key)

    def _run(self, arrival: Arrival) -> None:
        visit = arrival._visit
        assert visit is not None
        try:
            while not self._turns.acquire(timeout=LOOK):
                if visit.cancelled:
                    raise TemperError("Loading was cancelled.")
            try:
                arrival.state, arrival.what = "running", "Starting the reader"
                arrival.id = visit.run(arrival.told)
                end: State = "done"
            finally:
                self._turns.release()
        except TemperError as error:
            arrival.error, end = error, "cancelled" if visit.cancelled else "failed"
        except Exception as error:  # a fault of ours: the log has the trace, the person a sentence
            LOG.exception("while bringing a model in")
            fault = f"Temper met a fault of its own while loading ({type(error).__name__})."
            arrival.error, end = TemperError(fault, "Please report it."), "failed"
        arrival.ended = time.monotonic()
        arrival.state = end
        if end == "cancelled" and arrival.uploads is not None:
            shutil.rmtree(arrival.uploads, ignore_errors=True)
            arrival.uploads = None


def upload_folder(home: Path) -> Path:
    """A fresh, hidden folder for uploads beside the models; older ones that nobody reads are removed.

    Raises `TemperError` where nothing can be written.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        for left in home.glob(f"{PREFIX}*"):
            if time.time() - left.stat().st_mtime > STALE:
                shutil.rmtree(left, ignore_errors=True)
        return Path(tempfile.mkdtemp(prefix=PREFIX, dir=home))
    except OSError as error:
        raise TemperError(
            f"Nothing can be written at {home}: {error.strerror}.", "Name another: TEMPER_HOME."
        ) from error


def receive(folder: Path, part: str, name: str, stream: IO[bytes]) -> Path:
    """Write an upload under a safe form of its name, a piece at a time. Raises `TemperError` for a full disk."""
    path = folder / part / safe(name)
    try:
        path.parent.mkdir(exist_ok=True)
        stream.seek(0)
        with path.open("wb") as file:
            shutil.copyfileobj(stream, file, 2**20)
    except OSError as error:
        raise TemperError(f"There is no room for {path.name}: {error.strerror}.", "Free some space.") from error
    return path


def safe(name: str) -> str:
    """The last part of a name in plain letters, without leading dots, its ending kept."""
    last = re.split(r"[\\/]", name)[-1]
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", last).lstrip(".")
    stem, dot, suffix = plain.rpartition(".")
    if not dot:
        return plain[:LONGEST] or "file"
    return f"{stem[: LONGEST - 12] or 'file'}.{suffix[:11]}"


ARRIVALS = Arrivals()
atexit.register(ARRIVALS.clear)
