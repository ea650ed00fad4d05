"""One sample as every library meets it: the module, the same calibration examples, the same judge."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from core.data.handle import DataHandle, SplitName, load_split, split_for_fitting
from core.engine.meaning import meaning
from core.models.handle import ModelHandle, build
from core.models.samples import load_sample
from core.types import Outcome, Provenance

EXAMPLES = 512  # calibration examples a peer sees, evenly over the split: the most that any of our steps uses
CHUNK = 500
LAYERS = (nn.Conv2d, nn.Linear, nn.Embedding)  # what pruning and rounding treat, on both sides


@dataclass(frozen=True)
class Subject:
    """A sample's model and data."""

    model: ModelHandle
    data: DataHandle

    @classmethod
    def of(cls, sample: str) -> Subject:
        """The sample of this name."""
        return cls(*load_sample(sample))

    @cached_property
    def chosen(self) -> NDArray[np.int64]:
        """Places of the calibration examples that the peers see."""
        n = self.data.split("calibration").n
        return np.unique(np.linspace(0, n - 1, min(EXAMPLES, n)).round().astype(np.int64))

    @property
    def inputs(self) -> Tensor:
        """The calibration inputs, float32 `(512, ...)`."""
        return torch.from_numpy(split_for_fitting(self.data).inputs[self.chosen])

    @property
    def labels(self) -> Tensor:
        """Their labels: classes int64 or numbers float64."""
        return torch.from_numpy(split_for_fitting(self.data).y[self.chosen])

    def module(self) -> nn.Module:
        """A fresh PyTorch module with the trained weights, in evaluation mode."""
        return build(self.model)

    def logits(self, module: nn.Module) -> NDArray[np.float32]:
        """What a module gives on the evaluation split."""
        inputs = load_split(self.data, "evaluation").inputs
        with torch.no_grad():
            parts = [
                module(torch.from_numpy(inputs[start : start + CHUNK].copy()))
                for start in range(0, len(inputs), CHUNK)
            ]
        return torch.cat(parts).float().numpy()

    def outcome(self, logits: NDArray[np.float32], made_by: str, split: SplitName = "evaluation") -> Outcome:
        """Outputs on a split as the engine's metrics read them."""
        made = Provenance(self.model.fingerprint, self.data.fingerprint, made_by, "benchmark", 0.0)
        labels = load_split(self.data, split).y
        return Outcome(logits, meaning(self.data.task, logits), labels, self.data.task, made)

    @cached_property
    def has_norms(self) -> bool:
        """Whether there is batch-norm to re-estimate."""
        return any(isinstance(one, nn.BatchNorm2d) for one in self.module().modules())

    def renew_norms(self, module: nn.Module) -> None:
        """Re-estimate every batch-norm of a peer's module, as our own repair does: one batch of the inputs."""
        norms = [one for one in module.modules() if isinstance(one, nn.BatchNorm2d)]
        for norm in norms:
            norm.train()
            norm.momentum = 1.0
        with torch.no_grad():
            module(self.inputs)
        for norm in norms:
            norm.eval()
