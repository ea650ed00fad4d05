"""A trained model by identity, and the safe way to its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import onnx
import torch
from google.protobuf.message import DecodeError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from core import fingerprint
from core.errors import TemperError
from core.models.architectures import ARCHITECTURES
from core.models.graph import Graph

RUNNING = (".running_mean", ".running_var")
COUNTER = "num_batches_tracked"  # batch-norm's counter: of no use after training, so not stored


@dataclass(frozen=True)
class ModelHandle:
    """Identity of a trained model: where its graph and its weights lie, and their fingerprints.

    `input_shape` is one example's shape without the batch axis. `architecture` says what it is, for people; where
    it is one of the samples' own, `build` makes the PyTorch module from it and `arguments`.
    """

    id: str
    title: str
    architecture: str
    arguments: tuple[tuple[str, Any], ...]
    input_shape: tuple[int, ...]
    classes: tuple[str, ...]
    weights: Path
    weights_fingerprint: str
    graph: Path
    graph_fingerprint: str
    summary: str = ""
    own: bool = False

    @property
    def fingerprint(self) -> str:
        """Names structure and weights together."""
        return fingerprint.of_json([self.graph_fingerprint, self.weights_fingerprint])

    @property
    def again(self) -> str:
        """What to do when a file of the model is damaged."""
        if self.own:
            return "Load the model from its file again."
        return "Restore the file from the repository, or run the sample's train.py."


def _checked(model: ModelHandle, path: Path, stated: str) -> Path:
    """The file, once it is there and is the one that the card names."""
    if not path.exists():
        raise TemperError(f"{path.name} of '{model.id}' should be at {path} and is not there.", model.again)
    if fingerprint.of_file(path) != stated:
        raise TemperError(f"{path.name} of '{model.id}' differs from what its card states.", model.again)
    return path


@lru_cache(maxsize=4)
def weights_of(model: ModelHandle) -> Mapping[str, Tensor]:
    """The trained tensors by name, read from `.safetensors`. Shared: never write into them.

    Raises `TemperError` when the file is missing, damaged or not the one its card names.
    """
    path = _checked(model, model.weights, model.weights_fingerprint)
    try:
        with torch.inference_mode(False):  # whoever comes first, the tensors serve everybody
            return MappingProxyType(load_file(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise TemperError(f"The weights of '{model.id}' cannot be read: {error}.", model.again) from error


@lru_cache(maxsize=4)
def structure_of(model: ModelHandle) -> onnx.ModelProto:
    """The model's graph without its tensors. Shared: never write into it. Raises `TemperError` as `weights_of`."""
    path = _checked(model, model.graph, model.graph_fingerprint)
    try:
        return onnx.load_from_string(path.read_bytes())
    except (OSError, ValueError, DecodeError) as error:
        raise TemperError(f"The graph of '{model.id}' cannot be read: {error}.", model.again) from error


def graph_of_model(model: ModelHandle) -> Graph:
    """Structure and tensors of a model. Raises `TemperError`."""
    return Graph(structure_of(model), {name: tensor.numpy() for name, tensor in weights_of(model).items()})


def build(model: ModelHandle) -> nn.Module:
    """A sample's PyTorch module in evaluation mode, holding its own copy of the trained weights.

    Training and tests use it; everything else computes on the graph.
    """
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


def example_input(model: ModelHandle, count: int = 1) -> Tensor:
    """Zeros in the shape the model reads, `(count, *input_shape)` float32."""
    return torch.zeros(count, *model.input_shape)


def parameter_count(model: ModelHandle) -> int:
    """Number of trained parameters, without batch-norm's running statistics."""
    return sum(t.numel() for name, t in weights_of(model).items() if not name.endswith(RUNNING))
