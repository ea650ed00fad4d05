"""Who teaches: another network, or the same one as it was before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from core.engine.network import Network, load_network
from core.engine.observed import Observed
from core.models.handle import ModelHandle

Teacher = Callable[[Tensor], Tensor]
AHEAD = 256  # examples a call where nothing is learned


@dataclass(frozen=True)
class FromTeacher:
    """A loss against a teacher: `compare(outputs, y, x, wanted)` with what the teacher makes of `x`.

    Where it meets the same inputs every epoch, the training loop asks the teacher once and gives `wanted` itself.
    """

    teacher: Teacher
    compare: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

    def __call__(self, outputs: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """The mean over a batch."""
        return self.compare(outputs, y, x, self.teacher(x))

    def answers(self, x: Tensor) -> Tensor:
        """The teacher's outputs `(N, C)` of `x`, a part at a time: the same whenever they are asked for."""
        return torch.cat([self.teacher(part) for part in x.split(AHEAD)])


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
