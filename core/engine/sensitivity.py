"""Layer sensitivity: what rounding the weights of one layer alone does to the predictions, exact on the whole set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from core import fingerprint
from core.calibrators._fitted import softmax
from core.data.handle import DataHandle, load_split
from core.deploy.branch import branch_output, branched
from core.deploy.graph import INPUT, OUTPUT, assemble
from core.engine import store
from core.engine.context import Context
from core.engine.lane import lane
from core.engine.look import check_finite
from core.engine.memory import RESULTS
from core.engine.network import Network, fold, load_network
from core.engine.runtime import Progress, session, threads
from core.engine.statistics import LEVEL, NORMAL, Flips, matched_pairs
from core.errors import TemperError
from core.metrics import nll
from core.models.handle import ModelHandle
from core.models.layers import Layer
from core.recipe import Step
from core.registry import brief, method
from core.types import Floats, Integers, Interval, Quantity

BITS = (2, 3, 4, 6, 8)
FEWEST, MOST = 2, 8  # bits of an integer weight
TOGETHER = 50  # examples on all cores at once: the lane is then held for some 0.1 s at a time on the samples
LEAST = 8  # examples a call
Harm = Literal["accuracy", "nll"]
WEIGHTS = 256 * 2**20  # bytes of rounded weights in one session; a larger model's layers take several passes


@dataclass(frozen=True)
class Effect:
    """One layer's weights rounded to `bits`, per channel, symmetric and min-max; everything else float32.

    `accuracy` is a fraction; `accuracy_change` (a fraction) and `nll_change` (nats) are paired differences to
    the original on the same examples, with their intervals. `sqnr_db` is the weights'
    signal-to-quantization-noise ratio, a prediction that needs no data; None where nothing was rounded away.
    """

    layer: str
    bits: int
    accuracy: float
    accuracy_change: Quantity
    nll_change: Quantity
    flips: Flips
    sqnr_db: float | None


@dataclass(frozen=True)
class Sensitivity:
    """Every layer at every bit-width, in the order of the forward pass, fewest bits first.

    `accuracy` (a fraction) and `nll` (nats) are the original's on the same `n` examples.
    """

    model: str
    data: str
    bits: tuple[int, ...]
    n: int
    accuracy: float
    nll: float
    effects: tuple[Effect, ...]

    def rank_correlation(self, harm: Harm, bits: int | None = None) -> float | None:
        """Spearman's correlation of SQNR with the accuracy lost or the NLL added; -1: SQNR ranks perfectly.

        Over all effects, or over the layers at one bit-width. None where fewer than three effects have an
        SQNR or either side is constant.
        """
        used = [e for e in self.effects if e.sqnr_db is not None and bits in (None, e.bits)]
        ratio = [e.sqnr_db for e in used]
        harms = [-(e.accuracy_change.value or 0) if harm == "accuracy" else e.nll_change.value for e in used]
        if len(used) < 3 or len(set(ratio)) == 1 or len(set(harms)) == 1:
            return None
        from scipy import stats  # half a second, wanted here alone

        return float(stats.spearmanr(ratio, harms).statistic)

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON values."""
        return {
            "model": self.model,
            "data": self.data,
            "n": self.n,
            "estimated": False,
            "accuracy": self.accuracy,
            "nll": self.nll,
            "bits": list(self.bits),
            "effects": [
                {
                    "layer": e.layer,
                    "bits": e.bits,
                    "accuracy": e.accuracy,
                    "accuracy_change": _stated(e.accuracy_change),
                    "nll_change": _stated(e.nll_change),
                    "flips": e.flips.flips,
                    "wrong_to_right": e.flips.wrong_to_right,
                    "right_to_wrong": e.flips.right_to_wrong,
                    "sqnr_db": e.sqnr_db,
                }
                for e in self.effects
            ],
            "sqnr_rank_correlation": {
                harm: {
                    "all": self.rank_correlation(harm),
                    **{str(b): self.rank_correlation(harm, b) for b in self.bits},
                }
                for harm in ("accuracy", "nll")
            },
        }


