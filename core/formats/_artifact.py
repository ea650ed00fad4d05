"""What a format can do: make a file's bytes, and open them again as somebody else would."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from core.calibrators._fitted import Form
from core.data.handle import DataHandle
from core.deploy.graph import INPUT, OUTPUT
from core.deploy.head import PROBABILITIES
from core.engine.network import Network
from core.engine.runtime import session
from core.recipe import Recipe

Both = tuple[NDArray[np.float32], NDArray[np.float64]]  # logits and probabilities, (n, C) each


@dataclass(frozen=True)
class Parts:
    """What an artifact is made of: the network after its recipe, its calibration, and what it must say of itself."""

    network: Network
    form: Form | None
    data: DataHandle
    recipe: Recipe

    def facts(self) -> dict[str, Any]:
        """What a user of the file needs: classes, how inputs are made, where it comes from."""
        prepared = self.data.preprocessing.facts()
        if self.data.modality == "pictures":
            prepared["how"] += ", channels first"
        return {
            "made_by": "Temper",
            "model": self.network.model.id,
            "model_fingerprint": self.network.model.fingerprint,
            "network": self.network.identity,
            "recipe": self.recipe.to_dict(),
            "input_shape": list(self.network.model.input_shape),
            "classes": list(self.data.classes),
            "features": list(self.data.features),
            "task": self.data.task.to_dict(),
            "categories": {name: list(values) for name, values in self.data.categories.items()},
            "preprocessing": prepared,
            "outputs": {"logits": "before confidence calibration", "probabilities": "what the screen shows"},
        }


@dataclass(frozen=True)
class Opened:
    """An artifact read back from its bytes.

    `predict(inputs (n, ...)) -> (logits (n, C) float32, probabilities (n, C) float64)`. `graph` is the ONNX model
    that it holds or stands for, to look inside; None where there is none.
    """

    predict: Callable[[NDArray[np.float32]], Both]
    graph: onnx.ModelProto | None


@dataclass(frozen=True)
class Format:
    """`fits(parts)` is '' or why this network cannot leave in this format; `runs` says what executes it.

    `recomputes` tells whether the file computes in another order than the screen, so that last bits differ.
    """

    ending: str
    runs: str
    fits: Callable[[Parts], str]
    make: Callable[[Parts], bytes]
    open: Callable[[bytes, Parts], Opened]
    recomputes: Callable[[Parts], bool]


def opened_graph(proto: onnx.ModelProto) -> Opened:
    """An ONNX model with both outputs, opened in ONNX Runtime."""
    running = session(proto)

    def predict(inputs: NDArray[np.float32]) -> Both:
        logits, probabilities = running.run([OUTPUT, PROBABILITIES], {INPUT: inputs})
        return logits, probabilities.astype(np.float64)

    return Opened(predict, proto)


def open_onnx(content: bytes, _: Parts) -> Opened:
    """An ONNX file's bytes, opened in ONNX Runtime."""
    return opened_graph(onnx.load_from_string(content))


def described(proto: onnx.ModelProto, parts: Parts) -> bytes:
    """The model's bytes with its facts in the metadata."""
    entry = proto.metadata_props.add()
    entry.key, entry.value = "temper", json.dumps(parts.facts(), sort_keys=True)
    return proto.SerializeToString(deterministic=True)
