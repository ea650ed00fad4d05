"""Layer sensitivity: what rounding the weights of one layer alone does to the predictions, exact on the whole set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core import fingerprint, metrics
from core.data.handle import DataHandle, load_split
from core.deploy.graph import assemble
from core.engine import store
from core.engine.context import Context
from core.engine.look import check_finite
from core.engine.meaning import meaning
from core.engine.memory import RESULTS
from core.engine.network import Network, fold, load_network
from core.engine.runtime import Progress
from core.engine.statistics import LEVEL, NORMAL, Flips, matched_pairs
from core.errors import TemperError
from core.layers.branches import parted, summed
from core.models.handle import ModelHandle
from core.models.layers import Layer
from core.recipe import Step
from core.registry import brief, method
from core.task import Task, TaskKind
from core.types import Floats, Interval, Labels, Quantity

BITS = (2, 3, 4, 6, 8)
FEWEST, MOST = 2, 8  # bits of an integer weight
JUDGED: Mapping[
    TaskKind, tuple[str, str]
] = {  # means over the examples: the first statistic of each is what is averaged
    "multi-class": ("accuracy", "nll"),
    "binary": ("accuracy", "nll"),
    "regression": ("mse", "mae"),
}


@dataclass(frozen=True)
class Effect:
    """One layer's weights rounded to `bits`, per channel, symmetric and min-max; everything else float32.

    `values` are the metrics that `JUDGED` names for the task, `changes` the paired differences to the original on
    the same examples, with their intervals. `flips` are of classes only. `sqnr_db` is the weights'
    signal-to-quantization-noise ratio, a prediction that needs no data; None where nothing was rounded away.
    """

    layer: str
    bits: int
    values: Mapping[str, float]
    changes: Mapping[str, Quantity]
    flips: Flips | None
    sqnr_db: float | None

    def to_dict(self) -> dict[str, Any]:
        """The effect as JSON values."""
        found: dict[str, Any] = {"layer": self.layer, "bits": self.bits}
        for name, change in self.changes.items():
            found |= {name: self.values[name], f"{name}_change": _stated(change)}
        if self.flips is not None:
            kinds = ("flips", "wrong_to_right", "right_to_wrong")
            found |= {kind: getattr(self.flips, kind) for kind in kinds}
        return found | {"sqnr_db": self.sqnr_db}


@dataclass(frozen=True)
class Sensitivity:
    """Every layer at every bit-width, in the order of the forward pass, fewest bits first.

    `values` are the original's metrics on the same `n` examples.
    """

    model: str
    data: str
    bits: tuple[int, ...]
    n: int
    values: Mapping[str, float]
    effects: tuple[Effect, ...]

    def rank_correlation(self, measure: str, bits: int | None = None) -> float | None:
        """Spearman's correlation of SQNR with how much worse a metric became; -1: SQNR ranks perfectly.

        Over all effects, or over the layers at one bit-width. None where fewer than three effects have an
        SQNR or either side is constant.
        """
        used = [e for e in self.effects if e.sqnr_db is not None and bits in (None, e.bits)]
        ratio = [e.sqnr_db for e in used]
        sign = -1 if method("metric", measure).function.higher_is_better else 1
        harms = [sign * (e.changes[measure].value or 0) for e in used]
        if len(used) < 3 or len(set(ratio)) == 1 or len(set(harms)) == 1:
            return None
        from scipy import stats  # half a second, wanted here alone

        return float(stats.spearmanr(ratio, harms).statistic)

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON values: rates as fractions, the others in the units of their metrics."""
        return {
            "model": self.model,
            "data": self.data,
            "n": self.n,
            "estimated": False,
            **self.values,
            "bits": list(self.bits),
            "effects": [effect.to_dict() for effect in self.effects],
            "sqnr_rank_correlation": {
                name: {
                    "all": self.rank_correlation(name),
                    **{str(b): self.rank_correlation(name, b) for b in self.bits},
                }
                for name in self.values
            },
        }


def _stated(quantity: Quantity) -> dict[str, Any]:
    assert quantity.interval is not None
    return {"value": quantity.value, "interval": [quantity.interval.low, quantity.interval.high]}


def sensitivity(
    model: ModelHandle, data: DataHandle, bits: Sequence[int] = BITS, progress: Progress | None = None
) -> Sensitivity:
    """Round each layer alone to each of `bits` and evaluate the whole evaluation split, layers before it once.

    Outputs equal those of the whole graph with that layer rounded, up to the order in which the runtime adds where
    it fuses an Add (some 1e-5 on the samples). The fraction done goes to `progress`, which may raise to
    abandon. Remembered by content, also on disk. Raises `TemperError` for unusable bits.
    """
    widths = checked(bits)
    network = fold(load_network(model))
    place = _place(model, data, widths)
    settings = [(layer, width) for layer in network.layers for width in widths]

    def compute() -> Sensitivity:
        counts = store.load(place)
        if counts is None or counts.shape != (1 + len(settings), COLUMNS):
            counts = _measure(network, data, widths, progress)
            store.save(place, counts)
        n, names = data.split("evaluation").n, JUDGED[data.task.kind]
        first = {name: float(total) / n for name, total in zip(names, counts[0, 2::2], strict=True)}
        effects = [
            _effect(layer, width, n, data.task, counts[0], row)
            for (layer, width), row in zip(settings, counts[1:], strict=True)
        ]
        return Sensitivity(model.id, data.id, widths, n, first, tuple(effects))

    return RESULTS.remember(place, compute, lambda found: 1_000 * len(found.effects))


