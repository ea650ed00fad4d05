"""Cross-layer equalisation: neighbouring layers share their ranges, channel by channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from core.engine.context import Context
from core.engine.lane import rest
from core.engine.network import Network, fold, load_network
from core.errors import TemperError
from core.models.handle import ModelHandle
from core.registry import register
from core.repairs._pairs import Pair, pairs_of

SWEEPS = 100  # over the pairs at most; chains of pairs settle after about ten
SETTLED = 1e-4  # a sweep that moves no range by more than this share ends it
# A channel whose weights are all but zero would be blown up together with its bias, which then needs an activation
# range of its own; no factor is larger than this, or smaller than one over it.
MOST = 2.0**6
NONE = "No two neighbouring layers of this network can share their ranges."


@dataclass(frozen=True)
class _Side:
    """One layer's largest absolute weights `(R, K)`, float64, and the factors found for its rows and inputs."""

    largest: Tensor
    groups: int
    rows: Tensor
    inputs: Tensor

    @classmethod
    def of(cls, weight: Tensor, groups: int) -> _Side:
        largest = weight.abs().reshape(*weight.shape[:2], -1).amax(2).double()
        ones = torch.ones(largest.shape[1] * groups, dtype=torch.float64)
        return cls(largest, groups, torch.ones(len(largest), dtype=torch.float64), ones)

    def by_weight(self) -> Tensor:
        """The factor of every filter, `(R, K)`: its row's times its input's."""
        grouped = self.inputs.reshape(self.groups, 1, -1).expand(-1, len(self.rows) // self.groups, -1)
        return grouped.reshape(self.largest.shape) * self.rows[:, None]

    def row_ranges(self) -> Tensor:
        """The largest weight of each output channel `(R,)` as scaled so far."""
        return (self.largest * self.by_weight()).amax(1)

    def input_ranges(self) -> Tensor:
        """The largest weight that reads each input channel."""
        scaled = self.largest * self.by_weight()
        return scaled.reshape(self.groups, -1, scaled.shape[1]).amax(1).reshape(-1)


def _fits(model: ModelHandle) -> str:
    return "" if pairs_of(load_network(model))[0] else NONE


@register(
    kind="repair",
    name="equalise",
    title="Equalise across layers",
    summary="Rescales channels between neighbouring layers so that each fills its share of the grid; what the float "
    "network computes stays the same.",
    reference="Nagel et al. 2019, Data-free quantization, arXiv 1906.04721, section 4.1",
    after="prune",
    fits=_fits,
)
def equalise(network: Network, values: Mapping[str, Any], context: Context) -> tuple[Network, dict[str, Any]]:
    """Divide channel i of a layer by `s_i = sqrt(r1_i / r2_i)` and multiply what reads it by `s_i`.

    `r1_i` is the largest absolute weight that makes channel i, `r2_i` the largest that reads it; between the two
    layers only functions with `f(s x) = s f(x)` for `s > 0`. Pairs in turn until nothing moves. Batch-norm is folded
    first. Zeros stay zeros. `left` says of each layer in no pair why. Raises `TemperError` for a quantized network.
    """
    if network.grids or network.half or network.activations or network.activation_bits < 32:
        raise TemperError(
            "Layers can be equalised only before quantization: their grids would no longer fit.",
            "Put this step before quantize.",
        )
    network = fold(network)
    found, left = pairs_of(network)
    found, unfit = _usable(network, found)
    left = {name: unfit.get(name, why) for name, why in left.items()} | unfit
    for pair in found:
        for name in (pair.first.name, pair.second.name):
            left.pop(name, None)
    if not found:
        return network, {"pairs": 0, "left": left, "warning": NONE}
    sides = {}
    for pair in found:
        for layer, groups in ((pair.first, pair.first_groups), (pair.second, pair.second_groups)):
            sides[layer.weight] = _Side.of(network.tensors[layer.weight], groups)
    sweeps = _balance(found, sides)
    factors = {name: side.by_weight() for name, side in sides.items()}
    for pair in found:
        rows = sides[pair.first.weight].rows
        factors |= {name: rows for name in pair.biases if name in network.tensors}
    factors = {
        name: factor.reshape(*factor.shape, *[1] * (network.tensors[name].ndim - factor.ndim))
        for name, factor in factors.items()
    }
    changed = {name: (network.tensors[name].double() * factor).float() for name, factor in factors.items()}
    rescaled = {name: factor * network.rescaled.get(name, 1.0) for name, factor in factors.items()}
    every = torch.cat([side.rows.log2().abs() for side in sides.values()])
    learned = {
        "pairs": len(found),
        "sweeps": sweeps,
        "largest_factor": round(2.0 ** float(every.max()), 3),
        "left": left,
    }
    return replace(network.with_tensors(changed), rescaled={**network.rescaled, **rescaled}), learned


def _usable(network: Network, found: tuple[Pair, ...]) -> tuple[tuple[Pair, ...], dict[str, str]]:
    """The pairs of finite weights, and why the others are none."""
    bad = {
        layer.name: "its weights are not all finite numbers"
        for pair in found
        for layer in (pair.first, pair.second)
        if not torch.isfinite(network.tensors[layer.weight]).all()
    }
    kept = tuple(pair for pair in found if pair.first.name not in bad and pair.second.name not in bad)
    for pair in found:
        for one, other in ((pair.first, pair.second), (pair.second, pair.first)):
            if other.name in bad:
                bad.setdefault(one.name, f"the weights of {other.name} are not all finite numbers")
    return kept, bad


def _balance(found: tuple[Pair, ...], sides: dict[str, _Side]) -> int:
    """Find the factors, in place; the number of sweeps that it took."""
    for sweep in range(1, SWEEPS + 1):
        moved = 0.0
        for pair in found:
            first, second = sides[pair.first.weight], sides[pair.second.weight]
            made, read = first.row_ranges(), second.input_ranges().reshape(len(first.rows), -1).amax(1)
            wanted = torch.where((made > 0) & (read > 0), (made / read).sqrt(), 1.0)
            rows = (first.rows / wanted).clamp(1 / MOST, MOST)  # a channel without weights keeps what it has
            step = rows / first.rows
            first.rows.mul_(step)
            second.inputs.div_(step.repeat_interleave(len(second.inputs) // len(step)))
            moved = max(moved, float(step.log().abs().max()))
            rest()
        if moved < SETTLED:
            return sweep
    return SWEEPS
