"""What a step may use beside the network: data to fit on, a seed, and a memory for expensive scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.data.handle import DataHandle, split_for_fitting
from core.deploy.graph import INPUT, assemble, template
from core.engine.memory import SCORES
from core.engine.network import Network
from core.engine.runtime import session, usual_chunk
from core.registry import Value

KEPT = 200_000  # values kept of one activation point: quantiles to 0.1 % then rest on 200 values


@dataclass(frozen=True)
class Context:
    """The surroundings of a step. Nothing here reaches the evaluation split.

    `layers` holds what single layers have of their own, by layer. A step that takes long calls `told` between its
    parts with the fraction done, which may raise to abandon it.
    """

    data: DataHandle
    seed: int
    layers: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    told: Callable[[float], None] = lambda _: None

    def own(self, layer: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """A step's parameters as they are for one layer."""
        return {**values, **self.layers.get(layer, {})}

    def apart(self, network: Network, name: str) -> dict[str, Any]:
        """What single layers have of their own of one parameter, by the name of the layer's weight."""
        own = {layer.weight: self.layers.get(layer.name, {}) for layer in network.layers}
        return {weight: values[name] for weight, values in own.items() if name in values}

    def scores(
        self, network: Network, name: str, compute: Callable[[], Mapping[str, Tensor]]
    ) -> Mapping[str, Tensor]:
        """Tensors computed once for this network, seed and name, then remembered."""
        key = (network.identity, self.seed, name)
        return SCORES.remember(key, compute, lambda found: sum(t.nbytes for t in found.values()))

    def activations(self, network: Network, examples: int) -> dict[str, Tensor]:
        """Values seen at each activation point, float32 `(M,)`, over examples of the calibration split.

        The examples are drawn evenly over the split. Of each point at most `KEPT` values are kept, evenly
        spaced, and always the two extremes.
        """
        points = template(network.model, network.edits).points
        inputs = split_for_fitting(self.data).inputs
        chosen = np.unique(np.linspace(0, len(inputs) - 1, min(examples, len(inputs))).round().astype(int))
        open_session = session(assemble(network, reveal=True))
        inner = [name for name in points if name != INPUT]
        seen: dict[str, list[np.ndarray]] = {name: [] for name in points}
        step = usual_chunk(inputs.shape[1:])
        for start in range(0, len(chosen), step):
            chunk = inputs[chosen[start : start + step]]
            found = open_session.run(inner, {INPUT: chunk}) if inner else []  # no names would mean all outputs
            values = dict(zip(inner, found, strict=True))
            for name in points:
                flat = (chunk if name == INPUT else values[name]).reshape(-1)
                stride = max(1, flat.size * len(chosen) // len(chunk) // KEPT)
                seen[name] += [flat[::stride], flat.min(keepdims=True), flat.max(keepdims=True)]
        return {name: torch.from_numpy(np.concatenate(parts)) for name, parts in seen.items()}
