"""How alike two networks' layers see the same examples: linear centred kernel alignment, layer by layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper

from core import fingerprint
from core.data.handle import DataHandle, split_for_fitting
from core.deploy.graph import INPUT, assemble, template
from core.engine.lane import lane, rest
from core.engine.memory import RESULTS
from core.engine.network import Network, fold, load_network
from core.engine.runtime import session
from core.engine.transform import transform
from core.models.handle import ModelHandle
from core.recipe import Recipe
from core.types import Floats

EXAMPLES, LEAST = 512, 32
ROOM = 96 * 2**20  # bytes of one layer's features: they bound the examples of large models
BLOCK = 4096  # features a product
TINY = 1e-20  # of what features are before centring: what varies less, squared, is rounding
NOISE = 0.01  # of a layer's standard deviation: about what rounding to 8 bits does
Told = Callable[[float], None]


@dataclass(frozen=True)
class LayerAlike:
    """One layer's similarity, unbiased and plain, None where a layer tells no examples apart; `redrawn` beside it.

    `redrawn` is the unbiased similarity of the original to itself with weights drawn anew.
    """

    name: str
    unbiased: float | None
    plain: float | None
    redrawn: float | None


@dataclass(frozen=True)
class Alike:
    """All layers that both networks have, in the order of the forward pass, over `n` calibration examples.

    `gone` are the layers that the tempered network lacks.
    """

    layers: tuple[LayerAlike, ...]
    n: int
    gone: tuple[str, ...] = ()

    @property
    def least(self) -> LayerAlike | None:
        """The layer at which the networks are least alike."""
        known = [layer for layer in self.layers if layer.unbiased is not None]
        return min(known, key=lambda layer: layer.unbiased or 0.0, default=None)


def gram(features: NDArray[np.floating]) -> Floats:
    """Products of every two examples' features `(n, p)`, centred, float64 `(n, n)`."""
    found, whole = np.zeros((len(features), len(features))), 0.0
    for start in range(0, features.shape[1], BLOCK):
        part = features[:, start : start + BLOCK].astype(np.float64)
        whole += float(np.square(part).sum())
        part -= part.mean(0)
        found += part @ part.T
    return found if np.trace(found) > TINY * whole else np.zeros_like(found)


def plain_cka(one: Floats, other: Floats) -> float | None:
    """Linear CKA of two centred Gram matrices `(n, n)` (Kornblith et al. 2019, arXiv 1905.00414).

    Biased upwards where features outnumber examples. None where a side is constant.
    """
    return _ratio((one * other).sum(), (one * one).sum(), (other * other).sum())


def unbiased_cka(one: Floats, other: Floats) -> float | None:
    """The same with unbiased estimates of all three terms (Song et al. 2012; Nguyen et al. 2021, arXiv 2010.15327).

    Of unrelated networks it is 0 in the mean, and can fall below. None where a side tells no examples apart, or there
    are fewer than four.
    """
    return _ratio(unbiased_hsic(one, other), unbiased_hsic(one, one), unbiased_hsic(other, other))


def unbiased_hsic(one: Floats, other: Floats) -> float:
    """The unbiased Hilbert-Schmidt independence criterion of two Gram matrices `(n, n)` of four examples or more."""
    n = len(one)
    if n < 4:
        return 0.0
    a, b = (matrix - np.diag(np.diag(matrix)) for matrix in (one, other))
    crossed = float(a.sum(0) @ b.sum(0))
    first = float((a * b).sum()) + float(a.sum()) * float(b.sum()) / ((n - 1) * (n - 2)) - 2 * crossed / (n - 2)
    return first / (n * (n - 3))


def _ratio(between: float, one: float, other: float) -> float | None:
    return float(between / np.sqrt(one * other)) if min(one, other) > 0 else None


def alike(model: ModelHandle, data: DataHandle, recipe: Recipe, told: Told | None = None) -> Alike:
    """Compare the original and the tempered network, as it runs, on calibration inputs; labels are not read.

    Batch-norm is folded on both sides, and channels that the recipe equalised are equalised in the original too:
    neither changes what a network computes, but both change linear CKA. Remembered. Raises `TemperError`.
    """
    tempered = transform(model, data, recipe)[0]
    original = as_rescaled(load_network(model), tempered)
    key = ("alike", original.identity, tempered.identity, data.fingerprint, recipe.seed)
    redrawn = redraw(original, recipe.seed)
    return RESULTS.remember(key, lambda: compare(original, tempered, redrawn, data, told), lambda _: 10_000)


