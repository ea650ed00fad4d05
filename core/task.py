"""What a model is asked for, as its card declares it, and what follows: which metrics speak of it, which one leads.

Everything downstream asks the task instead of guessing from shapes. What a model predicts on `N` examples is one
array, `predicted` float64 `(N, K)`: the probabilities of `K` classes, or, for numbers, the value in column 0 and
then, for each of `LEVELS`, half the width of the interval that is said to hold the truth in that share of cases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from core.errors import TemperError

TaskKind = Literal["multi-class", "binary", "regression"]
Output = Literal["value", "log_scale"]

EVERY: tuple[TaskKind, ...] = ("multi-class", "binary", "regression")
CLASSES: tuple[TaskKind, ...] = ("multi-class", "binary")
NUMBERS: tuple[TaskKind, ...] = ("regression",)
LEVELS = tuple(round(0.05 * step, 2) for step in range(1, 20))  # nominal coverage of the intervals kept
LEVEL = 0.90  # of the interval that is shown as a number


@dataclass(frozen=True)
class Facts:
    """What is said of a task's models, all by the names of registered metrics.

    `headline` leads: models are ranked and grids are drawn by it unless another is asked for. `shown` are the big
    numbers, `stated` everything that is compared, kept and printed, `traded` what a trade-off can be drawn over.
    `flips` counts changed predictions and is no metric of one model.
    """

    headline: str
    shown: tuple[str, ...]
    stated: tuple[str, ...]
    traded: tuple[str, ...]


FACTS: Mapping[TaskKind, Facts] = {
    "multi-class": Facts(
        "accuracy",
        ("accuracy", "macro_f1", "ece", "nll"),
        ("accuracy", "macro_f1", "ece", "nll", "brier"),
        ("accuracy", "macro_f1", "ece", "nll", "flips"),
    ),
    "binary": Facts(
        "accuracy",
        ("accuracy", "auroc", "ece", "brier"),
        ("accuracy", "macro_f1", "ece", "nll", "brier", "auroc", "average_precision"),
        ("accuracy", "auroc", "average_precision", "ece", "brier", "nll", "flips"),
    ),
    "regression": Facts(
        "rmse",
        ("rmse", "mae", "r2", "coverage", "interval_width"),
        ("rmse", "mae", "r2", "mse", "coverage", "interval_width", "interval_score"),
        # Coverage or width alone would crown the widest or the narrowest intervals; the interval score weighs both.
        ("rmse", "mae", "r2", "interval_score"),
    ),
}


@dataclass(frozen=True)
class Task:
    """What a model predicts: one of `classes`, or a number called `target` in `unit`.

    `positive` is the class that is looked for where there are two. `outputs` names a network's columns where it
    predicts numbers: the value and, where it states one, the logarithm of its standard deviation, both in `unit`.
    """

    kind: TaskKind
    classes: tuple[str, ...] = ()
    positive: int = 1
    target: str = ""
    unit: str = ""
    outputs: tuple[Output, ...] = ()

    @property
    def facts(self) -> Facts:
        """The metrics that speak of it."""
        return FACTS[self.kind]

    @property
    def listed(self) -> tuple[str, ...]:
        """What a table of points holds: everything that is traded or stated."""
        return tuple(dict.fromkeys((*self.facts.traded, *self.facts.stated)))

    @property
    def decides(self) -> bool:
        """Whether a prediction is one of several classes, which can be right, wrong and flip."""
        return self.kind in CLASSES

    @property
    def states_intervals(self) -> bool:
        """Whether a network for numbers says itself how sure it is."""
        return "log_scale" in self.outputs

    def unit_of(self, unit: str) -> str:
        """A metric's unit, with `target` in it named: `target squared` of prices is `US dollars squared`."""
        return unit.replace("target", self.unit).strip() if "target" in unit else unit

    def to_dict(self) -> dict[str, Any]:
        """The form a card keeps, without the classes, which it lists by themselves."""
        if self.kind == "regression":
            return {"kind": self.kind, "target": self.target, "unit": self.unit, "outputs": list(self.outputs)}
        return {"kind": self.kind} | ({"positive": self.classes[self.positive]} if self.kind == "binary" else {})


def task_of_classes(classes: Sequence[str], positive: int = 1) -> Task:
    """The task of telling these classes apart; of two, `positive` is the place of the one that is looked for."""
    return Task("binary" if len(classes) == 2 else "multi-class", tuple(classes), positive)


def task_of_card(card: Mapping[str, Any]) -> Task:
    """The task that a model's card declares. Raises `TemperError` where it contradicts itself."""
    stated, classes = card["task"], tuple(card.get("classes", ()))
    kind = stated["kind"] if isinstance(stated, Mapping) else stated  # cards of the first form name the kind alone
    stated = stated if isinstance(stated, Mapping) else {}
    if kind == "regression":
        outputs = tuple(stated.get("outputs", ("value",)))
        if outputs not in (("value",), ("value", "log_scale")):
            raise TemperError(f"Outputs for numbers are 'value' or 'value, log_scale'; the card states {outputs}.")
        if classes:
            raise TemperError(f"A model for numbers tells no classes apart; the card states {len(classes)} classes.")
        return Task("regression", (), 1, str(stated.get("target", "value")), str(stated.get("unit", "")), outputs)
    if kind not in CLASSES or len(classes) < 2 or (kind == "binary") != (len(classes) == 2):
        raise TemperError(
            f"A task is one of {', '.join(EVERY)}, binary with two classes, multi-class with more; the card states "
            f"{kind!r:.40} and {len(classes)} classes."
        )
    positive = stated.get("positive", classes[1])
    if positive not in classes:
        raise TemperError(f"The positive class must be one of {', '.join(classes)[:80]}; got {positive!r:.40}.")
    return task_of_classes(classes, classes.index(positive) if kind == "binary" else 1)
