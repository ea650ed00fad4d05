"""Many variants of a network over the same examples in one pass: the layers before a change are computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import onnx
from numpy.typing import NDArray

from core.deploy.branch import Variant, branch_output, branched
from core.deploy.graph import INPUT, OUTPUT
from core.engine.lane import lane
from core.engine.runtime import Progress, session, threads
from core.types import Floats

TOGETHER = 50  # examples on all cores at once: the lane is then held for some 0.1 s at a time on the samples
LEAST = 8  # examples a call
WEIGHTS = 256 * 2**20  # bytes of changed weights in one session; those of a larger model take several passes
T = TypeVar("T")


def parted(items: Sequence[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    """Items in runs of at most `WEIGHTS` bytes together; one that is larger is a run of its own."""
    part: list[T] = []
    total = 0
    for item in items:
        added = size(item)
        if part and total + added > WEIGHTS:
            yield part
            part, total = [], 0
        part.append(item)
        total += added
    if part:
        yield part


def summed(
    proto: onnx.ModelProto,
    variants: Sequence[Variant],
    inputs: NDArray[np.float32],
    counted: Callable[[NDArray[np.float32], slice], Floats],
    progress: Progress,
) -> Floats:
    """The sum over all examples of `counted(outputs (1 + V, n, C), which examples)`, the original's outputs first.

    Each core takes a chunk of its own: sharing one, they would wait for each other at each of hundreds of nodes.
    """
    names = [OUTPUT, *map(branch_output, range(len(variants)))]
    chunk = max(LEAST, TOGETHER // threads())
    block = chunk * threads()
    with lane():
        opened = session(branched(proto, variants), cores=1)

    def sums_of(start: int) -> Floats:
        part = slice(start, start + chunk)
        return counted(np.stack(opened.run(names, {INPUT: inputs[part]})), part)

    found: Floats | None = None
    with ThreadPoolExecutor(threads()) as pool:
        for start in range(0, len(inputs), block):
            end = min(start + block, len(inputs))
            with lane():
                total = np.sum(list(pool.map(sums_of, range(start, end, chunk))), 0)
            found = total if found is None else found + total
            progress(end / len(inputs))
    assert found is not None, "there is at least one example"
    return found
