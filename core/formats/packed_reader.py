"""Read a packed `.safetensors` file: float32 weights by name, and what the file says of itself.

This file stands alone (numpy and safetensors) and travels with the artifact.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open


def spread(values: Any, said: dict[str, Any]) -> Any:
    """Scales or zero points, shaped to go with the weights: one, one a row, or one a block of a row's weights."""
    shape = said["shape"]
    if "group" in said and values.ndim == 2:
        columns = int(np.prod(shape)) // len(values)
        return np.repeat(values, said["group"], axis=1)[:, :columns].reshape(shape)
    return values.reshape(-1, *[1] * (len(shape) - 1))


def read(path: Path | str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """`(weights, facts, arrays)`: float32 arrays by tensor name, the header, and everything as stored."""
    with safe_open(path, "np") as file:
        facts = json.loads(file.metadata()["temper"])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    weights = {name: array for name, array in arrays.items() if "/" not in name}
    for name, said in facts["weights"].items():
        part = {key.rpartition("/")[2]: value for key, value in arrays.items() if key.startswith(f"{name}/")}
        shape, bits = said["shape"], said["bits"]
        size: int = int(np.prod(shape))
        places: Any = np.arange(size)
        if "mask" in part:  # one bit a weight
            places = np.flatnonzero(np.unpackbits(part["mask"], count=size))
        elif "gaps" in part:  # one byte a stored weight: the distance to the one before
            places = np.cumsum(part["gaps"].astype(np.int64)) - 1
        flat = np.zeros(size, np.float32)
        if bits >= 16:  # floats; of a bfloat16 the upper half of a float32 is stored
            stored = part["values"]
            brain = said.get("float") == "bfloat16"
            flat[places] = (stored.astype(np.uint32) << 16).view(np.float32) if brain else stored
            weights[name] = flat.reshape(shape)
            continue
        scale = spread(part["scale"], said)
        zero = spread(part.get("zero_point", np.array([said.get("zero", 0)], np.uint8)).astype(np.int32), said)
        count = len(places)
        singly = np.unpackbits(part["values"], count=count * bits).reshape(count, bits)
        integers = np.packbits(np.pad(singly, ((0, 0), (8 - bits, 0))), axis=1)[:, 0].astype(np.int32) + said["low"]
        dense = np.broadcast_to(zero, shape).astype(np.int32).reshape(-1)
        dense[places] = integers
        if "levels" in said:  # each integer is a place in a table
            weights[name] = arrays[f"levels/{said['levels']}"][dense.reshape(shape)] * scale
            continue
        weights[name] = (dense.reshape(shape) - zero).astype(np.float32) * scale
    return weights, facts, arrays
