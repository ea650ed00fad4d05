"""Structured pruning: whole residual blocks go, and what they would have added with them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from core.deploy.graph import structure
from core.engine.context import Context
from core.engine.memory import RESULTS
from core.engine.network import Network, load_network
from core.engine.observed import Observed
from core.errors import TemperError
from core.models.blocks import Block, blocks_of, read
from core.models.handle import ModelHandle
from core.models.torch_graph import Attributes
from core.pruners._channels import parameters, work
from core.pruners._ranking import report
from core.registry import Param, register
from core.repairs._observe import examples

EXAMPLES = 256
NONE = (
    "This network has no residual block whose shortcut is the identity: each changes the shape, or nothing is added."
)


def _why_not(model: ModelHandle) -> str:
    return "" if _blocks(load_network(model)) else NONE


@register(
    kind="prune",
    name="blocks",
    title="Residual blocks",
    summary="Removes whole residual blocks that change what passes them least: the model becomes shallower.",
    reference="Men et al. 2024, ShortGPT: layers in large language models are more redundant than you expect, arXiv "
    "2403.03853",
    parameters=(
        Param(
            "sparsity",
            "Blocks removed",
            0.25,
            "The fraction of the blocks whose shortcut is the identity that is removed, to the nearest block.",
            low=0.0,
            high=1.0,
            step=0.01,
            unit="fraction",
            neutral=0.0,
            of="blocks",
        ),
    ),
    fits=_why_not,
)
def blocks(network: Network, values: Mapping[str, Any], context: Context) -> tuple[Network, dict[str, Any]]:
    """Remove the blocks of least influence, all measured at once, before any is gone.

    A block that turns `x` into `y`, the ReLU after its sum included, has the influence `1 - cos(x, y)`, the mean over
    up to 256 calibration inputs of the cosine between whole values of one example. In a transformer attention and the
    layers after it are a block each. Raises `TemperError` after quantization.
    """
    if network.grids or network.half or network.activations or network.activation_bits < 32:
        raise TemperError(
            "Blocks cannot be removed after quantization: its grids were made for all of them.",
            "Move the pruning step before the quantize step.",
        )
    found = _blocks(network)
    scores = context.scores(
        network,
        f"blocks {context.data.fingerprint}",
        lambda: {block.sum: value for block, value in zip(found, _influences(network, context, found), strict=True)},
    )
    influence = {block.sum: float(scores[block.sum]) for block in found}
    ranked = sorted((block for block in found if math.isfinite(influence[block.sum])), key=lambda b: influence[b.sum])
    gone = ranked[: min(len(ranked), round(values["sparsity"] * len(found)))]
    smaller = without(network, tuple(gone))
    warning = "" if found else NONE
    if len(ranked) < len(found):
        warning = f"{len(found) - len(ranked)} blocks stay: their values are not all finite numbers."
    return smaller, report(smaller) | {
        "blocks": [
            {"layers": _names(block), "influence": round(influence[block.sum], 6), "removed": block in gone}
            for block in found
        ],
        "parameters": [parameters(network), parameters(smaller)],
        "multiply_adds": [work(network), work(smaller)],
        "warning": warning,
    }


def without(network: Network, gone: tuple[Block, ...]) -> Network:
    """The network without some blocks: their nodes, layers and tensors leave it."""
    edits = {**dict(network.edits), **{block.sum: (block.kept,) for block in gone}}
    smaller = replace(network, edits=tuple(sorted(edits.items())))
    lost = read(structure(network)) - read(structure(smaller))
    return replace(
        smaller,
        layers=tuple(layer for layer in network.layers if layer.weight not in lost),
        tensors={name: tensor for name, tensor in network.tensors.items() if name not in lost},
        masks={name: mask for name, mask in network.masks.items() if name not in lost},
    )


def _blocks(network: Network) -> tuple[Block, ...]:
    return RESULTS.remember(
        ("blocks", network.identity, network.folded),
        lambda: blocks_of(structure(network), network.shapes, network.weight_names),
        lambda _: 10_000,
    )


def _names(block: Block) -> list[str]:
    return [name.removesuffix(".weight") for name in block.weights]


class _Cosines(Observed):
    """Notes the cosine between what goes into each block and what comes out, one an example."""

    def __init__(self, network: Network, found: tuple[Block, ...]) -> None:
        super().__init__(network)
        self.kept = {block.sum: block.kept for block in found}
        self.entering: dict[str, Tensor] = {}
        self.found: dict[str, Tensor] = {}
        self.sums = {tuple(inner): made[0] for _, inner, made, _ in self.steps if made[0] in self.kept}

    def compute(self, kind: str, attributes: Attributes, names: list[str], given: list[Any]) -> Any:
        """See `GraphModule`."""
        made = super().compute(kind, attributes, names, given)
        name = self.sums.get(tuple(names), "") if kind == "Add" else ""
        if name in self.kept:
            self.entering[name] = given[self.kept[name]]
            self.found[name] = _cosine(self.entering[name], made)
        elif kind == "Relu" and names[0] in self.kept:
            self.found[names[0]] = _cosine(self.entering[names[0]], made)
        return made


def _cosine(x: Tensor, y: Tensor) -> Tensor:
    return torch.cosine_similarity(x.flatten(1).double(), y.flatten(1).double(), dim=1)


def _influences(network: Network, context: Context, found: tuple[Block, ...]) -> list[Tensor]:
    if not found:
        return []
    module = _Cosines(network, found)
    with torch.no_grad():
        module(examples(network, context.data, EXAMPLES))
    return [1 - module.found[block.sum].mean() for block in found]
