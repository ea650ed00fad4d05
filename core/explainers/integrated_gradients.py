"""Integrated gradients: gradients along the straight line from a baseline to the example."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.data.handle import DataHandle, Preprocessing
from core.data.texts import Tokens, pad_of
from core.engine.lane import lane, rest
from core.engine.network import Network
from core.engine.runtime import usual_chunk
from core.errors import TemperError
from core.explainers._subject import Attribution, Subject, Told, mean_input, per_part
from core.registry import Param, register

DOUBLINGS, CLOSE = 3, 0.01  # of the steps, until the parts miss their sum by no more than this share of it
CHUNK = 16  # steps a pass: activations with their gradients then stay small
BASELINES = {"mean": "the mean of the calibration split", "zero": "zeros, of pictures black"}


@register(
    kind="explain",
    name="integrated-gradients",
    title="Integrated gradients",
    summary="Gradients along the line from a baseline to the example, which add up to the change in score.",
    reference="Sundararajan et al. 2017, Axiomatic attribution for deep networks, arXiv 1703.01365",
    parameters=(
        Param(
            "baseline", "Baseline", "mean",
            "Where the line begins; of texts always words that are all padding, the length kept.",
            choices=tuple(BASELINES), labels=BASELINES,
        ),
        Param(
            "steps", "Steps", 64,
            "Gradients along the line, doubled up to three times until the parts miss their sum by 1 % at most.",
            low=4, high=512, step=4,
        ),
    ),
    usual=True,
)  # fmt: skip
def integrated_gradients(
    subject: Subject, row: NDArray[np.float32], values: Mapping[str, Any], told: Told
) -> Attribution:
    """`(x - baseline)` times the mean gradient at the midpoints of `steps` equal parts of the line.

    Of texts the line runs between the embeddings of padding and of the words. Raises `TemperError` for a text model
    whose embedding is not known.
    """
    module, data = subject.surrogate(), subject.data
    x = torch.from_numpy(row[None].copy())
    if data.modality == "text":
        place = embedding(subject.network, module)
        empty = torch.full_like(x, _pad(data))
        with lane(), torch.no_grad():
            end, start = (module.through(one, keep=(place,))[1][place] for one in (x, empty))
        said = "from embeddings of padding, the text's length kept"
    else:
        place = None
        end = x
        start = torch.from_numpy(baseline(data, values["baseline"])[None].copy())
        said = f"from {BASELINES[values['baseline']]}"

    def score(at: Tensor) -> Tensor:
        if place is None:
            return subject.of(module.through(at)[0])
        return subject.of(module.through(x.expand(len(at), -1), {place: at})[0])

    with lane(), torch.no_grad():
        high, low = float(score(end)), float(score(start))
    chunk = min(CHUNK, usual_chunk(subject.network.model.input_shape))
    for turn in range(DOUBLINGS + 1):
        count = int(values["steps"]) * 2**turn
        parts = ((end - start).double() * _mean_gradient(score, start, end, count, chunk, told))[0]
        if abs(float(parts.sum()) - (high - low)) <= CLOSE * abs(high - low):
            break
    parts = parts.sum(-1) if place is not None else parts
    return Attribution(per_part(data, parts.numpy()), high, high - low, f"{said}, {count} steps")


def _mean_gradient(
    score: Callable[[Tensor], Tensor], start: Tensor, end: Tensor, count: int, chunk: int, told: Told
) -> Tensor:
    """The mean over the midpoints of `count` equal parts of the line, float64 of the ends' shape `(1, ...)`."""
    middles, total = (torch.arange(count) + 0.5) / count, torch.zeros_like(end, dtype=torch.float64)
    for begin in range(0, count, chunk):
        share = middles[begin : begin + chunk].reshape(-1, *[1] * (end.ndim - 1))
        at = (start + share * (end - start)).detach().requires_grad_(True)
        with lane(), torch.enable_grad():
            (gradient,) = torch.autograd.grad(score(at).sum(), at)
        total += gradient.double().sum(0, keepdim=True)
        rest()
        told(min(1.0, (begin + chunk) / count))
    return total / count


def baseline(data: DataHandle, kind: str) -> NDArray[np.float32]:
    """Where the line begins, float32 of one example's shape."""
    mean = mean_input(data)
    if kind == "mean":
        return mean
    assert isinstance(data.preprocessing, Preprocessing)
    stored = np.zeros((1, *np.roll(mean.shape, -1)) if mean.ndim == 3 else (1, *mean.shape), np.float32)
    return data.preprocessing.apply(stored, data.modality)[0]


def _pad(data: DataHandle) -> int:
    assert isinstance(data.preprocessing, Tokens)
    return pad_of(data.preprocessing)


def embedding(network: Network, module: Any) -> int:
    """The place of the step that picks an embedding's rows. Raises `TemperError` where there is none."""
    tables = {layer.weight for layer in network.layers if layer.kind == "embedding"}
    for place, (_, inputs, _, _) in enumerate(module.steps):
        if tables & set(inputs):
            return place
    raise TemperError(
        f"Words of '{network.model.id}' have no gradient: no embedding is known in its graph.",
        "Take occlusion, which needs none.",
    )
