"""What a format can do: make a file's bytes, and open them again as somebody else would."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from core.calibrators._fitted import Form, Widths
from core.data.handle import DataHandle
from core.deploy.graph import INPUT, OUTPUT
from core.deploy.head import PROBABILITIES, add_head
from core.deploy.head_numbers import INTERVAL, VALUE, add_numbers_head
from core.engine.network import Network
from core.engine.runtime import session
from core.recipe import Recipe
from core.task import LEVEL
from core.types import Floats


@dataclass(frozen=True)
class Parts:
    """What an artifact is made of: the network after its recipe, its calibration, and what it must say of itself."""

    network: Network
    form: Form | None
    data: DataHandle
    recipe: Recipe

    def outputs(self) -> dict[str, str]:
        """What the file gives, by name."""
        if self.data.task.decides:
            return {OUTPUT: "before confidence calibration", PROBABILITIES: "what the screen shows"}
        of = f"{self.data.task.target} in {self.data.task.unit}".removesuffix(" in ")
        return {
            OUTPUT: "what the network gives: the value and, where it states one, the log of its standard deviation",
            VALUE: of,
            INTERVAL: f"low and high end of the {100 * LEVEL:g} % interval of {of}",
        }

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
            "outputs": self.outputs(),
        }


@dataclass(frozen=True)
class Opened:
    """An artifact read back from its bytes.

    `predict(inputs (n, ...))` gives what the screen shows, float64: the probabilities `(n, C)`, or `(n, 3)` the value
    and both ends of its interval. `graph` is the ONNX model that it holds or stands for, to look inside; None where
    there is none.
    """

    predict: Callable[[NDArray[np.float32]], Floats]
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


def finished(proto: onnx.ModelProto, parts: Parts) -> onnx.ModelProto:
    """The graph with what the screen shows as its last outputs, calibrated where the recipe says so."""
    if parts.data.task.decides:
        assert not isinstance(parts.form, Widths)
        add_head(proto, parts.form)
    else:
        assert parts.form is None or isinstance(parts.form, Widths)
        add_numbers_head(proto, parts.form, parts.data.task.states_intervals)
    return proto


def last(outputs: Sequence[NDArray[Any]]) -> Floats:
    """What the screen shows, `(n, K)` float64, from a file's outputs in their order; the raw ones come first."""
    return np.concatenate([part.astype(np.float64) for part in outputs[1:]], axis=1)


def opened_graph(proto: onnx.ModelProto, simulate: bool = False) -> Opened:
    """A finished ONNX model, opened in ONNX Runtime; with `simulate` integers are computed in float."""
    running = session(proto, simulate=simulate)
    return Opened(lambda inputs: last(running.run(None, {INPUT: inputs})), proto)


def open_onnx(content: bytes, _: Parts) -> Opened:
    """An ONNX file's bytes, opened in ONNX Runtime."""
    return opened_graph(onnx.load_from_string(content))


def described(proto: onnx.ModelProto, parts: Parts) -> bytes:
    """The model's bytes with its facts in the metadata."""
    entry = proto.metadata_props.add()
    entry.key, entry.value = "temper", json.dumps(parts.facts(), sort_keys=True)
    return proto.SerializeToString(deterministic=True)
