"""Uniform quantization of weights and activations: to nearest, or so that each layer's output moves least."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from core.deploy.graph import template
from core.engine.context import Context
from core.engine.grid import Grid, fake_quantize, from_limits
from core.engine.network import Network, fold
from core.engine.ranges import limits
from core.quantizers._dynamic import check_examples_apart
from core.quantizers._noise import signal_to_noise
from core.quantizers._rounding import reconstruct
from core.registry import Param, register

# Examples of the calibration split that set activation ranges. On fashion-resnet 128 to 1,024 of them gave the same
# accuracy to 0.1 points, at W8A8 and W4A8, min-max and percentile.
RANGE_EXAMPLES = 256

WEIGHT_BITS = (32, 16, 8, 7, 6, 5, 4, 3, 2)
ACTIVATION_BITS = (32, 16, 8, 7, 6, 5, 4)


@register(
    kind="quantize",
    name="uniform",
    title="Uniform",
    summary="Rounds weights and activations to evenly spaced levels, batch-norm folded first.",
    reference="Jacob et al. 2018, Quantization and training of neural networks, arXiv 1712.05877; "
    "Nagel et al. 2021, A white paper on neural network quantization, arXiv 2106.08295; "
    "entropy: Migacz 2017, 8-bit inference with TensorRT, GTC; "
    "rounding: Frantar et al. 2022, GPTQ, arXiv 2210.17323, and Nagel et al. 2020, Up or down?, arXiv 2004.10568",
    usual=True,
    parameters=(
        Param(
            "weight_bits",
            "Weight bits",
            8,
            "Bits that store one weight. 16 is half-precision float; 8 and below are integers.",
            choices=WEIGHT_BITS,
            neutral=32,
            by_layer=True,
        ),
        Param(
            "activation_bits",
            "Activation bits",
            8,
            "Bits that hold one value between layers. Their ranges are set on 256 calibration examples.",
            choices=ACTIVATION_BITS,
            neutral=32,
        ),
        Param(
            "activation_scales",
            "Activation scales",
            "static",
            "Static grids are set once, on calibration examples. Dynamic ones are set by each example's own extremes "
            "as it is computed: nothing is clipped and nothing is calibrated, but integer kernels here want scales "
            "beforehand, so all of it is computed as float. For 8 bits and fewer.",
            choices=("static", "dynamic"),
            labels={"static": "Static", "dynamic": "Dynamic"},
        ),
        Param(
            "granularity",
            "Granularity",
            "channel",
            "One scale for each output channel of a weight tensor (each row of an embedding), one for the tensor, or "
            "one for each group of consecutive inputs within a channel. Integer kernels here know no groups: such "
            "weights are computed as float, beside rounded activations where these have 8 bits or fewer.",
            choices=("channel", "tensor", "group"),
            labels={"channel": "Per channel", "tensor": "Per tensor", "group": "Per group"},
        ),
        Param(
            "group",
            "Group size",
            64,
            "Consecutive weights of an output channel that share a scale, of 4 bytes. A channel of no more weights "
            "than that has one scale.",
            choices=(32, 64, 128),
            shown_when=("granularity", "group"),
        ),
        Param(
            "scheme",
            "Weight grid",
            "symmetric",
            "Symmetric grids centre on zero; affine grids shift to fit. Activations are always affine.",
            choices=("symmetric", "affine"),
            labels={"symmetric": "Symmetric", "affine": "Affine"},
        ),
        Param(
            "range",
            "Range rule",
            "minmax",
            "What the grid covers: the extremes, all but the outermost values, the range of least squared error, or "
            "that whose rounded values tell most of how the true ones are spread (KL divergence, made for 8 bits).",
            choices=("minmax", "percentile", "mse", "entropy"),
            labels={"minmax": "Min-max", "percentile": "Percentile", "mse": "MSE", "entropy": "Entropy"},
        ),
        Param(
            "percentile",
            "Percentile",
            99.9,
            "The share of values the range holds, the rest being clipped.",
            low=90.0,
            high=100.0,
            step=0.1,
            unit="%",
            shown_when=("range", "percentile"),
        ),
        Param(
            "rounding",
            "Rounding",
            "nearest",
            "How a weight finds its level: the nearest one, or so that the layer's output changes least on 256 "
            "calibration examples. GPTQ lets later weights make up for earlier ones; AdaRound picks up or down, here "
            "by trying flips on the exact error. 16 bits and more are rounded to nearest.",
            choices=("nearest", "gptq", "adaround"),
            labels={"nearest": "To nearest", "gptq": "GPTQ", "adaround": "AdaRound"},
            slow=("adaround",),
        ),
    ),
)
def uniform(network: Network, values: Mapping[str, Any], context: Context) -> tuple[Network, dict[str, Any]]:
    """Quantize-dequantize the layers' weights, then set activation grids on the calibration split.

    Biases stay float32 unless the layer runs in integers. Weight grids are signed symmetric or unsigned
    affine; per channel, an embedding has a grid a row (Guan et al. 2019, Post-training 4-bit quantization on
    embedding tables, arXiv 1911.02079). Activation grids are unsigned affine, one a tensor; the ids that an embedding
    reads have none. Activation ranges are observed with the rounded weights in place. Dynamic scales are those of one
    example at a time, whatever the batch.
    """
    network = fold(network)
    activation_bits = values["activation_bits"]
    fitted: dict[str, Any] = {"weight_bits": values["weight_bits"], "activation_bits": activation_bits}
    own = {layer.weight: context.own(layer.name, values) for layer in network.layers}
    half = frozenset(name for name, settings in own.items() if settings["weight_bits"] == 16)
    network = network.with_tensors({name: network.tensors[name].half().float() for name in half})
    grids = {
        name: weight_grid(network.tensors[name], settings)
        for name, settings in own.items()
        if settings["weight_bits"] < 16
    }
    if grids:
        rounded = {name: fake_quantize(network.tensors[name], grid) for name, grid in grids.items()}
        if values["rounding"] != "nearest":
            rounded, said = reconstruct(network, grids, values["rounding"], context.data, context.told)
            fitted |= said
        fitted["sqnr_db"] = signal_to_noise(network, rounded)
        network = network.with_tensors(rounded)
    grids = {name: grid for name, grid in {**network.grids, **grids}.items() if name not in half}
    brain = network.brain - half - grids.keys()
    network = replace(network, grids=grids, half=(network.half | half) - grids.keys(), brain=brain)
    dynamic = activation_bits < 16 and values["activation_scales"] == "dynamic"
    if dynamic:
        check_examples_apart(network, context.data)
        network = replace(network, activations={})
    elif activation_bits < 16:
        network = replace(network, activations=_activation_grids(network, values, context))
        fitted["range_examples"] = RANGE_EXAMPLES
    return replace(network, activation_bits=activation_bits, dynamic=dynamic), fitted


def weight_grid(weight: torch.Tensor, values: Mapping[str, Any]) -> Grid:
    """The grid of one layer's weight by the step's complete parameters, of at most 8 bits."""
    bits, symmetric = values["weight_bits"], values["scheme"] == "symmetric"

    def ends(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return limits(rows, values["range"], bits, symmetric, values["percentile"])

    if values["granularity"] == "tensor":
        low, high = ends(weight.reshape(1, -1))
        return from_limits(low[0], high[0], bits, symmetric, None)
    rows, size = weight.reshape(weight.shape[0], -1), values["group"]
    if values["granularity"] == "channel" or rows.shape[1] <= size:
        return from_limits(*ends(rows), bits, symmetric, axis=0)
    whole = rows.shape[1] // size * size  # the last group of a row may be shorter
    parts = [ends(rows[:, :whole].reshape(-1, size))]
    parts += [ends(rows[:, whole:])] if whole < rows.shape[1] else []
    low, high = (torch.cat([part.reshape(len(rows), -1) for part in side], 1) for side in zip(*parts, strict=True))
    return from_limits(low, high, bits, symmetric, 0, size)


def _activation_grids(network: Network, values: Mapping[str, Any], context: Context) -> dict[str, Grid]:
    base = template(network.model, network.edits)
    seen = context.activations(network, RANGE_EXAMPLES)
    bits = values["activation_bits"]
    grids: dict[str, Grid] = {}
    for name in base.points:
        if name in base.source:
            grids[name] = grids[base.source[name]]
            continue
        low, high = limits(seen[name][None], values["range"], bits, False, values["percentile"])
        grids[name] = from_limits(low[0], high[0], bits, False, None)
    return grids
