"""torchao's `quantize_`: modules of integers in place of linear layers and embeddings."""

from __future__ import annotations

import warnings

import torch
from torch import nn
from torchao.quantization import Int8DynamicActivationIntxWeightConfig, IntxWeightOnlyConfig, quantize_
from torchao.quantization.granularity import Granularity, PerAxis, PerGroup

from benchmarks.quality import torch_prune
from benchmarks.quality.made import Made, Missing, Offer, Variant
from benchmarks.quality.rows import Row
from benchmarks.quality.sized import Stored, integers, of_module
from benchmarks.quality.subject import LAYERS, Subject

LIBRARY = "torchao quantize_"
GROUP = 32


def _granularity(layer: nn.Module, grouped: bool) -> Granularity:
    """Groups of 32 where they divide the rows, else a row at a time: diamonds' first layer reads nine numbers."""
    return PerGroup(GROUP) if grouped and layer.weight.shape[1] % GROUP == 0 else PerAxis(0)


def _quantized(subject: Subject, row: Row, grouped: bool, module: nn.Module) -> nn.Module:
    dtype = getattr(torch, f"int{row.weight_bits}")
    for layer in list(module.modules()):
        if isinstance(layer, nn.Conv2d) or not isinstance(layer, LAYERS):
            continue
        how = _granularity(layer, grouped)
        if row.activation_bits == 8 and isinstance(layer, nn.Linear):
            config = Int8DynamicActivationIntxWeightConfig(weight_dtype=dtype, weight_granularity=how)
        else:
            config = IntxWeightOnlyConfig(dtype, how)
        quantize_(layer, config, filter_fn=lambda one, _, layer=layer: one is layer)
    return module


def _bytes(module: nn.Module, bits: int) -> int:
    stored: dict[str, Stored] = {}
    for name, layer in module.named_modules():
        if isinstance(layer, LAYERS) and hasattr(layer.weight, "qdata"):
            weight = layer.weight
            spread = weight.qdata.shape[1] // weight.scale.shape[1]
            zero = weight.zero_point.repeat_interleave(spread, 1)
            found = integers(weight.qdata, zero, bits, weight.scale.numel())
            shifted = weight.zero_point.numel() if found.zero_points else 0
            stored[name] = Stored(found.kept, bits, found.scales, shifted)
    return of_module(module, stored)


def offers(row: Row, subject: Subject) -> list[Offer]:
    """What the library can do for a row."""
    if not row.rounds:
        return [Missing(LIBRARY, "no training-free pruning of single weights or channels")]
    if any(isinstance(one, nn.Conv2d) for one in subject.module().modules()):
        return [
            Missing(LIBRARY, "it treats linear layers and embeddings, and nearly all weights here are convolutions")
        ]

    def make(grouped: bool, before: str) -> Made:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = torch_prune.pruned(subject, row, before) if before else subject.module()
            _quantized(subject, row, grouped, module)
            return Made(subject.logits(module), _bytes(module, row.weight_bits))

    also = ", activations rounded anew for every example" if row.activation_bits == 8 else ""
    grains = {"per channel": "a scale a channel", f"groups of {GROUP}": f"a scale for every {GROUP} weights"}
    return [
        Variant(
            LIBRARY,
            f"torch prune {before}, {name}" if before else name,
            f"rounding to nearest, {how}{also}",
            lambda grouped=name != "per channel", before=before: make(grouped, before),
        )
        for before in (torch_prune.HOW if row.sparsity else ("",))
        for name, how in grains.items()
    ]
