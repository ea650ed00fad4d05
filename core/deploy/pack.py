"""Pack a network as it would be stored, bit by bit, and count the bytes."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.engine.grid import Grid, dequantize, quantize, spread
from core.engine.network import Network
from core.models.handle import weights_of
from core.types import Ledger

FORMAT = "temper-packed-1"
LEVELS = "levels"
LONGEST_GAP = 255  # a gap is one byte; longer ones are bridged by storing a zero (Han et al. 2016)


def pack_bits(values: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Unsigned integers `(N,)` below `2**bits`, `bits` bits each, most significant first, without gaps."""
    return np.packbits(np.unpackbits(values[:, None], axis=1)[:, 8 - bits :])


def unpack_bits(packed: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.uint8]:
    """The inverse of `pack_bits` for `count` integers."""
    spread = np.unpackbits(packed, count=count * bits).reshape(count, bits)
    return np.packbits(np.pad(spread, ((0, 0), (8 - bits, 0))), axis=1)[:, 0]


def gaps_of(kept: NDArray[np.bool_]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Distances between stored positions, one byte each, and those positions, fillers included."""
    positions = np.flatnonzero(kept)
    steps = np.diff(positions, prepend=-1)
    fillers = (steps - 1) // LONGEST_GAP
    stored_steps = np.full(len(positions) + int(fillers.sum()), LONGEST_GAP, np.int64)
    stored_steps[np.cumsum(fillers + 1) - 1] = steps - fillers * LONGEST_GAP
    return stored_steps.astype(np.uint8), np.cumsum(stored_steps) - 1


def _integers(weight: Tensor, grid: Grid) -> NDArray[np.uint8]:
    return (quantize(weight, grid) - grid.low).numpy().astype(np.uint8).reshape(-1)


def _floats(tensor: Tensor, name: str, network: Network) -> NDArray[Any]:
    """A weight without a grid as stored: float32, float16, or a bfloat16's 16 bits (NumPy lacks the type)."""
    if name in network.brain:
        return tensor.bfloat16().view(torch.int16).numpy().view(np.uint16)
    return tensor.numpy().astype(np.float16 if name in network.half else np.float32)


def _encode(values: NDArray[Any], bits: int | None) -> NDArray[Any]:
    return values if bits is None else pack_bits(values, bits)


def _smallest(values: NDArray[Any], kept: NDArray[np.bool_], bits: int | None) -> dict[str, NDArray[Any]]:
    """The values dense, behind a bit mask, or behind gaps: whichever takes the fewest bytes."""
    gaps, positions = gaps_of(kept)
    forms: list[dict[str, NDArray[Any]]] = [
        {"values": _encode(values, bits)},
        {"values": _encode(values[kept], bits), "mask": np.packbits(kept)},
        {"values": _encode(values[positions], bits), "gaps": gaps},
    ]
    return min(forms, key=lambda form: sum(part.nbytes for part in form.values()))


def pack(network: Network) -> dict[str, NDArray[Any]]:
    """The network's arrays as stored.

    A weight `w` becomes `w/values` (float32, float16 or packed bits), `w/scale`, `w/zero_point`
    (affine grids) and, where that is smaller, `w/mask` (one bit a weight) or `w/gaps` (one byte a kept
    weight). Activation grids are two short arrays; levels that are not evenly spaced are stored once a format, as
    `levels/NAME`. Everything else stays float32 under its own name.
    """
    arrays: dict[str, NDArray[Any]] = {}
    weights = set(network.weight_names)
    for name, tensor in network.tensors.items():
        if name not in weights:
            arrays[name] = tensor.numpy()
            continue
        kept = (tensor != 0).numpy().reshape(-1)
        grid = network.grids.get(name)
        if grid is None:
            parts = _smallest(_floats(tensor, name, network).reshape(-1), kept, None)
        else:
            parts = _smallest(_integers(tensor, grid), kept, grid.bits)
            parts["scale"] = grid.scale.numpy()
            if grid.affine:
                parts["zero_point"] = grid.zero_point.numpy().astype(np.uint8)
            if grid.levels is not None:
                arrays[f"{LEVELS}/{grid.levels.name}"] = grid.levels.values.numpy()
        arrays |= {f"{name}/{part}": np.atleast_1d(array) for part, array in parts.items()}
    if network.activations:
        grids = network.activations.values()
        arrays["activations/scale"] = torch.stack([g.scale for g in grids]).numpy()
        arrays["activations/zero_point"] = torch.stack([g.zero_point for g in grids]).numpy().astype(np.uint8)
    return arrays


def unpack_weight(network: Network, name: str, arrays: dict[str, NDArray[Any]]) -> Tensor:
    """The weight `name` read back from packed arrays; equals `network.tensors[name]`."""
    shape, grid = network.tensors[name].shape, network.grids.get(name)
    size, stored = network.tensors[name].numel(), arrays[f"{name}/values"]
    if f"{name}/mask" in arrays:
        positions = np.flatnonzero(np.unpackbits(arrays[f"{name}/mask"], count=size))
    elif f"{name}/gaps" in arrays:
        positions = np.cumsum(arrays[f"{name}/gaps"].astype(np.int64)) - 1
    else:
        positions = np.arange(size)
    if grid is None:
        flat = np.zeros(size, np.float32)
        brain = name in network.brain
        flat[positions] = (stored.astype(np.uint32) << 16).view(np.float32) if brain else stored
        return torch.from_numpy(flat).reshape(shape)
    integers = spread(grid.zero_point, grid, shape).expand(shape).numpy().astype(np.int32).reshape(-1)
    integers[positions] = unpack_bits(stored, grid.bits, len(positions)).astype(np.int32) + grid.low
    return dequantize(torch.from_numpy(integers).reshape(shape), grid)


def _said(network: Network, name: str) -> dict[str, Any]:
    """What a reader must know of a weight beside its arrays."""
    grid = network.grids.get(name)
    said: dict[str, Any] = {"shape": list(network.tensors[name].shape), "low": 0, "by_channel": False}
    if grid is None:
        said["bits"] = 16 if name in network.half else 32
        return said | ({"float": "bfloat16"} if name in network.brain else {})
    said |= {"bits": grid.bits, "low": grid.low, "by_channel": grid.axis is not None}
    said |= {"group": grid.group} if grid.group else {}
    return said | ({"levels": grid.levels.name, "zero": grid.levels.zero} if grid.levels is not None else {})


def to_safetensors(network: Network, facts: Mapping[str, Any] | None = None) -> bytes:
    """The packed network as one `.safetensors` file with what a reader needs, and `facts`, in its metadata."""
    tensors = {name: _said(network, name) for name in network.weight_names}
    header = {
        "format": FORMAT,
        "architecture": network.model.architecture,
        "weights": tensors,
        "activation_points": list(network.activations),
        **({"dynamic_activation_bits": network.activation_bits} if network.dynamic else {}),
        **(facts or {}),
    }
    # One entry: safetensors writes several in an order that changes from call to call.
    metadata = {"temper": json.dumps(header, sort_keys=True)}
    return safetensors.numpy.save({k: np.ascontiguousarray(v) for k, v in pack(network).items()}, metadata)


def ledger(network: Network) -> Ledger:
    """Count the bytes of the packed network, part by part; `dense` is the untouched original as float32."""
    sums = {"values": 0, "grids": 0, "masks": 0, "other": 0}
    part_of = {"values": "values", "scale": "grids", "zero_point": "grids", "mask": "masks", "gaps": "masks"}
    for name, array in pack(network).items():
        owner, _, part = name.rpartition("/")
        sums["grids" if owner == LEVELS else part_of.get(part, "other") if owner else "other"] += array.nbytes
    file = to_safetensors(network)
    return Ledger(
        dense=sum(tensor.numel() * 4 for tensor in weights_of(network.model).values()),
        weights=sums["values"],
        grids=sums["grids"],
        masks=sums["masks"],
        other=sums["other"],
        file=len(file),
        compressed=len(zlib.compress(file, 6)),
    )
