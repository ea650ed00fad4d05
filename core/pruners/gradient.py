"""Gradient times weight: the change of the loss to first order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.engine.context import Context
from core.engine.network import Network
from core.pruners._loss import PARAMETERS, remove_least
from core.registry import register


@register(
    kind="prune",
    name="gradient",
    title="Gradient x weight",
    summary="Removes the weights that the loss misses least to first order: gradient times weight.",
    reference="Lee et al. 2019, SNIP: single-shot network pruning, arXiv 1810.02340; "
    "Molchanov et al. 2017, Pruning convolutional neural networks, arXiv 1611.06440; "
    "in rounds: de Jorge et al. 2020, Progressive skeletonization, arXiv 2006.09081",
    parameters=PARAMETERS,
)
def gradient(network: Network, values: Mapping[str, Any], context: Context) -> tuple[Network, dict[str, Any]]:
    """Zero the weights of least `|g w|` of the whole network, `g` the gradient of the mean loss on the examples.

    SNIP's score, taken of trained weights. Near a minimum `g` of the mean loss is small and mostly noise, which is
    why `fisher` is usually the better of the two.
    """
    return remove_least(network, values, context, "gradient", lambda found, name, w: (found.mean[name] * w).abs())
