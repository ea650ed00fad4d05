"""Second moments of what each layer reads on the calibration split: what rounding and removing weights cost there.

For a layer `y = W x` and any change `D` of its weights, the squared change of its output over the examples seen is
`trace(D H D^T)` with `H = sum x x^T`: methods that look at a layer's inputs need nothing else of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper
from torch import Tensor

from core.data.handle import DataHandle, split_for_fitting
from core.deploy.graph import INPUT, assemble
from core.engine.lane import rest
from core.engine.memory import RESULTS
from core.engine.network import Network
from core.engine.runtime import session, usual_chunk
from core.models.layers import Layer

EXAMPLES = 256
COLUMNS = (
    32_768  # columns seen of one layer at most: 22 for each of the 1,440 numbers the samples' widest layer reads
)
# The bound on memory, whatever the model: the matrices of one pass, the inputs it fetches a call, and the columns
# unfolded at a time. A layer whose matrices alone are larger has a pass of its own, up to LARGEST.
PASS, FETCHED, UNFOLDED = 256 * 2**20, 64 * 2**20, 32 * 2**20
LARGEST = 512 * 2**20  # bytes of one layer's matrices: 8,192 inputs
KEPT = 96 * 2**20  # bytes of a model's matrices that are remembered; larger ones are made again
Floats32 = NDArray[np.float32]


@dataclass(frozen=True)
class Moments:
    """What one layer read: a column is the input of one output value, an unfolded patch for a convolution.

    Float64: `power` `(G, K)` the sums of squares, `mean` `(G, K)`, `second` `(G, K, K)` the sums `H` of products, for
    G groups of K inputs. `columns` were seen, evenly among `of`. Where `second` is None, `why` says why.
    """

    power: Tensor
    mean: Tensor
    second: Tensor | None
    columns: int
    of: int
    why: str = ""

    @property
    def nbytes(self) -> int:
        """Size in memory."""
        return sum(one.nbytes for one in (self.power, self.mean, self.second) if one is not None)


@dataclass(frozen=True)
class Window:
    """How a convolution slides: one number a spatial axis; `pads` are those before, then those after."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    auto: str = "NOTSET"

    def padding(self, lengths: tuple[int, ...]) -> list[tuple[int, int]]:
        """Zeros before and after each axis of a picture of these lengths."""
        rank = len(self.kernel)
        if not self.auto.startswith("SAME"):
            pads = self.pads if self.auto == "NOTSET" else (0,) * 2 * rank
            return list(zip(pads[:rank], pads[rank:], strict=True))
        found = []
        for length, kernel, stride, dilation in zip(lengths, self.kernel, self.strides, self.dilations, strict=True):
            total = max(0, (-(-length // stride) - 1) * stride + (kernel - 1) * dilation + 1 - length)
            less, more = total // 2, total - total // 2
            found.append((less, more) if self.auto == "SAME_UPPER" else (more, less))
        return found

    def outputs(self, lengths: tuple[int, ...]) -> tuple[int, ...]:
        """Lengths of what the convolution gives."""
        sides = zip(lengths, self.padding(lengths), self.kernel, self.strides, self.dilations, strict=True)
        return tuple((n + sum(pad) - (k - 1) * d - 1) // s + 1 for n, pad, k, s, d in sides)


@dataclass(frozen=True)
class _Reading:
    """Which tensor a layer reads and how: `window` is a convolution's; `groups` of `inputs` numbers make a column."""

    layer: Layer
    tensor: str
    groups: int
    inputs: int
    window: Window | None

    @property
    def nbytes(self) -> int:
        return 8 * self.groups * self.inputs**2

    def places(self, shape: tuple[int, ...]) -> int:
        """Columns that one example of this shape makes."""
        return math.prod(self.window.outputs(shape[2:]) if self.window else shape[1:-1])

    def columns(self, values: Floats32, places: NDArray[np.int64]) -> Tensor:
        """Columns float32 `(G, n * places, K)` of `values` `(n, ...)` at some of the places."""
        if self.window is None:
            rows = values.reshape(len(values), -1, self.inputs)[:, places]
            return torch.from_numpy(rows.reshape(1, -1, self.inputs))
        lengths = values.shape[2:]
        padded = np.pad(values, [(0, 0), (0, 0), *self.window.padding(lengths)])
        at = np.unravel_index(places, self.window.outputs(lengths))
        cells = np.unravel_index(np.arange(math.prod(self.window.kernel)), self.window.kernel)
        steps = zip(at, cells, self.window.strides, self.window.dilations, strict=True)
        index: list[Any] = [place[:, None] * stride + cell * dilation for place, cell, stride, dilation in steps]
        patches = padded[:, :, *index]  # (n, channels, places, cells)
        split = patches.reshape(len(values), self.groups, -1, len(places), len(cells[0]))
        return torch.from_numpy(split.transpose(1, 0, 3, 2, 4).reshape(self.groups, -1, self.inputs))


def moments(network: Network, data: DataHandle, examples: int = EXAMPLES) -> Iterator[tuple[Layer, Moments]]:
    """The moments of every convolution and linear layer in the order they run; an embedding reads ids and has none.

    The layers' inputs are those of the network as it is, float, over `examples` drawn evenly over the calibration
    split. Where that makes more than `COLUMNS` columns, each example gives the same number at evenly spaced places.
    Texts are read as the model reads them, padding included. Remembered where it is small enough.
    """
    key = ("moments", network.identity, data.fingerprint, examples)
    kept: list[tuple[Layer, Moments]] | None = RESULTS.get(key)
    if kept is not None:
        yield from kept
        return
    proto = assemble(network, reveal=True)
    readings = [one for layer in network.layers if (one := _reading(proto, network, layer)) is not None]
    small = sum(reading.nbytes for reading in readings) <= KEPT
    kept = []
    inputs = split_for_fitting(data).inputs
    chosen = np.unique(np.linspace(0, len(inputs) - 1, min(examples, len(inputs))).round().astype(int))
    for together in _passes(readings):
        for reading, found in zip(together, _collect(proto, together, inputs, chosen), strict=True):
            if small:
                kept.append((reading.layer, found))
            yield reading.layer, found
    if small:
        RESULTS.put(key, kept, sum(found.nbytes for _, found in kept))


def unread(layer: Layer) -> str:
    """Why `moments` leaves a layer out."""
    return "an embedding: it reads ids" if layer.kind == "embedding" else "its input lies transposed"


def _passes(readings: list[_Reading]) -> Iterator[list[_Reading]]:
    together: list[_Reading] = []
    for reading in readings:
        size = sum(one.nbytes for one in (*together, reading) if one.nbytes <= LARGEST)
        if together and size > PASS:
            yield together
            together = []
        together.append(reading)
    if together:
        yield together


def _collect(
    proto: onnx.ModelProto, readings: list[_Reading], inputs: Floats32, chosen: NDArray[np.int64]
) -> list[Moments]:
    names = sorted({reading.tensor for reading in readings} - {INPUT})
    revealed = onnx.ModelProto()
    revealed.CopyFrom(proto)
    del revealed.graph.output[:]  # what only other outputs need is then not computed
    revealed.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    opened = session(revealed) if names else None

    def read(examples: NDArray[np.int64]) -> dict[str, Floats32]:
        chunk = inputs[examples]
        found = opened.run(names, {INPUT: chunk}) if opened is not None else []
        return {INPUT: chunk, **dict(zip(names, found, strict=True))}

    sums = [
        _Sums(reading, values[reading.tensor].shape, len(chosen))
        for values in [read(chosen[:1])]
        for reading in readings
    ]
    room = sum(values.nbytes for values in read(chosen[:1]).values())
    step = max(1, min(usual_chunk(inputs.shape[1:]), FETCHED // max(room, 1)))
    for start in range(0, len(chosen), step):
        values = read(chosen[start : start + step])
        for one in sums:
            one.add(values[one.reading.tensor])
            rest()
    return [one.made() for one in sums]


class _Sums:
    """The running sums of one layer."""

    def __init__(self, reading: _Reading, shape: tuple[int, ...], examples: int) -> None:
        self.reading = reading
        self.places = reading.places(shape)
        self.seen = min(self.places, max(1, COLUMNS // examples))
        self.fits = reading.nbytes <= LARGEST
        self.second = torch.zeros((reading.groups, *(reading.inputs,) * 2) if self.fits else (), dtype=torch.float64)
        self.power = torch.zeros(reading.groups, reading.inputs, dtype=torch.float64)
        self.total = torch.zeros_like(self.power)
        self.columns = self.of = self.parts = 0

    def add(self, values: Floats32) -> None:
        if not np.isfinite(values).all():
            self.power += torch.nan
            return
        one = 4 * self.reading.groups * self.reading.inputs  # bytes of a column
        step = max(1, UNFOLDED // (one * self.seen))
        for start in range(0, len(values), step):
            # The places start elsewhere in every part, by the golden ratio, so that no row or column is left out.
            phase = (self.parts * 0.6180339887498949) % 1
            places = ((np.arange(self.seen) + phase) * self.places / self.seen).astype(np.int64)
            self.parts += 1
            for within in np.array_split(places, -(-len(places) * one // UNFOLDED)):
                found = self.reading.columns(values[start : start + step], within)
                if self.fits:
                    self.second += torch.bmm(found.mT, found)
                self.power += found.double().square_().sum(1)
                self.total += found.sum(1, dtype=torch.float64)
                self.columns += found.shape[1]
        self.of += len(values) * self.places

    def made(self) -> Moments:
        why = ""
        if not torch.isfinite(self.power).all():
            why = "its inputs are not all finite numbers on the calibration examples"
        elif not self.power.any():
            why = "its inputs are all zero on the calibration examples"
        elif not self.fits:
            why = f"its {self.reading.inputs:,} inputs would need a matrix of {self.reading.nbytes / 2**30:.1f} GiB"
        mean = self.total / max(self.columns, 1)
        return Moments(self.power, mean, None if why else self.second, self.columns, self.of, why)


def _reading(proto: onnx.ModelProto, network: Network, layer: Layer) -> _Reading | None:
    """How a layer reads its input; None for an embedding and for a product whose input lies transposed."""
    if layer.kind == "embedding":
        return None
    shape = network.shapes[layer.weight]
    names = {layer.weight} | {
        n.output[0] for n in proto.graph.node if n.op_type == "Transpose" and n.input[0] == layer.weight
    }
    node = next(n for n in proto.graph.node if len(n.input) > 1 and n.input[1] in names)
    given = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    if node.op_type != "Conv":
        return None if given.get("transA") else _Reading(layer, node.input[0], 1, shape[1], None)
    rank = len(shape) - 2
    window = Window(
        tuple(shape[2:]),
        tuple(given.get("strides", (1,) * rank)),
        tuple(given.get("dilations", (1,) * rank)),
        tuple(given.get("pads", (0,) * 2 * rank)),
        given.get("auto_pad", b"NOTSET").decode(),
    )
    return _Reading(layer, node.input[0], given.get("group", 1), math.prod(shape[1:]), window)
