"""Read a packed `.safetensors` file: float32 weights by name, and what the file says of itself.

This file stands alone (numpy and safetensors) and travels with the artifact.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open


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
        if bits >= 16:  # floats
            flat[places] = part["values"]
            weights[name] = flat.reshape(shape)
            continue
        scale = part["scale"].reshape(-1, *[1] * (len(shape) - 1))
        zero = part.get("zero_point", np.zeros(1, np.uint8)).astype(np.int32).reshape(-1, *[1] * (len(shape) - 1))
        count = len(places)
        spread = np.unpackbits(part["values"], count=count * bits).reshape(count, bits)
        integers = np.packbits(np.pad(spread, ((0, 0), (8 - bits, 0))), axis=1)[:, 0].astype(np.int32) + said["low"]
        dense = np.broadcast_to(zero, shape).astype(np.int32).reshape(-1)
        dense[places] = integers
        weights[name] = (dense.reshape(shape) - zero).astype(np.float32) * scale
    return weights, facts, arrays
