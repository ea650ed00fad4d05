"""Fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.engine.context import Context
from core.engine.network import Network
from core.registry import Param, register
from core.trainers._losses import of_labels
from core.trainers._settings import settings
from core.trainers._training import named_part, trained
from core.training.redraw import redrawn


@register(
    kind="train",
    name="fine-tune",
    title="Fine-tune",
    summary="Learns on from where the network stands, all of it or a part; removed weights stay removed.",
    reference="Howard and Ruder 2018, Universal language model fine-tuning, arXiv 1801.06146 (gradual); "
    "Hu et al. 2022, LoRA, arXiv 2106.09685 (adapters)",
    usual=True,
    parameters=(
        Param(
            "start", "Begins with", "trained",
            "The weights the network has, or the same network with all of them drawn anew: what its training before "
            "this one is worth is the difference.",
            choices=("trained", "scratch"), labels={"trained": "What it has learned", "scratch": "From scratch"},
        ),
        Param(
            "layers", "What learns", "all",
            "All layers; the last one alone; gradually, the last one first and all by half-way; or a product of low "
            "rank beside each weight, merged at the end, so that nothing grows.",
            choices=("all", "head", "gradual", "adapters"),
            labels={"all": "All", "head": "Last layer", "gradual": "Gradual", "adapters": "Adapters"},
        ),
        Param(
            "rank", "Rank", 4, "Of the product beside each weight: the lower, the less can change.",
            choices=(1, 2, 4, 8, 16, 32), shown_when=("layers", "adapters"),
        ),
        Param(
            "loss", "Loss", "plain",
            "Cross-entropy as it is, with smoothed labels, or with what is right already counting less. The last two "
            "make a network less sure of itself. Networks for numbers keep their own loss.",
            choices=("plain", "smoothed", "focal"),
            labels={"plain": "Cross-entropy", "smoothed": "Smoothed labels", "focal": "Focal"},
        ),
        Param(
            "smoothing", "Smoothing", 0.1, "The share of the target that all classes divide among them.",
            low=0.0, high=0.5, step=0.01, unit="share", shown_when=("loss", "smoothed"),
        ),
        Param(
            "focus", "Focus", 2.0, "How much less an example counts that is right already.",
            low=0.0, high=5.0, step=0.5, shown_when=("loss", "focal"),
        ),
        *settings(rate=3e-4),
    ),
)  # fmt: skip
def fine_tune(network: Network, values: Mapping[str, Any], context: Context) -> tuple[Network, dict[str, Any]]:
    """Minimise the task's loss on the fit split. Raises `TemperError` where it cannot be run."""
    if values["start"] == "scratch":
        network = redrawn(network, context.seed)
    part = named_part(network, values["layers"], values["rank"])
    return trained(network, "fine-tune", values, context, lambda: of_labels(context.data, values), part)
