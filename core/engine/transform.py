"""Apply a recipe's steps, in their order, to a trained model."""

from __future__ import annotations

import difflib
from typing import Any

from core import fingerprint
from core.data.handle import DataHandle
from core.engine.context import Context
from core.engine.memory import RESULTS
from core.engine.network import Network, load_network
from core.engine.runtime import Progress
from core.errors import TemperError
from core.models.handle import ModelHandle
from core.recipe import Recipe, Step
from core.registry import brief, method


def transform(
    model: ModelHandle, data: DataHandle, recipe: Recipe, progress: Progress | None = None
) -> tuple[Network, tuple[dict[str, Any], ...]]:
    """The network after every step but confidence calibration, and what each step reports.

    The original's tensors are shared and never written to. Remembered by content. Steps that take long tell
    `progress` the fraction done of all, which may raise to abandon them. Raises `TemperError` for a step that cannot
    run.
    """
    steps = recipe.without("calibrate").simplified()
    key = ("network", model.fingerprint, data.fingerprint, steps.fingerprint)
    return RESULTS.remember(key, lambda: _transform(model, data, steps, progress), lambda found: _size(found[0]))


def _size(network: Network) -> int:
    return sum(tensor.nbytes for tensor in network.tensors.values())


def _transform(
    model: ModelHandle, data: DataHandle, recipe: Recipe, progress: Progress | None
) -> tuple[Network, tuple[dict[str, Any], ...]]:
    network = load_network(model)
    names = [layer.name for layer in network.layers]
    fitted = []
    for place, step in enumerate(recipe.steps):
        _check_layers(model, step, names)

        def told(fraction: float, done: int = place) -> None:
            if progress is not None:
                progress((done + fraction) / len(recipe.steps))

        declared = method(step.kind, step.method)
        context = Context(data, recipe.seed, step.own, told)
        network, learned = declared.function(network, step.values, context)
        made_by = [step.kind, step.method, step.values, recipe.seed, data.fingerprint]  # steps may look at the data
        made_by += [step.own] if step.layers else []
        network = network.after(fingerprint.of_json(made_by))
        fitted.append({"kind": step.kind, "method": step.method, **learned})
    return network, tuple(fitted)


def _check_layers(model: ModelHandle, step: Step, names: list[str]) -> None:
    unknown = next((layer for layer in step.own if layer not in names), None)
    if unknown is not None:
        near = difflib.get_close_matches(unknown, names, 1)
        raise TemperError(
            f"The {step.kind} step sets {brief(unknown)}, and '{model.id}' has no layer of that name; "
            f"it has {len(names)}, from {brief(names[0])} to {brief(names[-1])}.",
            f"Did you mean {near[0]!r}?" if near else "Leave that layer out of the step.",
        )


def check_order(recipe: Recipe) -> None:
    """Raise `TemperError` unless confidence calibration is the last step and there is at most one."""
    kinds = [step.kind for step in recipe.simplified().steps]
    if "calibrate" in kinds[:-1]:
        raise TemperError(
            "Confidence calibration must be the recipe's last step, once: it maps the final logits.",
            "Move the calibrate step to the end and keep only one.",
        )
