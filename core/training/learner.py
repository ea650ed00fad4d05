"""A network that learns as it is: removed weights stay removed, rounded ones are rounded on every pass.

What trains is a copy. Behind a rounded weight stands a float one that learns; `network()` gives what came of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from core.deploy.graph import structure, template
from core.engine.grid import Grid, fake_quantize
from core.engine.network import Network
from core.engine.observed import Observed
from core.models.torch_graph import Attributes
from core.training.device import CPU
from core.training.rounding import grid_on, halved, rounded, rounded_by_example

NORM = "BatchNormalization"
MOMENTUM = 0.1  # of a batch-norm's running statistics, as PyTorch has it
FEWEST = 8  # examples of a batch whose mean and variance a batch-norm may learn from


@dataclass(frozen=True)
class Part:
    """What learns: names of tensors, and whether weights learn by themselves or through a product of low rank."""

    names: frozenset[str]
    rank: int = 0


class Learner(Observed):
    """The network's float graph on tensors of its own. `leaves` learn, by name; the batch-norms of `part` too.

    `scales` says whether quantization scales learn beside the weights. All that computes lies on the device `where`;
    what comes out of `state` and `network` lies in the processor's memory.
    """

    def __init__(
        self, network: Network, part: Part, scales: bool = False, seed: int = 0, where: torch.device = CPU
    ) -> None:
        super().__init__(network)
        self.to(where)
        self._where = where
        self.of, self.part = network, part
        self._grids = {name: grid_on(grid, where) for name, grid in network.grids.items()}
        self._steps = {name: grid_on(grid, where) for name, grid in network.activations.items()}
        self._masks = {name: mask.to(where) for name, mask in network.masks.items() if name in part.names}
        self.points: dict[str, Grid | None] = dict(self._steps)
        if network.dynamic or network.activation_bits == 16:
            self.points = dict.fromkeys(template(network.model, network.edits).points)
        self.views = template(network.model, network.edits).source
        self.points = {name: grid for name, grid in self.points.items() if name not in self.views}
        self.biases = {layer.bias: layer.weight for layer in network.layers if _integral(network, layer.weight)}
        self._fixed: dict[str, Tensor] = {}  # rounded weights that do not learn
        self.leaves: dict[str, Tensor] = {}
        self.grown: dict[str, Tensor] = {}
        self._seen: dict[str, Tensor] = {}
        self._mine: dict[str, Tensor] = {}
        self._order = [name for name in trainable(network) if name in part.names]
        self.awake = part.names
        generator = torch.Generator().manual_seed(seed)
        weights = {layer.weight for layer in network.layers}
        for name in network.tensors:
            if name not in self.places:
                continue
            leaf = self._own(name)
            if leaf.ndim == 4:
                leaf.data = leaf.data.to(memory_format=torch.channels_last)
            if name not in part.names:
                continue
            if part.rank and name in weights and leaf.ndim > 1:
                self._adapt(name, leaf, part.rank, generator)
            else:
                self.leaves[name] = leaf
        if scales:
            learned = {n: g for n, g in self._grids.items() if n in part.names and g.levels is None}
            learned |= {f"at {n}": g for n, g in self.points.items() if isinstance(g, Grid)}
            self.grown = {name: torch.zeros_like(grid.scale) for name, grid in learned.items()}
        for leaf in (*self.leaves.values(), *self.grown.values()):
            leaf.requires_grad_(True)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._where

    def _adapt(self, name: str, weight: Tensor, rank: int, generator: torch.Generator) -> None:
        """Low-rank adapters of a weight: `W + B A`, B at first zero (Hu et al. 2022, arXiv 2106.09685)."""
        rows, columns = weight.shape[0], weight[0].numel()
        rank = min(rank, rows, columns)
        drawn = torch.randn(rank, columns, generator=generator) / columns**0.5  # the same on every device
        self.leaves[f"{name} A"] = drawn.to(self.device)
        self.leaves[f"{name} B"] = torch.zeros(rows, rank, device=self.device)

    def _own(self, name: str) -> Tensor:
        """A tensor as the graph holds it, looked up once."""
        if name not in self._mine:
            self._mine[name] = super()._held(name)
        return self._mine[name]

    def _held(self, name: str) -> Tensor:
        if name in self._seen:
            return self._seen[name]
        if name in self._fixed:
            return self._fixed[name]
        found = held = self._own(name)
        if name not in self.of.tensors:
            return found
        found = self._merged(name, found)
        learns = name in self.part.names
        if learns and (mask := self._masks.get(name)) is not None:
            found = found * mask
        if (grid := self._grids.get(name)) is not None:
            found = rounded(found, grid, self.grown.get(name))
        elif name in self.of.half:
            found = halved(found, name in self.of.brain)
        self._seen[name] = found
        if not learns and found is not held:
            self._fixed[name] = found
        return found

    def _merged(self, name: str, weight: Tensor) -> Tensor:
        if f"{name} B" not in self.leaves:
            return weight
        return weight + (self.leaves[f"{name} B"] @ self.leaves[f"{name} A"]).reshape(weight.shape)

    def compute(self, kind: str, attributes: Attributes, names: list[str], given: list[Any]) -> Any:
        """See `GraphModule`."""
        for place, name in enumerate(names):
            if name in self.points:
                given[place] = self._pointed(name, given[place])
            elif self.biases.get(name) in names:
                given[place] = self._counted(given[place], self.biases[name], names[0])
        if kind == NORM and self.training and names[1] in self.awake and len(given[0]) >= FEWEST:
            x, weight, bias, mean, variance = given[:5]
            return F.batch_norm(x, mean, variance, weight, bias, True, MOMENTUM, attributes.get("epsilon", 1e-5))
        return super().compute(kind, attributes, names, given)

    def _pointed(self, name: str, x: Tensor) -> Tensor:
        if name not in self._seen:
            grid = self.points[name]
            if isinstance(grid, Grid):
                self._seen[name] = rounded(x, grid, self.grown.get(f"at {name}"))
            else:
                dynamic = self.of.dynamic
                self._seen[name] = rounded_by_example(x, self.of.activation_bits) if dynamic else halved(x)
        return self._seen[name]

    def _counted(self, bias: Tensor, weight: str, read: str) -> Tensor:
        """A bias in whole products of the input's and the weight's steps, as integer kernels add it."""
        at = self.views.get(read, read)
        with torch.no_grad():
            steps = [
                _grown(grid, self.grown.get(name)).scale
                for grid, name in ((self._steps[read], f"at {at}"), (self._grids[weight], weight))
            ]
            step = steps[0] * steps[1]
            off = torch.round(bias / step) * step - bias
        return bias + off

    def forward(self, x: Tensor) -> Any:
        """Outputs `(N, C)` of inputs `(N, ...)`."""
        self._seen = {}
        try:
            return super().forward(x.to(memory_format=torch.channels_last) if x.ndim == 4 else x)
        finally:
            self._seen = {}

    def wake(self, share: float) -> None:
        """Let the last tensors of the forward pass learn, a `share` of them and at least those of the last layer."""
        last = self.of.layers[-1].weight
        least = len(self._order) - self._order.index(last) if last in self._order else 1
        self.awake = frozenset(self._order[-max(least, round(share * len(self._order))) :])

    def rest(self) -> None:
        """Drop the gradients of what does not learn yet."""
        for name, leaf in self.leaves.items():
            if name not in self.awake and name[: -len(" A")] not in self.awake:
                leaf.grad = None

    def state(self) -> dict[str, Tensor]:
        """Copies of all that training changes, by name."""
        kept = {f"leaf {name}": leaf for name, leaf in self.leaves.items()}
        kept |= {f"grown {name}": leaf for name, leaf in self.grown.items()}
        kept |= {f"norm {name}": self._own(name) for name in self._statistics()}
        return {name: _brought(tensor).contiguous() for name, tensor in kept.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Put a state back."""
        for what, of in (("leaf", self.leaves), ("grown", self.grown)):
            for name, leaf in of.items():
                leaf.data.copy_(state[f"{what} {name}"])
        for name in self._statistics():
            self._own(name).data.copy_(state[f"norm {name}"])

    def _statistics(self) -> list[str]:
        own = [inputs for kind, inputs, *_ in self.steps if kind == NORM and inputs[1] in self.part.names]
        return sorted({name for inputs in own for name in inputs[3:5]})

    def network(self) -> Network:
        """The network with what was learned: merged, masked and on its grids."""
        tensors, grids = dict(self.of.tensors), dict(self.of.grids)
        with torch.no_grad():
            for name in self._statistics():
                tensors[name] = _brought(self._own(name))
            for name in self.part.names & tensors.keys() & self.places.keys():
                found = _brought(self._merged(name, self._own(name))).contiguous()
                if (mask := self.of.masks.get(name)) is not None:
                    found = found * mask
                if name in grids:
                    grids[name] = _grown(grids[name], self.grown.get(name))
                    found = fake_quantize(found, grids[name])
                elif name in self.of.half:
                    found = halved(found, name in self.of.brain)
                tensors[name] = found
            points = dict(self.of.activations)
            for name in points:
                points[name] = _grown(points[name], self.grown.get(f"at {self.views.get(name, name)}"))
        return replace(self.of, tensors=tensors, grids=grids, activations=points)


def _integral(network: Network, weight: str) -> bool:
    """Whether integer kernels run a layer."""
    grid = network.grids.get(weight)
    return bool(network.activations) and grid is not None and grid.integral


def _grown(grid: Grid, by: Tensor | None) -> Grid:
    if by is None:
        return grid
    return replace(grid, scale=(grid.scale * torch.exp(by.detach().to(grid.scale.device))).contiguous())


def _brought(tensor: Tensor) -> Tensor:
    """A copy in the processor's memory."""
    return tensor.detach().to(CPU, copy=True)


def trainable(network: Network) -> tuple[str, ...]:
    """Names of the tensors that can learn, in the order of the forward pass: no statistics and no constants."""
    held = [name for node in structure(network).graph.node for name in _learned(node.op_type, list(node.input))]
    unique = dict.fromkeys(name for name in held if name in network.tensors)
    return tuple(name for name in unique if network.tensors[name].is_floating_point())


def _learned(kind: str, inputs: list[str]) -> Iterable[str]:
    return inputs[:3] if kind == NORM else inputs
