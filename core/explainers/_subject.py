"""What an explainer is given, a network and one number that it gives, and what it returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.data.handle import DataHandle, split_for_fitting
from core.deploy.graph import assemble
from core.engine.lane import lane, rest
from core.engine.memory import RESULTS
from core.engine.network import Network, fold
from core.engine.observed import Observed
from core.engine.runtime import predictor, usual_chunk
from core.models.torch_graph import Attributes
from core.task import Task
from core.types import Floats

Told = Callable[[float], None]


@dataclass(frozen=True)
class Attribution:
    """What each part of one example has in the score: float64 `(H, W)`, `(features,)` or `(tokens,)`.

    Of pictures the channels are summed. `total` is what the parts should add up to where the method promises a sum,
    else None; `through` is the score that the method worked on, which differs from the network's own where gradients
    are taken without rounding activations. `where` says which choice was made on the way, in words;
    `as_run` tells whether the network was explained as it runs, activations rounded.
    """

    values: Floats
    through: float
    total: float | None = None
    where: str = ""
    as_run: bool = False

    @property
    def gap(self) -> float | None:
        """By how much the parts miss the sum that the method promises."""
        return None if self.total is None else float(self.values.sum()) - self.total


@dataclass(frozen=True)
class Subject:
    """A network on its data, and the score that is explained: its outputs `(C,)` times `weights` `(C,)`."""

    network: Network
    data: DataHandle
    weights: Floats

    def scores(self, inputs: NDArray[np.float32], told: Told | None = None) -> Floats:
        """Scores float64 `(n,)` of inputs `(n, ...)`, by the very graph that is evaluated and shipped."""
        predict = RESULTS.remember(
            ("predictor", self.network.identity), lambda: predictor(assemble(self.network)), lambda _: self.nbytes
        )
        step, found = usual_chunk(inputs.shape[1:]), []
        for start in range(0, len(inputs), step):
            with lane():
                found.append(predict(inputs[start : start + step]).astype(np.float64) @ self.weights)
            rest()
            if told is not None:
                told(min(1.0, (start + step) / len(inputs)))
        return np.concatenate(found)

    @property
    def nbytes(self) -> int:
        """Bytes of the network's tensors."""
        return sum(tensor.nbytes for tensor in self.network.tensors.values())

    def surrogate(self) -> Surrogate:
        """The network as a module of its own, batch-norm folded, activations clipped as they are but not rounded."""
        return Surrogate(fold(self.network))

    def of(self, outputs: Tensor) -> Tensor:
        """Scores float64 `(n,)` of outputs `(n, C)`."""
        return outputs.double() @ torch.from_numpy(self.weights)


class Surrogate(Observed):
    """A network's float graph with its rounded weights, whose steps can be given and kept.

    Rounding an activation has a gradient of zero almost everywhere, so that gradients are taken without it.
    Activations are clipped to the range of their grid, though: that has a gradient, and harms unusual examples most.
    """

    def __init__(self, network: Network) -> None:
        """`network` has its batch-norm folded, so that its activation points are this graph's tensors."""
        super().__init__(network)
        self._ranges = {
            name: tuple(float((end - int(grid.zero_point)) * float(grid.scale)) for end in (grid.low, grid.high))
            for name, grid in network.activations.items()
        }
        self._at = 0
        self._given: dict[int, Tensor] = {}
        self._kept: dict[int, Any] = {}

    def through(
        self, x: Tensor, given: dict[int, Tensor] | None = None, keep: tuple[int, ...] = ()
    ) -> tuple[Tensor, dict[int, Any]]:
        """Outputs `(n, C)` of `x` `(n, ...)` with what steps `keep` made; steps of `given` make that instead."""
        self._at, self._given, self._kept = 0, given or {}, dict.fromkeys(keep)
        outputs = self(self._clipped(self.entry, x))
        kept, self._given, self._kept = self._kept, {}, {}
        return outputs, kept

    def _clipped(self, name: str, made: Any) -> Any:
        return torch.clamp(made, *self._ranges[name]) if name in self._ranges else made

    def compute(self, kind: str, attributes: Attributes, names: list[str], given: list[Any]) -> Any:
        """See the class."""
        output = self.steps[self._at][2][0]
        if self._at in self._given:
            made = self._given[self._at]
        else:
            made = self._clipped(output, super().compute(kind, attributes, names, given))
        if self._at in self._kept:
            self._kept[self._at] = made
        self._at += 1
        return made


def weights_for(task: Task, target: int = 0) -> Floats:
    """The score of a class: its logit less the mean of the others'; of numbers the value.

    What is added to all logits alike changes no probability, and no such score.
    """
    if not task.decides:
        return np.eye(1, len(task.outputs))[0]
    count = len(task.classes)
    found = np.full(count, -1 / (count - 1))
    found[target] = 1.0
    return found


def mean_input(data: DataHandle) -> NDArray[np.float32]:
    """The mean of the calibration split's inputs, float32 of one example's shape."""

    def compute() -> NDArray[np.float32]:
        found: NDArray[np.float32] = split_for_fitting(data).inputs.mean(0, dtype=np.float64).astype(np.float32)
        found.setflags(write=False)
        return found

    return RESULTS.remember(("mean input", data.fingerprint), compute, lambda found: found.nbytes)


def per_part(data: DataHandle, values: Floats) -> Floats:
    """Attributions of one input as those of its parts: a picture's channels are summed."""
    return values.sum(0) if data.modality == "pictures" else values
