"""What was computed once in this process: a bounded, thread-safe least-recently-used memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Memory:
    """Keeps values up to `limit` bytes in all; the size of a value is given with it."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._size = 0

    def get(self, key: Hashable) -> Any | None:
        """The value, now the most recently used, or None."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key][0]

    def put(self, key: Hashable, value: Any, size: int) -> None:
        """Keep a value; the least recently used ones leave when the limit is passed."""
        with self._lock:
            if key in self._values:
                self._size -= self._values.pop(key)[1]
            self._values[key] = (value, size)
            self._size += size
            while self._size > self.limit and len(self._values) > 1:
                self._size -= self._values.popitem(last=False)[1][1]

    def remember(self, key: Hashable, compute: Callable[[], T], size: Callable[[T], int]) -> T:
        """The kept value, or the computed one, kept."""
        found = self.get(key)
        if found is None:
            found = compute()
            self.put(key, found, size(found))
        result: T = found
        return result

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._values.clear()
            self._size = 0


SCORES = Memory(256 * 2**20)  # pruning ranks of the models in use
RESULTS = Memory(512 * 2**20)  # logits of points visited