def _stated(quantity: Quantity) -> dict[str, Any]:
    assert quantity.interval is not None
    return {"value": quantity.value, "interval": [quantity.interval.low, quantity.interval.high]}


def sensitivity(
    model: ModelHandle, data: DataHandle, bits: Sequence[int] = BITS, progress: Progress | None = None
) -> Sensitivity:
    """Round each layer alone to each of `bits` and evaluate the whole evaluation split, layers before it once.

    Logits equal those of the whole graph with that layer rounded, up to the order in which the runtime adds where
    it fuses an Add (some 1e-5 on the samples). The fraction done goes to `progress`, which may raise to
    abandon. Remembered by content, also on disk. Raises `TemperError` for unusable bits.
    """
    widths = _checked(bits)
    network = fold(load_network(model))
    judged = fingerprint.of_file(Path(nll.__file__))  # the store's own version covers logits, not metrics
    place = ("sensitivity", model.fingerprint, data.fingerprint, ",".join(map(str, widths)), judged)
    settings = [(layer, width) for layer in network.layers for width in widths]

    def compute() -> Sensitivity:
        counts = store.load(place)
        if counts is None or counts.shape != (1 + len(settings), len(_COLUMNS)):
            counts = _measure(network, data, widths, progress)
            store.save(place, counts)
        n = data.split("evaluation").n
        right, likelihood = float(counts[0, 0]), float(counts[0, 3])
        effects = [
            _effect(layer, width, n, right, row) for (layer, width), row in zip(settings, counts[1:], strict=True)
        ]
        return Sensitivity(model.id, data.id, widths, n, right / n, likelihood, tuple(effects))

    return RESULTS.remember(place, compute, lambda found: 1_000 * len(found.effects))


