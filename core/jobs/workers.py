"""Where the points of a sweep are computed: processes of this machine, or Dask's workers.

`TEMPER_DASK=tcp://host:port` (or `--dask`) names a Dask scheduler; otherwise a pool of local processes is used. Both
are `concurrent.futures.Executor`s: the same functions, the same results. Local workers run at low priority and stop
at their next chunk while a person's work or a timing holds the compute lane.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from ctypes import c_byte
from multiprocessing import parent_process
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from typing import Any

from core.engine.lane import LANE
from core.engine.runtime import threads
from core.errors import TemperError

DASK = "TEMPER_DASK"  # names the scheduler
POLL = 0.002  # seconds between two looks at a closed gate
NICENESS = 10  # of local workers: the page goes first
BESIDE = 5  # niceness of their session: the browser goes first, but other work of the machine cannot starve them
ORPHANED = 1.0  # seconds between two looks at whether the parent process lives
CONNECT = 10.0  # seconds to wait for a Dask scheduler, and for its first worker
PREPARE = 120.0  # seconds in which such a worker has to have read its libraries

OPEN, CLOSED, ENDED = 1, 0, -1  # states of a gate

_passing: Any = None  # in a worker: the gate's flag


class Stopped(Exception):  # noqa: N818  (not an error: nobody waits for the answer)
    """Ends a call whose workers were stopped."""


class SharedGate:
    """A flag that workers look at before every chunk. It has no lock, so a killed worker cannot keep it."""

    def __init__(self, context: Any) -> None:
        self.flag = context.RawValue(c_byte, OPEN)

    def close(self) -> None:
        """Stop the workers at their next chunk, some milliseconds from now."""
        self.flag.value = CLOSED

    def open(self) -> None:
        """Let the workers go on."""
        self.flag.value = OPEN

    def end(self) -> None:
        """Let the workers leave what they do at their next chunk."""
        self.flag.value = ENDED


def begin(flag: Any, parent: int, share: int, environment: dict[str, str]) -> None:
    """Prepare a worker process: its share of the cores, its low priority, its gate, its end with its parent."""
    global _passing
    _passing = flag
    os.environ.update(environment)
    os.environ["TEMPER_THREADS"] = str(share)
    _step_back()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _step_back() -> None:
    """Run at low priority, beside the browser too: Linux shares cores by session first, by niceness within one."""
    with contextlib.suppress(OSError, AttributeError):
        os.nice(NICENESS)
        os.setsid()
        Path("/proc/self/autogroup").write_text(str(BESIDE), "ascii")


def _end_with(parent: int) -> None:
    """End this worker when the process that started it is gone, killed perhaps, and nobody else would."""
    above = parent_process()
    while os.getppid() == parent and (above is None or above.is_alive()):
        time.sleep(ORPHANED)
    os._exit(1)


def wait_at_gate() -> None:
    """In a worker, between chunks: wait while the gate is closed. Elsewhere it does nothing."""
    while _passing is not None and _passing.value != OPEN:
        if _passing.value == ENDED:
            raise Stopped
        time.sleep(POLL)


def ready() -> bool:
    """Whether a worker finds Temper: that this can be called there at all says so."""
    return True


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Processes started inside never see an interrupt from the keyboard: their parent ends them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Process(SpawnProcess):
    """A process that does not run the parent's main module again: in the dashboard that is a page."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802  (the name multiprocessing calls)
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            with _uninterrupted():
                return SpawnProcess._Popen(process_obj)
        finally:
            sys.modules["__main__"] = main


class _Context(SpawnContext):
    """Makes such processes."""

    Process = _Process


class Workers:
    """Submits calls to an executor and makes a new one after it broke. Use as a context manager."""

    def __init__(self, count: int, scheduler: str = "") -> None:
        self.count = count
        self.scheduler = scheduler
        self._executor: Executor | None = None
        self._close: Callable[[], None] = lambda: None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def submit(self, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Run a call of an importable function on a worker.

        Raises `TemperError` without a scheduler and while the program ends, `BrokenExecutor` where a worker was lost
        since the last call.
        """
        if self._executor is None:
            self._executor = self._dask() if self.scheduler else self._local()
        try:
            return self._executor.submit(call, *arguments)
        except BrokenExecutor:
            raise
        except RuntimeError as error:
            raise TemperError("The program is ending: nothing more is computed.") from error

    def stop(self) -> None:
        """End the workers, which leave what they do. The next `submit` starts new ones."""
        executor, self._executor = self._executor, None
        if isinstance(executor, ProcessPoolExecutor):
            executor.shutdown(wait=False, cancel_futures=True)
        self._close()
        self._close = lambda: None

    def _local(self) -> Executor:
        context = _Context()
        gate = SharedGate(context)
        held = contextlib.ExitStack()
        held.callback(gate.end)
        held.enter_context(LANE.through(gate))
        self._close = held.close
        share = max(1, threads() // self.count)
        environment = {name: value for name, value in os.environ.items() if name.startswith("TEMPER_")}
        return ProcessPoolExecutor(self.count, context, begin, (gate.flag, os.getpid(), share, environment))

    def _dask(self) -> Executor:
        try:
            from distributed import Client
        except ImportError as error:
            raise TemperError(
                "A Dask scheduler needs the package 'distributed', which is not installed.",
                "Install it with: pip install -r requirements-dask.txt",
            ) from error
        try:
            client = Client(self.scheduler, timeout=CONNECT, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise TemperError(
                f"No Dask scheduler answers at {self.scheduler!r:.100}.",
                "Start one in this folder with: PYTHONPATH=. dask scheduler; or leave it out to use this machine.",
            ) from error
        self._close = client.close
        try:
            client.wait_for_workers(1, timeout=CONNECT)
            client.submit(ready, pure=False).result(timeout=PREPARE)
        except TimeoutError as error:
            raise TemperError(
                f"The Dask scheduler at {self.scheduler!r:.100} has no worker that answers.",
                f"Start one in this folder with: PYTHONPATH=. dask worker {self.scheduler:.100}",
            ) from error
        except Exception as error:
            raise TemperError(
                f"The Dask scheduler at {self.scheduler!r:.100}, or a worker, does not find Temper.",
                "Start both in this folder with PYTHONPATH=. before the command.",
            ) from error
        self.count = max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
        executor: Executor = client.get_executor(pure=False, retries=3)
        return executor


@contextmanager
def workers(count: int | None = None, scheduler: str | None = None) -> Iterator[Workers]:
    """Workers of this machine, one a core unless `count` says otherwise, or those of a Dask `scheduler`.

    Raises `TemperError` for a count below 1.
    """
    if count is not None and not 1 <= count <= 256:
        raise TemperError(f"The number of workers must be from 1 to 256; got {count}.")
    named = os.environ.get(DASK, "") if scheduler is None else scheduler
    with Workers(count or threads(), named) as found:
        yield found
