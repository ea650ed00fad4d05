"""PyTorch's exported program, `.pt2`: the same graph in PyTorch's operators, integers stored as integers."""

from __future__ import annotations

import io
import json
import warnings

import numpy as np
import torch
from numpy.typing import NDArray

from core.deploy.graph import assemble
from core.errors import TemperError
from core.formats._artifact import Format, Opened, Parts, finished, last
from core.models.torch_graph import OPERATORS, GraphModule
from core.registry import register
from core.types import Floats


def _fits(parts: Parts) -> str:
    kinds = {node.op_type for node in assemble(parts.network).graph.node}
    unknown = sorted(kinds - set(OPERATORS))
    return f"PyTorch's side of Temper lacks {', '.join(unknown[:3])}." if unknown else ""


def _make(parts: Parts) -> bytes:
    proto = assemble(parts.network, compact=True)
    module = GraphModule(finished(proto, parts)).eval()
    example = torch.zeros(2, *parts.network.model.input_shape)
    made = io.BytesIO()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.export.export(module, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
            torch.export.save(program, made, extra_files={"temper.json": json.dumps(parts.facts())})
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        said = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise TemperError(f"PyTorch could not export this network: {said:.150}.", "Use ONNX.") from error
    return made.getvalue()


def _open(content: bytes, _: Parts) -> Opened:
    program = torch.export.load(io.BytesIO(content)).module()

    def predict(inputs: NDArray[np.float32]) -> Floats:
        with torch.no_grad():
            return last([part.numpy() for part in program(torch.from_numpy(np.array(inputs)))])

    return Opened(predict, None)


@register(
    kind="format",
    name="pt2",
    title="PyTorch program",
    summary="torch.export.load opens it without the model's code; rounding is computed, so no speed comes from it.",
    reference="PyTorch 2.13, torch.export",
)
def declared() -> Format:
    """PyTorch's operators take sums in another order than ONNX Runtime."""
    return Format(".pt2", "PyTorch", _fits, _make, _open, lambda _: True)
