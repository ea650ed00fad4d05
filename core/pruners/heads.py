"""Structured pruning: whole attention heads go, with what makes and what reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from core.deploy.graph import structure
from core.engine.context import Context
from core.engine.memory import RESULTS
from core.engine.network import Network, load_network
from core.errors import TemperError
from core.layers.gradients import by_example
from core.models.handle import ModelHandle
from core.models.heads import Attention, attentions
from core.pruners._channels import parameters, shrink, work
from core.pruners._ranking import report
from core.registry import Param, register

NONE = "This network has no attention whose heads can be told apart: queries, keys and values of a layer each."


def _why_not(model: ModelHandle) -> str:
    return "" if _attentions(load_network(model)) else NONE


@register(
    kind="prune",
    name="heads",
    title="Attention heads",
    summary="Removes whole attention heads that the loss misses least, with their part of all four layers.",
    reference="Michel et al. 2019, Are sixteen heads really better than one?, arXiv 1905.10650",
    parameters=(
        Param(
            "sparsity",
            "Heads removed",
            0.25,
            "The fraction of all attention heads that is removed; each attention keeps one at least.",
            low=0.0,
            high=0.95,
            step=0.01,
            unit="fraction",
            neutral=0.0,
            of="heads",
        ),
    ),
    fits=_why_not,
)
def heads(network: Network, values: Mapping[str, Any], context: Context) -> tuple[Network, dict[str, Any]]:
    """Remove the heads of least importance, ranked over the network, all measured at once.

    A head's importance is the mean over examples of the calibration split of `|dL/dg|`, `g` a gate on what the head
    gives; that is the sum of gradient times weight over the columns that read it. As in the paper it is divided by
    the root of the sum of squares of its attention's heads. An attention whose importances are not all finite, or all
    zero, stays whole. Raises `TemperError` after quantization.
    """
    if network.grids or network.half or network.activations or network.activation_bits < 32:
        raise TemperError(
            "Attention heads cannot be removed after quantization: its grids were made for all of them.",
            "Move the pruning step before the quantize step.",
        )
    found = _attentions(network)
    kept = context.scores(network, f"heads {context.data.fingerprint}", lambda: _importances(network, context, found))
    scores = [kept[one.output] for one in found]
    whole = {
        one.output.removesuffix(".weight"): "its heads' gradients are all zero, or not all finite numbers"
        for one, score in zip(found, scores, strict=True)
        if not score.isfinite().all() or not score.any()
    }
    gone = _least(scores, values["sparsity"])
    smaller = network
    for one, places in zip(found, gone, strict=True):
        if len(places):
            cut = one.without(places)
            smaller = shrink(smaller, replace(cut, edits=tuple(sorted(cut.edits))))
    return smaller, report(smaller) | {
        "heads": {
            one.output.removesuffix(".weight"): [one.heads, one.heads - len(places)]
            for one, places in zip(found, gone, strict=True)
        },
        "left_alone": whole,
        "parameters": [parameters(network), parameters(smaller)],
        "multiply_adds": [work(network), work(smaller)],
        "warning": "" if found else NONE,
    }


def _attentions(network: Network) -> tuple[Attention, ...]:
    return RESULTS.remember(
        ("heads", network.identity, network.folded),
        lambda: attentions(structure(network), network.shapes),
        lambda _: 10_000,
    )


def _importances(network: Network, context: Context, found: tuple[Attention, ...]) -> dict[str, torch.Tensor]:
    """Of each attention's heads, float64 `(heads,)`, by the name of the weight that mixes them."""
    if not found:
        return {}
    total = {one.output: torch.zeros(one.heads, dtype=torch.float64) for one in found}
    for gradients in by_example(network, context, tuple(total)):
        for one in found:
            change = (gradients[one.output] * network.tensors[one.output]).double().sum(0)
            total[one.output] += change.reshape(one.heads, one.width).sum(1).abs()
    return {name: score / score.norm() if score.norm() > 0 else score for name, score in total.items()}


def _least(scores: list[torch.Tensor], share: float) -> list[np.ndarray]:
    """Places of the heads that go, by attention: the least of all, and of each attention not its best."""
    count = round(share * sum(len(score) for score in scores))
    ranked = sorted(
        (float(value), place, head)
        for place, score in enumerate(scores)
        if score.isfinite().all() and score.any()
        for head, value in enumerate(score.tolist())
        if head != int(score.argmax())
    )
    return [np.array(sorted(h for _, p, h in ranked[:count] if p == place), np.int64) for place in range(len(scores))]
