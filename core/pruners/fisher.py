"""Fisher pruning: the change of the loss to second order, with the diagonal of its curvature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.engine.context import Context
from core.engine.network import Network
from core.pruners._loss import PARAMETERS, remove_least
from core.registry import register


@register(
    kind="prune",
    name="fisher",
    title="Fisher",
    summary="Removes the weights that the loss misses least to second order: curvature times weight squared.",
    reference="LeCun et al. 1990, Optimal brain damage, NeurIPS 2; Theis et al. 2018, Faster gaze prediction with "
    "dense networks and Fisher pruning, arXiv 1801.05787",
    parameters=PARAMETERS,
)
def fisher(network: Network, values: Mapping[str, Any], context: Context) -> tuple[Network, dict[str, Any]]:
    """Zero the weights of least `w^2 F / 2` of the whole network.

    `F` is the mean over calibration examples of a weight's squared gradient: the diagonal of the empirical Fisher
    information, which stands for the curvature where the model fits its data.
    """
    return remove_least(
        network, values, context, "fisher", lambda found, name, weight: weight.square() * found.fisher[name] / 2
    )
