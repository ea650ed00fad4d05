"""Run a network layer by layer in PyTorch over calibration examples, and meet every node on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.data.handle import DataHandle, split_for_fitting
from core.engine.network import Network
from core.engine.observed import Observed
from core.models.torch_graph import Attributes
from core.registry import Param

ROOM = 1_500 * 2**20  # bytes of activations held at once: they bound how many examples are run together
EXAMPLES = Param(
    "examples",
    "Examples",
    512,
    "Calibration inputs, without their labels, that are measured.",
    low=32,
    high=4096,
    step=32,
)
LEAST = 16  # examples, whatever they take


class _Counted(Observed):
    """Counts the bytes of all activations, which bound those of any moment."""

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self.bytes = 0

    def compute(self, kind: str, attributes: Attributes, names: list[str], given: list[Any]) -> Any:
        """See `GraphModule`."""
        made = super().compute(kind, attributes, names, given)
        self.bytes += made.nbytes if isinstance(made, Tensor) else 0
        return made


def examples(network: Network, data: DataHandle, most: int) -> Tensor:
    """Up to `most` inputs of the calibration split, evenly over it, as many as there is room for."""
    inputs = split_for_fitting(data).inputs
    counted = _Counted(network)
    with torch.no_grad():
        counted(torch.from_numpy(inputs[:1].copy()))
    count = min(most, len(inputs), max(LEAST, ROOM // max(counted.bytes, 1)))
    chosen: NDArray[np.int64] = np.unique(np.linspace(0, len(inputs) - 1, count).round().astype(np.int64))
    return torch.from_numpy(inputs[chosen])


def channel_means(values: Tensor) -> Tensor:
    """The mean of each output channel, axis 1, or of each feature of rows that have no picture behind it."""
    if values.ndim == 3:  # a text: positions, then features
        return values.mean((0, 1))
    return values.mean([axis for axis in range(values.ndim) if axis != 1])
