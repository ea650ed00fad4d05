"""What each layer of the original reads: how far its values go, and how far all but the rarest of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.data.handle import DataHandle
from core.engine.context import Context
from core.engine.memory import RESULTS
from core.engine.network import load_network
from core.layers.layer_weights import layer_of, read_by
from core.models.handle import ModelHandle
from core.quantizers.uniform import RANGE_EXAMPLES

INNER = (0.1, 99.9)  # per cent of the values


@dataclass(frozen=True)
class Inputs:
    """The extremes over `examples` of the calibration split, and the quantiles that hold all but 0.2 % of the values.

    In the activation's own unit.
    """

    low: float
    high: float
    inner_low: float
    inner_high: float
    examples: int

    @property
    def reach(self) -> float:
        """How many times as far from zero the farthest value lies as those quantiles; 1 where nothing sticks out."""
        inner = max(abs(self.inner_low), abs(self.inner_high))
        return max(abs(self.low), abs(self.high)) / inner if inner > 0 else 1.0


def inputs_of(model: ModelHandle, data: DataHandle, name: str) -> Inputs | None:
    """What a layer of the original reads; None where it reads ids. Remembered for all layers at once."""
    network = load_network(model)

    def compute() -> dict[str, Inputs]:
        seen, found = Context(data, 0).activations(network, RANGE_EXAMPLES), {}
        for weight, point in read_by(network).items():
            if point in seen:
                values = seen[point].numpy()
                low, high = np.percentile(values, INNER).tolist()
                found[weight] = Inputs(float(values.min()), float(values.max()), low, high, RANGE_EXAMPLES)
        return found

    kept = RESULTS.remember(("inputs", model.fingerprint, data.fingerprint), compute, lambda _: 10_000)
    return kept.get(layer_of(network, name).weight)
