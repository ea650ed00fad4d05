"""torch.nn.utils.prune: magnitude over the whole network and by layer."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import prune

from benchmarks.quality.made import Made, Missing, Offer, Variant
from benchmarks.quality.rows import Row
from benchmarks.quality.sized import of_module
from benchmarks.quality.subject import LAYERS, Subject

LIBRARY = "torch.nn.utils.prune"
HOW = {
    "l1, whole network": "one threshold of magnitude for all layers",
    "l1, per layer": "the same share of least magnitude from every layer",
}


def pruned(subject: Subject, row: Row, how: str) -> nn.Module:
    """The module at the row's sparsity, its batch-norm renewed where the row asks for it."""
    module = subject.module()
    layers = [layer for layer in module.modules() if isinstance(layer, LAYERS)]
    if how == "l1, whole network":
        pairs = [(layer, "weight") for layer in layers]
        prune.global_unstructured(pairs, pruning_method=prune.L1Unstructured, amount=row.sparsity)
    for layer in layers:
        if how == "l1, per layer":
            prune.l1_unstructured(layer, "weight", row.sparsity)
        prune.remove(layer, "weight")
    if row.repaired:
        subject.renew_norms(module)
    return module.requires_grad_(False)


def offers(row: Row, subject: Subject) -> list[Offer]:
    """What the library can do for a row."""
    if row.rounds:
        return [
            Missing(LIBRARY, "it does not quantize" + ("; torchao rounds its masks here" if row.sparsity else ""))
        ]
    if row.channels:
        return [Missing(LIBRARY, "it only zeroes channels, which makes no file smaller")]

    def make(how: str) -> Made:
        module = pruned(subject, row, how)
        return Made(subject.logits(module), of_module(module))

    return [Variant(LIBRARY, name, how, lambda name=name: make(name)) for name, how in HOW.items()]
