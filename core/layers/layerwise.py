"""Layer by layer: what a recipe leaves of each layer's numbers, bits and bytes, beside the original."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from core.data.handle import DataHandle
from core.deploy.devices import work
from core.deploy.pack import pack
from core.engine.memory import RESULTS
from core.engine.network import Network, fold, load_network
from core.engine.transform import transform
from core.models.handle import RUNNING, ModelHandle
from core.models.layers import NORM_PARTS, Kind, Layer
from core.recipe import Recipe
from core.registry import method

DIED = "the layer that died"


@dataclass(frozen=True)
class LayerFacts:
    """One layer after a recipe, and before it where a name begins with `original_`.

    `shape` is the weight's, `parameters` counts weight, bias and batch-norm without its running statistics,
    `multiply_adds` are of one example. `sparsity` is the fraction of the weights present that are zero, `bits` of one
    weight, 32 where it is a float. `packed` counts bytes as stored: weight, scales, masks, bias, batch-norm.
    `sqnr_db` is in decibels, see `signal_to_noise`; None where nothing was changed. `dead` counts output channels
    whose weights are all zero, of `channels` that are left.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]
    original_shape: tuple[int, ...]
    parameters: int
    original_parameters: int
    multiply_adds: int
    original_multiply_adds: int
    sparsity: float
    bits: int
    packed: int
    original_packed: int
    sqnr_db: float | None
    channels: int
    original_channels: int
    dead: int

    @property
    def died(self) -> bool:
        """Whether every weight is zero: the layer gives the same whatever it reads."""
        return self.sparsity == 1

    @property
    def warning(self) -> str:
        """What a person should know of it, or nothing."""
        if self.died:
            return DIED
        return f"{self.dead} of {self.channels} channels are all zero" if self.dead else ""

    @property
    def saved(self) -> int:
        """Bytes saved; negative where the layer takes more."""
        return self.original_packed - self.packed


@dataclass(frozen=True)
class Layerwise:
    """Every layer that is left, in the order of the forward pass, and the bytes that belong to none of them.

    `gone` names the layers that left with their blocks; `original_rest` counts their bytes too.
    """

    layers: tuple[LayerFacts, ...]
    rest: int
    original_rest: int
    gone: tuple[str, ...] = ()

    @property
    def packed(self) -> int:
        """Bytes of all packed parts: the ledger's total."""
        return sum(layer.packed for layer in self.layers) + self.rest

    @property
    def original_packed(self) -> int:
        """The same of the original."""
        return sum(layer.original_packed for layer in self.layers) + self.original_rest

    def find(self, name: str | None) -> LayerFacts | None:
        """A layer by its name."""
        return next((layer for layer in self.layers if layer.name == name), None)


def layerwise(model: ModelHandle, data: DataHandle, recipe: Recipe) -> Layerwise:
    """What a recipe leaves of each layer. Remembered. Raises `TemperError` as `transform` does."""
    network, _ = transform(model, data, recipe)
    key = ("layerwise", network.identity, model.fingerprint)
    return RESULTS.remember(key, lambda: _layerwise(model, data, recipe, network), lambda _: 100_000)


def reference(model: ModelHandle, data: DataHandle, recipe: Recipe) -> Network:
    """What a recipe's weights are held against, batch-norm folded.

    The original; or, where channels left, the recipe up to the last step that removes any, so that both sides have
    the same channels and those that left count as bytes, not as noise. Channels are equalised as the recipe's are.
    """
    steps = recipe.without("calibrate").simplified().steps
    cuts = [i for i, step in enumerate(steps) if any(p.of for p in method(step.kind, step.method).parameters)]
    before = fold(transform(model, data, replace(recipe, steps=steps[: cuts[-1] + 1] if cuts else ()))[0])
    return before.with_tensors(_as_rescaled(before, transform(model, data, recipe)[0]))


