"""Read a float `.onnx` classifier: plain operators, one picture or row in, one vector of logits out."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, version_converter

from core.errors import TemperError

OLDEST, OPSET, NEWEST = 7, 17, 24
MOST = 2**31 - 1  # bytes: what one protocol buffer can hold
LOOPS = {"If", "Loop", "Scan", "SequenceMap"}
QUANTIZED = {
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger",
    "MatMulInteger",
}  # fmt: skip
SINGLE = "onnx.save_model(onnx.load('model.onnx'), 'one.onnx', save_as_external_data=False)"


def read_onnx(path: Path) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The model, its operators at version 17 or later, and what was changed. Raises `TemperError`."""
    if path.stat().st_size > MOST:
        raise TemperError(f"{path.name} is larger than the 2 GiB that one ONNX file can hold.", "")
    try:
        proto = onnx.load_from_string(path.read_bytes())
    except (DecodeError, ValueError, OSError) as error:
        raise TemperError(f"{path.name} is no whole ONNX file.", "Export or copy it again.") from error
    _refuse(proto, path.name)
    proto = _raised(proto, path.name)
    try:
        onnx.checker.check_model(proto)
    except Exception as error:
        line = next((part.strip() for part in str(error).splitlines() if part.strip()), "")
        raise TemperError(f"{path.name} is no valid ONNX model: {line:.150}.", "Export it again.") from error
    return _without_softmax(proto)


def _refuse(proto: onnx.ModelProto, name: str) -> None:
    graph = proto.graph
    if not graph.node:
        raise TemperError(f"{name} holds no network: its graph has no nodes.", "Export it again.")
    tensors = [*graph.initializer, *(a.t for node in graph.node for a in node.attribute if a.HasField("t"))]
    if any(tensor.data_location == TensorProto.EXTERNAL or tensor.external_data for tensor in tensors):
        raise TemperError(
            f"{name} keeps its weights in another file, which is not opened.", f"Save one file: {SINGLE}"
        )
    if graph.sparse_initializer or any(a.graphs or a.HasField("g") for node in graph.node for a in node.attribute):
        raise TemperError(
            f"{name} has loops, branches or sparse tensors, which are not read.", "Export plain layers."
        )
    foreign = sorted({f"{n.domain}.{n.op_type}" for n in graph.node if n.domain not in ("", "ai.onnx")})
    if foreign or proto.functions:
        found = ", ".join(foreign[:3]) or "functions of its own"
        raise TemperError(f"{name} uses {found:.100}; only the standard ONNX operators are read.", "Export it again.")
    kinds = {node.op_type for node in graph.node}
    if kinds & QUANTIZED:
        found = sorted(kinds & QUANTIZED)[0]
        raise TemperError(
            f"{name} is quantized already ({found}); Temper starts from a float model.",
            "Load the float model it was made from.",
        )
    if kinds & LOOPS:
        raise TemperError(f"{name} holds {sorted(kinds & LOOPS)[0]}, which is not read.", "Export plain layers.")
    held = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in held]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs)[:100]
        raise TemperError(f"{name} takes {len(inputs)} inputs ({names}); a classifier of one input was expected.", "")
    kind = inputs[0].type.tensor_type
    if kind.elem_type != TensorProto.FLOAT or not 2 <= len(kind.shape.dim) <= 4:
        stated = TensorProto.DataType.Name(kind.elem_type) if kind.elem_type else "no tensor"
        raise TemperError(
            f"{name} reads {stated} of {len(kind.shape.dim)} axes; float32 pictures (N, C, H, W) or rows (N, F) were "
            "expected.",
            "Export it with a float32 input.",
        )
    if not graph.output:
        raise TemperError(f"{name} has no output.", "Export it again.")


def _raised(proto: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The model with operators recent enough to round weights by channel."""
    stated = [entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")]
    if not stated or not OLDEST <= stated[0] <= NEWEST:
        raise TemperError(
            f"{name} states operator version {stated[0] if stated else 'none'}; {OLDEST} to {NEWEST} are read.",
            f"Export it with opset_version={OPSET}.",
        )
    if stated[0] >= OPSET:
        return proto
    try:
        return version_converter.convert_version(proto, OPSET)
    except Exception as error:
        raise TemperError(
            f"{name} has operators of version {stated[0]} that cannot be brought to version {OPSET}.",
            f"Export it with opset_version={OPSET}.",
        ) from error


def _without_softmax(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """Calibration needs logits: a last softmax is left out, a log-softmax may stay."""
    last = next((n for n in proto.graph.node if proto.graph.output[0].name in n.output), None)
    if last is None or last.op_type != "Softmax":
        return proto, ()
    proto.graph.output[0].name = last.input[0]
    proto.graph.node.remove(last)
    return proto, ("The file ends in a softmax; Temper reads the logits before it and applies its own.",)
