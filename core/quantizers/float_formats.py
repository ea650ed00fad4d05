"""Small floating-point formats to store weights in: bfloat16, two of 8 bits, two of 4."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from core.engine.context import Context
from core.engine.grid import Grid, fake_quantize, from_levels
from core.engine.levels import Levels, levels
from core.engine.network import Network, fold
from core.models.layers import Layer
from core.quantizers._noise import signal_to_noise
from core.registry import Param, register

BLOCK = 64  # weights that share a scale in the 4-bit formats, as in QLoRA


@register(
    kind="quantize",
    name="float",
    title="Float formats",
    summary="Stores weights as small floating-point numbers and computes in float32, batch-norm folded first.",
    reference="Dettmers et al. 2023, QLoRA, arXiv 2305.14314 (NF4); Micikevicius et al. 2022, FP8 formats for deep "
    "learning, arXiv 2209.05433; Rouhani et al. 2023, Microscaling data formats, arXiv 2310.10537 (e2m1)",
    parameters=(
        Param(
            "format",
            "Format",
            "nf4",
            "NF4 has 16 levels at quantiles of the normal distribution, FP4 a sign, two bits of exponent and one of "
            "mantissa: both with a scale for each 64 weights, half a bit a weight more. FP8 e4m3 has more digits, "
            "e5m2 more range, with a scale for each output channel. BF16 has a float32's range and 8 of its digits.",
            choices=("float32", "bf16", "e4m3", "e5m2", "nf4", "e2m1"),
            labels={
                "float32": "Float32",
                "bf16": "BF16",
                "e4m3": "FP8 e4m3",
                "e5m2": "FP8 e5m2",
                "nf4": "NF4",
                "e2m1": "FP4",
            },
            neutral="float32",
            by_layer=True,
        ),
    ),
)
def float_formats(network: Network, values: Mapping[str, Any], context: Context) -> tuple[Network, dict[str, Any]]:
    """Round every layer's weights to the format's nearest value, ties to even; the largest weight is never clipped.

    Activations and biases stay float32. In the 4-bit formats the blocks run through the whole tensor, in an
    embedding through each row. Zeros stay zeros.
    """
    network = fold(network)
    formats = {layer.weight: context.own(layer.name, values)["format"] for layer in network.layers}
    formats = {name: kind for name, kind in formats.items() if kind != "float32"}
    brain = frozenset(name for name, kind in formats.items() if kind == "bf16")
    grids = {
        layer.weight: _grid(network.tensors[layer.weight], layer, levels(formats[layer.weight]))
        for layer in network.layers
        if layer.weight in formats.keys() - brain
    }
    rounded = {name: network.tensors[name].bfloat16().float() for name in brain}
    rounded |= {name: fake_quantize(network.tensors[name], grid) for name, grid in grids.items()}
    others = {name: grid for name, grid in network.grids.items() if name not in formats}
    made = replace(
        network.with_tensors(rounded),
        grids=others | grids,
        half=(network.half - formats.keys()) | brain,
        brain=(network.brain - formats.keys()) | brain,
    )
    said = {"format": values["format"], "sqnr_db": signal_to_noise(network, rounded)}
    return made, said


def _grid(weight: Tensor, layer: Layer, chosen: Levels) -> Grid:
    rows = weight.abs().reshape(len(weight), -1)
    if chosen.bits > 4:
        return from_levels(rows.amax(1), chosen, axis=0)
    axis = 0 if layer.kind == "embedding" else None
    rows = rows if axis == 0 else rows.reshape(1, -1)
    padded = torch.nn.functional.pad(rows, (0, -rows.shape[1] % BLOCK))
    return from_levels(padded.reshape(len(rows), -1, BLOCK).amax(2), chosen, axis, BLOCK)