def compare(
    original: Network, tempered: Network, redrawn: Network, data: DataHandle, told: Told | None = None
) -> Alike:
    """Compare the layers that two networks share, and the original's with those of weights drawn anew."""
    names = [layer.name for layer in original.layers]
    kept = [name for name in names if name in {layer.name for layer in tempered.layers}]
    seen = split_for_fitting(data).inputs
    widest = max(part.size for part in _features(original, kept, seen[:1]).values())
    count = min(max(LEAST, min(EXAMPLES, ROOM // (4 * widest))), len(seen))
    inputs = seen[np.unique(np.linspace(0, len(seen) - 1, count).round().astype(int))]
    grams = []
    for turn, network in enumerate((original, tempered, redrawn)):

        def share(fraction: float, turn: int = turn) -> None:
            if told is not None:
                told((turn + fraction) / 3)

        grams.append(_grams(network, kept, inputs, share))
    layers = tuple(
        LayerAlike(name, unbiased_cka(a[name], b[name]), plain_cka(a[name], b[name]), unbiased_cka(a[name], c[name]))
        for a, b, c in [grams]
        for name in kept
    )
    return Alike(layers, len(inputs), tuple(name for name in names if name not in kept))


def _grams(network: Network, names: list[str], inputs: NDArray[np.float32], told: Told) -> dict[str, Floats]:
    sizes = {name: part.size for name, part in _features(network, names, inputs[:1]).items()}
    groups: list[list[str]] = [[]]
    for name in names:
        if groups[-1] and sum(sizes[one] for one in [*groups[-1], name]) * 4 * len(inputs) > ROOM:
            groups.append([])
        groups[-1].append(name)
    found: dict[str, Floats] = {}
    for turn, group in enumerate(groups):

        def share(fraction: float, turn: int = turn) -> None:
            told((turn + fraction) / len(groups))

        found |= {name: gram(part) for name, part in _features(network, group, inputs, share).items()}
    return found


def _features(
    network: Network, names: list[str], inputs: NDArray[np.float32], told: Told | None = None
) -> dict[str, NDArray[np.float32]]:
    """What each layer gives, `(n, p)`: one example at a time, since graphs may move the axis of examples."""
    proto, outputs = revealed(network, names)
    open_session = session(proto)
    found: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    for place in range(len(inputs)):
        with lane():
            made = open_session.run(list(outputs.values()), {INPUT: inputs[place : place + 1]})
        rest()
        for name, value in zip(outputs, made, strict=True):
            found[name].append(value.reshape(-1))
        if told is not None:
            told((place + 1) / len(inputs))
    return {name: np.stack(parts) for name, parts in found.items()}


def revealed(network: Network, names: list[str]) -> tuple[onnx.ModelProto, dict[str, str]]:
    """The graph that runs, with these layers' outputs as outputs of its own, and their names there by layer."""
    proto = assemble(network)
    places: dict[str, str] = {}
    base = template(network.model, network.edits).proto.graph.node
    weights = {layer.weight: layer.name for layer in network.layers}
    turned = {node.output[0]: node.input[0] for node in base if node.op_type == "Transpose"}
    for node in base:
        read = [weights.get(turned.get(name, name)) for name in node.input]
        for name in read:
            if name in names and node.op_type != "Transpose":
                places.setdefault(str(name), node.output[0])
    there = {output.name for output in proto.graph.output}
    proto.graph.output.extend(
        helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None)
        for output in dict.fromkeys(places.values())
        if output not in there
    )
    return proto, {name: places[name] for name in names}


def as_rescaled(original: Network, tempered: Network) -> Network:
    """The original, batch-norm folded, with its channels equalised as the tempered network's are, if they are."""
    found = fold(original)
    if not all(factor.shape[:2] == found.tensors[name].shape[: min(factor.ndim, 2)]
               for name, factor in tempered.rescaled.items()):  # fmt: skip
        return found  # channels left since
    made = {name: (found.tensors[name].double() * factor).float() for name, factor in tempered.rescaled.items()}
    return found.with_tensors(made).after("as rescaled " + tempered.identity) if made else found


def redraw(network: Network, seed: int) -> Network:
    """The network with every layer's weights drawn anew from a normal distribution of their mean and deviation."""

    def drawn(weight: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return weight.mean() + weight.std(correction=0) * noise

    return _changed(network, seed, "weights drawn anew", drawn)


def jitter(network: Network, seed: int, share: float = NOISE) -> Network:
    """The network with normal noise on every layer's weights, `share` of the layer's own standard deviation."""

    def moved(weight: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return weight + share * weight.std(correction=0) * noise

    return _changed(network, seed, f"noise of {share:g}", moved)


def _changed(
    network: Network, seed: int, name: str, change: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> Network:
    random = torch.Generator().manual_seed(seed)
    found = fold(network)
    weights = {weight: found.tensors[weight] for weight in found.weight_names}
    made = {k: change(w, torch.randn(w.shape, generator=random)).to(w.dtype) for k, w in weights.items()}
    named = fingerprint.of_json([name, seed])
    return replace(found.with_tensors(made), identity=fingerprint.of_json([found.identity, named]))
