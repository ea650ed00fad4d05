"""Torch-Pruning: channels by magnitude, batch-norm scale and Taylor importance, per layer and over the network."""

from __future__ import annotations

import torch
import torch_pruning
from torch import Tensor, nn

from benchmarks.quality.made import Made, Missing, Offer, Variant
from benchmarks.quality.rows import Row
from benchmarks.quality.sized import of_module
from benchmarks.quality.subject import LAYERS, Subject

LIBRARY = "Torch-Pruning"
NAMES = {
    "magnitude": "the magnitude of all coupled filters, inputs and outputs",
    "batch-norm scale": "the scale of the batch-norm after a channel",
    "Taylor": "gradients of the loss on labelled calibration examples times the weights",
}


def _importance(name: str) -> torch_pruning.importance.Importance:
    if name == "magnitude":
        return torch_pruning.importance.GroupMagnitudeImportance(p=2)
    if name == "batch-norm scale":
        return torch_pruning.importance.BNScaleImportance()
    return torch_pruning.importance.GroupTaylorImportance()


def _loss(subject: Subject, outputs: Tensor) -> Tensor:
    """Cross-entropy, or the squared error by which numbers are judged here."""
    if subject.data.task.decides:
        return nn.functional.cross_entropy(outputs, subject.labels)
    return (outputs[:, 0].double() - subject.labels).square().mean()


def _pruned(subject: Subject, row: Row, name: str, across: bool) -> nn.Module:
    module = subject.module().requires_grad_(True)
    last = [layer for layer in module.modules() if isinstance(layer, LAYERS)][-1]
    pruner = torch_pruning.pruner.BasePruner(
        module,
        subject.inputs[:2],
        importance=_importance(name),
        global_pruning=across,
        pruning_ratio=row.channels,
        ignored_layers=[last],
        root_module_types=list(LAYERS),
    )
    if name == "Taylor":
        _loss(subject, module(subject.inputs)).backward()
    pruner.step()
    module.eval().requires_grad_(False)
    module.zero_grad()
    if row.repaired:
        subject.renew_norms(module)
    return module


def offers(row: Row, subject: Subject) -> list[Offer]:
    """What the library can do for a row."""
    if not row.channels:
        return [Missing(LIBRARY, "it removes whole channels only")]

    def make(name: str, across: bool) -> Made:
        torch.manual_seed(0)
        module = _pruned(subject, row, name, across)
        return Made(subject.logits(module), of_module(module))

    return [
        Variant(LIBRARY, f"{name}, {scope}", how, lambda name=name, across=across: make(name, across))
        for name, how in NAMES.items()
        if subject.has_norms or name != "batch-norm scale"
        for scope, across in (("per layer", False), ("whole network", True))
    ]
