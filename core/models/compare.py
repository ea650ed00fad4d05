"""A graph beside the network it was read from, on the same noise: they must give the same, or it does not come in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.calibrators._fitted import softmax
from core.data.archive import shown
from core.errors import TemperError
from core.models.catalogue import Reading
from core.models.graph import Graph
from core.models.ids import known_to
from core.models.onnx_file import SOFTMAX
from core.models.sentences import reason, swollen
from core.models.simplify import runner

TOLERANCE = 1e-3  # of the largest logit: float32 sums in another order, through some hundred layers, stay below 1e-4
COMPARED = (4, 1)  # examples at a time: other numbers than those the graph is made from
Floats = NDArray[np.float32]
Run = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Incoming:
    """A model that was read: its graph, what it reads and writes, and how it compares with the original.

    `classes` counts its outputs. `difference` is the largest deviation of the graph's logits from the original
    program's on the same noise, as a fraction of the largest logit. `vocabulary` counts the ids that a network of
    token ids knows, 0 for any other.
    """

    graph: Graph
    input_shape: tuple[int, ...]
    classes: int
    architecture: str
    reading: Reading | None
    difference: float
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    vocabulary: int = 0


@dataclass(frozen=True)
class Noise:
    """Inputs to compare on: normal noise or, where `vocabulary` counts the ids a network knows, ids below it."""

    shape: tuple[int, ...]
    vocabulary: int = 0

    def __call__(self, rows: int, seed: int = 0) -> Floats:
        """float32 `(rows, *shape)`, always the same for a seed."""
        generator, size = np.random.default_rng(seed), (rows, *self.shape)
        if self.vocabulary:
            return generator.integers(0, self.vocabulary, size).astype(np.float32)
        return generator.standard_normal(size).astype(np.float32)


@contextmanager
def runs(name: str, shape: tuple[int, ...]) -> Iterator[None]:
    """Turn whatever a library says while it runs or converts a network into one sentence."""
    try:
        yield
    except TemperError:
        raise
    except Exception as error:
        if swollen(error):
            raise
        raise TemperError(
            f"{name} could not be run on an input of {list(shape)}, any number at a time: {reason(error)}.",
            "Check the input's size, and export it with a batch that may vary: "
            "dynamic_shapes=({0: torch.export.Dim('batch')},)",
        ) from error


def compared(
    graph: Graph, original: Run, first: Floats, noise: Noise, fixed: int, name: str,
    known: Reading | None, notes: tuple[str, ...],
) -> Incoming:  # fmt: skip
    """The graph beside the original on the same inputs. Raises `TemperError` where they part or give no logits.

    `first` is what the original gave for `noise(fixed or 2)`. The graph runs on other numbers of examples
    than those it was made from; an original that takes a fixed number gets them part by part.
    """
    shape = noise.shape
    if first.ndim != 2 or first.shape[1] < 1 or first.dtype != np.float32 or len(first) != (fixed or 2):
        raise TemperError(
            f"{name} gives {first.dtype} of {list(first.shape)} for {fixed or 2} examples; float32 logits "
            "(N, classes) or values (N, 1) were expected.",
            "Export the network up to its logits; a network of one output keeps that axis, without a squeeze.",
        )
    broken = [n for n, values in graph.tensors.items() if not np.isfinite(values).all()]
    if broken:
        more = f", and so do {len(broken) - 1:,} more" if broken[1:] else ""
        raise TemperError(
            f"{name}: the tensor {shown(broken[0])} holds NaN or infinite values{more}.",
            "Train or save it again: nothing can be measured with these.",
        )
    if not np.isfinite(first).all():
        raise TemperError(f"{name} gives NaN or infinite logits on ordinary noise.", "Check its weights.")
    if not graph.layers:
        raise TemperError(
            f"{name} has no convolution and no linear layer: there is nothing to prune or quantize.", ""
        )
    largest = max(1e-6, float(np.abs(first).max()))
    with runs(name, shape):
        if float(np.abs(original(noise(fixed or 2)) - first).max()) > TOLERANCE * largest:
            raise TemperError(
                f"{name} gives different logits for the same input: dropout or noise is still switched on.",
                "Call model.eval() before it is exported.",
            )
        run, difference = runner(graph.whole(), "input", "logits"), 0.0
        for rows in (2 * fixed, 1) if fixed else COMPARED:
            inputs = noise(max(rows, fixed), seed=1)
            step = fixed or rows
            expected = np.concatenate([original(inputs[i : i + step]) for i in range(0, len(inputs), step)])[:rows]
            found = run(inputs[:rows])
            if SOFTMAX in notes:
                found = softmax(found)
            apart = np.abs(found - expected).max() if found.shape == expected.shape else np.inf
            difference = max(difference, float(apart) / largest)
    if not difference <= TOLERANCE:
        raise TemperError(
            f"Temper's graph of {name} differs from the original by {difference:.1%} of its largest logit"
            + (f"; the file is made for {fixed:,} examples at a time." if fixed else "."),
            "Export it with a batch that may vary: dynamic_shapes=({0: torch.export.Dim('batch')},)"
            if fixed
            else "Please report this model; until then load it in another format.",
        )
    return Incoming(graph, shape, first.shape[1], name, known, difference, (), notes, known_to(graph.whole().graph))
