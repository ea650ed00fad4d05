"""Apply a recipe's steps, in their order, to a trained model."""

from __future__ import annotations

from typing import Any

from core import fingerprint
from core.data.handle import DataHandle
from core.engine.context import Context
from core.engine.memory import RESULTS
from core.engine.network import Network, load_network
from core.errors import TemperError
from core.models.handle import ModelHandle
from core.recipe import Recipe
from core.registry import method


def transform(model: ModelHandle, data: DataHandle, recipe: Recipe) -> tuple[Network, tuple[dict[str, Any], ...]]:
    """The network after every step but confidence calibration, and what each step reports.

    The original's tensors are shared and never written to. Remembered by content. Raises `TemperError` for
    a step that cannot run.
    """
    steps = recipe.without("calibrate").simplified()
    key = ("network", model.fingerprint, data.fingerprint, steps.fingerprint)
    return RESULTS.remember(key, lambda: _transform(model, data, steps), lambda found: _size(found[0]))


def _size(network: Network) -> int:
    return sum(tensor.nbytes for tensor in network.tensors.values())


def _transform(model: ModelHandle, data: DataHandle, recipe: Recipe) -> tuple[Network, tuple[dict[str, Any], ...]]:
    network = load_network(model)
    context = Context(data, recipe.seed)
    fitted = []
    for step in recipe.steps:
        declared = method(step.kind, step.method)
        network, learned = declared.function(network, step.values, context)
        made_by = [step.kind, step.method, step.values, recipe.seed, data.fingerprint]  # steps may look at the data
        network = network.after(fingerprint.of_json(made_by))
        fitted.append({"kind": step.kind, "method": step.method, **learned})
    return network, tuple(fitted)


def check_order(recipe: Recipe) -> None:
    """Raise `TemperError` unless confidence calibration is the last step and there is at most one."""
    kinds = [step.kind for step in recipe.simplified().steps]
    if "calibrate" in kinds[:-1]:
        raise TemperError(
            "Confidence calibration must be the recipe's last step, once: it maps the final logits.",
            "Move the calibrate step to the end and keep only one.",
        )
