"""The parameters that ways of training share, and the plan they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from core.registry import Param
from core.training.plan import CHECKS, Plan

RATES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3)
EPOCHS = Param(
    "epochs", "Epochs", 4.0,
    "How often each example of the fit split is learned from.",
    low=0.05, high=500.0, step=0.05,
)  # fmt: skip
RATE = Param(
    "rate", "Highest rate", 1e-3,
    "The size of a step at its largest: it rises over a twentieth of the steps, then follows the schedule.",
    choices=RATES,
)  # fmt: skip
BATCH = Param(
    "batch", "Batch size", 64, "Examples that one step is taken from.", choices=(8, 16, 32, 64, 128, 256)
)  # fmt: skip
OPTIMISER = Param(
    "optimiser", "Optimiser", "adamw",
    "AdamW scales each weight's steps by its own gradients; SGD takes them as they are, with Nesterov momentum.",
    choices=("adamw", "sgd"), labels={"adamw": "AdamW", "sgd": "SGD"},
)  # fmt: skip
SCHEDULE = Param(
    "schedule", "Schedule", "cosine", "How the rate falls: along half a cosine or a line to zero, or not at all.",
    choices=("cosine", "linear", "constant"),
    labels={"cosine": "Cosine", "linear": "Linear", "constant": "Constant"},
)  # fmt: skip
DECAY = Param(
    "weight_decay", "Weight decay", 0.0, "How strongly weights are drawn to zero, beside the rate.",
    choices=(0.0, 1e-4, 1e-3, 1e-2, 0.05),
)  # fmt: skip
AUGMENT = Param(
    "augment", "Augmentation", "none",
    "Light: half of the pictures mirrored and each batch moved by up to two pixels; of a text a tenth of the words "
    "left out; noise of a twentieth of a standard deviation on a table's numbers.",
    choices=("none", "light"), labels={"none": "None", "light": "Light"},
)  # fmt: skip
KEEP = Param(
    "keep", "Keep", "last",
    "The network as it is at the end, or as it was at the least loss on a tenth of the fit split that is held back. "
    "Where the network has seen that tenth before, as in its first training, the least loss speaks for no change.",
    choices=("last", "best"), labels={"last": "The last", "best": "The best on held-back examples"},
)  # fmt: skip
UNTIL = Param(
    "until", "Stopped after", 1.0, "The share of the steps after which it was stopped; 1 is the whole of it.",
    low=1 / CHECKS, high=1.0, step=1 / CHECKS, unit="share",
)  # fmt: skip
EXAMPLES = Param(
    "examples", "Examples", 0, "Examples of the fit split to learn from, alike in the classes; 0 is all of them.",
    low=0, high=10_000_000, step=10,
)  # fmt: skip
HOW = (EPOCHS, RATE, BATCH, OPTIMISER, SCHEDULE, DECAY, AUGMENT, KEEP, EXAMPLES, UNTIL)


def settings(**defaults: Any) -> tuple[Param, ...]:
    """The shared parameters, some with another default."""
    return tuple(replace(param, default=defaults.get(param.name, param.default)) for param in HOW)


def plan_of(values: Mapping[str, Any], seed: int) -> Plan:
    """The plan of a step's complete parameters."""
    return Plan(
        float(values["epochs"]), int(values["batch"]), float(values["rate"]), values["optimiser"], values["schedule"],
        float(values["weight_decay"]), values["augment"] == "light", values["keep"], float(values["until"]),
        values.get("layers") == "gradual", seed,
    )  # fmt: skip
