"""One allocation as an ordinary recipe, with its bytes and what it loses on the calibration split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.data.handle import DataHandle
from core.engine.compare import stated
from core.engine.evaluate import calibration_outcomes, size
from core.engine.statistics import NORMAL, difference
from core.engine.transform import transform
from core.models.handle import ModelHandle
from core.recipe import Recipe, Step
from core.registry import Value, method
from core.search.layer_options import Way
from core.types import Quantity

Setting = tuple[int, float]  # bits and sparsity of a layer


@dataclass(frozen=True)
class Candidate:
    """A recipe that was tried: packed bytes, and the paired change of the headline on the calibration split.

    `settings` is what each layer got, in the order the layers run.
    """

    settings: tuple[Setting, ...]
    recipe: Recipe
    packed: int
    change: Quantity
    loss: float

    @property
    def error(self) -> float:
        """One standard error of the loss, from the paired interval."""
        ends = self.change.interval
        return (ends.high - ends.low) / (2 * NORMAL) if ends else 0.0

    @property
    def cautious(self) -> float:
        """The loss and one standard error: what is held against a floor, as the smallest of several was picked."""
        return self.loss + self.error


def recipe_of(
    model: ModelHandle, names: Sequence[str], settings: Sequence[Setting], way: Way, activation_bits: int, bias: bool
) -> Recipe:
    """The settings as steps: prune, batch-norm measured anew, quantize, and `bias` correction.

    The most frequent bits and sparsity are the steps' own; the other layers are set apart.
    """
    steps: list[Step] = []
    sparsities = [sparsity for _, sparsity in settings]
    if any(sparsities):
        common, own = _apart(names, "sparsity", sparsities)
        steps.append(Step.of("prune", way.pruner, {"sparsity": common}, own))
        if not method("repair", "batch-norm").why_not(model):
            steps.append(Step.of("repair", "batch-norm"))
    common, own = _apart(names, "weight_bits", [bits for bits, _ in settings])
    values = way.quantizer(int(common or 0), activation_bits).values
    steps.append(Step.of("quantize", "uniform", values, own))
    return Recipe((*steps, *([Step.of("repair", "bias")] if bias else [])), way.seed)


def _apart(
    names: Sequence[str], name: str, values: Sequence[Value]
) -> tuple[Value, Mapping[str, Mapping[str, Value]]]:
    common = Counter(values).most_common(1)[0][0]
    return common, {layer: {name: value} for layer, value in zip(names, values, strict=True) if value != common}


def packed(model: ModelHandle, data: DataHandle, recipe: Recipe) -> int:
    """Bytes of the recipe's model, really packed."""
    return size(transform(model, data, recipe)[0]).packed


def tried(model: ModelHandle, data: DataHandle, settings: Sequence[Setting], recipe: Recipe) -> Candidate:
    """A recipe on the calibration split."""
    headline = data.task.facts.headline
    before, after = calibration_outcomes(model, data, recipe)
    change = difference(headline, before, after)
    assert change.value is not None, "a difference of two models on the same examples has a value"
    loss = -change.value if method("metric", headline).function.higher_is_better else change.value
    return Candidate(tuple(settings), recipe, packed(model, data, recipe), change, loss)


def original_on_calibration(model: ModelHandle, data: DataHandle) -> Quantity:
    """The original's headline on the calibration split."""
    return stated(data.task.facts.headline, calibration_outcomes(model, data, Recipe())[0])
