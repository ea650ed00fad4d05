"""One layer's weights against its quantization grid: where they lie, where the levels are, what is clipped."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.data.handle import DataHandle
from core.deploy.graph import template
from core.deploy.pack import gaps_of
from core.engine.context import Context
from core.engine.grid import Grid, spread
from core.engine.memory import RESULTS
from core.engine.network import Network, fold
from core.engine.transform import transform
from core.errors import TemperError
from core.layers.layerwise import bits_of, reference, widest_channel
from core.models.handle import ModelHandle
from core.models.layers import Layer
from core.quantizers.uniform import RANGE_EXAMPLES
from core.recipe import Recipe
from core.types import Floats

BINS = 81  # odd, so that zero has a bin of its own
WIDTHS = (2, 3, 4, 5, 6, 7, 8, 16, 32)


@dataclass(frozen=True)
class LayerWeights:
    """A layer's weights, of all its channels or of one, before and after.

    `line` says what a channel is: an embedding has a grid a row. `edges` float64 `(B + 1,)` bound the bins;
    `original` and `tempered` `(B,)` are the shares of `n` weights in each. `levels` are the values that the grid can
    hold, of `grid_channel` where each channel has a grid of its own; none where there is no grid. With `grid_group`
    each so many weights have a scale of their own, and the levels are those of the widest. `clipped` is the share of
    the original's weights that round to beyond the ends of their own grid.
    """

    layer: str
    line: str
    channel: int | None
    n: int
    edges: Floats
    original: Floats
    tempered: Floats
    zeros: tuple[float, float]
    bits: int
    levels: Floats
    grid_channel: int | None
    clipped: float
    grid_group: int = 0


@dataclass(frozen=True)
class InputRange:
    """What a layer reads, over `examples` of the calibration split, beside its activation grid.

    `low` and `high` are the extremes seen, `grid_low` and `grid_high` the grid's ends, in the activation's own unit;
    `beyond` is the share of values that the grid clips.
    """

    low: float
    high: float
    grid_low: float
    grid_high: float
    bits: int
    beyond: float
    examples: int


@dataclass(frozen=True)
class BitCost:
    """Bytes of one layer's weight at a bit-width, computed: packed integers or floats, grids, mask or gaps."""

    bits: int
    values: int
    grids: int
    masks: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.values + self.grids + self.masks


def layer_of(network: Network, name: str) -> Layer:
    """A layer by name. Raises `TemperError`."""
    for layer in network.layers:
        if layer.name == name:
            return layer
    raise TemperError(f"No layer is called {name!r:.60} in this model.", "Choose one from the list.")


def layer_weights(
    model: ModelHandle, data: DataHandle, recipe: Recipe, name: str, channel: int | None = None
) -> LayerWeights:
    """Both histograms of a layer on the same bins. A channel is a row of the weight, as grids are.

    Raises `TemperError` for a layer or channel that is not there.
    """
    network = fold(transform(model, data, recipe)[0])
    layer = layer_of(network, name)
    after, before = network.tensors[layer.weight], reference(model, data, recipe).tensors[layer.weight]
    rows = len(after)
    if channel is not None and not 0 <= channel < rows:
        raise TemperError(f"Channels of {name} are numbered 0 to {rows - 1}; got {channel}.")
    grid = network.grids.get(layer.weight)
    shared = grid is None or grid.axis is None
    whose = None if shared else channel if channel is not None else widest_channel(after)
    outside = _outside(before, grid) if grid is not None and before.shape == after.shape else torch.zeros(1, 1) > 0
    if channel is not None:
        before, after = before[channel : channel + 1], after[channel : channel + 1]
        outside = outside[channel : channel + 1] if len(outside) > 1 else outside
    x, y = before.flatten().double().numpy(), after.flatten().double().numpy()
    levels = np.zeros(0) if grid is None else _levels(grid, whose)
    reach = max(float(np.abs(part).max(initial=0)) for part in (x, y)) or 1.0
    edges = np.linspace(-reach, reach, BINS + 1)
    return LayerWeights(
        name, "row" if layer.kind == "embedding" else "channel", channel, y.size, edges, _shares(x, edges),
        _shares(y, edges), (float((x == 0).mean()), float((y == 0).mean())), bits_of(network, layer), levels, whose,
        float(outside.float().mean()), grid.group if grid is not None else 0,
    )  # fmt: skip


def _shares(values: Floats, edges: Floats) -> Floats:
    return np.asarray(np.histogram(values, edges)[0] / max(values.size, 1), np.float64)


