"""How the task's loss answers to each weight: gradients over calibration examples, one example at a time.

One at a time they are exact for every architecture that PyTorch can run, and need the memory of one example.
Batch-norm uses its running statistics, as it does where the model is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from core.data.handle import Split, split_for_fitting
from core.deploy.graph import structure
from core.engine.context import Context
from core.engine.lane import rest
from core.engine.network import Network
from core.engine.observed import Observed
from core.engine.runtime import Progress
from core.models.channels import multiply_adds
from core.task import Task

EXAMPLES, LEAST = 256, 32
WORK = 512 * 10**9  # multiply-adds of all forward passes: they bound the examples of large models, 125 of a ResNet-50
WIDEST = 50.0  # the log of a standard deviation is held within this of zero, as where it is read for intervals
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Gradients:
    """By layer weight, float32 of its shape: `mean`, the gradient of the mean loss, and `fisher`.

    `fisher` is the diagonal of the empirical Fisher information: the mean over examples of each example's squared
    gradient. `examples` were read. A layer that `why` names, with the reason, has neither.
    """

    mean: Mapping[str, Tensor]
    fisher: Mapping[str, Tensor]
    examples: int
    why: Mapping[str, str]


def gradients(
    network: Network, context: Context, examples: int = EXAMPLES, progress: Progress | None = None
) -> Gradients:
    """The gradients of every layer's weights as they are in `network`, over examples of the calibration split.

    The examples are drawn evenly over the split, fewer of a large model (`chosen`). Remembered. Raises `TemperError`
    where PyTorch lacks an operator. The fraction done goes to `progress`, which may raise to abandon.
    """
    names = network.weight_names

    def compute() -> dict[str, Tensor]:
        sums = {name: torch.zeros_like(network.tensors[name], dtype=torch.float32) for name in names}
        squares = {name: torch.zeros_like(total) for name, total in sums.items()}
        count, expected = 0, len(chosen(network, split_for_fitting(context.data), examples))
        for found in by_example(network, context, names, examples):
            count += 1
            if progress is not None:
                progress(count / expected)
            for name, gradient in found.items():
                sums[name] += gradient
                squares[name].addcmul_(gradient, gradient)
        return {f"mean/{name}": total / count for name, total in sums.items()} | {
            f"fisher/{name}": total / count for name, total in squares.items()
        }

    kept = context.scores(network, f"gradients {examples} {context.data.fingerprint}", compute)
    mean, fisher = ({name: kept[f"{part}/{name}"] for name in names} for part in ("mean", "fisher"))
    why = {layer.name: _why(mean[layer.weight], fisher[layer.weight]) for layer in network.layers}
    bad = {layer.weight for layer in network.layers if why[layer.name]}
    mean, fisher = ({name: one for name, one in part.items() if name not in bad} for part in (mean, fisher))
    count = len(chosen(network, split_for_fitting(context.data), examples))
    return Gradients(mean, fisher, count, {name: reason for name, reason in why.items() if reason})


def by_example(
    network: Network, context: Context, names: tuple[str, ...], examples: int = EXAMPLES
) -> Iterator[dict[str, Tensor]]:
    """Each example's gradient of its own loss: for each of the tensors `names`, float32 of its shape.

    A tensor that the graph does not read has a gradient of zero.
    """
    split = split_for_fitting(context.data)
    module = Observed(network)
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    held = [tensors[module.places[name]] if name in module.places else None for name in names]
    leaves = [one.requires_grad_(True) for one in held if one is not None]
    loss = loss_of(context.data.task, split)
    places = chosen(network, split, examples)
    for count, place in enumerate(places):
        context.told(count / len(places))
        inputs = torch.from_numpy(split.inputs[place : place + 1].copy())
        with torch.enable_grad():
            value = loss(module(inputs), torch.from_numpy(split.y[place : place + 1].copy()))
            given = iter(torch.autograd.grad(value, leaves, allow_unused=True)) if value.requires_grad else iter(())
        found = {}
        for name, leaf in zip(names, held, strict=True):
            gradient = next(given, None) if leaf is not None else None
            found[name] = torch.zeros_like(network.tensors[name]) if gradient is None else gradient
        yield found
        rest()


def loss_of(task: Task, split: Split) -> Loss:
    """The mean loss of outputs `(N, C)` and labels `(N,)`: the negative log-likelihood of what the task predicts.

    Of a network for numbers that states no deviation it is the squared error over twice the labels' variance, which
    has no unit; of one that does, that of its Gaussian, without the constant.
    """
    if task.decides:
        return F.cross_entropy
    if task.states_intervals:
        return _gaussian
    variance = float(np.var(split.y)) or 1.0
    return lambda outputs, y: (outputs[:, 0].double() - y).square().mean() / (2 * variance)


def _gaussian(outputs: Tensor, y: Tensor) -> Tensor:
    value, log_scale = outputs[:, 0].double(), outputs[:, 1].double().clamp(-WIDEST, WIDEST)
    return (0.5 * ((y - value) * torch.exp(-log_scale)).square() + log_scale).mean()


def chosen(network: Network, split: Split, examples: int) -> NDArray[np.int64]:
    """Places of up to `examples` examples, evenly over the split: as many as `WORK` allows, at least `LEAST`."""
    work = max(1, multiply_adds(structure(network), network.shapes))
    count = min(examples, max(LEAST, WORK // work), len(split.inputs))
    places: NDArray[np.int64] = np.unique(np.linspace(0, len(split.inputs) - 1, count).round().astype(np.int64))
    return places


def _why(mean: Tensor, fisher: Tensor) -> str:
    if not (mean.isfinite().all() and fisher.isfinite().all()):
        return "its gradients are not all finite numbers on the calibration examples"
    return "" if fisher.any() else "its gradients are all zero on the calibration examples"
