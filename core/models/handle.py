"""A trained model by identity, and the safe way to its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from core import fingerprint
from core.errors import TemperError
from core.models.architectures import ARCHITECTURES

COUNTER = "num_batches_tracked"  # batch-norm's counter: of no use after training, so not stored


@dataclass(frozen=True)
class ModelHandle:
    """Identity of a trained model: its architecture, where its weights lie and their fingerprint.

    `input_shape` is one example's shape without the batch axis. `card` is the sample's card.
    """

    id: str
    title: str
    architecture: str
    arguments: tuple[tuple[str, Any], ...]
    input_shape: tuple[int, ...]
    classes: tuple[str, ...]
    weights: Path
    fingerprint: str
    summary: str = ""


@lru_cache(maxsize=4)
def weights_of(model: ModelHandle) -> Mapping[str, Tensor]:
    """The trained tensors by name, read from `.safetensors`. Shared: never write into them.

    Raises `TemperError` when the file is missing, damaged or not the one its card names.
    """
    again = "Restore the file from the repository, or run the sample's train.py."
    if not model.weights.exists():
        raise TemperError(f"The weights of '{model.id}' should be at {model.weights} and are not there.", again)
    if fingerprint.of_file(model.weights) != model.fingerprint:
        raise TemperError(
            f"The weights of '{model.id}' ({model.weights.name}) differ from what the card states.", again
        )
    try:
        return MappingProxyType(load_file(model.weights))
    except (SafetensorError, OSError, ValueError) as error:
        raise TemperError(f"The weights of '{model.id}' cannot be read: {error}.", again) from error


def build(model: ModelHandle) -> nn.Module:
    """A fresh module in evaluation mode holding its own copy of the trained weights."""
    if model.architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise TemperError(f"'{model.id}' names the architecture {model.architecture!r}; known are: {known}.")
    arguments = {k: list(v) if isinstance(v, tuple) else v for k, v in model.arguments}
    module = ARCHITECTURES[model.architecture](**arguments)
    expected, state = module.state_dict(), weights_of(model)
    problems = [f"{name} is missing" for name in expected if name not in state and not name.endswith(COUNTER)]
    problems += [f"{name} is not expected" for name in state if name not in expected]
    problems += [
        f"{name} has shape {tuple(state[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise TemperError(
            f"The weights of '{model.id}' do not fit {model.architecture}: {'; '.join(problems[:5])}{more}."
        )
    module.load_state_dict({name: tensor.clone() for name, tensor in state.items()}, strict=False)
    return module.eval().requires_grad_(False)


def parameter_count(model: ModelHandle) -> int:
    """Number of trained parameters, without batch-norm's running statistics."""
    return sum(p.numel() for p in build(model).parameters())


def example_input(model: ModelHandle, count: int = 1) -> Tensor:
    """Zeros in the shape the model reads, `(count, *input_shape)` float32."""
    return torch.zeros(count, *model.input_shape)
