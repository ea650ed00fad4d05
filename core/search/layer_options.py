"""What each layer may be given, a bit-width and a sparsity, with the bytes it then takes and the harm it then does.

Everything is measured on the calibration split: what chooses an allocation must not see the evaluation split.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from torch import Tensor

from core import fingerprint
from core.data.handle import DataHandle, SplitName, load_split, split_for_fitting
from core.deploy.branch import Arrays
from core.deploy.graph import assemble
from core.deploy.pack import pack
from core.engine import store
from core.engine.context import Context
from core.engine.grid import Grid, fake_quantize
from core.engine.look import check_finite
from core.engine.meaning import meaning
from core.engine.memory import RESULTS
from core.engine.network import Network, fold, load_network
from core.engine.runtime import Progress
from core.layers.branches import parted, summed
from core.layers.gram import Moments, moments
from core.layers.second_order import grouped, relative_error
from core.models.handle import ModelHandle
from core.models.layers import Layer
from core.quantizers._rounding import reconstruct
from core.quantizers.uniform import weight_grid
from core.recipe import Step
from core.registry import method
from core.task import LEVEL, LEVELS, Task
from core.types import Floats

BITS = (2, 3, 4, 5, 6, 8)
SPARSITIES = (0.0, 0.5, 0.7, 0.85)
PLAIN = 6  # bits from which rounding to nearest tells as much of an option as the recipe's own
EXAMPLES = 256  # of the calibration split that each option is predicted on
SLACK = 0.5  # of the noise: rounding that looks at the layer's input may win this much over rounding to nearest
WORTH = 0.93  # of the bytes of a quieter option: one that saves less is left out
TINY = 1e-12


@dataclass(frozen=True)
class Way:
    """How an option is made, the same for all of them: what prunes, what sets grids and how weights find levels."""

    pruner: str = "sparsegpt"
    range: str = "mse"
    rounding: str = "gptq"
    bits: tuple[int, ...] = BITS
    sparsities: tuple[float, ...] = SPARSITIES
    examples: int = EXAMPLES
    seed: int = 0

    def quantizer(self, bits: int, activation_bits: int = 32, nearest: bool = False) -> Step:
        """The quantize step that gives every layer these bits."""
        given = {"weight_bits": bits, "activation_bits": activation_bits, "range": self.range}
        return Step.of("quantize", "uniform", given | {"rounding": "nearest" if nearest else self.rounding})


@dataclass(frozen=True)
class Option:
    """One layer at `bits` and `sparsity`: packed bytes of its weight, and what it does alone, all else untouched.

    `harm` is the mean divergence of the predictions from the original's, in nats, or for numbers the mean squared
    change, in the target's unit squared: see `moved`. `noise` is the share of the layer's output energy (of its
    weights' where it reads ids) that the change makes on calibration inputs.
    """

    bits: int
    sparsity: float
    bytes: int
    harm: float
    noise: float


@dataclass(frozen=True)
class Menu:
    """The options of every layer, fewest bytes first, in the order the layers run.

    Options that take more bytes than another of their layer and make more noise are left out. `uniform` holds, for
    each bit-width and sparsity given to all layers, the bytes of their weights, rounded to nearest, and the summed
    noise. `n` examples of `split` were predicted.
    """

    layers: tuple[str, ...]
    options: tuple[tuple[Option, ...], ...]
    uniform: tuple[tuple[int, float, int, float], ...]
    n: int
    split: SplitName

    @property
    def measured(self) -> int:
        """How many options there are in all."""
        return sum(len(row) for row in self.options)


def menu(
    model: ModelHandle, data: DataHandle, way: Way, split: SplitName = "calibration", progress: Progress | None = None
) -> Menu:
    """Every layer's options. Remembered by content, also on disk. Raises `TemperError`.

    An option's weights are those that the recipe would give the layer: pruned, scale and bias put right as repairs do
    (from second moments of what it reads), then rounded. Harm as divergence from the original's predictions is
    what ZeroQ measures (Cai et al. 2020, arXiv 2001.00281): a loss against labels falls below nothing where a model
    is too sure of itself and noise happens to temper it.
    """
    key = ("layer options", model.fingerprint, data.fingerprint, fingerprint.of_json(asdict(way)), split)

    def compute() -> Menu:
        kept = store.load(key)
        rows = kept if kept is not None else _rows(model, data, way, split, progress)
        if kept is None:
            store.save(key, rows)
        return _menu([layer.name for layer in load_network(model).layers], rows, split)

    return RESULTS.remember(key, compute, lambda found: 200 * found.measured)


@dataclass(frozen=True)
class _Made:
    """An option's tensors, and what is known of it before anything is predicted."""

    place: int
    bits: int
    sparsity: float
    bytes: int
    noise: float
    arrays: Arrays


COLUMNS = 7  # place of the layer, bits, sparsity, two parts of the bytes, noise, harm; nan where it was not measured
PART = 2**20  # of bytes: float32 holds whole numbers to 2**24


def _menu(names: Sequence[str], rows: NDArray[np.float32], split: SplitName) -> Menu:
    n, rows = int(rows[0, 0]), rows[1:]
    options: list[list[Option]] = [[] for _ in names]
    whole: dict[tuple[int, float], tuple[int, float]] = {}
    for place, bits, sparsity, high, low, noise, harm in rows.tolist():
        setting, size = (int(bits), round(sparsity, 4)), int(high) * PART + int(low)
        if not np.isnan(harm):
            options[int(place)].append(Option(*setting, size, harm, noise))
        else:  # as it was rounded to nearest, before any was left out
            before = whole.get(setting, (0, 0.0))
            whole[setting] = (before[0] + size, before[1] + noise)
    found = tuple(tuple(sorted(row, key=lambda o: (o.bytes, o.harm))) for row in options)
    uniform = tuple((*setting, *value) for setting, value in sorted(whole.items()))
    return Menu(tuple(names), found, uniform, n, split)


def _row(made: _Made, harm: float) -> list[float]:
    return [made.place, made.bits, made.sparsity, made.bytes // PART, made.bytes % PART, made.noise, harm]


def _rows(
    model: ModelHandle, data: DataHandle, way: Way, split: SplitName, progress: Progress | None
) -> NDArray[np.float32]:
    told = progress or (lambda _: None)
    base = fold(load_network(model))
    seen = list(moments(base, data))
    every: list[_Made] = []
    kept: list[_Made] = []
    pruned: dict[float, Network] = {}
    for number, sparsity in enumerate(way.sparsities):
        told(0.2 * number / len(way.sparsities))
        pruned[sparsity] = _pruned(model, data, way, base, seen, sparsity)
        every += [one for bits in way.bits for one in _nearest(base, pruned[sparsity], seen, way, bits, sparsity)]
    wanted = _undominated(every, SLACK)
    for number, sparsity in enumerate(way.sparsities):
        told(0.2 + 0.3 * number / len(way.sparsities))
        for bits in way.bits:
            mine = [one for one in wanted if (one.bits, one.sparsity) == (bits, sparsity)]
            kept += (
                _rounded(base, pruned[sparsity], seen, way, mine, data)
                if way.rounding != "nearest" and mine
                else mine
            )
    kept = _undominated(kept, 1.0)
    n, harms = _harms(base, data, way, kept, split, lambda fraction: told(0.5 + 0.5 * fraction))
    rows = [[float(n), *[0.0] * (COLUMNS - 1)]]
    rows += [_row(one, float("nan")) for one in every]
    rows += [_row(one, float(harm)) for one, harm in zip(kept, harms, strict=True)]
    return np.array(rows, np.float32)


def _undominated(made: Iterable[_Made], share: float) -> list[_Made]:
    """Those of which no other of their layer takes as few bytes, within `WORTH`, at `share` of the noise.

    A layer whose options all do nothing keeps the smallest.
    """
    found: list[_Made] = []
    layers: dict[int, list[_Made]] = {}
    for one in made:
        layers.setdefault(one.place, []).append(one)
    for options in layers.values():
        options.sort(key=lambda o: (o.bytes, o.noise))
        for at, one in enumerate(options):
            smaller = [o for o in options[:at] if o.noise <= share * one.noise or o.noise == one.noise]
            alike = [o for o in options[at + 1 :] if WORTH * o.bytes <= one.bytes and o.noise < share * one.noise]
            if not smaller and not alike:
                found.append(one)
    return found


Seen = list[tuple[Layer, Moments]]


def _pruned(model: ModelHandle, data: DataHandle, way: Way, base: Network, seen: Seen, sparsity: float) -> Network:
    """Every layer pruned and folded, its rows' scale put right where a batch-norm will be measured anew."""
    if not sparsity:
        return base
    step = Step.of("prune", way.pruner, {"sparsity": sparsity})
    network = fold(method("prune", way.pruner).function(load_network(model), step.values, Context(data, way.seed))[0])
    changed = {}
    for layer, found in seen:
        if layer.norm is None or found.second is None:
            continue
        groups = len(found.power)
        centred = found.second / found.columns - found.mean[:, :, None] * found.mean[:, None]
        was, now = (
            ((one @ centred) * one).sum(2).clamp(min=0).reshape(-1)
            for one in (grouped(side.tensors[layer.weight], groups) for side in (base, network))
        )
        weight = network.tensors[layer.weight]
        factor = torch.where(now > TINY, (was / now.clamp(min=TINY)).sqrt(), torch.ones_like(now)).float()
        changed[layer.weight] = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
    return network.with_tensors(changed)


def _grids(pruned: Network, layers: Iterable[Layer], way: Way, bits: int) -> dict[str, Grid]:
    values = way.quantizer(bits).values
    return {layer.weight: weight_grid(pruned.tensors[layer.weight], values) for layer in layers} if bits < 16 else {}


def _nearest(base: Network, pruned: Network, seen: Seen, way: Way, bits: int, sparsity: float) -> list[_Made]:
    grids = _grids(pruned, base.layers, way, bits)
    found = []
    for place, layer in enumerate(base.layers):
        weight, grid = pruned.tensors[layer.weight], grids.get(layer.weight)
        rounded = fake_quantize(weight, grid) if grid is not None else weight.half().float() if bits == 16 else weight
        found.append(_made(base, seen, place, bits, sparsity, rounded, grid))
    return found


def _rounded(
    base: Network, pruned: Network, seen: Seen, way: Way, mine: Sequence[_Made], data: DataHandle
) -> list[_Made]:
    """The same options with the recipe's own rounding."""
    bits, layers = mine[0].bits, [base.layers[one.place] for one in mine]
    grids = _grids(pruned, layers, way, bits)
    if bits >= PLAIN or way.rounding == "nearest":
        return list(mine)
    rounded, _ = reconstruct(pruned, grids, way.rounding, data, seen=seen)
    return [
        _made(base, seen, one.place, bits, one.sparsity, rounded[layer.weight], grids[layer.weight])
        for one, layer in zip(mine, layers, strict=True)
    ]


def _made(
    base: Network, seen: Seen, place: int, bits: int, sparsity: float, weight: Tensor, grid: Grid | None
) -> _Made:
    layer = base.layers[place]
    alone = replace(
        base, layers=(layer,), tensors={layer.weight: weight}, grids={} if grid is None else {layer.weight: grid},
        half=frozenset({layer.weight} if bits == 16 else ()),
    )  # fmt: skip
    size = sum(array.nbytes for array in pack(alone).values())
    arrays, noise = {layer.weight: weight.numpy()}, 0.0
    read = next((found for one, found in seen if one.weight == layer.weight), None)
    original = base.tensors[layer.weight]
    if read is not None and read.second is not None:
        groups = len(read.power)
        change = grouped(weight - original, groups)
        noise = relative_error(change, grouped(original, groups), read.second)
        if layer.bias in base.tensors:
            shift = (change * read.mean[:, None]).sum(2).reshape(-1).float()
            arrays[layer.bias] = (base.tensors[layer.bias] - shift).numpy()
    else:
        signal = float(original.double().square().sum())
        noise = float((weight - original).double().square().sum()) / signal if signal > 0 else 0.0
    return _Made(place, bits, sparsity, size, noise, arrays)


def _harms(
    base: Network, data: DataHandle, way: Way, made: Sequence[_Made], split: SplitName, progress: Progress
) -> tuple[int, Floats]:
    """Examples predicted, and each option's mean harm over them."""
    loaded = load_split(data, split) if split == "evaluation" else split_for_fitting(data, split)
    order = np.random.default_rng(way.seed).permutation(len(loaded.inputs))
    inputs = loaded.inputs[np.sort(order[: way.examples])]
    proto, found = assemble(base), [np.zeros(0)]
    sizes = [sum(array.nbytes for array in one.arrays.values()) for one in made]
    parts = list(parted(range(len(made)), lambda at: sizes[at]))
    for number, part in enumerate(parts):

        def told(fraction: float, done: int = number) -> None:
            progress((done + fraction) / len(parts))

        def counted(outputs: NDArray[np.float32], _: slice) -> Floats:
            return moved(outputs, data.task).sum(1)

        found.append(summed(proto, [made[at].arrays for at in part], inputs, counted, told)[1:])
    return len(inputs), np.concatenate(found) / len(inputs)


def moved(outputs: NDArray[np.float32], task: Task) -> Floats:
    """How far predictions are from the first ones, `(V, n)` of outputs `(V, n, C)`.

    Of classes Kullback and Leibler's divergence, in nats. Of numbers the squared difference; where a network states
    its own spread the squared difference of the spreads is added, which makes it Wasserstein's distance of the two
    normal distributions, squared (Dowson and Landau 1982, doi 10.1016/0047-259X(82)90077-X).
    """
    check_finite(outputs)
    predicted = meaning(task, outputs.reshape(-1, outputs.shape[-1])).reshape(*outputs.shape[:2], -1)
    if not task.decides:
        found: Floats = (predicted[:, :, 0] - predicted[0, :, 0]) ** 2
        if task.states_intervals:
            spread = predicted[:, :, 1 + LEVELS.index(LEVEL)] / special.ndtri(0.5 + LEVEL / 2)
            found = found + (spread - spread[0]) ** 2
        return found
    logs = np.log(np.maximum(predicted, TINY))
    return np.maximum((predicted[0] * (logs[0] - logs)).sum(2), 0.0)
