"""Whether every value inside a network belongs to one example, so that each can set its own scales."""

from __future__ import annotations

from core.data.handle import DataHandle, split_for_fitting
from core.deploy.graph import INPUT, assemble, template
from core.engine.network import Network
from core.engine.runtime import session
from core.errors import TemperError

FEW, MORE = 2, 3  # examples, run together; of no common factor


def check_examples_apart(network: Network, data: DataHandle) -> None:
    """Raise `TemperError` unless examples lie along the first axis wherever activations are rounded.

    Where they lie along another, a scale for each place of the first axis would be shared by several examples, and a
    prediction would depend on its company.
    """
    names = [name for name in template(network.model, network.edits).points if name != INPUT]
    if not names:
        return
    inputs = split_for_fitting(data).inputs
    opened = session(assemble(network, reveal=True))
    few, more = (opened.run(names, {INPUT: inputs[:count]}) for count in (FEW, MORE))
    for name, one, other in zip(names, few, more, strict=True):
        if one.shape[0] * MORE != other.shape[0] * FEW:
            raise TemperError(
                f"This network mixes its examples at '{name:.60}', where dynamic scales would make a prediction "
                "depend on the others of its batch.",
                "Use static activation scales.",
            )