def known(model: ModelHandle, data: DataHandle, bits: Sequence[int] = BITS) -> Sensitivity | None:
    """What `sensitivity` found before, also before a restart; None where that is still to be measured."""
    place = _place(model, data, checked(bits))
    found = RESULTS.get(place) is not None or store.load(place) is not None
    return sensitivity(model, data, bits) if found else None


def _place(model: ModelHandle, data: DataHandle, widths: tuple[int, ...]) -> tuple[str, ...]:
    """Names a result in memory and on disk."""
    sources = sorted(Path(metrics.__file__).parent.glob("*.py"))  # the store's own version covers logits, not metrics
    judged = fingerprint.of_json([fingerprint.of_file(path) for path in sources])
    return "sensitivity", model.fingerprint, data.fingerprint, ",".join(map(str, widths)), judged


def checked(bits: Sequence[int]) -> tuple[int, ...]:
    """The bit-widths in order. Raises `TemperError` for any that cannot be measured."""
    whole = [b for b in bits if isinstance(b, int) and not isinstance(b, bool) and FEWEST <= b <= MOST]
    if not whole or len(set(whole)) < len(list(bits)):
        raise TemperError(
            f"Layer sensitivity takes different whole numbers of bits from {FEWEST} to {MOST}; got {brief(bits)}."
        )
    return tuple(sorted(whole))


def _rounded(network: Network, data: DataHandle, layer: Layer, bits: int) -> tuple[NDArray[np.float32], float | None]:
    """The layer's rounded weights and their SQNR in decibels."""
    given = {"weight_bits": bits, "activation_bits": 32, "granularity": "channel", "scheme": "symmetric"}
    step = Step.of("quantize", "uniform", given | {"range": "minmax"})
    alone = replace(network, layers=(layer,))
    rounded, learned = method(step.kind, step.method).function(alone, step.values, Context(data, 0))
    return rounded.tensors[layer.weight].numpy(), learned["sqnr_db"]


COLUMNS = 6  # flips, the SQNR in decibels, and of each metric the sum of its changes and the spread about their mean


def _measure(
    network: Network, data: DataHandle, widths: tuple[int, ...], progress: Progress | None
) -> NDArray[np.float32]:
    """`COLUMNS` of every setting, float32 `(1 + L * B, 6)`, as they are kept; an SQNR that is None is nan.

    The first row is the original's: in place of sums of changes, those of its metrics' own statistics. A spread is
    the square root of the summed squares.
    """
    split = load_split(data, "evaluation")
    proto = assemble(network)
    groups = list(parted(network.layers, lambda layer: network.tensors[layer.weight].nbytes * len(widths)))
    found: list[Floats] = []
    ratios = [np.nan]
    for index, group in enumerate(groups):
        variants = []
        for layer, width in product(group, widths):
            rounded, ratio = _rounded(network, data, layer, width)
            variants.append((layer.weight, rounded))
            ratios.append(np.nan if ratio is None else ratio)

        def report(fraction: float, done: int = index) -> None:
            if progress is not None:
                progress((done + fraction) / len(groups))

        def counted(outputs: NDArray[np.float32], part: slice) -> Floats:
            return _counted(outputs, split.y[part], data.task)

        sums = summed(proto, variants, split.inputs, counted, report)
        found += [sums[1:]] if index else [sums]
    total, n = np.concatenate(found), len(split.y)
    spread = np.sqrt(np.maximum(total[:, 2::2] - total[:, 1::2] ** 2 / n, 0))
    pairs = np.stack([total[:, 1::2], spread], 2).reshape(len(total), -1)
    return np.column_stack([total[:, 0], ratios, pairs]).astype(np.float32)


def _counted(outputs: NDArray[np.float32], labels: Labels, task: Task) -> Floats:
    """The sums of one chunk `(1 + V, 5)` from outputs `(1 + V, n, C)`, the original's first, and labels `(n,)`.

    Flips, and of each metric the changes and their squares.
    """
    check_finite(outputs)
    shape = outputs.shape[:2]
    predicted, every = meaning(task, outputs.reshape(-1, outputs.shape[-1])), np.tile(labels, shape[0])
    chosen = predicted.argmax(1).reshape(shape) if task.decides else np.zeros(shape)
    sums = [(chosen != chosen[0]).sum(1)]
    for name in JUDGED[task.kind]:
        values = method("metric", name).function.cells(predicted, every)[:, [0]].toarray().reshape(shape)
        change = values - values[0]
        total = change.sum(1)
        total[0] = values[0].sum()
        sums += [total, (change**2).sum(1)]
    return np.stack(sums, 1).astype(np.float64)


def _effect(
    layer: Layer, bits: int, n: int, task: Task, first: NDArray[np.float32], row: NDArray[np.float32]
) -> Effect:
    values, changes, flips = {}, {}, None
    columns = (first[2::2].tolist(), row[2::2].tolist(), row[3::2].tolist())
    for name, before, total, spread in zip(JUDGED[task.kind], *columns, strict=True):
        unit = task.unit_of(method("metric", name).function.unit)
        values[name] = (before + total) / n
        half = NORMAL * spread / n
        interval = Interval(total / n - half, total / n + half, LEVEL)
        if name == "accuracy":  # each change is -1, 0 or 1, so that the squares count those that are not 0
            discordant, net, changed = round(spread**2 + total**2 / n), round(total), int(row[0])
            gained, lost = (discordant + net) // 2, (discordant - net) // 2
            flips = Flips(changed, gained, lost, changed - discordant, n)
            interval = matched_pairs(flips)
        changes[name] = Quantity(total / n, unit, "measured", interval, n)
    ratio = None if np.isnan(row[1]) else round(float(row[1]), 2)
    return Effect(layer.name, bits, values, changes, flips, ratio)