def bits_from_text(text: str) -> tuple[int, ...]:
    """Read bit-widths written as `2,3,4`. Raises `TemperError`."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) <= len(str(MOST)) for part in parts):
        raise TemperError(
            f"Bits are written as whole numbers from {FEWEST} to {MOST}, as in 2,3,4; got {brief(text)}."
        )
    return _checked([int(part) for part in parts])


def table(found: Sensitivity) -> str:
    """One line a setting: differences to the original with their intervals, flips, SQNR."""
    lines = [
        f"{found.model}  n = {found.n:,}  accuracy {found.accuracy:.4f}  nll {found.nll:.4f}",
        f"{'layer':24} bits  accuracy, points          flips  nll, nats                   SQNR, dB",
    ]
    for e in found.effects:
        ratio = "" if e.sqnr_db is None else f"{e.sqnr_db:6.2f}"
        lines.append(
            f"{e.layer:24} {e.bits:4}  {_spanned(e.accuracy_change, 100, 2):24} {e.flips.flips:6}  "
            f"{_spanned(e.nll_change, 1, 4):27} {ratio}".rstrip()
        )
    harms: tuple[tuple[Harm, str], ...] = (("accuracy", "accuracy lost"), ("nll", "NLL added"))
    for harm, title in harms:
        rho = found.rank_correlation(harm)
        lines.append(f"rank correlation of SQNR and {title}: " + ("none" if rho is None else f"{rho:+.2f}"))
    return "\n".join(lines)


def _spanned(quantity: Quantity, factor: int, digits: int) -> str:
    assert quantity.value is not None and quantity.interval is not None
    ends = (quantity.value, quantity.interval.low, quantity.interval.high)
    value, low, high = (f"{factor * end:+.{digits}f}" for end in ends)
    return f"{value} [{low}, {high}]"


def _checked(bits: Sequence[int]) -> tuple[int, ...]:
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


def _groups(network: Network, widths: int) -> Iterator[list[Layer]]:
    """Layers in runs whose rounded weights fit into one session together."""
    group: list[Layer] = []
    size = 0
    for layer in network.layers:
        added = network.tensors[layer.weight].nbytes * widths
        if group and size + added > WEIGHTS:
            yield group
            group, size = [], 0
        group.append(layer)
        size += added
    yield group


_COLUMNS = ("wrong_to_right", "right_to_wrong", "flips", "nll_change", "nll_half_width", "sqnr_db")


def _measure(
    network: Network, data: DataHandle, widths: tuple[int, ...], progress: Progress | None
) -> NDArray[np.float32]:
    """`_COLUMNS` of every setting, float32 `(1 + L * B, 6)`, as they are kept; an SQNR that is None is nan.

    The first row is the original's: how many it has right in the first column, its NLL in the fourth.
    """
    split = load_split(data, "evaluation")
    proto = assemble(network)
    groups = list(_groups(network, len(widths)))
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

        sums = _sums(branched(proto, variants), len(variants), split.inputs, split.y, report)
        found += [sums[1:]] if index else [sums]
    total, n = np.concatenate(found), len(split.y)
    mean = total[:, 3] / n
    spread = np.sqrt(np.maximum(total[:, 4] / n - mean**2, 0) / n)
    return np.column_stack([total[:, :3], mean, NORMAL * spread, ratios]).astype(np.float32)


def _sums(
    proto: onnx.ModelProto, variants: int, inputs: NDArray[np.float32], labels: Integers, progress: Progress
) -> Floats:
    """Sums `(1 + V, 5)` over all examples: gained, lost, flips, NLL change, its square; first the original's row.

    Each core takes a chunk of its own: sharing one, they would wait for each other at each of hundreds of nodes.
    """
    names = [OUTPUT, *map(branch_output, range(variants))]
    chunk = max(LEAST, TOGETHER // threads())
    block = chunk * threads()
    sums = np.zeros((1 + variants, 5))
    with lane():
        opened = session(proto, cores=1)

    def sums_of(start: int) -> Floats:
        part = slice(start, start + chunk)
        return _counted(np.stack(opened.run(names, {INPUT: inputs[part]})), labels[part])

    with ThreadPoolExecutor(threads()) as pool:
        for start in range(0, len(inputs), block):
            end = min(start + block, len(inputs))
            with lane():
                parts = list(pool.map(sums_of, range(start, end, chunk)))
            sums += np.sum(parts, 0)
            progress(end / len(inputs))
    return sums


def _counted(logits: NDArray[np.float32], labels: Integers) -> Floats:
    """The sums of one chunk from logits `(1 + V, n, C)`, the original's first, and labels `(n,)`."""
    check_finite(logits)
    shape = logits.shape[:2]
    probabilities = softmax(logits.reshape(-1, logits.shape[-1]))
    chosen = probabilities[np.arange(len(probabilities)), np.tile(labels, shape[0])]
    surprise = nll.surprise(chosen).reshape(shape)
    predicted = probabilities.argmax(1).reshape(shape)
    right = predicted == labels
    gained, lost, flips = right & ~right[0], ~right & right[0], predicted != predicted[0]
    change = surprise - surprise[0]
    sums = np.stack([part.sum(1) for part in (gained, lost, flips, change, change**2)], 1).astype(np.float64)
    sums[0, [0, 3]] = right[0].sum(), surprise[0].sum()
    return sums


def _effect(layer: Layer, bits: int, n: int, right: float, counts: NDArray[np.float32]) -> Effect:
    gained, lost, changed = (int(count) for count in counts[:3])
    flips = Flips(changed, gained, lost, changed - gained - lost, n)
    nll, half = float(counts[3]), float(counts[4])
    return Effect(
        layer.name,
        bits,
        (right + gained - lost) / n,
        Quantity((gained - lost) / n, "fraction", "measured", matched_pairs(flips), n),
        Quantity(nll, "nats", "measured", Interval(nll - half, nll + half, LEVEL), n),
        flips,
        None if np.isnan(counts[5]) else round(float(counts[5]), 2),
    )
