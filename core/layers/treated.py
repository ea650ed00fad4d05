"""What a recipe's treatment of one layer costs by itself: the original with only that layer's weights as they become.

Pruned and rounded as in the whole recipe. Activations, repairs and confidence calibration play no part, and every
layer before the treated one is computed once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.data.handle import DataHandle, load_split
from core.deploy.graph import assemble
from core.engine.network import fold, load_network
from core.engine.runtime import Progress
from core.engine.transform import transform
from core.errors import TemperError
from core.layers.branches import parted, summed
from core.layers.layerwise import bits_of, signal_to_noise
from core.layers.sensitivity import JUDGED, Sensitivity, _counted, _effect
from core.models.handle import ModelHandle
from core.recipe import Recipe
from core.types import Floats

KINDS = ("prune", "quantize")


def treatment(recipe: Recipe) -> Recipe:
    """The steps of a recipe that change a layer's weights by themselves."""
    return recipe.only(*KINDS).simplified()


def key(model: ModelHandle, data: DataHandle, recipe: Recipe) -> tuple[str, ...]:
    """Names a result."""
    return "treated", model.fingerprint, data.fingerprint, treatment(recipe).fingerprint


def treated(model: ModelHandle, data: DataHandle, recipe: Recipe, progress: Progress | None = None) -> Sensitivity:
    """Evaluate each treated layer alone on the whole evaluation split, at the bits that the recipe gives it.

    In the order of the forward pass; layers that the recipe leaves as they are have no effect among them. The
    fraction done goes to `progress`, which may raise to abandon. Raises `TemperError` where channels leave: these are
    cut from several layers together.
    """
    before = fold(load_network(model))
    after = fold(transform(model, data, treatment(recipe))[0])
    if after.edits or len(after.layers) < len(before.layers) or after.shrunk:
        raise TemperError(
            "What leaves as a whole is cut from several layers together, so that no layer has a loss of its own.",
            "Look at the sensitivity, or take pruning of channels, heads and blocks out of the recipe.",
        )
    layers = [one for one in before.layers if not before.tensors[one.weight].equal(after.tensors[one.weight])]
    split = load_split(data, "evaluation")
    told = progress or (lambda _: None)
    sums: list[Floats] = []
    groups = list(parted(layers, lambda one: before.tensors[one.weight].nbytes)) or [[]]

    def counted(outputs: NDArray[np.float32], part: slice) -> Floats:
        return _counted(outputs, split.y[part], data.task)

    for index, group in enumerate(groups):
        variants = [(one.weight, after.tensors[one.weight].numpy()) for one in group]

        def report(fraction: float, done: int = index) -> None:
            told((done + fraction) / len(groups))

        found = summed(assemble(before), variants, split.inputs, counted, report)
        sums += [found[1:]] if index else [found]
    total, n = np.concatenate(sums), len(split.y)
    rows = _rows(total, n)
    first = {name: float(value) / n for name, value in zip(JUDGED[data.task.kind], rows[0, 2::2], strict=True)}
    effects = []
    for layer, row in zip(layers, rows[1:], strict=True):
        ratio = signal_to_noise(before.tensors[layer.weight], after.tensors[layer.weight])
        row[1] = np.nan if ratio is None else ratio
        effects.append(_effect(layer, bits_of(after, layer), n, data.task, rows[0], row))
    return Sensitivity(model.id, data.id, tuple(sorted({e.bits for e in effects})), n, first, tuple(effects))


def _rows(total: Floats, n: int) -> NDArray[np.float32]:
    """Sums `(1 + V, 5)` as `_effect` reads them: flips, room for the SQNR, and of each metric total and spread."""
    spread = np.sqrt(np.maximum(total[:, 2::2] - total[:, 1::2] ** 2 / n, 0))
    pairs = np.stack([total[:, 1::2], spread], 2).reshape(len(total), -1)
    return np.column_stack([total[:, 0], np.full(len(total), np.nan), pairs]).astype(np.float32)
