"""What the last layer reads of an example: the network's own view of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from core.engine.lane import rest
from core.engine.network import load_network
from core.engine.observed import Observed
from core.engine.runtime import Progress
from core.models.handle import ModelHandle
from core.models.torch_graph import Attributes
from core.types import Floats

CHUNK = 256  # examples a call
DIMENSIONS = 32  # at most, after the main axes of the reference


class _LastInput(Observed):
    """The original, which remembers what its last layer was given."""

    def __init__(self, model: ModelHandle) -> None:
        network = load_network(model)
        super().__init__(network)
        self.weight = network.layers[-1].weight
        self.given: Any = None

    def compute(self, kind: str, attributes: Attributes, names: list[str], given: list[Any]) -> Any:
        """See `GraphModule`."""
        if self.weight in names:
            self.given = given[0]
        return super().compute(kind, attributes, names, given)


def features(model: ModelHandle, inputs: NDArray[np.float32], told: Progress) -> NDArray[np.float32]:
    """What the original's last layer reads of inputs `(N, ...)`: float32 `(N, d)`, the mean over places.

    Where the last layer reads no array by its own weight, the outputs stand for it.
    """
    module, parts = _LastInput(model).eval(), []
    for start in range(0, len(inputs), CHUNK):
        with torch.no_grad():
            outputs = module(torch.from_numpy(np.array(inputs[start : start + CHUNK])))
            seen = module.given if isinstance(module.given, torch.Tensor) else outputs
        found = seen.reshape(*seen.shape[:2], -1).mean(-1) if seen.ndim > 2 else seen
        parts.append(found.numpy().astype(np.float32))
        rest()
        told(min(1.0, (start + CHUNK) / len(inputs)))
    return np.concatenate(parts)


@dataclass(frozen=True)
class Axes:
    """The main axes of a reference: `mean` `(d,)`, `turn` `(d, k)`, each of deviation one there."""

    mean: Floats
    turn: Floats
    explained: float

    def of(self, x: NDArray[np.float32]) -> Floats:
        """Features `(N, d)` along the axes `(N, k)`, in the reference's standard deviations."""
        found: Floats = (x - self.mean) @ self.turn
        return found


def main_axes(reference: NDArray[np.float32], most: int = DIMENSIONS) -> Axes:
    """The axes along which the reference varies most, up to `most`, as many as hold a hundredth of the first."""
    x = reference.astype(np.float64)
    mean = x.mean(0)
    _, spread, turn = np.linalg.svd(x - mean, full_matrices=False)
    spread = spread / np.sqrt(max(len(x) - 1, 1))
    count = max(1, min(most, int((spread > 0.01 * spread[0]).sum()), len(x) // 10))
    scale = np.maximum(spread[:count], 1e-12)
    total = float((spread**2).sum()) or 1.0
    return Axes(mean, turn[:count].T / scale, float((spread[:count] ** 2).sum()) / total)
