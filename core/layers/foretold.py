"""Loss foretold without evaluating: to second order, half the sum of Fisher information times change squared.

At a trained network's minimum the gradient vanishes, so that a change `d` of the weights adds `d' H d / 2` to the
loss (LeCun et al. 1990, Optimal brain damage; Dong et al. 2019, HAWQ, arXiv 1905.03696, ranks layers by H). Here H is
taken as its diagonal, and that as the empirical Fisher information over examples of the calibration split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from core.data.handle import DataHandle
from core.engine.context import Context
from core.engine.network import Network, fold, load_network
from core.engine.runtime import Progress
from core.engine.transform import transform
from core.layers.gradients import Gradients, gradients
from core.layers.sensitivity import Sensitivity
from core.models.handle import ModelHandle
from core.recipe import Recipe, Step
from core.registry import method

EXAMPLES = 512  # of the calibration split, fewer of a large model


@dataclass(frozen=True)
class Foretold:
    """Loss added by each layer alone at each bit-width, in nats, from `examples` of the calibration split.

    Of a network for numbers the loss is its squared error over twice the labels' variance. Layers without a usable
    gradient are absent.
    """

    examples: int
    values: Mapping[tuple[str, int], float]


@dataclass(frozen=True)
class Agreement:
    """Spearman's rank correlation of a prediction with a measured loss over `n` pairs; 1 where the order is the same.

    `rho` is None where fewer than three pairs differ.
    """

    rho: float | None
    n: int


def key(model: ModelHandle, data: DataHandle) -> tuple[str, ...]:
    """Names the information in memory."""
    return "fisher", model.fingerprint, data.fingerprint


def information(model: ModelHandle, data: DataHandle, progress: Progress | None = None) -> Gradients:
    """The original's Fisher information, batch-norm folded, as rounding meets the weights. Remembered.

    Raises `TemperError` where PyTorch lacks an operator.
    """
    return gradients(fold(load_network(model)), Context(data, 0), EXAMPLES, progress)


def added(fisher: Gradients, before: Network, after: Network) -> dict[str, float]:
    """By layer, the loss that its changed weights add, in nats; both networks folded. None of another shape."""
    found = {}
    for layer in before.layers:
        old, new = before.tensors[layer.weight], after.tensors.get(layer.weight)
        if layer.weight in fisher.fisher and new is not None and old.shape == new.shape:
            found[layer.name] = _second_order(fisher.fisher[layer.weight], new - old)
    return found


def _second_order(fisher: Tensor, change: Tensor) -> float:
    return float((fisher.double() * change.double().square()).sum()) / 2


def of_recipe(fisher: Gradients, model: ModelHandle, data: DataHandle, recipe: Recipe) -> dict[str, float]:
    """What the recipe's pruning and rounding of each layer adds by itself, in nats."""
    after = transform(model, data, recipe.only("prune", "quantize"))[0]
    return added(fisher, fold(load_network(model)), fold(after))


def foretold(fisher: Gradients, model: ModelHandle, data: DataHandle, bits: Sequence[int]) -> Foretold:
    """Each layer alone at each of `bits`, rounded as `sensitivity` rounds it."""
    before, values = fold(load_network(model)), dict[tuple[str, int], float]()
    for width in bits:
        given = {"weight_bits": width, "activation_bits": 32, "granularity": "channel", "scheme": "symmetric"}
        after, _ = transform(model, data, Recipe((Step.of("quantize", "uniform", given | {"range": "minmax"}),)))
        values |= {(name, width): value for name, value in added(fisher, before, after).items()}
    return Foretold(fisher.examples, values)


def agreement(
    measured: Sensitivity, predicted: Mapping[tuple[str, int], float], measure: str, bits: int | None = None
) -> Agreement:
    """How well a prediction, larger being worse, ranks the measured loss: over all settings or at one bit-width."""
    sign = -1 if method("metric", measure).function.higher_is_better else 1
    used = [e for e in measured.effects if (e.layer, e.bits) in predicted and bits in (None, e.bits)]
    said = [predicted[e.layer, e.bits] for e in used]
    harms = [sign * (e.changes[measure].value or 0.0) for e in used]
    if len(used) < 3 or len(set(said)) == 1 or len(set(harms)) == 1:
        return Agreement(None, len(used))
    from scipy import stats  # half a second, wanted here alone

    return Agreement(float(stats.spearmanr(said, harms).statistic), len(used))


def noise(measured: Sensitivity) -> dict[tuple[str, int], float]:
    """The weights' own noise in decibels, the SQNR's negative: a prediction without any data."""
    return {(e.layer, e.bits): -e.sqnr_db for e in measured.effects if e.sqnr_db is not None}