def _levels(grid: Grid, channel: int | None) -> Floats:
    """The values of a grid, of one channel where each has its own, ascending, float64; of groups the widest's."""
    scale, zero = grid.scale, grid.zero_point
    if channel is not None and grid.axis is not None:
        scale, zero = scale[channel], zero[channel] if zero.ndim else zero
    if scale.ndim:
        scale, zero = scale.flatten(), zero.flatten()
        widest = int(scale.argmax())
        scale, zero = scale[widest], zero[widest] if len(zero) > 1 else zero[0]
    if grid.levels is not None:
        return np.asarray(grid.levels.values.double() * float(scale), np.float64)
    return np.asarray((np.arange(grid.low, grid.high + 1) - int(zero)) * float(scale), np.float64)


def _outside(values: Tensor, grid: Grid) -> Tensor:
    """Which values round to beyond the ends of the grid, bool of the same shape."""
    scaled = values / spread(grid.scale, grid, values.shape)
    if grid.levels is not None:
        ends, steps = grid.levels.values[[0, -1]], grid.levels.values.diff()[[0, -1]]
        return (scaled < ends[0] - steps[0] / 2) | (scaled > ends[1] + steps[1] / 2)
    integers = scaled.round() + spread(grid.zero_point, grid, values.shape)
    return (integers < grid.low) | (integers > grid.high)


def dead_channels(model: ModelHandle, data: DataHandle, recipe: Recipe, name: str) -> tuple[int, ...]:
    """Numbers of the output channels whose weights are all zero."""
    network, _ = transform(model, data, recipe)
    layer = layer_of(network, name)
    lines = network.tensors[layer.weight].movedim(layer.channel_axis, 0).flatten(1)
    return tuple(torch.nonzero((lines == 0).all(1)).flatten().tolist())


def bit_costs(model: ModelHandle, data: DataHandle, recipe: Recipe, name: str) -> tuple[BitCost, ...]:
    """What each bit-width would cost a layer's weight, with the zeros and the kind of grid it has now.

    Computed, not measured: rounding to fewer bits makes more zeros, which this does not foresee. At the present
    width it is what is stored. Without a grid now, integers are reckoned with a symmetric grid a channel.
    """
    network, _ = transform(model, data, recipe)
    weight = network.tensors[layer_of(network, name).weight]
    grid = network.grids.get(layer_of(network, name).weight)
    kept = (weight != 0).numpy().reshape(-1)
    gaps, positions = gaps_of(kept)
    scales = len(weight) if grid is None else grid.scale.numel()
    zero_points = grid.scale.numel() if grid is not None and grid.affine else 0
    found = []
    for bits in WIDTHS:
        forms = [
            (_bytes(kept.size, bits), 0),
            (_bytes(int(kept.sum()), bits), math.ceil(kept.size / 8)),
            (_bytes(len(positions), bits), gaps.nbytes),
        ]
        values, masks = min(forms, key=sum)
        found.append(BitCost(bits, values, 4 * scales + zero_points if bits <= 8 else 0, masks))
    return tuple(found)


def _bytes(numbers: int, bits: int) -> int:
    return math.ceil(numbers * bits / 8)


def input_range(model: ModelHandle, data: DataHandle, recipe: Recipe, name: str) -> InputRange | None:
    """What a layer reads beside its activation grid; None where the recipe rounds no activations, or not these.

    The examples are those that set the ranges, of the calibration split. Remembered for all layers at once.
    """
    network, _ = transform(model, data, recipe)
    if not network.activations:
        return None
    key = ("input ranges", network.identity, data.fingerprint)
    found = RESULTS.remember(key, lambda: _ranges(network, data, recipe.seed), lambda _: 10_000)
    return found.get(layer_of(network, name).weight)


def read_by(network: Network) -> dict[str, str]:
    """The tensor that each layer reads, by the name of its weight."""
    nodes = template(network.model, network.edits).proto.graph.node
    turned = {node.output[0]: node.input[0] for node in nodes if node.op_type == "Transpose"}
    return {turned.get(node.input[1], node.input[1]): node.input[0] for node in nodes if len(node.input) > 1}


def _ranges(network: Network, data: DataHandle, seed: int) -> dict[str, InputRange]:
    read = read_by(network)
    seen = Context(data, seed).activations(network, RANGE_EXAMPLES)
    found = {}
    for weight in network.weight_names:
        point = read.get(weight, "")
        if point not in network.activations or point not in seen:
            continue
        grid, values = network.activations[point], seen[point]
        levels = _levels(grid, None)
        found[weight] = InputRange(
            float(values.min()), float(values.max()), float(levels[0]), float(levels[-1]), grid.bits,
            float(_outside(values, grid).float().mean()), RANGE_EXAMPLES,
        )  # fmt: skip
    return found
