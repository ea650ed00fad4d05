"""Recovery of a compressed network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.engine.context import Context
from core.engine.network import Network
from core.registry import Param, register
from core.trainers._losses import of_labels, of_teacher
from core.trainers._settings import settings
from core.trainers._training import everything, trained
from core.training.teachers import as_before


@register(
    kind="train",
    name="recover",
    title="Recover",
    summary="Wins back what compression took: removed weights stay removed, rounded ones are trained through.",
    reference="Han et al. 2015, Learning both weights and connections, arXiv 1506.02626; Esser et al. 2020, Learned "
    "step size quantization, arXiv 1902.08153; Hinton et al. 2015, arXiv 1503.02531 (the original as teacher)",
    parameters=(
        Param(
            "mix", "Weight of the original", 0.7,
            "How much it learns from the original's own answers, and how little from the labels. 0 is the labels "
            "alone, 1 the original alone, which needs no labels.",
            low=0.0, high=1.0, step=0.05, unit="share",
        ),
        Param(
            "temperature", "Teacher's temperature", 2.0,
            "Softens both answers, so that what the original holds for nearly as likely counts too.",
            low=1.0, high=20.0, step=0.5,
        ),
        Param(
            "scales", "Quantization scales", "learned",
            "Whether the steps of the grids learn beside the weights (LSQ), or stay as they were set.",
            choices=("learned", "fixed"), labels={"learned": "Learned", "fixed": "Fixed"},
        ),
        *settings(rate=1e-3),
    ),
)  # fmt: skip
def recover(network: Network, values: Mapping[str, Any], context: Context) -> tuple[Network, dict[str, Any]]:
    """Learn from the original and from the labels with all that compression decided in place.

    Raises `TemperError` where it cannot be run.
    """

    def loss() -> Any:
        labels = of_labels(context.data, values)
        if not values["mix"]:
            return labels
        return of_teacher(context.data, labels, as_before(network), values["temperature"], values["mix"])

    learned = values["scales"] == "learned"
    return trained(network, "recover", values, context, loss, everything(network), learned)
