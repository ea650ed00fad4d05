"""From a PyTorch module to an ONNX model whose constants bear the names of its state dict."""

from __future__ import annotations

import io
import warnings
from typing import Any

import onnx
import torch
from onnx import numpy_helper
from onnx.inliner import inline_local_functions
from torch import Tensor, nn

OPSET = 17
INPUT, OUTPUT = "input", "logits"


def exported(module: nn.Module, example: Tensor) -> onnx.ModelProto:
    """The module's float graph `(N, ...) -> (N, C)` with batch-norm as nodes of its own.

    The module is in evaluation mode, `example` float32 with the batch first. The exporter merges equal tensors and
    two batch-norms may well be equal, so it sees noise, and the true values are put in afterwards. The newer
    exporter, which is several times slower, is the fallback. Raises whatever that one raises.
    """
    true = {name: tensor.detach().clone() for name, tensor in module.state_dict(keep_vars=True).items()}
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in _tensors(module):
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
        try:
            proto = _traced(module, example)
        except Exception:
            proto = _programmed(module, example)
        finally:
            for name, tensor in module.state_dict(keep_vars=True).items():
                tensor.copy_(true[name])
    for initialiser in proto.graph.initializer:
        if initialiser.name in true:
            values = true[initialiser.name].numpy()
            initialiser.CopyFrom(numpy_helper.from_array(values, initialiser.name))
    return proto


def _tensors(module: nn.Module) -> list[Tensor]:
    return list(module.state_dict(keep_vars=True).values())


def _traced(module: nn.Module, example: Tensor) -> onnx.ModelProto:
    buffer: Any = io.BytesIO()  # accepted by the exporter, though its annotation names paths only
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module,
                (example,),
                buffer,
                dynamo=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_axes={INPUT: {0: "batch"}, OUTPUT: {0: "batch"}},
                training=torch.onnx.TrainingMode.PRESERVE,
                do_constant_folding=False,
            )
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return onnx.load_from_string(buffer.getvalue())


def _programmed(module: nn.Module, example: Tensor) -> onnx.ModelProto:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            optimize=False,
            verbose=False,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
    assert program is not None
    return inline_local_functions(program.model_proto)
