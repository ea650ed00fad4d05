"""How much rounding weights to a format takes away from them."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from core.engine.network import Network


def signal_to_noise(network: Network, rounded: Mapping[str, torch.Tensor]) -> float | None:
    """Signal-to-quantization-noise ratio of all weights in decibels, None where nothing was rounded away."""
    signal = sum(float(network.tensors[name].double().square().sum()) for name in rounded)
    noise = sum(float((network.tensors[name] - value).double().square().sum()) for name, value in rounded.items())
    return round(10 * float(torch.log10(torch.tensor(signal / noise))), 2) if noise > 0 and signal > 0 else None