def _as_rescaled(before: Network, after: Network) -> dict[str, Tensor]:
    """Tensors of the network before, their channels equalised as they are after."""
    found = {}
    for name, factor in after.rescaled.items():
        tensor, done = before.tensors[name], before.rescaled.get(name)
        if factor.shape[:2] == tensor.shape[: min(factor.ndim, 2)] and (done is None or done.shape == factor.shape):
            found[name] = (tensor.double() * (factor if done is None else factor / done)).float()
    return found


def signal_to_noise(before: Tensor, after: Tensor) -> float | None:
    """Ratio of `before`'s energy to that of all that changed, pruned or rounded, in decibels; None without change.

    Also None where `before` is all zero. Both have the same shape.
    """
    signal = float(before.double().square().sum())
    noise = float((before.double() - after.double()).square().sum())
    return 10 * math.log10(signal / noise) if signal > 0 and noise > 0 else None


def _layerwise(model: ModelHandle, data: DataHandle, recipe: Recipe, network: Network) -> Layerwise:
    plain = load_network(model)
    before, folded = reference(model, data, recipe), fold(network)
    bytes_before, rest_before, adds_before = _counted(plain)
    bytes_after, rest_after, adds_after = _counted(network)
    found = []
    for layer in network.layers:
        weight, given = network.tensors[layer.weight], plain.tensors[layer.weight]
        lines = weight.movedim(layer.channel_axis, 0).flatten(1)
        same = before.tensors[layer.weight].shape == folded.tensors[layer.weight].shape
        found.append(
            LayerFacts(
                layer.name, layer.kind, tuple(weight.shape), tuple(given.shape),
                _parameters(network, layer), _parameters(plain, layer),
                adds_after.get(layer.name, 0), adds_before.get(layer.name, 0),
                int((weight == 0).sum()) / max(weight.numel(), 1), bits_of(network, layer),
                bytes_after[layer.name], bytes_before[layer.name],
                signal_to_noise(before.tensors[layer.weight], folded.tensors[layer.weight]) if same else None,
                len(lines), given.shape[layer.channel_axis], int((lines == 0).all(1).sum()),
            )
        )  # fmt: skip
    left = {one.name for one in found}
    gone = tuple(layer.name for layer in plain.layers if layer.name not in left)
    return Layerwise(tuple(found), rest_after, rest_before + sum(bytes_before[name] for name in gone), gone)


def bits_of(network: Network, layer: Layer) -> int:
    """Bits of one of the layer's weights: 32 for a float, 16 for a half."""
    grid = network.grids.get(layer.weight)
    return grid.bits if grid is not None else 16 if layer.weight in network.half else 32


def _parts(layer: Layer) -> set[str]:
    norm = {f"{layer.norm}.{part}" for part in NORM_PARTS} if layer.norm else set()
    return {layer.weight, layer.bias} | norm


def _parameters(network: Network, layer: Layer) -> int:
    names = {name for name in _parts(layer) & network.tensors.keys() if not name.endswith(RUNNING)}
    return sum(network.tensors[name].numel() for name in names)


def _counted(network: Network) -> tuple[dict[str, int], int, dict[str, int]]:
    """Packed bytes by layer, packed bytes of no layer, multiply-adds of one example by layer. Remembered."""

    def compute() -> tuple[dict[str, int], int, dict[str, int]]:
        held: Mapping[str, str] = {part: layer.name for layer in network.layers for part in _parts(layer)}
        sizes, rest = dict.fromkeys((layer.name for layer in network.layers), 0), 0
        for name, array in pack(network).items():
            owner = held.get(name) or held.get(name.rpartition("/")[0])
            if owner is None:
                rest += array.nbytes
            else:
                sizes[owner] += array.nbytes
        return sizes, rest, _summed((part.name, part.multiply_adds) for part in work(network))

    return RESULTS.remember(("layer bytes", network.identity), compute, lambda _: 10_000)


def _summed(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, value in pairs:
        found[name] = found.get(name, 0) + value
    return found


def widest_channel(values: Tensor) -> int:
    """The row of `(C, ...)` with the largest absolute value: of a grid a row, the widest that holds anything."""
    return int(torch.argmax(values.abs().flatten(1).amax(1)))
