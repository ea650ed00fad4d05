"""One compute lane a process: evaluations and timings never run side by side."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_LANE = threading.RLock()


@contextmanager
def lane() -> Iterator[None]:
    """Hold the lane. Two people's evaluations queue here, and a timing is never disturbed by either."""
    with _LANE:
        yield
