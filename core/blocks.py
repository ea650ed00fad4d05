"""Work through the rows of a large array in blocks, on every core."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

BLOCK = 1 << 18  # values a block: 2 MiB of float64, few enough for the cache, enough for NumPy to run without the GIL
Part = TypeVar("Part")


def by_blocks(work: Callable[[slice], Part], rows: int, width: int) -> list[Part]:
    """`work` of each block of consecutive rows of an array `(rows, width)`, in order; at least one block.

    The blocks depend on the shape alone, so that sums over them are the same on any number of cores.
    `work` must not use BLAS, whose own threads would wait for one another.
    """
    step = max(1, BLOCK // max(1, width))
    blocks = [slice(start, start + step) for start in range(0, max(1, rows), step)]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if len(blocks) == 1 or cores == 1:
        return [work(block) for block in blocks]
    with ThreadPoolExecutor(min(cores, len(blocks))) as pool:
        return list(pool.map(work, blocks))
