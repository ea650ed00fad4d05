"""Grad-CAM: the last map of a convolutional network, each channel weighted by its gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from core.engine.lane import lane, rest
from core.errors import TemperError
from core.explainers._subject import Attribution, Subject, Surrogate, Told
from core.models.handle import ModelHandle, graph_of_model
from core.registry import register

CONV = "Conv"
KEEPING = {CONV, "BatchNormalization", "Add", "Relu", "Clip", "Mul", "Sigmoid", "HardSigmoid", "HardSwish",
           "LeakyRelu", "Concat", "Elu", "PRelu", "Gelu"}  # fmt: skip


def fits(model: ModelHandle) -> str:
    """Why there is nothing to weigh, '' where there is."""
    if any(layer.kind == "convolution" for layer in graph_of_model(model).layers) and len(model.input_shape) == 3:
        return ""
    return "it has no convolution over pictures, and so no map to weigh"


@register(
    kind="explain",
    name="grad-cam",
    title="Grad-CAM",
    summary="Where the last convolutions see what speaks for the score: their map, channels weighted by gradients.",
    reference="Selvaraju et al. 2017, Grad-CAM, arXiv 1610.02391",
    fits=fits,
)
def grad_cam(subject: Subject, row: NDArray[np.float32], values: Mapping[str, Any], told: Told) -> Attribution:
    """`relu(sum_k a_k A_k)`, `a_k` the mean gradient of channel `k`, drawn out to the picture's size (bilinear).

    `A` is the last map with more than one place that convolutions make, after what is added to it and its ReLU, and
    before pooling. Raises `TemperError` where no such map is left.
    """
    why = fits(subject.network.model)
    if why:
        raise TemperError(f"Grad-CAM does not suit '{subject.network.model.id}': {why}.", "Take occlusion.")
    module, x = subject.surrogate(), torch.from_numpy(row[None].copy())
    with lane():
        place, name = last_map(module, x, subject.network.model.id)
        with torch.no_grad():
            made = module.through(x, keep=(place,))[1][place]
        at = made.detach().clone().requires_grad_(True)
        with torch.enable_grad():
            score = subject.of(module.through(x, {place: at})[0])
            gradient = torch.autograd.grad(score.sum(), at, allow_unused=True)[0]
    rest()
    told(1.0)
    gradient = torch.zeros_like(made) if gradient is None else gradient
    weights = gradient.double().mean((2, 3), keepdim=True)
    heat = F.relu((weights * made.double()).sum(1, keepdim=True))
    size = (int(row.shape[-2]), int(row.shape[-1]))
    full = F.interpolate(heat, size, mode="bilinear", align_corners=False)[0, 0]
    where = f"at the last map of convolutions, {made.shape[2]} × {made.shape[3]}, after {name}"
    return Attribution(full.numpy(), float(score.detach()), None, where)


def last_map(module: Surrogate, x: torch.Tensor, model: str) -> tuple[int, str]:
    """The place of the step that makes the last map, and the convolution before it. Raises `TemperError`."""
    candidates = tuple(place for place, (kind, *_) in enumerate(module.steps) if kind in KEEPING)
    with torch.no_grad():
        kept = module.through(x, keep=candidates)[1]
    found: int | None = None
    descends: set[str] = set()
    for place, (kind, inputs, outputs, _) in enumerate(module.steps):
        if kind != CONV and not descends & set(inputs):
            continue
        descends |= set(outputs)
        made = kept.get(place)
        if isinstance(made, torch.Tensor) and made.ndim == 4 and made.shape[2] * made.shape[3] > 1:
            found = place
    if found is None:
        raise TemperError(f"No map of '{model}' has more than one place: there is nothing for Grad-CAM to weigh.")
    convolutions = [inputs[1] for kind, inputs, *_ in module.steps[: found + 1] if kind == CONV]
    return found, convolutions[-1].removesuffix(".weight")
