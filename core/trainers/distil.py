"""Distillation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.engine.context import Context
from core.engine.network import Network
from core.errors import TemperError
from core.registry import Param, register
from core.trainers._losses import of_labels, of_teacher
from core.trainers._settings import settings
from core.trainers._training import everything, trained
from core.training.redraw import redrawn
from core.training.teachers import BOOSTING, ORIGINAL, Known, teacher


@register(
    kind="train",
    name="distil",
    title="Distil",
    summary="Learns from another model's answers beside the labels: a small network from a large one, or from trees.",
    reference="Hinton et al. 2015, Distilling the knowledge in a neural network, arXiv 1503.02531; He et al. 2015, "
    "arXiv 1502.01852 (weights drawn anew)",
    parameters=(
        Param(
            "teacher", "Teacher", ORIGINAL,
            "Another model at hand by its id; 'original', the model as it came; or 'boosting', trees that are grown "
            "on the fit split.",
            longest=80,
        ),
        Param(
            "temperature", "Temperature", 4.0,
            "Softens both answers, so that what the teacher holds for second or third likely counts too.",
            low=1.0, high=20.0, step=0.5,
        ),
        Param(
            "mix", "Weight of the teacher", 0.7,
            "How much it learns from the teacher's answers, and how little from the labels. 0 is the labels alone, 1 "
            "the teacher alone, which needs no labels.",
            low=0.0, high=1.0, step=0.05, unit="share",
        ),
        Param(
            "start", "Start", "trained",
            "From where the network stands, or from weights that are drawn anew: then it knows nothing but what it "
            "is taught here.",
            choices=("trained", "scratch"), labels={"trained": "Trained weights", "scratch": "From scratch"},
        ),
        *settings(rate=1e-3),
    ),
)  # fmt: skip
def distil(network: Network, values: Mapping[str, Any], context: Context) -> tuple[Network, dict[str, Any]]:
    """Learn from a teacher and from the labels of the fit split. Raises `TemperError` where it cannot be run.

    With `mix` 0 there is no teacher: it is the same student alone.
    """
    known = _teacher(network, values, context) if values["mix"] else None
    start = redrawn(network, context.seed) if values["start"] == "scratch" else network

    def loss() -> Any:
        labels = of_labels(context.data, values)
        if known is None:
            return labels
        return of_teacher(
            context.data, labels, known.teach(context.data), float(values["temperature"]), float(values["mix"])
        )

    beside = known.fingerprint if known else ""
    return trained(start, "distil", values, context, loss, everything(start), True, beside)


def _teacher(network: Network, values: Mapping[str, Any], context: Context) -> Known:
    name = str(values["teacher"])
    found = teacher(name, network.model, context.data)
    if name == ORIGINAL and values["start"] == "trained" and network.identity == network.model.fingerprint:
        raise TemperError(
            f"'{network.model.id}' is still as it came, so it has nothing to learn from itself.",
            "Prune or quantize it first, start from scratch, or take another teacher.",
        )
    if name == BOOSTING and values["augment"] != "none":
        raise TemperError(
            "Boosting speaks of rows as they are, so it cannot teach augmented ones.", "Turn augmentation off."
        )
    return found
