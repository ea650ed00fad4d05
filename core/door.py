"""The door for strangers' files: they are read in a process of its own, with bounded memory and time.

A parser that crashes, hangs or swells ends that process and nothing else. The process gets its task as JSON, tells
its progress a line at a time and ends with a result or one sentence.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from core.data.archive import shown
from core.errors import TemperError
from core.wish import Wish

MEMORY = "TEMPER_LOAD_MEMORY"  # gigabytes the process may use
SECONDS = "TEMPER_LOAD_SECONDS"
USUAL_MEMORY, USUAL_SECONDS = 12.0, 900.0
SHARE = 0.7  # of the machine's memory, where that is less
LONGEST = 1_000_000  # characters of one line
Told = Callable[[float, str], None]


class Visit:
    """One task behind the door. `run` blocks; `cancel` ends it from another thread."""

    def __init__(self, wish: Wish, home: Path) -> None:
        self.wish = wish
        self.home = home
        self.cancelled = False
        self._process: subprocess.Popen[bytes] | None = None
        self._begun = threading.Lock()

    def run(self, told: Told = lambda _fraction, _what: None) -> str:
        """Bring the pair in and return its id. Raises `TemperError`."""
        seconds = _limit(SECONDS, USUAL_SECONDS)
        with self._begun:
            if self.cancelled:
                raise TemperError("Loading was cancelled.")
            self._process = process = _started()
        timer = threading.Timer(seconds, _end, [process])
        timer.daemon = True
        timer.start()
        try:
            assert process.stdin is not None and process.stdout is not None
            task = json.dumps({"wish": asdict(self.wish), "home": str(self.home)})
            try:
                process.stdin.write(task.encode())
                process.stdin.close()
            except OSError:
                pass  # it ended already; what it left says why
            answer = _listen(process.stdout, told)
            process.wait()
        finally:
            spent = not timer.is_alive()
            timer.cancel()
            _end(process)
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
            _sweep(self.home, process.pid)
        if self.cancelled:
            raise TemperError("Loading was cancelled; nothing was kept.")
        if isinstance(answer.get("id"), str):
            return str(answer["id"])
        if isinstance(answer.get("error"), list) and len(answer["error"]) == 2:
            raise TemperError(str(answer["error"][0])[:600], str(answer["error"][1])[:600])
        name = shown(Path(self.wish.model).name)
        if spent:
            raise TemperError(
                f"Reading {name} and its data took longer than {seconds:.0f} seconds and was stopped.",
                f"Give a part of the data, or allow more with {SECONDS}.",
            )
        raise TemperError(
            f"Reading {name} and its data ended the process that read them: a damaged file, or one that needs more "
            f"than {memory() / 2**30:.1f} GB of memory.",
            f"Nothing else was disturbed. Check the files, or allow more with {MEMORY} (gigabytes).",
        )

    def cancel(self) -> None:
        """End the task, if it runs."""
        with self._begun:
            self.cancelled = True
            if self._process is not None:
                _end(self._process)


def _sweep(home: Path, process: int) -> None:
    """Remove what an ended process left half-written."""
    for path in home.glob(f".coming-{process}-*"):
        shutil.rmtree(path, ignore_errors=True)


def _limit(name: str, usual: float) -> float:
    try:
        found = float(os.environ.get(name, ""))
    except ValueError:
        return usual
    return found if 0 < found < 1e6 else usual


def memory() -> int:
    """Bytes the process may use."""
    wanted = _limit(MEMORY, USUAL_MEMORY) * 2**30
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        wanted = min(wanted, SHARE * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return int(wanted)


def _started() -> subprocess.Popen[bytes]:
    root = Path(__file__).resolve().parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "core.behind_the_door", str(memory())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=root,
        env=environment,
        start_new_session=True,
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (OSError, AttributeError):
            process.kill()


def _listen(stream: IO[bytes], told: Told) -> dict[str, Any]:
    """The last line that is an answer; lines of progress are passed on."""
    answer: dict[str, Any] = {}
    while line := stream.readline(LONGEST):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict) and isinstance(found.get("done"), float | int):
            told(min(1.0, max(0.0, float(found["done"]))), str(found.get("what", ""))[:100])
        elif isinstance(found, dict):
            answer = found
    return answer
