"""Packed `.safetensors`: every weight in its bits, zeros left out where that is smaller, with a reader beside it."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError

from core.calibrators._fitted import Affine, Matrix, Mixture, Steps, Widths
from core.deploy.graph import assemble
from core.deploy.pack import LEVELS, to_safetensors
from core.engine.grid import Grid
from core.engine.levels import Levels
from core.errors import TemperError
from core.formats import packed_reader
from core.formats._artifact import Format, Opened, Parts, finished, opened_graph
from core.registry import register

READER = Path(packed_reader.__file__)


def _calibration(parts: Parts) -> dict[str, Any] | None:
    if parts.form is None:
        return None
    if isinstance(parts.form, Affine):
        return {"scale": parts.form.scale.tolist(), "bias": parts.form.bias.tolist()}
    if isinstance(parts.form, Widths):
        return {"half_widths": parts.form.factors.tolist(), "times_stated_deviation": parts.form.scaled}
    if isinstance(parts.form, Matrix):
        of = "log-softmax of the logits" if parts.form.of_logs else "logits"
        return {"matrix": parts.form.weights.tolist(), "bias": parts.form.bias.tolist(), "of": of}
    if isinstance(parts.form, Mixture):
        return {"temperature": parts.form.temperature, "mixture": parts.form.weights.tolist()}
    if isinstance(parts.form, Steps):
        return {"steps": [[edges.tolist(), values.tolist()] for edges, values in parts.form.steps]}
    return {"curves": [[x.tolist(), y.tolist()] for x, y in parts.form.knots]}


def _make(parts: Parts) -> bytes:
    return to_safetensors(parts.network, parts.facts() | {"calibration": _calibration(parts)})


def _open(content: bytes, parts: Parts) -> Opened:
    """The network again, from the file's own numbers by the reader that travels with it, in ONNX Runtime."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "artifact.safetensors"
        path.write_bytes(content)
        try:
            weights, facts, arrays = packed_reader.read(path)
        except (SafetensorError, KeyError, ValueError, OSError) as error:
            raise TemperError(f"The packed file cannot be read back: {error}.") from error
    network = parts.network
    grids = {name: _grid(said, arrays, name) for name, said in facts["weights"].items() if said["bits"] < 16}
    points = facts["activation_points"]
    activations = {
        name: Grid(
            torch.tensor(arrays["activations/scale"][i]),
            torch.tensor(int(arrays["activations/zero_point"][i]), dtype=torch.int32),
            network.activations[name].low,
            network.activations[name].high,
            network.activations[name].bits,
        )
        for i, name in enumerate(points)
    }
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in weights.items()}
    proto = assemble(replace(network, tensors=tensors, grids=grids, activations=activations))
    return opened_graph(finished(proto, parts))


def _grid(said: dict[str, Any], arrays: dict[str, Any], name: str) -> Grid:
    scale = torch.from_numpy(np.array(arrays[f"{name}/scale"]))
    bits, low, group = int(said["bits"]), int(said["low"]), int(said.get("group", 0))
    axis = 0 if said["by_channel"] else None
    scale = scale if axis == 0 or group else scale[0]
    if "levels" in said:
        levels = Levels(said["levels"], torch.from_numpy(np.array(arrays[f"{LEVELS}/{said['levels']}"])))
        zero = torch.tensor(said["zero"], dtype=torch.int32)
        return Grid(scale, zero, 0, len(levels.values) - 1, bits, axis, levels, group)
    zero = torch.from_numpy(np.array(arrays.get(f"{name}/zero_point", np.zeros(scale.shape)), dtype=np.int32))
    high = -low if low < 0 else 2**bits - 1
    return Grid(scale, zero.reshape(scale.shape), low, high, bits, axis, group=group)


@register(
    kind="format",
    name="packed",
    title="Packed safetensors",
    summary="The fewest bytes: bits packed, zeros behind masks or gaps; numbers to store or send, not to run.",
    reference="Han et al. 2016, Deep compression, arXiv 1510.00149 (gaps); the safetensors format",
)
def declared() -> Format:
    """Opened by the reader in `packed_reader.py`, which travels with it."""
    return Format(".safetensors", "its reader, then ONNX Runtime", lambda _: "", _make, _open, lambda _: False)
