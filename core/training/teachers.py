"""Who teaches: another network, or the same one as it was before."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from core.engine.network import Network, load_network
from core.engine.observed import Observed
from core.models.handle import ModelHandle

Teacher = Callable[[Tensor], Tensor]


def as_before(network: Network) -> Teacher:
    """The network's model as it came, before any step."""
    return teaching(network.model)


def teaching(model: ModelHandle) -> Teacher:
    """A model's outputs `(N, C)` of inputs `(N, ...)`."""
    module = Observed(load_network(model)).eval()

    def outputs(x: Tensor) -> Tensor:
        with torch.no_grad():
            found: Tensor = module(x)
        return found

    return outputs
