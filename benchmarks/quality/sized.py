"""Bytes by one rule for everyone: what the packed file of the engine would take for the tensors a library made.

A weight of b bits is stored dense, behind a bit mask, or behind one-byte gaps, whichever is smallest; each scale
takes four bytes and each zero point, where it is not zero, one; an activation grid takes five; all else is float32.
Batch-norm's running statistics count where they are not folded. `tests/test_quality.py` holds this to the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.quality.subject import LAYERS
from core.deploy.pack import gaps_of
from core.models.handle import COUNTER

ACTIVATION_GRID = 5  # bytes: a scale and a zero point


@dataclass(frozen=True)
class Stored:
    """A layer's weight: which of its values are not zero, its bits, and how many numbers its grid has."""

    kept: NDArray[np.bool_]
    bits: int = 32
    scales: int = 0
    zero_points: int = 0

    @property
    def bytes(self) -> int:
        """Bytes of values, mask and grid."""
        flat = self.kept.reshape(-1)
        gaps, positions = gaps_of(flat)
        values = [(len(flat), 0), (int(flat.sum()), _bytes(len(flat), 1)), (len(positions), len(gaps))]
        return min(_bytes(count, self.bits) + beside for count, beside in values) + 4 * self.scales + self.zero_points


def _bytes(count: int, bits: int) -> int:
    return -(-count * bits // 8)


def packed_bytes(weights: Iterable[Stored], other: int, activation_grids: int = 0) -> int:
    """Bytes of a model: its weights, `other` numbers as float32, and its activation grids."""
    return sum(weight.bytes for weight in weights) + 4 * other + ACTIVATION_GRID * activation_grids


def of_module(module: nn.Module, stored: Mapping[str, Stored] | None = None) -> int:
    """Bytes of a module: layers in `stored` by name as they say, the other layers' weights as float32."""
    weights = dict(stored or {})
    for name, layer in module.named_modules():
        if isinstance(layer, LAYERS) and name not in weights:
            weights[name] = Stored((layer.weight != 0).numpy())
    names = {f"{name}.weight" for name in weights}
    other = [t for n, t in module.state_dict().items() if n not in names and not n.endswith(COUNTER)]
    return packed_bytes(weights.values(), sum(tensor.numel() for tensor in other))


def integers(values: Tensor, zero_point: Tensor, bits: int, scales: int) -> Stored:
    """A weight on a grid, from its integers and its zero points, which broadcast to them."""
    shifted = int((zero_point != 0).any()) * zero_point.numel()
    return Stored((values.to(torch.int32) != zero_point.to(torch.int32)).numpy(), bits, scales, shifted)
